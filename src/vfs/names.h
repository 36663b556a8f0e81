// Making and removing names: what open(2) needs of it beside the verbs of vfs.h.
//
// Owner: names.cc, walk.cc. Rules: hook-safe, any thread. Every function that changes something is one operation with
// one record: it happens wholly or not at all.
#pragma once

#include "vfs/pool.h"

namespace pmemfile::vfs {

// Resolves `at` as open(2) does: follows a final symlink unless O_NOFOLLOW (ELOOP; with O_PATH: the symlink itself), makes a
// missing regular file with `mode & ~umask` for O_CREAT (also behind a dangling symlink), EEXIST for O_EXCL, ENOTDIR
// for O_DIRECTORY, EISDIR for O_CREAT on a directory or a trailing slash. `mode`: permissions only. Neither permission
// of the file found nor write access to a directory is checked; O_TRUNC, O_TMPFILE are the caller's. `attr`: of the inode;
// true if O_CREAT made it: then open checks no permission of the file itself.
Result<bool> resolve_for_open(Task& task, At at, int flags, u32 mode, inode::Attr& attr);

// One component: makes the regular file `name` in `dir` (permission to write is checked) with `mode & ~umask`. EEXIST if the
// name is there. The attributes are those at the commit: compare the generation before the inode is used again.
Result<void> create_file(Task& task, Ino dir, std::string_view name, u32 mode, inode::Attr& made);

// O_TMPFILE: a regular file without a name, link count 0, in an orphan list from the start, that link_at may give a name
// later (`linkable`: not O_EXCL). Permission to write and search `dir` is checked. The caller takes the reference that
// keeps it alive, and then clears the word that `pending` names (null: there was none free): should the process die before,
// its undertaker frees the inode.
Result<Ino> create_unnamed(Task& task, Ino dir, u32 mode, bool linkable, u64*& pending);

// Frees an inode of any type that is in an orphan list and has neither links nor users: contents, attributes, inode. Does
// nothing if it has, or if somebody else frees it already. EAGAIN: somebody, perhaps a stopped process, holds its stripe; who
// closes a file does not wait for that. For the last close (after the reference is gone), and with
// `recovery` for who visits orphans when nobody else is attached, or goes on with what a dead process was freeing.
Result<void> free_orphan(journal::Store& store, Ino ino, bool recovery = false);

} // namespace pmemfile::vfs
