// When the medium fails under an operation: the process goes on as if it had died for the pool.
#include <fcntl.h>
#include <sys/mman.h>

#include "pmem/map.h"
#include "shm/segment_file.h"
#include "vfs/pool.h"

namespace pmemfile::vfs {

bool Pool::maps(u64 address) const {
  auto inside = [&](const void* base, u64 bytes) { return base != nullptr && address - reinterpret_cast<u64>(base) < bytes; };
  return inside(store_.medium.base, store_.medium.mapped_bytes) || inside(store_.segment.base, store_.segment.bytes);
}

// The order makes it a death: what threads of this process store into pool and V until the first step counts, what they store into
// V between the steps are releases of what they completed before, and after the second nothing counts. The others learn of it by
// the last.
bool Pool::cut_off() {
  pmem::block_access(store_.medium);
  if (!shm::make_private(store_.segment).ok() || !pmem::replace_by_zeros(store_.medium).ok()) return false;
  store_release(cut_off_, 1u);
  give_up_token();
  return true;
}

// The numbers stay in use, so that nothing else gets them: they lead to an empty file. On V's, all others look dead: threads that
// wait for one of them in the private copy go on.
void Pool::give_up_token() {
  long empty = raw_syscall(SYS_memfd_create, as_arg("pmemfile"), MFD_CLOEXEC);
  int from = is_syscall_error(empty) ? pool_fd_ : static_cast<int>(empty);
  for (int fd : {segment_fd_, token_fd_, pool_fd_})
    if (fd >= 0 && fd != from) raw_syscall(SYS_dup3, from, fd, O_CLOEXEC);
  if (!is_syscall_error(empty)) raw_syscall(SYS_close, empty);
}

bool Pool::mend_segment_page(u64 address) {
  u64 page = align_down(address, 4096), base = reinterpret_cast<u64>(store_.segment.base);
  if (address - base >= store_.segment.bytes) return false;
  return !is_syscall_error(raw_syscall(SYS_mmap, static_cast<long>(page), 4096, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

} // namespace pmemfile::vfs
