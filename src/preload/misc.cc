// Calls that are answered without a pool operation, and those that are refused.

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

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

// A name in a pool cannot be a socket that the kernel serves.
namespace {
bool names_pool(Call& call, unsigned address_index, unsigned size_index) {
  sockaddr_un address{};
  u64 size = call.arg(size_index) & 0xffffffff;
  if (size <= sizeof(sa_family_t) || size > sizeof address) return false;
  if (pmem::copy_guarded(&address, call.pointer<void>(address_index), size) != 0) return false;
  if (address.sun_family != AF_UNIX || address.sun_path[0] == '\0') return false;
  char path[sizeof address.sun_path + 1] = {};
  memcpy(path, address.sun_path, sizeof address.sun_path);
  Place place;
  return locate(call, AT_FDCWD, path, kFollowLast | kNeverKnown, 0, place) == 0 && place.ours;
}
} // namespace
long h_bind(Call& call) { return names_pool(call, 1, 2) ? refuse(call, EOPNOTSUPP) : kPassOn; }
long h_connect(Call& call) { return names_pool(call, 1, 2) ? refuse(call, ECONNREFUSED) : kPassOn; }

// Descriptors of ours travel in no message: the receiver would get a dead placeholder.
namespace {
long message_carries_file(Call& call, const msghdr& message) {
  if (message.msg_control == nullptr || message.msg_controllen < sizeof(cmsghdr)) return 0;
  u64 bytes = min_of<u64>(message.msg_controllen, sizeof call.block.scratch);
  if (pmem::copy_guarded(call.block.scratch, message.msg_control, bytes) != 0) return -EFAULT;
  for (u64 at = 0; at + sizeof(cmsghdr) <= bytes;) {
    auto* header = reinterpret_cast<cmsghdr*>(call.block.scratch + at);
    if (header->cmsg_len < sizeof(cmsghdr) || header->cmsg_len > bytes - at) return 0;
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
      for (u64 i = sizeof(cmsghdr); i + 4 <= header->cmsg_len; i += 4) {
        u32 fd;
        memcpy(&fd, call.block.scratch + at + i, 4);
        u64 word = fd_word(call.process, fd);
        if (word != 0) return is_file(word) ? refuse(call, EOPNOTSUPP) : -EBADF;
      }
    at += align_up(header->cmsg_len, sizeof(u64));
  }
  return 0;
}
} // namespace
long h_sendmsg(Call& call) {
  msghdr message{};
  if (pmem::copy_guarded(&message, call.pointer<void>(1), sizeof message) != 0) return kPassOn;
  long error = message_carries_file(call, message);
  return error != 0 ? error : kPassOn;
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
