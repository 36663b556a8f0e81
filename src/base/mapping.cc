#include "base/mapping.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "base/syscall.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace pmemfile {
namespace {

bool is_aligned(long address) { return (static_cast<u64>(address) & (kHugePageBytes - 1)) == 0; }

// Room for a mapping at an aligned address: more than is needed, cut at both ends.
long reserve_aligned(u64 bytes) {
  u64 whole = align_up(bytes, kHugePageBytes) + kHugePageBytes;
  long room = raw_syscall(SYS_mmap, 0, static_cast<long>(whole), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_syscall_error(room)) return room;
  u64 start = static_cast<u64>(room), end = start + whole;
  u64 first = align_up(start, kHugePageBytes), last = align_up(first + bytes, 4096);
  if (first != start) raw_syscall(SYS_munmap, room, static_cast<long>(first - start));
  if (last != end) raw_syscall(SYS_munmap, static_cast<long>(last), static_cast<long>(end - last));
  return static_cast<long>(first);
}

// The first page of each huge one: what is wholly empty is not gathered. False: not a file of that kind, or no room.
bool begin_each(int fd, u64 bytes) {
  for (u64 at = 0; at + kHugePageBytes <= bytes; at += kHugePageBytes)
    if (raw_syscall(SYS_fallocate, fd, 0, static_cast<long>(at), 4096) != 0) return false;
  return true;
}

} // namespace

long map_aligned(int fd, u64 bytes, int protection, int flags, u64 hint) {
  long address = raw_syscall(SYS_mmap, static_cast<long>(hint), static_cast<long>(bytes), protection, flags, fd, 0);
  if (is_syscall_error(address) || bytes < kHugePageBytes || is_aligned(address)) return address;
  long room = reserve_aligned(bytes);
  if (is_syscall_error(room)) return address;
  long aligned = raw_syscall(SYS_mmap, room, static_cast<long>(bytes), protection, flags | MAP_FIXED, fd, 0);
  long useless = is_syscall_error(aligned) ? room : address;
  raw_syscall(SYS_munmap, useless, static_cast<long>(bytes));
  return is_syscall_error(aligned) ? address : aligned;
}

u64 below_library(u64 bytes, u64 distance) {
  u64 here = align_down(reinterpret_cast<u64>(&below_library), kHugePageBytes);
  u64 wanted = align_up(bytes, kHugePageBytes) + align_up(distance, kHugePageBytes);
  // A program that is not position-independent has the start of the address space for itself.
  constexpr u64 kLowest = u64{1} << 32;
  return bytes < kHugePageBytes || here < kLowest + wanted ? 0 : here - wanted;
}

namespace {
// The kernel puts multiples of a huge page where one could stand, and anything else right below what was mapped before.
constexpr u64 kNearSlack = 4096;
} // namespace

void* map_near(u64 bytes) {
  long room = raw_syscall(SYS_mmap, 0, static_cast<long>(bytes + kNearSlack), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_syscall_error(room)) return nullptr;
  raw_syscall(SYS_madvise, room, static_cast<long>(bytes + kNearSlack), MADV_DONTDUMP);
  raw_syscall(SYS_madvise, room, static_cast<long>(bytes + kNearSlack), MADV_NOHUGEPAGE);
  return reinterpret_cast<char*>(room) + kNearSlack;
}
void unmap_near(void* room, u64 bytes) {
  raw_syscall(SYS_munmap, as_arg(static_cast<char*>(room) - kNearSlack), static_cast<long>(bytes + kNearSlack));
}

void gather_in_huge_pages(int fd, u64 bytes) {
  struct statfs fs {};
  if (bytes < kHugePageBytes || raw_syscall(SYS_fstatfs, fd, as_arg(&fs)) != 0 || fs.f_type != TMPFS_MAGIC) return;
  if (!begin_each(fd, bytes)) return;
  long address = map_aligned(fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (is_syscall_error(address)) return;
  // In pieces: one that fails for a passing reason ends the rest of its call.
  constexpr u64 kPiece = 64 * kHugePageBytes;
  for (u64 at = 0; is_aligned(address) && at + kHugePageBytes <= bytes; at += kPiece) {
    u64 size = align_down(min_of(kPiece, bytes - at), kHugePageBytes);
    long result = raw_syscall(SYS_madvise, address + static_cast<long>(at), static_cast<long>(size), MADV_COLLAPSE);
    if (result == -EINVAL || result == -ENOMEM) break; // the kernel cannot, or has no more
  }
  raw_syscall(SYS_munmap, address, static_cast<long>(bytes));
}

} // namespace pmemfile
