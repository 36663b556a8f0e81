#include "pmem/map.h"

#include <cpuid.h>
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

u64 major_of(u64 device) { return device >> 8 & 0xfff; }
u64 minor_of(u64 device) { return (device & 0xff) | (device >> 12 & ~u64{0xff}); }

// What sysfs says of a device, `kind` being "char" or "block": the bytes read, 0 if there is no such file.
long read_sysfs(const char* kind, u64 device, const char* name, char* text, long size) {
  FixedText<128> path;
  path << "/sys/dev/" << kind << "/" << major_of(device) << ":" << minor_of(device) << "/" << name;
  long fd = raw_syscall(SYS_open, as_arg(path.c_str()), 0 /* O_RDONLY */);
  if (is_error(fd)) return 0;
  long count = raw_syscall(SYS_read, fd, as_arg(text), size);
  raw_syscall(SYS_close, fd);
  return is_error(count) ? 0 : count;
}

u64 number_in_sysfs(u64 device, const char* name) {
  char digits[24];
  long count = read_sysfs("char", device, name, digits, sizeof digits);
  u64 number = 0;
  for (long i = 0; i < count && digits[i] >= '0' && digits[i] <= '9'; ++i)
    number = number * 10 + static_cast<u64>(digits[i] - '0');
  return number;
}

// A device-DAX node has no size of its own.
Result<u64> device_dax_bytes(const struct stat& status) {
  u64 bytes = number_in_sysfs(status.st_rdev, "size");
  if (bytes == 0) return Error(ENODEV);
  return bytes;
}

u64 mapping_page_bytes(const struct stat& status, const struct statfs& fs) {
  constexpr u64 kUsual = 4096, kHuge = 2 << 20;
  if (S_ISCHR(status.st_mode)) {
    u64 align = number_in_sysfs(status.st_rdev, "align");
    return align != 0 ? align : kHuge;
  }
  return static_cast<u32>(fs.f_type) == HUGETLBFS_MAGIC ? static_cast<u64>(fs.f_bsize) : kUsual;
}

Persistence level_without_sync(const struct statfs& fs, bool is_device) {
  if (is_device) return Persistence::kPowerFailSafe;
  if (fs.f_type == TMPFS_MAGIC || static_cast<u32>(fs.f_type) == HUGETLBFS_MAGIC || fs.f_type == RAMFS_MAGIC)
    return Persistence::kVolatile;
  return Persistence::kPageCache;
}

// Does the platform write its caches back by itself when the power fails? The region of the namespace knows; a device made of
// several (dm, md) has none, and is flushed.
bool flushes_itself(const struct stat& status) {
  constexpr char kWord[] = "cpu_cache";
  bool is_device = S_ISCHR(status.st_mode);
  const char* const of_device[] = {"../../persistence_domain", "../persistence_domain", "device/../persistence_domain"};
  const char* const of_file[] = {"device/../persistence_domain", "../device/../persistence_domain"}; // whole, partition
  char text[32] = {};
  auto try_all = [&](const char* kind, u64 device, const char* const* names, unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      if (long bytes = read_sysfs(kind, device, names[i], text, sizeof text); bytes > 0)
        return bytes >= static_cast<long>(sizeof kWord - 1) && __builtin_memcmp(text, kWord, sizeof kWord - 1) == 0;
    return false;
  };
  return is_device ? try_all("char", status.st_rdev, of_device, 3) : try_all("block", status.st_dev, of_file, 2);
}

WriteBack best_write_back() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return WriteBack::kClflush;
  if ((ebx & bit_CLWB) != 0) return WriteBack::kClwb;
  return (ebx & bit_CLFLUSHOPT) != 0 ? WriteBack::kClflushopt : WriteBack::kClflush;
}

Result<struct stat> stat_of(int fd) {
  struct stat status{};
  long result = raw_syscall(SYS_fstat, fd, as_arg(&status));
  if (is_error(result)) return Error(static_cast<int>(-result));
  return status;
}

Result<u64> bytes_of(const struct stat& status) {
  if (S_ISREG(status.st_mode)) return static_cast<u64>(status.st_size);
  if (S_ISCHR(status.st_mode)) return device_dax_bytes(status);
  return Error(S_ISDIR(status.st_mode) ? EISDIR : EINVAL);
}

} // namespace

Result<u64> file_bytes(int fd) { return bytes_of(TRY(stat_of(fd))); }

Result<u64> read_bytes(int fd, u64 offset, void* to, u64 size) {
  // A device-DAX node cannot be read.
  long count = raw_syscall(SYS_pread64, fd, as_arg(to), static_cast<long>(size), static_cast<long>(offset));
  if (!is_error(count)) return static_cast<u64>(count);
  if (!S_ISCHR(TRY(stat_of(fd)).st_mode)) return Error(static_cast<int>(-count));
  Mapped mapped = TRY(map(fd, 0, false));
  u64 left = size;
  if (offset <= mapped.medium.bytes && size <= mapped.medium.bytes - offset)
    left = copy_out(mapped.medium, to, PoolOff{offset}, size);
  unmap(mapped.medium);
  return size - left;
}

Result<Mapped> map(int fd, u64 bytes, bool writable) {
  Mapped mapped;
  struct stat status = TRY(stat_of(fd));
  mapped.file_bytes = TRY(bytes_of(status));
  if (bytes == 0) bytes = mapped.file_bytes;
  if (bytes == 0 || bytes > mapped.file_bytes) return Error(EINVAL);
  struct statfs fs{}; // zeros if the kernel does not tell
  raw_syscall(SYS_fstatfs, fd, as_arg(&fs));
  bool is_device = S_ISCHR(status.st_mode);
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  Medium& medium = mapped.medium;
  medium.page_bytes = mapping_page_bytes(status, fs);
  medium.mapped_bytes = align_up(bytes, medium.page_bytes);
  // MAP_SYNC is granted only by file systems on which flushing suffices; others answer EOPNOTSUPP.
  long address = -EOPNOTSUPP;
  Persistence without_sync = level_without_sync(fs, is_device);
  // A device of larger pages takes no place that is not a multiple of them.
  u64 hint = medium.page_bytes <= kHugePageBytes ? below_library(medium.mapped_bytes, kRoomBehind) : 0;
  if (writable && without_sync == Persistence::kPageCache)
    address = map_aligned(fd, medium.mapped_bytes, protection, MAP_SHARED_VALIDATE | MAP_SYNC, hint);
  if (!is_error(address)) {
    medium.level = Persistence::kPowerFailSafe;
  } else {
    address = map_aligned(fd, medium.mapped_bytes, protection, MAP_SHARED, hint);
    if (is_error(address)) return Error(static_cast<int>(-address));
    medium.level = without_sync;
  }
  medium.base = reinterpret_cast<u8*>(address);
  medium.bytes = bytes;
  medium.writable = writable;
  if (medium.level == Persistence::kPowerFailSafe && flushes_itself(status)) medium.level = Persistence::kPowerFailSafeEadr;
  medium.flushes = medium.level == Persistence::kPowerFailSafe;
  medium.write_back = best_write_back();
  // A pool may be larger than all memory: keep it out of core dumps.
  raw_syscall(SYS_madvise, address, static_cast<long>(medium.mapped_bytes), MADV_DONTDUMP);
  return mapped;
}

void unmap(Medium& medium) {
  if (medium.base != nullptr) raw_syscall(SYS_munmap, as_arg(medium.base), static_cast<long>(medium.mapped_bytes));
  medium.base = nullptr;
}

Result<void> make_private(const Medium& medium, int fd) {
  long result = raw_syscall(SYS_mmap, as_arg(medium.base), static_cast<long>(medium.bytes), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd, 0);
  if (is_error(result)) return Error(static_cast<int>(-result));
  return {};
}

void block_access(const Medium& medium) {
  raw_syscall(SYS_mprotect, as_arg(medium.base), static_cast<long>(medium.mapped_bytes), PROT_NONE);
}

Result<void> replace_by_zeros(const Medium& medium) {
  long result = raw_syscall(SYS_mmap, as_arg(medium.base), static_cast<long>(medium.mapped_bytes), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (is_error(result)) return Error(static_cast<int>(-result));
  return {};
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
