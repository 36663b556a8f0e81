// Calls that are answered without a pool operation, and those that are refused.

#include <linux/fs.h>
#include <sys/ioctl.h>

#include <fcntl.h>

#include "preload/handlers.h"
#include "preload/paths.h"

namespace pmemfile::preload {

long h_ioctl(Call& call) {
  u64 word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  if ((info.flags & O_PATH) != 0) return -EBADF;
  switch (call.arg(1) & 0xffffffff) {
    case FIONREAD: {
      if ((info.mode & S_IFMT) != S_IFREG) return -ENOTTY;
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
      store_release(call.process.fds[call.arg(0) & 0xffffffff], set ? word | kFdCloexec : word & ~kFdCloexec);
      return 0;
    }
    case FIONBIO:
    case FIOASYNC:
      return 0; // without effect on files
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
      return -EOPNOTSUPP; // callers copy then
    default:
      return -ENOTTY;
  }
}

// Watching: tail -f and others fall back to looking again and again.
long h_inotify_add_watch(Call& call) {
  Place place;
  long error = locate(call, AT_FDCWD, call.pointer<const char>(1), kFollowLast, 0, place);
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
  long error = locate(call, dirfd, call.pointer<const char>(index), kFollowLast | kAllowEmpty, 0, place);
  if (error != 0) return kPassOn;
  return place.ours ? refuse(call, errno_value) : kPassOn;
}
} // namespace
long h_refuse_path0(Call& call) { return refuse_path(call, AT_FDCWD, 0, EINVAL); }
long h_refuse_path1(Call& call) { return refuse_path(call, AT_FDCWD, 1, EINVAL); }
long h_refuse_at(Call& call) { return refuse_path(call, call.fd(0), 1, EOPNOTSUPP); }
// A descriptor of ours where only the kernel's will do.
long h_refuse_fd(Call& call) { return is_file(call.file(0)) ? refuse(call, EINVAL) : -EBADF; }
long h_refuse_socket(Call& call) { return is_file(call.file(0)) ? -ENOTSOCK : -EBADF; }
long h_refuse_fd3(Call& call) { return is_file(call.file(3)) ? refuse(call, EINVAL) : -EBADF; }

} // namespace pmemfile::preload
