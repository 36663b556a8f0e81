// Attributes: stat and its family, permissions, owners, times, statfs, extended attributes.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "preload/handlers.h"
#include "preload/names_of.h"
#include "preload/paths.h"

namespace pmemfile::preload {
namespace {

constexpr int kStatFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
constexpr int kChangeFlags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;

vfs::Follow follow_of(unsigned options) { return (options & kFollowLast) != 0 ? vfs::Follow::kYes : vfs::Follow::kNo; }

// stat without following first: one system call, as the program asked for, and the answer is right unless the
// last component turns out to be a symlink.
template <class KernelTry, class PoolStat>
long stat_any(Call& call, int dirfd, unsigned path_index, unsigned options, KernelTry&& try_kernel, PoolStat&& pool_stat) {
  long first = kPassOn;
  if ((options & kFollowLast) != 0) {
    Place place;
    long error = locate(call, dirfd, call.pointer<const char>(path_index), options | kLastIsChecked, 0, place);
    if (error != 0) return error;
    if (!place.ours) {
      long result = try_kernel();
      if (result != -ELOOP && (!place.known || was_right(call, dirfd, call.pointer<const char>(path_index), result))) return result;
      if (result != -ELOOP) first = result;
      options |= kNeverKnown;
    }
  }
  long result = at_path(call, dirfd, path_index, options, [&](vfs::Task& task, Place& place) { return pool_stat(task, place); });
  return result == kPassOn ? first : result;
}

long stat_path(Call& call, int dirfd, unsigned path_index, unsigned options, struct stat* out) {
  return stat_any(
      call, dirfd, path_index, options,
      [&]() -> long {
        auto* path = call.pointer<const char>(path_index);
        long result = raw_syscall(SYS_newfstatat, dirfd, as_arg(path), as_arg(out), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT |
                                                                                       ((options & kAllowEmpty) != 0 ? AT_EMPTY_PATH : 0));
        if (result != 0) return result == -EFAULT ? kPassOn : result;
        return S_ISLNK(out->st_mode) ? -ELOOP : 0;
      },
      [&](vfs::Task& task, Place& place) { return vfs::stat_at(task, place.at, follow_of(options), place.itself, out); });
}

} // namespace

long h_stat(Call& call) { return stat_path(call, AT_FDCWD, 0, kFollowLast, call.pointer<struct stat>(1)); }
long h_lstat(Call& call) { return stat_path(call, AT_FDCWD, 0, 0, call.pointer<struct stat>(1)); }
long h_newfstatat(Call& call) {
  int flags = call.fd(3);
  if ((flags & ~kStatFlags) != 0) return -EINVAL;
  unsigned options = ((flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : kFollowLast) | ((flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
  return stat_path(call, call.fd(0), 1, options, call.pointer<struct stat>(2));
}
long h_fstat(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  return to_long(vfs::stat_at(task, vfs::At{info.ino, {}}, vfs::Follow::kNo, true, call.pointer<struct stat>(1)));
}

long h_statx(Call& call) {
  int flags = call.fd(2);
  unsigned mask = static_cast<unsigned>(call.arg(3));
  auto* out = call.pointer<struct statx>(4);
  constexpr int kBoth = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
  if ((mask & STATX__RESERVED) != 0 || (flags & kBoth) == kBoth || (flags & ~kStatFlags) != 0) return -EINVAL;
  unsigned options = ((flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : kFollowLast) | ((flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
  return stat_any(
      call, call.fd(0), 1, options,
      [&]() -> long {
        long result = raw_syscall(SYS_statx, call.fd(0), as_arg(call.pointer<char>(1)), flags | AT_SYMLINK_NOFOLLOW, mask | STATX_TYPE, as_arg(out));
        if (result != 0) return result == -EFAULT ? kPassOn : result;
        return S_ISLNK(out->stx_mode) ? -ELOOP : 0;
      },
      [&](vfs::Task& task, Place& place) -> Result<void> {
        task.mount_id = kFirstMountId + place.mount;
        return vfs::statx_at(task, place.at, follow_of(options), place.itself, mask, out);
      });
}

namespace {
long access_path(Call& call, int dirfd, unsigned path_index, int mode, int flags) {
  unsigned options = ((flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : kFollowLast) | ((flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
  return at_path(call, dirfd, path_index, options, [&](vfs::Task& task, Place& place) -> Result<void> {
    if ((mode & ~7) != 0 || (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return Error(EINVAL);
    return vfs::access_at(task, place.at, follow_of(options), place.itself, mode, (flags & AT_EACCESS) != 0);
  });
}
long chmod_path(Call& call, int dirfd, unsigned path_index, u32 mode, int flags) {
  if ((flags & ~kChangeFlags) != 0) return -EINVAL;
  unsigned options = ((flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : kFollowLast) | ((flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
  return at_path(call, dirfd, path_index, options | kNeverKnown, [&](vfs::Task& task, Place& place) {
    return vfs::chmod_at(task, place.at, follow_of(options), place.itself, mode & 07777);
  });
}
long chown_path(Call& call, int dirfd, unsigned path_index, u32 uid, u32 gid, int flags) {
  if ((flags & ~kChangeFlags) != 0) return -EINVAL;
  unsigned options = ((flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : kFollowLast) | ((flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
  return at_path(call, dirfd, path_index, options | kNeverKnown, [&](vfs::Task& task, Place& place) {
    return vfs::chown_at(task, place.at, follow_of(options), place.itself, uid, gid);
  });
}
} // namespace

long h_access(Call& call) { return access_path(call, AT_FDCWD, 0, call.fd(1), 0); }
long h_faccessat(Call& call) { return access_path(call, call.fd(0), 1, call.fd(2), 0); }
long h_faccessat2(Call& call) { return access_path(call, call.fd(0), 1, call.fd(2), call.fd(3)); }
long h_chmod(Call& call) { return chmod_path(call, AT_FDCWD, 0, static_cast<u32>(call.arg(1)), 0); }
long h_fchmodat(Call& call) { return chmod_path(call, call.fd(0), 1, static_cast<u32>(call.arg(2)), 0); }
long h_fchmodat2(Call& call) { return chmod_path(call, call.fd(0), 1, static_cast<u32>(call.arg(2)), call.fd(3)); }
long h_chown(Call& call) { return chown_path(call, AT_FDCWD, 0, static_cast<u32>(call.arg(1)), static_cast<u32>(call.arg(2)), 0); }
long h_lchown(Call& call) {
  return chown_path(call, AT_FDCWD, 0, static_cast<u32>(call.arg(1)), static_cast<u32>(call.arg(2)), AT_SYMLINK_NOFOLLOW);
}
long h_fchownat(Call& call) {
  return chown_path(call, call.fd(0), 1, static_cast<u32>(call.arg(2)), static_cast<u32>(call.arg(3)), call.fd(4));
}
namespace {
// The verb on a descriptor's inode; O_PATH descriptors are no good for it.
template <class Body>
long by_descriptor(Call& call, Body&& body) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  if ((info.flags & O_PATH) != 0) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  return to_long(body(task, vfs::At{info.ino, {}}));
}
} // namespace
long h_fchmod(Call& call) {
  return by_descriptor(call, [&](vfs::Task& task, vfs::At at) {
    return vfs::chmod_at(task, at, vfs::Follow::kNo, true, static_cast<u32>(call.arg(1)) & 07777);
  });
}
long h_fchown(Call& call) {
  return by_descriptor(call, [&](vfs::Task& task, vfs::At at) {
    return vfs::chown_at(task, at, vfs::Follow::kNo, true, static_cast<u32>(call.arg(1)), static_cast<u32>(call.arg(2)));
  });
}

// ---- Times ------------------------------------------------------------------------------------------------------

namespace {

long set_times(Call& call, int dirfd, unsigned path_index, int flags, const timespec* times) {
  if ((flags & ~kChangeFlags) != 0) return -EINVAL;
  unsigned options = (flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : kFollowLast;
  if ((flags & AT_EMPTY_PATH) != 0) options |= kAllowEmpty;
  return at_path(call, dirfd, path_index, options | kNeverKnown, [&](vfs::Task& task, Place& place) {
    return vfs::utimens_at(task, place.at, follow_of(options), place.itself, times);
  });
}

// Microseconds of utimes(2) and its kin; null stays null.
long take_timevals(Call& call, unsigned index, timespec (&times)[2], const timespec*& result) {
  result = nullptr;
  if (call.arg(index) == 0) return 0;
  struct {
    i64 seconds, microseconds;
  } given[2];
  if (pmem::copy_guarded(given, call.pointer<void>(index), sizeof given) != 0) return -EFAULT;
  for (unsigned i = 0; i < 2; ++i) {
    if (given[i].microseconds < 0 || given[i].microseconds >= 1000000) return -EINVAL;
    times[i] = timespec{given[i].seconds, given[i].microseconds * 1000};
  }
  result = times;
  return 0;
}

} // namespace

long h_utimensat(Call& call) {
  timespec times[2];
  const timespec* given = nullptr;
  if (call.arg(2) != 0) {
    if (pmem::copy_guarded(times, call.pointer<void>(2), sizeof times) != 0) return -EFAULT;
    given = times;
  }
  int flags = call.fd(3);
  if (call.arg(1) != 0) return set_times(call, call.fd(0), 1, flags, given);
  // A null path means the descriptor itself.
  FdWord word = call.file(0);
  if (word == 0) return kPassOn;
  if (flags != 0) return -EINVAL;
  return by_descriptor(call, [&](vfs::Task& task, vfs::At at) { return vfs::utimens_at(task, at, vfs::Follow::kNo, true, given); });
}
long h_utimes(Call& call) {
  timespec times[2];
  const timespec* given;
  long error = take_timevals(call, 1, times, given);
  return error != 0 ? error : set_times(call, AT_FDCWD, 0, 0, given);
}
long h_futimesat(Call& call) {
  timespec times[2];
  const timespec* given;
  long error = take_timevals(call, 2, times, given);
  if (error != 0) return error;
  if (call.arg(1) != 0) return set_times(call, call.fd(0), 1, 0, given);
  if (call.file(0) == 0) return kPassOn;
  return by_descriptor(call, [&](vfs::Task& task, vfs::At at) { return vfs::utimens_at(task, at, vfs::Follow::kNo, true, given); });
}
long h_utime(Call& call) {
  timespec times[2];
  const timespec* given = nullptr;
  if (call.arg(1) != 0) {
    i64 seconds[2];
    if (pmem::copy_guarded(seconds, call.pointer<void>(1), sizeof seconds) != 0) return -EFAULT;
    for (unsigned i = 0; i < 2; ++i) times[i] = timespec{seconds[i], 0};
    given = times;
  }
  return set_times(call, AT_FDCWD, 0, 0, given);
}

// ---- File handles -----------------------------------------------------------------------------------------------

// The kernel's layout: what programs keep are these bytes, and the number of the inode with its generation finds it again.
namespace {
struct Handle {
  u32 bytes;
  i32 type;
  u64 ino, generation;
};
constexpr u32 kHandleHead = 8, kHandleBytes = 16, kMaxHandleBytes = 128; // MAX_HANDLE_SZ
constexpr i32 kHandleType = 0x504d; // "MP": no number of the kernel's
constexpr int kHandleFid = 0x200, kHandleUniqueMount = 1;

Result<void> give_handle(Call& call, vfs::Task& task, const Place& place, vfs::Follow follow) {
  inode::Attr attr = TRY(vfs::resolve(task, place.at, follow, place.itself));
  Handle handle{};
  if (pmem::copy_guarded(&handle, call.pointer<void>(2), kHandleHead) != 0) return Error(EFAULT);
  if (handle.bytes > kMaxHandleBytes) return Error(EINVAL);
  bool fits = handle.bytes >= kHandleBytes;
  handle = Handle{kHandleBytes, kHandleType, raw(attr.ino), attr.generation};
  u64 mount_id = kFirstMountId + place.mount;
  bool unique = (call.fd(4) & kHandleUniqueMount) != 0;
  if (pmem::copy_guarded(call.pointer<void>(3), &mount_id, unique ? sizeof(u64) : sizeof(i32)) != 0) return Error(EFAULT);
  if (pmem::copy_guarded(call.pointer<void>(2), &handle, fits ? sizeof handle : kHandleHead) != 0) return Error(EFAULT);
  return fits ? Result<void>() : Result<void>(Error(EOVERFLOW));
}
} // namespace

long h_name_to_handle_at(Call& call) {
  int flags = call.fd(4);
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | kHandleFid | kHandleUniqueMount)) != 0) return kPassOn; // EINVAL there, too
  unsigned options = ((flags & AT_SYMLINK_FOLLOW) != 0 ? kFollowLast : 0) | ((flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
  return at_path(call, call.fd(0), 1, options, [&](vfs::Task& task, Place& place) {
    return give_handle(call, task, place, follow_of(options));
  });
}

// ---- statfs -----------------------------------------------------------------------------------------------------

long h_statfs(Call& call) {
  return at_path(call, AT_FDCWD, 0, kFollowLast, [&](vfs::Task& task, Place& place) -> Result<void> {
    TRY(vfs::resolve(task, place.at, vfs::Follow::kYes, place.itself));
    return vfs::statfs_pool(task, call.pointer<struct statfs>(1));
  });
}
long h_fstatfs(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  return to_long(vfs::statfs_pool(task, call.pointer<struct statfs>(1)));
}

} // namespace pmemfile::preload
