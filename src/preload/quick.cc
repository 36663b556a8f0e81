#include "preload/quick.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "preload/known.h"
#include "preload/report.h"

namespace pmemfile::preload {
namespace {

// A path argument that leads to a directory of the kernel for certain.
struct KernelPath {
  int dirfd;
  const char* path;
  u64 bytes, dir_bytes;
  Known dir; // of the text up to the last '/'
};

// A path below a mount point, or one that begins in a pool: nothing here can answer it, and it shall not pay for what follows.
bool begins_with_us(const Process& process, u64 dirfd, const char* path) {
  for (u32 i = 0; i < g_mount_count; ++i)
    if (pmemfile_preload_match(path, g_mounts[i].point.data(), g_mounts[i].point.size()) == 1) return true;
  if (static_cast<int>(dirfd) == AT_FDCWD ? !process.cwd.in_pool : fd_word(process, static_cast<u32>(dirfd)) == 0) return false;
  return pmemfile_preload_match(path, "/", 1) != 1;
}

bool take_path(const Process& process, u64 dirfd, u64 path, KernelPath& out) {
  if (path == 0 || begins_with_us(process, dirfd, reinterpret_cast<const char*>(path))) return false;
  out.dirfd = static_cast<int>(dirfd);
  out.path = reinterpret_cast<const char*>(path);
  long bytes = pmemfile_preload_strnlen(out.path, kPathBytes);
  if (bytes <= 0 || bytes == static_cast<long>(kPathBytes)) return false;
  out.bytes = static_cast<u64>(bytes);
  return true;
}

bool look_at(Process& process, u64 dirfd, u64 path, KernelPath& out) {
  return take_path(process, dirfd, path, out) && find_known(process, out.dirfd, out.path, out.bytes, out.dir_bytes, out.dir);
}

// ENOENT may mean that a directory has become a way into a pool since.
bool is_missing(Process& process, const KernelPath& path, long result) {
  if (result != -ENOENT) return false;
  char dir[256];
  if (!is_right(process, path.dirfd, path.path, path.dir_bytes, path.dir, result, path.dir_bytes < sizeof dir ? dir : nullptr)) return false;
  note_outcome(process, path.dir, true);
  return true;
}

// One call instead of two for a name that is expected not to be there, as in searches.
bool is_missing_as_expected(Process& process, const KernelPath& path) {
  if (!is_miss_expected(process, path.dir)) return false;
  bool missing = ask_whether_missing(path.dirfd, path.path, path.bytes) == -ENOENT;
  note_outcome(process, path.dir, missing);
  return missing;
}

bool done(intercept::Frame& frame, long result) {
  frame.set_result(result);
  return true;
}

bool quick_stat(intercept::Frame& frame, Process& process, u64 dirfd, u64 path_argument, u64 out, int flags) {
  KernelPath path;
  if (!look_at(process, dirfd, path_argument, path)) return false;
  if (is_missing_as_expected(process, path)) return done(frame, -ENOENT);
  long result = raw_syscall(SYS_newfstatat, path.dirfd, as_arg(path.path), static_cast<long>(out), flags | AT_SYMLINK_NOFOLLOW);
  if (result == 0) {
    note_outcome(process, path.dir, false);
    bool follows = (flags & AT_SYMLINK_NOFOLLOW) == 0;
    return !(follows && S_ISLNK(reinterpret_cast<const struct stat*>(out)->st_mode)) && done(frame, 0);
  }
  return is_missing(process, path, result) && done(frame, result);
}

bool quick_statx(intercept::Frame& frame, Process& process) {
  KernelPath path;
  int flags = static_cast<int>(frame.rdx);
  if (!look_at(process, frame.rdi, frame.rsi, path)) return false;
  if (is_missing_as_expected(process, path)) return done(frame, -ENOENT);
  long result = raw_syscall(SYS_statx, path.dirfd, as_arg(path.path), flags | AT_SYMLINK_NOFOLLOW,
                            static_cast<long>(frame.r10 | STATX_TYPE), static_cast<long>(frame.r8));
  if (result == 0) {
    note_outcome(process, path.dir, false);
    bool follows = (flags & AT_SYMLINK_NOFOLLOW) == 0;
    return !(follows && S_ISLNK(reinterpret_cast<const struct statx*>(frame.r8)->stx_mode)) && done(frame, 0);
  }
  return is_missing(process, path, result) && done(frame, result);
}

bool quick_readlink(intercept::Frame& frame, Process& process, u64 dirfd, u64 path_argument, u64 buffer, u64 size) {
  KernelPath path;
  if (!look_at(process, dirfd, path_argument, path)) return false;
  long result = raw_syscall(SYS_readlinkat, path.dirfd, as_arg(path.path), static_cast<long>(buffer), static_cast<long>(size));
  return (result >= 0 || result == -EINVAL || is_missing(process, path, result)) && done(frame, result);
}

// Follows the last component: that it is no symlink has to be known, or asked for, as well.
bool quick_access(intercept::Frame& frame, Process& process, long nr, u64 dirfd, u64 path_argument, u64 mode, u64 flags) {
  KernelPath path;
  if (!look_at(process, dirfd, path_argument, path)) return false;
  if (!is_known_leaf(process, path.dirfd, path.path, path.bytes)) {
    if (!path.dir.listed || !path.dir.plain) return false;
    long asked = ask_whether_missing(path.dirfd, path.path, path.bytes);
    if (asked == -ENOENT) return done(frame, asked);
    if (asked != -EISDIR && asked != -ENOTDIR) return false;
    learn_leaf(process, path.dirfd, known_stamp(process), path.path, path.bytes);
  }
  long result = raw_syscall(nr, path.dirfd, as_arg(path.path), static_cast<long>(mode), static_cast<long>(flags));
  return (result == 0 || is_missing(process, path, result)) && done(frame, result);
}

constexpr int kServedFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_ASYNC |
                             O_DIRECT | 0100000 /* O_LARGEFILE */ | O_NOFOLLOW | O_NOATIME | O_CLOEXEC;

// The kernel itself sees to it that there are no symlinks, in none of the directories either: its answer is certain, whatever is remembered.
bool quick_open(intercept::Frame& frame, Process& process, u64 dirfd, u64 path_argument, int flags, u64 mode) {
  KernelPath path;
  if ((flags & ~kServedFlags) != 0 || load_relaxed(process.stash_count) != 0 || g_log_fd >= 0) return false;
  if (!take_path(process, dirfd, path_argument, path) || !begins_in_kernel(process, path.dirfd, path.path) || !is_ordinary(process, path.dirfd, path.path, path.bytes)) return false;
  // Where a symlink was on the way a moment ago it would be in vain.
  if (find_known(process, path.dirfd, path.path, path.bytes, path.dir_bytes, path.dir) && !path.dir.plain) return false;
  open_how how{};
  how.flags = static_cast<u64>(flags) | 0100000;
  how.mode = (flags & O_CREAT) != 0 ? mode & 07777 : 0;
  how.resolve = RESOLVE_NO_SYMLINKS;
  long result = raw_syscall(SYS_openat2, path.dirfd, as_arg(path.path), as_arg(&how), sizeof how);
  switch (result) {
    case -ELOOP: case -EACCES: case -EPERM: case -EINVAL: case -ENOSYS:
      return false;
    default:
      return done(frame, result);
  }
}

} // namespace

bool answer_quickly(intercept::Frame& f, Process& p) {
  if (PMEMFILE_UNLIKELY(load_relaxed(g_sandboxed))) return false;
  constexpr u64 kCwd = static_cast<u64>(AT_FDCWD);
  switch (f.rax) {
    case SYS_stat:
      return quick_stat(f, p, kCwd, f.rdi, f.rsi, 0);
    case SYS_lstat:
      return quick_stat(f, p, kCwd, f.rdi, f.rsi, AT_SYMLINK_NOFOLLOW);
    case SYS_newfstatat:
      return quick_stat(f, p, f.rdi, f.rsi, f.rdx, static_cast<int>(f.r10));
    case SYS_statx:
      return quick_statx(f, p);
    case SYS_readlink:
      return quick_readlink(f, p, kCwd, f.rdi, f.rsi, f.rdx);
    case SYS_readlinkat:
      return quick_readlink(f, p, f.rdi, f.rsi, f.rdx, f.r10);
    case SYS_access:
      return quick_access(f, p, SYS_faccessat, kCwd, f.rdi, f.rsi, 0);
    case SYS_faccessat:
      return quick_access(f, p, SYS_faccessat, f.rdi, f.rsi, f.rdx, 0);
    case SYS_faccessat2:
      return quick_access(f, p, SYS_faccessat2, f.rdi, f.rsi, f.rdx, f.r10);
    case SYS_open:
      return quick_open(f, p, kCwd, f.rdi, static_cast<int>(f.rsi), f.rdx);
    case SYS_openat:
      return quick_open(f, p, f.rdi, f.rsi, static_cast<int>(f.rdx), f.r10);
    default:
      return false;
  }
}

} // namespace pmemfile::preload
