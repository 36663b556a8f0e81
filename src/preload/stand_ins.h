// What stands for FIFOs and sockets of pools in the kernel.
//
// A directory beside V (vfs::Pool::put_names_dir) holds, for inodes of the pool that are in use:
//   f<secret>  a FIFO: processes that open the same inode meet there
//   s<secret>  a bound socket: who connects to the inode connects to it
//   a<id>      a symlink whose text is the address as the program gave it to bind(2)
//   g<id>      a bound socket whose inode has lost its last name
// Secret and id are keyed hashes of inode and generation. The id stands in the kernel's own address of the socket
// (kBoundPrefix), which anybody can read; the secret is known only to who may read the pool, and the directory cannot be listed
// by others: so the pool's permissions decide who gets there, not those of /dev/shm.
// An entry goes with the inode's last name, the directory with V. Rules: hook-safe, any thread.
#pragma once

#include <sys/un.h>

#include "preload/state.h"

namespace pmemfile::preload {

inline constexpr char kBoundPrefix[] = "pmemfile-name-"; // last component of the address that a bound socket has in the kernel

// Which inode: it may be removed, and its number used again, at any time.
struct Object {
  u64 ino, generation;
};

// open(2) of a FIFO; the caller has decided that it may be opened.
Result<u64> open_fifo_of(const vfs::Pool& pool, Object fifo, int flags);

// An address for the kernel. A directory with a long path is named by a descriptor.
class StandInAddress {
 public:
  ~StandInAddress();
  Result<void> set(const vfs::Pool& pool, char kind, u64 number);
  const sockaddr_un* get() const { return &address_; }
  u32 bytes() const { return bytes_; }
  const char* path() const { return address_.sun_path; }

 private:
  sockaddr_un address_ = {};
  u32 bytes_ = 0;
  int dir_fd_ = -1;
};

// Binds the socket: `address` is how the program calls it.
Result<void> bind_stand_in(const vfs::Pool& pool, Object object, int socket, std::string_view address);
// Where connect(2) finds it.
Result<void> find_stand_in(const vfs::Pool& pool, Object object, StandInAddress& address);
// The inode's last name is gone.
void remove_stand_in(const vfs::Pool& pool, const vfs::Task::Gone& gone);

// If an address of the kernel is that of a stand-in: how the program that bound it called it. 0: it is not.
u64 bound_as(Process& process, const sockaddr_un& address, u64 bytes, char (&text)[sizeof(sockaddr_un::sun_path) + 1]);

} // namespace pmemfile::preload
