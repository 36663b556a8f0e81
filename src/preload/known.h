// What is remembered of paths on the kernel's side, and what follows from it.
//
// A directory (the text up to the last '/') that leads into no pool is known for a quarter of a second. Another process may put a way into
// a pool there meanwhile: a symlink to a mount point. So only calls that change nothing are answered from memory, and what such a call then
// finds in the kernel depends on what lies hidden at the mount points:
//   nothing: the path ends with ENOENT. A call that succeeds was right; one that ends with ENOENT is checked (was_right).
//   an empty directory: the same, but for the directory itself, which only the last component can be: and that is looked at
//     whenever it is followed.
//   something: nothing is believed.
// What lies hidden is looked at as often as a directory is. Calls that make, remove or change something, chdir and exec, look for symlinks each
// time (paths.cc), or have the kernel do so in the call itself: openat2 with RESOLVE_NO_SYMLINKS, whose answers are certain.
// Rules: hook-safe; any thread: entries are overwritten by whoever learns something.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// Of now: knowledge with another stamp is void.
inline u64 known_stamp(const Process& process) {
  return (static_cast<u64>(inode::now_ns()) >> 28) + (process.known_epoch << 40);
}
// Looks at the mount points if that was not done under this stamp.
void look_at_hidden(Process& process, u64 stamp);

struct Known {
  bool plain = false; // no symlink on the way
  bool listed = false; // has an entry: not so a directory that is only the one where the path begins
  u64 index = 0;      // of that entry
};

// Without a symlink on its way such a path leads into no pool and to nothing of ours in /proc: no component has the name of a mount point, of
// /proc, or, in a path that may begin there, of something in it.
bool is_ordinary(Process& process, int dirfd, const char* path, u64 bytes);
// Is the directory that a relative path begins at one of the kernel's?
inline bool begins_in_kernel(const Process& process, int dirfd, const char* path) {
  return path[0] == '/' || !(dirfd == -100 /* AT_FDCWD */ ? process.cwd.in_pool : fd_word(process, static_cast<u32>(dirfd)) != 0);
}
bool is_mount_name(const char* name, u64 bytes);
u64 path_bytes_without_last(const char* path, u64 bytes);

// Does the path lead to a directory of the kernel for certain, with a last component that is a name, not "." or "..", and not that of
// a mount point? True also for a single component relative to a directory of the kernel. `dir_bytes`: up to and with the last '/'.
bool find_known(Process& process, int dirfd, const char* path, u64 bytes, u64& dir_bytes, Known& known);
// The directory of a path that was walked. `room`: for a path.
void learn_dir(Process& process, u64 stamp, const char* path, u64 dir_bytes, bool plain, char* room);

// The call on a path in a known directory ended with `result`: would looking again tell something else? `room`: for a path, or null.
bool is_right(Process& process, int dirfd, const char* path, u64 dir_bytes, const Known& known, long result, char* room);

// Searches look for many names where none is: after some misses in a row the next one is expected, and asked for in a way whose answer is
// certain (ask_whether_missing).
bool is_miss_expected(const Process& process, const Known& known);
void note_outcome(Process& process, const Known& known, bool missing);
// There is certainly no symlink on the way, the last component included, and: -ENOENT, nothing; -EISDIR, a directory; -ENOTDIR, something else.
// Others tell nothing.
long ask_whether_missing(int dirfd, const char* path, u64 bytes);
// The same for a path of `bytes` with room for two more. It cannot succeed, so it makes no descriptor: with a '/' at its end the path leads to a directory, and
// those are not opened for writing.
long ask_what_is_there(int dirfd, char* path, u64 bytes);

// The last component is there and no symlink. Of use only where nothing lies hidden.
bool is_known_leaf(Process& process, int dirfd, const char* path, u64 bytes);
void learn_leaf(Process& process, int dirfd, u64 stamp, const char* path, u64 bytes);

} // namespace pmemfile::preload
