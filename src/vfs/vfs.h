// The POSIX verbs on one pool: what the C library (api) and the preload library build on.
//
// Every verb takes a Task: who calls, where relative paths start, where a path that leaves the pool is put.
// Errors are the kernel's errnos. Rules: hook-safe, any thread; a Task belongs to one thread at a time. Pointers
// marked `user` may fault (EFAULT where a fault handler is installed).
#pragma once

#include <string_view>

#include "data/data.h"
#include "inode/inode.h"
#include "journal/store.h"
#include "pmem/fault.h" // for whoever installs the fault handler

struct stat;
struct statfs;
struct statx;
struct timespec;
struct flock;
struct open_how;

namespace pmemfile::vfs {

// A path left the pool: through `..` above the root, or an absolute symlink to elsewhere. Task::escape holds the
// absolute kernel path to go on with. Never returned when Task::mount_point is empty: then absolute symlinks start
// at the root of the tree and `..` of the root is the root.
inline constexpr int kEscaped = 1010;

// Credentials of the calling kernel task.
struct Credentials {
  u32 uid = 0, euid = 0, suid = 0, fsuid = 0;
  u32 gid = 0, egid = 0, sgid = 0, fsgid = 0;
  u64 capabilities = 0; // effective, as in capget(2)
  const u32* groups = nullptr;
  u32 group_count = 0;
};
inline constexpr u64 kCapChown = 1 << 0, kCapDacOverride = 1 << 1, kCapDacReadSearch = 1 << 2, kCapFowner = 1 << 3,
                     kCapFsetid = 1 << 4, kCapLinuxImmutable = 1 << 9, kCapSysRawio = 1 << 17, kCapSysAdmin = 1 << 21, kCapMknod = 1 << 27;

class Pool; // one attachment of this process (pool.h)

struct Task {
  Pool* pool = nullptr;
  const Credentials* credentials = nullptr;
  u32 umask = 022;
  Ino root{};                    // of the tree that absolute symlinks and `..` end at
  std::string_view mount_point;  // absolute kernel path without trailing '/', or empty (see kEscaped)
  char* escape = nullptr;        // PATH_MAX bytes, needed if mount_point is not empty
  u32 escape_length = 0;
  u8 escaped_argument = 0;       // which path of a two-path verb left: 0 or 1
  u64 file_size_limit = ~u64{0}; // RLIMIT_FSIZE; EFBIG beyond it
  void* scratch = nullptr; // room of this thread's that a verb may use while it runs; null: there is none
  u64 scratch_bytes = 0;
  bool over_limit = false;       // it was: the signal is the caller's
  u64 mount_id = 0;              // what statx(2) shows of it
  u64 resolve = 0;               // RESOLVE_* of openat2(2); BENEATH and IN_ROOT: `root` is the directory not to be left
  const volatile u32* interrupted = nullptr; // waiting verbs give up with EINTR when it becomes non-zero
  // Set by verbs that took the last name of a FIFO or socket: what stands for it elsewhere has no more use.
  struct Gone {
    Ino ino{};
    u64 generation = 0;
    u32 mode = 0; // 0: nothing of the kind
  } gone;
};

// A path relative to a directory of the pool. A path that starts with '/' starts at Task::root.
struct At {
  Ino dir{};
  std::string_view path;
};

// ---- Names (names.cc, walk.cc) ----------------------------------------------------------------------------

enum class Follow : u8 { kNo, kYes };

// Where a path leads: the inode, with search permission checked on the way.
struct Found {
  inode::Attr attr;
};
// `allow_empty`: AT_EMPTY_PATH.
Result<inode::Attr> resolve(Task& task, At at, Follow follow, bool allow_empty = false);
// The same into the caller's room, which holds nothing of use after an error.
Result<void> resolve_into(Task& task, At at, Follow follow, bool allow_empty, inode::Attr& attr);

// Resolves all but the last component. `last` points into the path text (or a private copy in `buffer`) and may be
// "." or ".." ; trailing slashes set `must_be_dir`.
struct Parent {
  Ino dir{};
  std::string_view last;
  bool must_be_dir = false;
};
Result<Parent> resolve_parent(Task& task, At at, char (&buffer)[256]);

Result<void> stat_at(Task& task, At at, Follow follow, bool allow_empty, struct stat* user_out);
Result<void> statx_at(Task& task, At at, Follow follow, bool allow_empty, unsigned mask, struct statx* user_out);
// mode: R_OK | W_OK | X_OK or F_OK; `effective`: by the effective ids (AT_EACCESS).
Result<void> access_at(Task& task, At at, Follow follow, bool allow_empty, int mode, bool effective);
Result<u64> readlink_at(Task& task, At at, bool allow_empty, char* user_buffer, u64 size);
Result<void> mkdir_at(Task& task, At at, u32 mode);
// Regular, fifo, socket; devices need CAP_MKNOD. `made`: as it was at the commit.
Result<void> mknod_at(Task& task, At at, u32 mode, u64 rdev, inode::Attr* made = nullptr);
Result<void> symlink_at(Task& task, std::string_view target, At at);
// follow: AT_SYMLINK_FOLLOW; allow_empty: AT_EMPTY_PATH of `from` (then `from.dir` is the inode itself).
Result<void> link_at(Task& task, At from, At to, Follow follow, bool allow_empty);
Result<void> unlink_at(Task& task, At at);
Result<void> rmdir_at(Task& task, At at);
Result<void> rename_at(Task& task, At from, At to, unsigned flags); // RENAME_NOREPLACE, _EXCHANGE, (_WHITEOUT: EINVAL)
Result<void> chmod_at(Task& task, At at, Follow follow, bool allow_empty, u32 mode);
Result<void> chown_at(Task& task, At at, Follow follow, bool allow_empty, u32 uid, u32 gid); // ~0u: leave
// times: two, or null for now; UTIME_NOW and UTIME_OMIT as in utimensat(2).
Result<void> utimens_at(Task& task, At at, Follow follow, bool allow_empty, const timespec* times);
Result<void> truncate_at(Task& task, At at, u64 size, bool itself = false);
// Absolute path of a directory in its tree ("/" for the root), NUL included in the length returned. ERANGE, ENOENT.
Result<u64> dir_path(Task& task, Ino dir, char* buffer, u64 size);
Result<void> statfs_pool(Task& task, struct statfs* user_out);

// Extended attributes (xattr.cc): getxattr(2) and its family; size 0 asks for the size needed.
Result<u64> getxattr_at(Task& task, At at, Follow follow, bool allow_empty, std::string_view name, void* user_value, u64 size);
Result<u64> listxattr_at(Task& task, At at, Follow follow, bool allow_empty, char* user_list, u64 size);
Result<void> setxattr_at(Task& task, At at, Follow follow, bool allow_empty, std::string_view name, const void* user_value, u64 size, int flags);
Result<void> removexattr_at(Task& task, At at, Follow follow, bool allow_empty, std::string_view name);

// May `credentials` do this (bits R_OK, W_OK, X_OK) to it? By fsuid and fsgid.
bool may_access(const Credentials& credentials, const inode::Attr& attr, int mode);

// ---- Open files (opens.cc, files.cc, locks.cc) ---------------------------------------------------------------

// An open file description in V. Shared by all handles made from it by dup, fork, SCM_RIGHTS.
enum class Description : u32 {}; // index in V; valid while a handle refers to it

// Handles: this process's references, index -> Description, kept in V so that a dead process's references can be
// dropped. The preload library uses descriptor numbers as indices; the C library draws its own.
inline constexpr u32 kFirstPrivateHandle = 1u << 20; // indices from here never are descriptor numbers
// Private handles at the upper end are for calls that keep a file open for a moment: no child gets them, no new image keeps them.
inline constexpr u32 kPassingHandles = 64;
inline constexpr u32 kFirstPassingHandle = 2 * kFirstPrivateHandle - kPassingHandles;

struct OpenResult {
  Description description{};
  Ino ino{};
  u32 mode = 0;
};
// open(2): flags are O_*, O_CREAT, O_EXCL, O_TRUNC, O_TMPFILE, O_PATH, O_NOFOLLOW, O_DIRECTORY, O_APPEND, ... all of
// them. `handle`: the index that refers to it from now on (must be free). FIFOs, sockets and devices: ENXIO (sockets),
// otherwise as documented in docs/.
Result<OpenResult> open_at(Task& task, At at, int flags, u32 mode, u32 handle);
// What openat2(2) says of its argument before it looks at the path.
Result<void> check_open_how(const open_how& how);
// Drops a handle; the last one of a description closes it (flock released, orphan freed). POSIX record locks of this
// process on the inode are dropped too, as close(2) does.
Result<void> close_handle(Pool& pool, u32 handle);
// Moves what a handle refers to to one of the passing ones, and returns that: for who still uses the description while the number is used
// again. EBADF; ENFILE: none is free.
Result<u32> set_handle_aside(Pool& pool, u32 handle);
// dup: a second handle to the same description.
Result<void> add_handle(Pool& pool, u32 new_handle, Description description);

struct DescriptionInfo {
  Ino ino{};
  int flags = 0; // O_* status flags and access mode
  u32 mode = 0;  // of the inode at open: type
};
DescriptionInfo info(const Pool& pool, Description description);
Result<void> set_status_flags(Pool& pool, Description description, int flags); // F_SETFL

// read(2), pread(2) and so on; `offset` < 0: the description's own offset, which advances. EBADF if not open for it,
// EISDIR.
// rwf_flags: RWF_* of preadv2(2); hints but for RWF_APPEND and RWF_NOAPPEND, as nothing here waits for a device.
Result<u64> read_file(Task& task, Description description, i64 offset, const data::IoVec* vectors, u32 count, int rwf_flags = 0);
Result<u64> write_file(Task& task, Description description, i64 offset, const data::IoVec* vectors, u32 count, int rwf_flags = 0);
Result<u64> seek_file(Task& task, Description description, i64 offset, int whence);
Result<void> truncate_file(Task& task, Description description, u64 size);
Result<void> fallocate_file(Task& task, Description description, int mode, u64 offset, u64 bytes);
Result<void> sync_file(Task& task, Description description, bool data_only);
// getdents64: fills `user_buffer` with struct linux_dirent64 (or the old linux_dirent if `old_layout`).
Result<u64> read_dir(Task& task, Description description, void* user_buffer, u64 size, bool old_layout);
Result<u64> copy_range(Task& task, Description from, i64* from_offset, Description to, i64* to_offset, u64 bytes);

// BSD locks: operation as in flock(2).
Result<void> flock_file(Task& task, Description description, int operation);
// Record locks: command F_GETLK, F_SETLK, F_SETLKW (of the process) or F_OFD_GETLK, ... (of the description). The
// waiting forms return EINTR when `interrupted` (may be null) becomes true.
Result<void> record_lock(Task& task, Description description, int command, struct flock* lock);

// Mappings: pins the inode's blocks (foundations E) for as long as the handle exists; data::runs tells where.
Result<void> pin_mapping(Pool& pool, Description description, u32 handle);
// Gives the holes of a range that is mapped shared blocks of zeros (data::materialize).
Result<void> fill_mapping(Pool& pool, Ino ino, u64 offset, u64 bytes);
Result<void> unpin_mapping(Pool& pool, u32 handle);
bool is_mapped(const Pool& pool, Ino ino); // by anybody

// ---- Processes (process.cc) ------------------------------------------------------------------------------------

// The working directory keeps an inode alive like a handle does; `handle` is an index of this process.
Result<void> hold_dir(Pool& pool, Ino dir, u32 handle);
// For who is about to execute a file. ETXTBSY: it is open for writing, in whatever process. O(1) unless it is open.
Result<void> check_not_written(Pool& pool, Ino ino);

} // namespace pmemfile::vfs
