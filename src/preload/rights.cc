#include "preload/rights.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "preload/descriptors.h"
#include "preload/handlers.h"
#include "preload/names_of.h"
#include "vfs/transit.h"

namespace pmemfile::preload {
namespace {

constexpr char kMark[] = "pmemfile-descriptor-";

struct Label {
  u64 pool;
  shm::ProcessRef transit;
};

struct Address {
  sockaddr_un address = {};
  u32 bytes = 0;
};

void make_address(const Label& label, Address& out) {
  FixedText<sizeof out.address.sun_path - 1> name;
  name << kMark << label.pool << "-" << label.transit.index_plus_1 << "-" << label.transit.generation;
  out.address.sun_family = AF_UNIX;
  memcpy(out.address.sun_path + 1, name.c_str(), name.size());
  out.bytes = static_cast<u32>(__builtin_offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

u64 take_number(std::string_view& text) {
  u64 value = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    value = value * 10 + static_cast<u64>(text[0] - '0');
    text.remove_prefix(1);
  }
  if (!text.empty()) text.remove_prefix(1); // '-'
  return value;
}

// What a received descriptor carries; false if it is nothing of ours. `carrier`: its inode number.
bool read_label(int fd, Label& label, u64& carrier) {
  struct stat status {};
  if (raw_syscall(SYS_fstat, fd, as_arg(&status)) != 0 || !S_ISSOCK(status.st_mode)) return false;
  Address found;
  found.bytes = sizeof found.address;
  if (raw_syscall(SYS_getsockname, fd, as_arg(&found.address), as_arg(&found.bytes)) != 0) return false;
  constexpr u64 kHead = __builtin_offsetof(sockaddr_un, sun_path) + 1, kMarkBytes = sizeof kMark - 1;
  if (found.address.sun_family != AF_UNIX || found.bytes <= kHead + kMarkBytes || found.address.sun_path[0] != '\0' ||
      memcmp(found.address.sun_path + 1, kMark, kMarkBytes) != 0)
    return false;
  std::string_view text(found.address.sun_path + 1 + kMarkBytes, found.bytes - kHead - kMarkBytes);
  label.pool = take_number(text);
  label.transit.index_plus_1 = static_cast<u32>(take_number(text));
  label.transit.generation = static_cast<u32>(take_number(text));
  carrier = status.st_ino;
  return true;
}

// Sends descriptors into the queue of the carrier's pending connection.
long fill_queue(const Address& address, const int (&fds)[2]) {
  long to = raw_syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (to < 0) return to;
  long error = raw_syscall(SYS_connect, to, as_arg(&address.address), address.bytes);
  if (error == 0) {
    char byte = 0;
    iovec vector{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
    auto* header = reinterpret_cast<cmsghdr*>(control);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(control + CMSG_LEN(0), fds, sizeof fds);
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    long sent = raw_syscall(SYS_sendmsg, to, as_arg(&message), MSG_NOSIGNAL);
    error = sent < 0 ? sent : 0;
  }
  raw_syscall(SYS_close, to);
  return error;
}

// A carrier for the reference; its number or a negated errno. The reference lives in it from now on.
long make_carrier(vfs::Pool& pool, const vfs::Pool::ChildTicket& ticket) {
  Address address;
  make_address(Label{vfs::transit_label(pool), ticket.ref}, address);
  long fd = raw_syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  struct stat status {};
  long error = raw_syscall(SYS_fstat, fd, as_arg(&status));
  if (error == 0) error = raw_syscall(SYS_bind, fd, as_arg(&address.address), address.bytes);
  if (error == 0) error = raw_syscall(SYS_listen, fd, 0);
  // The pool's lock goes along: while a reference is under way, nobody makes a new V.
  const int fds[2] = {ticket.token_fd, pool.pool_fd()};
  if (error == 0) error = fill_queue(address, fds);
  if (error != 0) {
    raw_syscall(SYS_close, fd);
    return error;
  }
  vfs::set_carrier(pool, ticket.ref, status.st_ino);
  return fd;
}

// Makes a number that holds something of the kernel one of ours, for the description that its handle refers to already.
void become_file(Process& process, u32 fd, u32 mount, vfs::Description description, bool cloexec) {
  if (!process.is_child_view) forget_name(fd);
  set_fd_word(process, fd, file_word(mount, description, kFdKernelCloexec | (cloexec ? kFdCloexec : 0)));
}

void take_carrier(Call& call, int fd) {
  Label label;
  u64 carrier;
  if (fd < 0 || static_cast<u32>(fd) >= kMaxDescriptors || !read_label(fd, label, carrier)) return;
  for (u32 i = 0; i < g_mount_count; ++i) {
    vfs::Pool& pool = call.pool(i);
    if (vfs::transit_label(pool) != label.pool) continue;
    Result<vfs::Description> received = vfs::receive_transit(pool, label.transit, carrier, static_cast<u32>(fd));
    if (!received.ok()) return;
    bool cloexec = (raw_syscall(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC) != 0;
    if (!place_at(call.process, static_cast<u32>(fd)).ok()) {
      (void)vfs::close_handle(pool, static_cast<u32>(fd));
      return;
    }
    become_file(call.process, static_cast<u32>(fd), i, received.value(), cloexec);
    vfs::end_transit(pool, label.transit);
    return;
  }
}

// Steps through control data: `body(header, offset)` for each element of them that makes sense, until it returns an error.
template <class Read, class Body>
long for_each_control(u64 bytes, Read&& read, Body&& body) {
  cmsghdr header;
  for (u64 at = 0; at + sizeof header <= bytes;) {
    if (!read(&header, at, sizeof header)) return -EFAULT;
    if (header.cmsg_len < sizeof header || header.cmsg_len > bytes - at) return 0;
    if (header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_RIGHTS) {
      long error = body(at + CMSG_LEN(0), (header.cmsg_len - CMSG_LEN(0)) / sizeof(int));
      if (error != 0) return error;
    }
    at += align_up(header.cmsg_len, sizeof(u64));
  }
  return 0;
}

// Control data that the scratch room does not hold: as if they were too much for the kernel, if they carry something of ours.
long too_much_with_files(Call& call, const msghdr& message) {
  auto* control = static_cast<const char*>(message.msg_control);
  auto read = [&](void* to, u64 at, u64 size) { return pmem::copy_guarded(to, control + at, size) == 0; };
  long error = for_each_control(message.msg_controllen, read, [&](u64 at, u64 count) -> long {
    for (u64 i = 0; i < count; ++i) {
      int fd;
      if (!read(&fd, at + i * sizeof fd, sizeof fd)) return -EFAULT;
      if (fd_word(call.process, static_cast<u32>(fd)) != 0) return -ENOBUFS;
    }
    return 0;
  });
  return error == -ENOBUFS ? error : 0;
}

} // namespace

Carriers::~Carriers() {
  for (u32 i = 0; i < count_; ++i) {
    raw_syscall(SYS_close, all_[i].fd);
    unhide_descriptor(call_.process, all_[i].fd);
    vfs::end_transit(call_.pool(all_[i].mount), all_[i].transit); // lives on in the message, if that was sent
  }
}

long Carriers::add(FdWord word) {
  if (count_ == kMax) return -EINVAL;
  vfs::Pool& pool = call_.pool(mount_of(word));
  Result<vfs::Pool::ChildTicket> begun = vfs::begin_transit(pool, description_of(word));
  if (!begun.ok()) return begun.error() == ENFILE ? -ETOOMANYREFS : begun.error() == EOPNOTSUPP ? refuse(call_, EOPNOTSUPP) : -begun.error();
  const vfs::Pool::ChildTicket& ticket = begun.value();
  long fd = make_carrier(pool, ticket);
  if (fd < 0) {
    vfs::cancel_transit(pool, ticket);
    return fd;
  }
  vfs::transit_under_way(pool, ticket);
  int high = move_high(static_cast<int>(fd));
  hide_descriptor(call_.process, high);
  all_[count_++] = One{high, mount_of(word), ticket.ref};
  return high;
}

long pack_rights(Call& call, msghdr& message, Carriers& carriers) {
  char* copy = reinterpret_cast<char*>(call.block.scratch);
  u64 bytes = message.msg_controllen;
  if (message.msg_control == nullptr || bytes < CMSG_LEN(sizeof(int))) return 0;
  if (bytes > sizeof call.block.scratch) return too_much_with_files(call, message);
  if (pmem::copy_guarded(copy, message.msg_control, bytes) != 0) return 0;
  auto read = [&](void* to, u64 at, u64 size) {
    memcpy(to, copy + at, size);
    return true;
  };
  bool any = false;
  long error = for_each_control(bytes, read, [&](u64 at, u64 count) -> long {
    for (u64 i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, copy + at + i * sizeof fd, sizeof fd);
      FdWord word = fd_word(call.process, static_cast<u32>(fd));
      if (word == 0) continue;
      if (!is_file(word)) return -EBADF;
      long carrier = carriers.add(word);
      if (carrier < 0) return carrier;
      fd = static_cast<int>(carrier);
      memcpy(copy + at + i * sizeof fd, &fd, sizeof fd);
      any = true;
    }
    return 0;
  });
  if (error == 0 && any) message.msg_control = copy;
  return error;
}

void unpack_rights(Call& call, const msghdr& message) {
  auto* control = static_cast<const char*>(message.msg_control);
  if (control == nullptr) return;
  auto read = [&](void* to, u64 at, u64 size) { return pmem::copy_guarded(to, control + at, size) == 0; };
  (void)for_each_control(message.msg_controllen, read, [&](u64 at, u64 count) -> long {
    for (u64 i = 0; i < count; ++i) {
      int fd;
      if (!read(&fd, at + i * sizeof fd, sizeof fd)) return -EFAULT;
      take_carrier(call, fd);
    }
    return 0;
  });
}

// ---- From another process -----------------------------------------------------------------------------------------

namespace {

// The process that a pidfd stands for; 0 if it cannot be told.
i32 pid_of(int pidfd, char* buffer, u64 size) {
  FixedText<48> name;
  name << "/proc/self/fdinfo/" << pidfd;
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(name.c_str()), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  long got = raw_syscall(SYS_read, fd, as_arg(buffer), static_cast<long>(size - 1));
  raw_syscall(SYS_close, fd);
  buffer[max_of<long>(got, 0)] = '\0';
  for (char* line = buffer; *line != '\0'; ++line) {
    if (pmemfile_preload_match(line, "\nPid:\t", 6) != 1) continue;
    i32 pid = 0;
    for (line += 6; *line >= '0' && *line <= '9'; ++line) pid = pid * 10 + (*line - '0');
    return pid;
  }
  return 0;
}

} // namespace

// The kernel gives a copy of the other's placeholder, with all its checks; V tells what it stands for.
long h_pidfd_getfd(Call& call) {
  if (call.file(0) != 0) return is_file(call.file(0)) ? -EINVAL : -EBADF;
  empty_stash(call.process);
  long fd = call.kernel();
  if (fd < 0 || static_cast<u64>(fd) >= kMaxDescriptors) return fd;
  struct stat status {};
  if (raw_syscall(SYS_fstat, fd, as_arg(&status)) != 0 || !S_ISLNK(status.st_mode)) {
    take_carrier(call, static_cast<int>(fd)); // it may hold one that it could not open
    return fd;
  }
  i32 pid = pid_of(call.fd(0), reinterpret_cast<char*>(call.block.scratch), sizeof call.block.scratch);
  u32 number = static_cast<u32>(call.arg(1));
  bool of_pools = false;
  for (u32 i = 0; i < g_mount_count && pid > 0; ++i) {
    Result<vfs::Description> taken = vfs::take_from_process(call.pool(i), pid, number, static_cast<u32>(fd));
    if (taken.ok()) {
      become_file(call.process, static_cast<u32>(fd), i, taken.value(), true);
      return fd;
    }
    of_pools = of_pools || taken.error() == EBADF;
  }
  if (!of_pools) return fd;
  raw_syscall(SYS_close, fd); // a number that looks closed there
  return -EBADF;
}

} // namespace pmemfile::preload
