// Sockets: AF_UNIX addresses that are names in pools, and messages that carry descriptors of pools.
//
// The kernel knows only stand-ins (stand_ins.h). Addresses are exchanged on the way in and on the way out; everything else
// about sockets is the kernel's.

#include <sys/socket.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "preload/descriptors.h"
#include "preload/handlers.h"
#include "preload/paths.h"
#include "preload/rights.h"
#include "preload/stand_ins.h"

namespace pmemfile::preload {
namespace {

constexpr u64 kHead = __builtin_offsetof(sockaddr_un, sun_path);

long not_a_socket(FdWord word) { return is_file(word) ? -ENOTSOCK : -EBADF; }

// An address of the program that names a file, with room for the NUL that it need not have.
struct FileAddress {
  char path[sizeof(sockaddr_un::sun_path) + 1];
};

// False: it is no AF_UNIX name, or none that can be read; the kernel's business.
bool take_address(const void* user, u64 size, FileAddress& out) {
  sockaddr_un address{};
  size &= 0xffffffff;
  if (user == nullptr || size <= kHead || size > sizeof address || pmem::copy_guarded(&address, user, size) != 0) return false;
  if (address.sun_family != AF_UNIX || address.sun_path[0] == '\0') return false;
  memcpy(out.path, address.sun_path, sizeof address.sun_path);
  out.path[sizeof address.sun_path] = '\0';
  return true;
}

// What to put in place of a name.
struct Target {
  enum { kAsItStands, kElsewhere, kInPool } where = kAsItStands;
  const char* path = nullptr; // kElsewhere: a path of the kernel to which it leads through a pool
};

// Runs `body(Task&, Place&)` if the name leads into a pool.
template <class Body>
long at_name(Call& call, const FileAddress& name, unsigned options, Target& target, Body&& body) {
  const char* path = name.path;
  for (unsigned round = 0; round < 40; ++round) {
    Place place;
    long error = locate(call, AT_FDCWD, path, options | kNeverKnown, 0, place);
    if (error != 0) return error;
    if (!place.ours) {
      target.where = round == 0 ? Target::kAsItStands : Target::kElsewhere;
      target.path = path;
      return 0;
    }
    vfs::Task task = make_task(call, place.mount);
    Result<void> done = body(task, place);
    if (done.error() != vfs::kEscaped) {
      target.where = Target::kInPool;
      return to_long(done);
    }
    memcpy(call.block.rooms[0].path, call.block.escape, kPathBytes);
    path = call.block.rooms[0].path;
  }
  return -ELOOP;
}

// A peer's address as the kernel shall see it.
class PeerAddress {
 public:
  // 0: as it stands; 1: get() and bytes() instead; or a negated errno.
  long set(Call& call, const void* user, u64 size) {
    FileAddress name;
    if (!take_address(user, size, name)) return 0;
    Target target;
    long error = at_name(call, name, kFollowLast, target, [&](vfs::Task& task, Place& place) -> Result<void> {
      inode::Attr attr = TRY(vfs::resolve(task, place.at, vfs::Follow::kYes, place.itself));
      if (!vfs::may_access(*task.credentials, attr, W_OK)) return Error(EACCES);
      if (!S_ISSOCK(attr.mode)) return Error(ECONNREFUSED);
      return find_stand_in(*task.pool, Object{raw(attr.ino), attr.generation}, stand_in_);
    });
    if (error != 0 || target.where == Target::kAsItStands) return error;
    in_pool_ = target.where == Target::kInPool;
    return in_pool_ ? 1 : set_elsewhere(target.path);
  }
  const void* get() const { return in_pool_ ? stand_in_.get() : &elsewhere_; }
  u32 bytes() const { return in_pool_ ? stand_in_.bytes() : elsewhere_bytes_; }
  // The inode is there, and nobody has bound it, if the kernel does not find its stand-in.
  long result(long of_kernel) const { return in_pool_ && of_kernel == -ENOENT ? -ECONNREFUSED : of_kernel; }

 private:
  long set_elsewhere(const char* path) {
    u64 bytes = strlen(path);
    if (bytes >= sizeof elsewhere_.sun_path) return -ENAMETOOLONG; // leads to a path that no address has room for
    elsewhere_.sun_family = AF_UNIX;
    memcpy(elsewhere_.sun_path, path, bytes + 1);
    elsewhere_bytes_ = static_cast<u32>(kHead + bytes + 1);
    return 1;
  }
  StandInAddress stand_in_;
  sockaddr_un elsewhere_ = {};
  u32 elsewhere_bytes_ = 0;
  bool in_pool_ = false;
};

// An address that the kernel gives out: into our room, and from there to the program.
struct ReturnedAddress {
  union {
    sockaddr_storage room;
    sockaddr_un name;
  };
  u32 bytes = sizeof(sockaddr_storage);
  ReturnedAddress() : room{} {}

  // As the kernel does it: what fits, and the whole length. 0 or -EFAULT, -EINVAL.
  long give(Call& call, void* user, i32 user_bytes, u32* whole) {
    if (user_bytes < 0) return -EINVAL;
    char text[sizeof(sockaddr_un::sun_path) + 1];
    u64 known = bound_as(call.process, name, bytes, text);
    if (known != 0) {
      memset(name.sun_path, 0, sizeof name.sun_path + 1); // the room is larger
      memcpy(name.sun_path, text, known);
      bytes = static_cast<u32>(kHead + known + 1);
    }
    *whole = bytes;
    u64 given = min_of<u64>(min_of<u64>(bytes, static_cast<u64>(user_bytes)), sizeof room);
    return given != 0 && pmem::copy_guarded(user, &room, given) != 0 ? -EFAULT : 0;
  }
  // The same where the length stands in the program's memory.
  long give(Call& call, void* user, void* user_length) {
    i32 length;
    if (pmem::copy_guarded(&length, user_length, sizeof length) != 0) return -EFAULT;
    u32 whole = 0;
    long error = give(call, user, length, &whole);
    if (error != 0) return error;
    return pmem::copy_guarded(user_length, &whole, sizeof whole) != 0 ? -EFAULT : 0;
  }
};
static_assert(sizeof(sockaddr_storage) > sizeof(sockaddr_un));

} // namespace

// ---- Names --------------------------------------------------------------------------------------------------------

namespace {

long bind_in_pool(Call& call, vfs::Task& task, const Place& place, const FileAddress& name, inode::Attr& made) {
  int fd = call.fd(0);
  struct stat socket {};
  raw_syscall(SYS_fstat, fd, as_arg(&socket));
  if (place.itself) return -EADDRINUSE;
  Result<void> node = vfs::mknod_at(task, place.at, S_IFSOCK | (socket.st_mode & 0777), 0, &made);
  if (!node.ok()) return node.error() == EEXIST ? -EADDRINUSE : -node.error();
  Result<void> bound = bind_stand_in(*task.pool, Object{raw(made.ino), made.generation}, fd, std::string_view(name.path, strlen(name.path)));
  if (bound.ok()) return 0;
  // The name goes again, if it is still ours.
  Result<inode::Attr> now = vfs::resolve(task, place.at, vfs::Follow::kNo);
  if (now.ok() && now.value().ino == made.ino && now.value().generation == made.generation) {
    if (vfs::unlink_at(task, place.at).ok() && task.gone.mode != 0) remove_stand_in(*task.pool, task.gone);
  }
  return -bound.error();
}

} // namespace

long h_bind(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  FileAddress name;
  if (!take_address(call.pointer<void>(1), call.arg(2), name)) return kPassOn;
  int domain = 0;
  u32 bytes = sizeof domain;
  long error = raw_syscall(SYS_getsockopt, call.fd(0), SOL_SOCKET, SO_DOMAIN, as_arg(&domain), as_arg(&bytes));
  if (error != 0 || domain != AF_UNIX) return kPassOn; // the kernel says what is wrong with it
  Target target;
  inode::Attr made;
  error = at_name(call, name, 0, target, [&](vfs::Task& task, Place& place) -> Result<void> {
    long result = bind_in_pool(call, task, place, name, made);
    return result == 0 ? Result<void>() : Result<void>(Error(static_cast<int>(-result)));
  });
  if (error != 0 || target.where == Target::kInPool) return error;
  if (target.where == Target::kAsItStands) return kPassOn;
  u64 path_bytes = strlen(target.path);
  sockaddr_un elsewhere{};
  if (path_bytes >= sizeof elsewhere.sun_path) return -ENAMETOOLONG;
  elsewhere.sun_family = AF_UNIX;
  memcpy(elsewhere.sun_path, target.path, path_bytes + 1);
  return raw_syscall(SYS_bind, call.fd(0), as_arg(&elsewhere), static_cast<long>(kHead + path_bytes + 1));
}

long h_connect(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  PeerAddress peer;
  long found = peer.set(call, call.pointer<void>(1), call.arg(2));
  if (found == 0) return kPassOn;
  int type = 0;
  u32 bytes = sizeof type;
  long error = raw_syscall(SYS_getsockopt, call.fd(0), SOL_SOCKET, SO_DOMAIN, as_arg(&type), as_arg(&bytes));
  if (error != 0 || type != AF_UNIX) return kPassOn; // not a socket of this kind: the kernel says so first
  if (found < 0) return found;
  return peer.result(wait_in_kernel(SYS_connect, call.fd(0), as_arg(peer.get()), peer.bytes(), 0, 0, 0));
}

long h_accept(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  empty_stash(call.process);
  if (call.arg(1) == 0) return kPassOn;
  ReturnedAddress address;
  long fd = wait_in_kernel(call.nr, call.fd(0), as_arg(&address.room), as_arg(&address.bytes), static_cast<long>(call.arg(3)), 0, 0);
  if (fd < 0) return fd;
  long error = address.give(call, call.pointer<void>(1), call.pointer<void>(2));
  if (error != 0) raw_syscall(SYS_close, fd);
  return error != 0 ? error : fd;
}

// getsockname, getpeername.
long h_socket_name(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  ReturnedAddress address;
  long result = raw_syscall(call.nr, call.fd(0), as_arg(&address.room), as_arg(&address.bytes));
  return result != 0 ? result : address.give(call, call.pointer<void>(1), call.pointer<void>(2));
}

// ---- Messages -----------------------------------------------------------------------------------------------------

long h_sendto(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  PeerAddress peer;
  long found = peer.set(call, call.pointer<void>(4), call.arg(5));
  if (found == 0) return kPassOn;
  if (found < 0) return found;
  return peer.result(wait_in_kernel(SYS_sendto, call.fd(0), static_cast<long>(call.arg(1)), static_cast<long>(call.arg(2)),
                                           static_cast<long>(call.arg(3)), as_arg(peer.get()), peer.bytes()));
}

long h_recvfrom(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  if (call.arg(4) == 0) return kPassOn;
  ReturnedAddress address;
  long got = wait_in_kernel(SYS_recvfrom, call.fd(0), static_cast<long>(call.arg(1)), static_cast<long>(call.arg(2)),
                                   static_cast<long>(call.arg(3)), as_arg(&address.room), as_arg(&address.bytes));
  if (got < 0) return got;
  long error = address.give(call, call.pointer<void>(4), call.pointer<void>(5));
  return error != 0 ? error : got;
}

namespace {

// One message: kPassOn if there is nothing of ours in it.
long send_message(Call& call, const msghdr* user, int flags) {
  msghdr message{};
  if (pmem::copy_guarded(&message, user, sizeof message) != 0) return kPassOn;
  const void* control = message.msg_control;
  Carriers carriers(call);
  long error = pack_rights(call, message, carriers);
  if (error != 0) return error;
  PeerAddress peer;
  long found = message.msg_name != nullptr ? peer.set(call, message.msg_name, message.msg_namelen) : 0;
  if (found < 0) return found;
  if (found == 0 && message.msg_control == control) return kPassOn;
  if (found > 0) {
    message.msg_name = const_cast<void*>(peer.get());
    message.msg_namelen = peer.bytes();
  }
  long sent = wait_in_kernel(SYS_sendmsg, call.fd(0), as_arg(&message), flags, 0, 0, 0);
  return found > 0 ? peer.result(sent) : sent;
}

} // namespace

long h_sendmsg(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  return send_message(call, call.pointer<msghdr>(1), call.fd(2));
}

namespace {
bool is_plain(const msghdr& message) { return message.msg_name == nullptr && (message.msg_control == nullptr || message.msg_controllen == 0); }
} // namespace

// Message by message, if one of them may have something of ours.
long h_sendmmsg(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  auto* messages = call.pointer<mmsghdr>(1);
  u64 count = min_of<u64>(call.arg(2) & 0xffffffff, 1024); // UIO_MAXIOV
  bool plain = true;
  for (u64 i = 0; i < count && plain; ++i) {
    msghdr message{};
    if (pmem::copy_guarded(&message, &messages[i].msg_hdr, sizeof message) != 0) return kPassOn;
    plain = is_plain(message);
  }
  if (plain) return kPassOn;
  for (u64 i = 0; i < count; ++i) {
    long sent = send_message(call, &messages[i].msg_hdr, call.fd(3));
    if (sent == kPassOn) sent = wait_in_kernel(SYS_sendmsg, call.fd(0), as_arg(&messages[i].msg_hdr), call.fd(3), 0, 0, 0);
    if (sent < 0) return i != 0 ? static_cast<long>(i) : sent;
    u32 bytes = static_cast<u32>(sent);
    if (pmem::copy_guarded(&messages[i].msg_len, &bytes, sizeof bytes) != 0) return i != 0 ? static_cast<long>(i) : -EFAULT;
  }
  return static_cast<long>(count);
}

long h_recvmsg(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  empty_stash(call.process);
  auto* user = call.pointer<msghdr>(1);
  msghdr message{};
  if (pmem::copy_guarded(&message, user, sizeof message) != 0 || is_plain(message)) return kPassOn;
  ReturnedAddress address;
  void* user_name = message.msg_name;
  i32 name_bytes = static_cast<i32>(message.msg_namelen);
  if (user_name != nullptr) {
    if (name_bytes < 0) return -EINVAL;
    message.msg_name = &address.room;
    message.msg_namelen = address.bytes;
  }
  long got = wait_in_kernel(SYS_recvmsg, call.fd(0), as_arg(&message), call.fd(2), 0, 0, 0);
  if (got < 0) return got;
  unpack_rights(call, message);
  if (user_name != nullptr) {
    address.bytes = message.msg_namelen;
    long error = address.give(call, user_name, name_bytes, &message.msg_namelen);
    if (error != 0) return error;
    if (pmem::copy_guarded(&user->msg_namelen, &message.msg_namelen, sizeof message.msg_namelen) != 0) return -EFAULT;
  }
  if (pmem::copy_guarded(&user->msg_controllen, &message.msg_controllen, sizeof message.msg_controllen) != 0 ||
      pmem::copy_guarded(&user->msg_flags, &message.msg_flags, sizeof message.msg_flags) != 0)
    return -EFAULT;
  return got;
}

// What the kernel put into the program's memory is exchanged there. A name that was cut off stays what it is.
long h_recvmmsg(Call& call) {
  if (call.file(0) != 0) return not_a_socket(call.file(0));
  empty_stash(call.process);
  auto* messages = call.pointer<mmsghdr>(1);
  u64 count = min_of<u64>(call.arg(2) & 0xffffffff, 1024);
  u32 room[1024 / 32] = {}; // names that can be exchanged have all of the room that they may need
  bool plain = true;
  for (u64 i = 0; i < count; ++i) {
    msghdr message{};
    if (pmem::copy_guarded(&message, &messages[i].msg_hdr, sizeof message) != 0) return kPassOn;
    if (message.msg_name != nullptr && message.msg_namelen >= sizeof(sockaddr_un)) room[i / 32] |= 1u << (i % 32);
    plain = plain && is_plain(message);
  }
  if (plain) return kPassOn;
  long got = wait_in_kernel(SYS_recvmmsg, call.fd(0), as_arg(messages), static_cast<long>(count), static_cast<long>(call.arg(3)),
                                   static_cast<long>(call.arg(4)), 0);
  for (long i = 0; i < got; ++i) {
    msghdr message{};
    if (pmem::copy_guarded(&message, &messages[i].msg_hdr, sizeof message) != 0) return -EFAULT;
    unpack_rights(call, message);
    if ((room[i / 32] >> (i % 32) & 1) == 0 || message.msg_namelen == 0) continue;
    ReturnedAddress address;
    address.bytes = message.msg_namelen;
    if (address.bytes > sizeof address.room || pmem::copy_guarded(&address.room, message.msg_name, address.bytes) != 0) continue;
    u32 whole = 0;
    long error = address.give(call, message.msg_name, sizeof(sockaddr_un), &whole);
    if (error != 0 || pmem::copy_guarded(&messages[i].msg_hdr.msg_namelen, &whole, sizeof whole) != 0) return -EFAULT;
  }
  return got;
}

} // namespace pmemfile::preload
