#include "pmem/map.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/mapping.h"
#include "base/syscall.h"
#include "base/text.h"

#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif

namespace pmemfile::pmem {
namespace {

// Between this library and the pool in the address space: for the shared segment and for libraries.
constexpr u64 kRoomBehind = 96 * 1024 * 1024;

bool is_error(long result) { return is_syscall_error(result); }

// A device-DAX node has no size of its own; sysfs knows it.
Result<u64> device_dax_bytes(const struct stat& status) {
  FixedText<96> path;
  path << "/sys/dev/char/" << static_cast<u64>(status.st_rdev >> 8 & 0xfff) << ":"
       << static_cast<u64>((status.st_rdev & 0xff) | (status.st_rdev >> 12 & ~u64{0xff})) << "/size";
  long fd = raw_syscall(SYS_open, as_arg(path.c_str()), 0 /* O_RDONLY */);
  if (is_error(fd)) return Error(static_cast<int>(-fd));
  char digits[24];
  long count = raw_syscall(SYS_read, fd, as_arg(digits), sizeof digits);
  raw_syscall(SYS_close, fd);
  u64 bytes = 0;
  for (long i = 0; i < count && digits[i] >= '0' && digits[i] <= '9'; ++i)
    bytes = bytes * 10 + static_cast<u64>(digits[i] - '0');
  if (bytes == 0) return Error(ENODEV);
  return bytes;
}

Persistence level_without_sync(int fd, bool is_device) {
  if (is_device) return Persistence::kPowerFailSafe;
  struct statfs fs{};
  if (is_error(raw_syscall(SYS_fstatfs, fd, as_arg(&fs)))) return Persistence::kPageCache;
  if (fs.f_type == TMPFS_MAGIC || static_cast<u32>(fs.f_type) == HUGETLBFS_MAGIC || fs.f_type == RAMFS_MAGIC)
    return Persistence::kVolatile;
  return Persistence::kPageCache;
}

} // namespace

Result<u64> file_bytes(int fd) {
  struct stat status{};
  long result = raw_syscall(SYS_fstat, fd, as_arg(&status));
  if (is_error(result)) return Error(static_cast<int>(-result));
  if (S_ISREG(status.st_mode)) return static_cast<u64>(status.st_size);
  if (S_ISCHR(status.st_mode)) return device_dax_bytes(status);
  return Error(S_ISDIR(status.st_mode) ? EISDIR : EINVAL);
}

Result<Mapped> map(int fd, u64 bytes, bool writable) {
  Mapped mapped;
  mapped.file_bytes = TRY(file_bytes(fd));
  if (bytes == 0) bytes = mapped.file_bytes;
  if (bytes == 0 || bytes > mapped.file_bytes) return Error(EINVAL);
  struct stat status{};
  raw_syscall(SYS_fstat, fd, as_arg(&status));
  bool is_device = S_ISCHR(status.st_mode);
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  Medium& medium = mapped.medium;
  // MAP_SYNC is granted only by file systems on which flushing suffices; others answer EOPNOTSUPP.
  long address = -EOPNOTSUPP;
  Persistence without_sync = level_without_sync(fd, is_device);
  u64 hint = below_library(bytes, kRoomBehind);
  if (writable && without_sync == Persistence::kPageCache)
    address = map_aligned(fd, bytes, protection, MAP_SHARED_VALIDATE | MAP_SYNC, hint);
  if (!is_error(address)) {
    medium.level = Persistence::kPowerFailSafe;
  } else {
    address = map_aligned(fd, bytes, protection, MAP_SHARED, hint);
    if (is_error(address)) return Error(static_cast<int>(-address));
    medium.level = without_sync;
  }
  medium.base = reinterpret_cast<u8*>(address);
  medium.bytes = bytes;
  medium.writable = writable;
  medium.flushes = medium.level == Persistence::kPowerFailSafe;
  // A pool may be larger than all memory: keep it out of core dumps.
  raw_syscall(SYS_madvise, address, static_cast<long>(bytes), MADV_DONTDUMP);
  return mapped;
}

void unmap(Medium& medium) {
  if (medium.base != nullptr) raw_syscall(SYS_munmap, as_arg(medium.base), static_cast<long>(medium.bytes));
  medium.base = nullptr;
}

Result<void> sync(const Medium& medium, PoolOff from, u64 size) {
  if (medium.level != Persistence::kPageCache) return {};
  u64 start = align_down(raw(from), 4096);
  long result = raw_syscall(SYS_msync, as_arg(medium.base + start), static_cast<long>(raw(from) + size - start), MS_SYNC);
  if (is_error(result)) return Error(static_cast<int>(-result));
  return {};
}

void force_flushing(Medium& medium) { medium.flushes = true; }

} // namespace pmemfile::pmem
