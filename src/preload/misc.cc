// Calls that are answered without a pool operation, and those that are refused.

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "preload/attach.h"
#include "preload/descriptors.h"
#include "preload/handlers.h"
#include "preload/paths.h"

namespace pmemfile::preload {

namespace {

// Flags of inodes (chattr): there are none, so none can be asked for, and only none set. As on tmpfs, which has a few.
long ask_inode_flags(Call& call, u32 command) {
  struct fsxattr extended{};
  i32 flags = 0;
  bool is_extended = command == FS_IOC_FSGETXATTR;
  return pmem::copy_guarded(call.pointer<void>(2), is_extended ? static_cast<void*>(&extended) : &flags, is_extended ? sizeof extended : sizeof flags) != 0 ? -EFAULT : 0;
}

long set_inode_flags(Call& call, u32 mount, Ino ino, u32 command) {
  struct fsxattr extended{};
  i32 flags = 0;
  bool is_extended = command == FS_IOC_FSSETXATTR;
  if (pmem::copy_guarded(is_extended ? static_cast<void*>(&extended) : &flags, call.pointer<void>(2), is_extended ? sizeof extended : sizeof flags) != 0)
    return -EFAULT;
  vfs::Task task = make_task(call, mount);
  if (!task.pool->store().medium.writable) return -EROFS;
  Result<inode::Attr> attr = vfs::resolve(task, vfs::At{ino, {}}, vfs::Follow::kNo, true);
  if (!attr.ok()) return -attr.error();
  if (task.credentials->fsuid != attr.value().uid && (task.credentials->capabilities & vfs::kCapFowner) == 0) return -EPERM;
  return flags != 0 || extended.fsx_xflags != 0 || extended.fsx_extsize != 0 || extended.fsx_cowextsize != 0 || extended.fsx_projid != 0 ? -EOPNOTSUPP : 0;
}

} // namespace

long h_ioctl(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  if ((info.flags & O_PATH) != 0) return -EBADF;
  bool regular = (info.mode & S_IFMT) == S_IFREG;
  switch (call.arg(1) & 0xffffffff) {
    case FIONREAD: {
      if (!regular) return -ENOTTY;
      vfs::Task task = make_task(call, mount_of(word));
      Result<inode::Attr> attr = vfs::resolve(task, vfs::At{info.ino, {}}, vfs::Follow::kNo, true);
      if (!attr.ok()) return -attr.error();
      Result<u64> offset = vfs::seek_file(task, description_of(word), 0, SEEK_CUR);
      if (!offset.ok()) return -offset.error();
      i32 left = attr.value().size > offset.value() ? static_cast<i32>(attr.value().size - offset.value()) : 0;
      return pmem::copy_guarded(call.pointer<void>(2), &left, sizeof left) != 0 ? -EFAULT : 0;
    }
    case FIOCLEX:
    case FIONCLEX: {
      bool set = (call.arg(1) & 0xffffffff) == FIOCLEX;
      if (!change_cloexec(call.process, static_cast<u32>(call.arg(0)), set)) return -EBADF;
      return 0;
    }
    case FIONBIO:
    case FIOASYNC: {
      i32 on = 0;
      if (pmem::copy_guarded(&on, call.pointer<void>(2), sizeof on) != 0) return -EFAULT;
      if ((call.arg(1) & 0xffffffff) == FIOASYNC) return on != 0 && (info.flags & O_ASYNC) == 0 ? -ENOTTY : 0;
      int flags = on != 0 ? info.flags | O_NONBLOCK : info.flags & ~O_NONBLOCK;
      return to_long(vfs::set_status_flags(call.pool(mount_of(word)), description_of(word), flags));
    }
    case FIOQSIZE: {
      vfs::Task task = make_task(call, mount_of(word));
      struct stat now;
      Result<void> asked = vfs::stat_at(task, vfs::At{info.ino, {}}, vfs::Follow::kNo, true, &now);
      if (!asked.ok()) return -asked.error();
      return pmem::copy_guarded(call.pointer<void>(2), &now.st_size, sizeof now.st_size) != 0 ? -EFAULT : 0;
    }
    case FIGETBSZ: {
      i32 bytes = 4096;
      return pmem::copy_guarded(call.pointer<void>(2), &bytes, sizeof bytes) != 0 ? -EFAULT : 0;
    }
    case FS_IOC_GETFLAGS:
    case FS_IOC_FSGETXATTR:
      return ask_inode_flags(call, static_cast<u32>(call.arg(1)));
    case FS_IOC_SETFLAGS:
    case FS_IOC_FSSETXATTR:
      return set_inode_flags(call, mount_of(word), info.ino, static_cast<u32>(call.arg(1)));
    case FIBMAP:
      return !regular ? -ENOTTY : (make_task(call, mount_of(word)).credentials->capabilities & vfs::kCapSysRawio) != 0 ? -EINVAL : -EPERM;
    case FS_IOC_FIEMAP:
      return -EOPNOTSUPP;
    case FIFREEZE:
    case FITHAW:
      return (make_task(call, mount_of(word)).credentials->capabilities & vfs::kCapSysAdmin) != 0 ? -EOPNOTSUPP : -EPERM;
    case FICLONE: // callers copy then
      return !is_file(call.file(2)) && raw_syscall(SYS_fcntl, call.fd(2), F_GETFD) < 0 ? -EBADF : -EOPNOTSUPP;
    case FICLONERANGE:
    case FIDEDUPERANGE:
      return -EOPNOTSUPP;
    default:
      return -ENOTTY;
  }
}

// Watching: tail -f and others fall back to looking again and again.
long h_inotify_add_watch(Call& call) {
  Place place;
  long error = locate(call, AT_FDCWD, call.pointer<const char>(1), kFollowLast | kNeverKnown, 0, place);
  if (error != 0) return error;
  return place.ours ? refuse(call, ENOSPC) : kPassOn;
}

// Its requests would bypass us. Programs fall back to plain calls.
long h_io_uring_setup(Call& call) { return refuse(call, ENOSYS); }

// A path in a pool as argument of a call that only the kernel could serve; path in argument 0 resp. 1.
namespace {
long refuse_path(Call& call, int dirfd, unsigned index, int errno_value) {
  Place place;
  if (call.arg(index) == 0) return kPassOn;
  long error = locate(call, dirfd, call.pointer<const char>(index), kFollowLast | kAllowEmpty | kNeverKnown, 0, place);
  if (error != 0) return kPassOn;
  return place.ours ? refuse(call, errno_value) : kPassOn;
}
} // namespace
long h_refuse_path0(Call& call) { return refuse_path(call, AT_FDCWD, 0, EINVAL); }
long h_refuse_path1(Call& call) { return refuse_path(call, AT_FDCWD, 1, EINVAL); }
long h_refuse_at(Call& call) { return refuse_path(call, call.fd(0), 1, EOPNOTSUPP); }
// A descriptor of ours where only the kernel's will do.
long h_refuse_fd(Call& call) {
  FdWord word = call.file(0);
  return word == 0 ? kPassOn : is_file(word) ? refuse(call, EINVAL) : -EBADF;
}
bool g_sandboxed;

namespace {
long enter_sandbox(Call& call) {
  attach_all(call.process);
  long result = call.kernel();
  if (!is_syscall_error(result)) store_relaxed(g_sandboxed, true);
  return result;
}
} // namespace

long h_prctl(Call& call) { return call.arg(0) == PR_SET_SECCOMP ? enter_sandbox(call) : kPassOn; }
long h_seccomp(Call& call) {
  constexpr u64 kSetModeFilter = 1; // 0: strict
  return call.arg(0) <= kSetModeFilter ? enter_sandbox(call) : kPassOn;
}
long h_refuse_pipe(Call&) { return -EBADF; }
long h_ptrace(Call& call) {
  if (call.arg(0) == PTRACE_TRACEME) call.process.is_traced = true;
  return kPassOn;
}
long h_refuse_socket(Call& call) { return is_file(call.file(0)) ? -ENOTSOCK : -EBADF; }
long h_refuse_fd3(Call& call) { return is_file(call.file(3)) ? refuse(call, EINVAL) : -EBADF; }

} // namespace pmemfile::preload
