// mmap and its family: pieces of the pool file, side by side, where the file's blocks lie.
//
// Every piece of a pool's mappings is listed in the pool's handle, so that munmap of a part keeps the rest pinned and
// mprotect cannot give what the file was not opened for. The list is searched: programs have few mappings.
#include <fcntl.h>
#include <sys/mman.h>

#include "api/handle.h"
#include "vfs/walk.h"

using namespace pmemfile;
using namespace pmemfile::api;

namespace {

constexpr u64 kPage = 4096;
constexpr int kProtections = PROT_READ | PROT_WRITE | PROT_EXEC;

Result<u64> map_raw(u64 address, u64 size, int protection, int flags, int fd, u64 offset) {
  long at = raw_syscall(SYS_mmap, static_cast<long>(address), static_cast<long>(size), protection, flags, fd, static_cast<long>(offset));
  if (is_syscall_error(at)) return Error(static_cast<int>(-at));
  return static_cast<u64>(at);
}

struct Request {
  u64 address = 0, size = 0, offset = 0;
  int protection = 0, flags = 0;
  vfs::Description description{};
  bool shared() const { return (flags & MAP_TYPE) != MAP_PRIVATE; }
};

Result<u32> check(Call& call, const Request& request) {
  if (request.size == 0 || request.offset % kPage != 0) return Error(EINVAL);
  if (request.size > layout::kMaxFileBytes || request.offset > layout::kMaxFileBytes) return Error(EOVERFLOW);
  int type = request.flags & MAP_TYPE;
  if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE) return Error(EINVAL);
  vfs::DescriptionInfo info = vfs::info(*call.task.pool, request.description);
  if ((info.flags & O_PATH) != 0) return Error(EBADF);
  if (!vfs::is_regular(info.mode)) return Error(ENODEV);
  int access = info.flags & O_ACCMODE;
  if (access == O_WRONLY) return Error(EACCES);
  u32 limit = kProtections;
  if (request.shared() && access != O_RDWR) limit &= ~static_cast<u32>(PROT_WRITE);
  if ((static_cast<u32>(request.protection) & ~limit & kProtections) != 0) return Error(EACCES);
  return limit;
}

Result<u32> pin(Call& call, vfs::Description description) {
  for (u32 i = 0; i < kMaxMappings; ++i) {
    u32 handle = kFirstMappingHandle + call.pool->mapping_turn++ % kMaxMappings;
    Result<void> pinned = vfs::pin_mapping(*call.task.pool, description, handle);
    if (pinned.ok()) return handle;
    if (pinned.error() != EBUSY) return Error(pinned.error());
  }
  return Error(ENOMEM);
}

// A run of blocks at its address. On devdax, which has no private mappings, and hugetlbfs, whose mappings consist of huge pages, a
// private one is a copy.
Result<void> place_run(Call& call, const Request& request, const data::Run& run, u64 address, u64 bytes) {
  const pmem::Medium& medium = call.task.pool->store().medium;
  PoolOff from = journal::block_offset(run.block);
  int flags = MAP_FIXED | (request.shared() ? MAP_SHARED : MAP_PRIVATE) | (request.flags & MAP_POPULATE);
  auto mapped = map_raw(address, bytes, request.protection, flags, call.task.pool->pool_fd(), raw(from));
  if (mapped.ok()) return {};
  if (mapped.error() != EINVAL) return Error(mapped.error());
  if (request.shared()) return Error(medium.page_bytes == kPage ? EINVAL : ENODEV);
  TRY(map_raw(address, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (pmem::copy_out(medium, reinterpret_cast<void*>(address), from, bytes) != 0) return Error(EIO);
  long set = raw_syscall(SYS_mprotect, static_cast<long>(address), static_cast<long>(bytes), request.protection);
  if (is_syscall_error(set)) return Error(static_cast<int>(-set));
  return {};
}

// Puts the blocks of the file at their addresses, [at, at + bytes).
Result<void> place_blocks(Call& call, const Request& request, Ino ino, u64 at, u64 bytes) {
  journal::Store& store = call.task.pool->store();
  u64 first = request.offset / layout::kBlockBytes, count = bytes / layout::kBlockBytes;
  data::Run runs[16];
  for (u64 done = 0; done < count;) {
    u32 found = TRY(data::runs(store, ino, first + done, count - done, runs, 16));
    if (found == 0) return Error(kErrnoCorrupt);
    for (u32 i = 0; i < found && done < count; ++i) {
      u64 length = min_of(runs[i].count, count - done);
      if (length == 0 || runs[i].file_block != first + done) return Error(kErrnoCorrupt);
      u64 address = at + done * layout::kBlockBytes;
      if (raw(runs[i].block) == 0 || runs[i].unwritten) // only where nothing can be allocated: a pool that is only read
        TRY(map_raw(address, length * layout::kBlockBytes, request.protection, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      else
        TRY(place_run(call, request, runs[i], address, length * layout::kBlockBytes));
      done += length;
    }
  }
  return {};
}

bool add(pmemfilepool& pool, const Mapping& mapping) {
  if (mapping.start == mapping.end) return true;
  if (pool.mapping_count == kMaxMappings) return false;
  pool.mappings[pool.mapping_count++] = mapping;
  return true;
}

// The list is locked.
Result<void> remove_range(Call& call, u64 start, u64 end) {
  pmemfilepool& pool = *call.pool;
  for (u32 i = 0; i < pool.mapping_count;) {
    Mapping& piece = pool.mappings[i];
    if (piece.end <= start || piece.start >= end) {
      ++i;
      continue;
    }
    Mapping left = piece, right = piece;
    left.end = max_of(piece.start, start);
    right.start = min_of(piece.end, end);
    right.offset += right.start - piece.start;
    u32 handle = piece.handle;
    piece = pool.mappings[--pool.mapping_count]; // looked at next, in its place
    if (left.start < left.end) (void)add(pool, left);
    if (right.start < right.end && !add(pool, right)) return Error(ENOMEM);
    bool used = false;
    for (u32 other = 0; other < pool.mapping_count; ++other) used |= pool.mappings[other].handle == handle;
    if (!used) (void)vfs::unpin_mapping(*call.task.pool, handle);
  }
  return {};
}

Result<u64> map_file(Call& call, const Request& request) {
  u32 limit = TRY(check(call, request));
  vfs::DescriptionInfo info = vfs::info(*call.task.pool, request.description);
  journal::Store& store = call.task.pool->store();
  u64 size = align_up(request.size, kPage);
  u32 handle = TRY(pin(call, request.description));
  auto build = [&]() -> Result<u64> {
    u64 file_bytes = align_up(TRY(inode::read(store, info.ino)).size, kPage);
    u64 shown = file_bytes <= request.offset ? 0 : min_of(size, file_bytes - request.offset);
    if (shown != 0 && store.medium.writable) TRY(vfs::fill_mapping(*call.task.pool, info.ino, request.offset, shown));
    int where = request.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    u64 at = TRY(map_raw(request.address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | where, -1, 0));
    if (where != 0) TRY(remove_range(call, at, at + size));
    Result<void> placed = place_blocks(call, request, info.ino, at, shown);
    Mapping piece{at, at + shown, request.offset, static_cast<u32>(request.description), handle, limit, request.flags, request.protection};
    Mapping behind = piece;
    behind.start = at + shown;
    behind.end = at + size;
    behind.offset += shown;
    behind.limit = 0;
    if (placed.ok() && add(*call.pool, piece) && add(*call.pool, behind)) return at;
    raw_syscall(SYS_munmap, static_cast<long>(at), static_cast<long>(size));
    return Error(placed.ok() ? ENOMEM : placed.error());
  };
  Result<u64> at = build();
  if (!at.ok()) (void)vfs::unpin_mapping(*call.task.pool, handle);
  return at;
}

Mapping* find(pmemfilepool& pool, u64 address) {
  for (u32 i = 0; i < pool.mapping_count; ++i)
    if (pool.mappings[i].start <= address && address < pool.mappings[i].end) return &pool.mappings[i];
  return nullptr;
}

void* finish_map(const Result<u64>& at) {
  if (at.ok()) return reinterpret_cast<void*>(at.value());
  fail(at.error());
  return MAP_FAILED;
}

Result<void> unmap(Call& call, u64 start, u64 size) {
  if (start % kPage != 0 || size == 0) return Error(EINVAL);
  u64 end = start + align_up(size, kPage);
  long unmapped = raw_syscall(SYS_munmap, static_cast<long>(start), static_cast<long>(end - start));
  if (is_syscall_error(unmapped)) return Error(static_cast<int>(-unmapped));
  return remove_range(call, start, end);
}

} // namespace

PMEMFILE_API void* pmemfile_mmap(PMEMfilepool* pool, void* address, size_t size, int protection, int flags, PMEMfile* file, __off64_t offset) {
  PMEMFILE_CALL(pool, MAP_FAILED);
  if ((flags & MAP_ANONYMOUS) != 0) return finish_map(map_raw(reinterpret_cast<u64>(address), size, protection, flags, -1, 0));
  Result<vfs::Description> description = description_of(file);
  if (!description.ok()) return finish_map(Error(description.error()));
  if (offset < 0) return finish_map(Error(EINVAL));
  Locked locked(pool->mappings_lock);
  return finish_map(map_file(call, Request{reinterpret_cast<u64>(address), size, static_cast<u64>(offset), protection, flags, description.value()}));
}

PMEMFILE_API int pmemfile_munmap(PMEMfilepool* pool, void* address, size_t size) {
  PMEMFILE_CALL(pool, -1);
  Locked locked(pool->mappings_lock);
  return finish(unmap(call, reinterpret_cast<u64>(address), size));
}

namespace {

// Shrinks in place; grows a shared mapping by making it anew elsewhere, which shows the same bytes.
Result<u64> remap(Call& call, u64 address, u64 old_size, u64 new_size, int flags) {
  if ((flags & ~MREMAP_MAYMOVE) != 0 || address % kPage != 0 || new_size == 0) return Error(EINVAL);
  Mapping* piece = find(*call.pool, address);
  if (piece == nullptr) return Error(EFAULT);
  old_size = align_up(old_size, kPage);
  new_size = align_up(new_size, kPage);
  if (new_size < old_size) TRY(unmap(call, address + new_size, old_size - new_size));
  if (new_size <= old_size) return address;
  Request request{0, new_size, piece->offset + (address - piece->start), piece->protection, piece->flags & ~(MAP_FIXED | MAP_FIXED_NOREPLACE),
                  vfs::Description{piece->description}};
  if (!request.shared() || (flags & MREMAP_MAYMOVE) == 0) return Error(ENOMEM);
  u64 at = TRY(map_file(call, request));
  TRY(unmap(call, address, old_size));
  return at;
}

} // namespace

PMEMFILE_API void* pmemfile_mremap(PMEMfilepool* pool, void* address, size_t old_size, size_t new_size, int flags, void*) {
  PMEMFILE_CALL(pool, MAP_FAILED);
  Locked locked(pool->mappings_lock);
  return finish_map(remap(call, reinterpret_cast<u64>(address), old_size, new_size, flags));
}

PMEMFILE_API int pmemfile_msync(PMEMfilepool* pool, void* address, size_t size, int flags) {
  PMEMFILE_CALL(pool, -1);
  long result = raw_syscall(SYS_msync, as_arg(address), static_cast<long>(size), flags);
  if (!is_syscall_error(result)) return 0;
  fail(static_cast<int>(-result));
  return -1;
}

namespace {

Result<void> protect(Call& call, u64 start, u64 size, int protection) {
  if (start % kPage != 0) return Error(EINVAL);
  pmemfilepool& pool = *call.pool;
  u64 end = start + align_up(size, kPage);
  u32 count = pool.mapping_count;
  for (u32 i = 0; i < count; ++i) {
    Mapping& piece = pool.mappings[i];
    bool touched = piece.start < end && start < piece.end && piece.limit != 0;
    if (touched && (static_cast<u32>(protection) & ~piece.limit & kProtections) != 0) return Error(EACCES);
  }
  for (u32 i = 0; i < count; ++i) {
    Mapping& piece = pool.mappings[i];
    u64 from = max_of(piece.start, start), to = min_of(piece.end, end);
    if (from >= to || piece.limit == 0) continue; // behind the end of the file nothing is ever shown
    long result = raw_syscall(SYS_mprotect, static_cast<long>(from), static_cast<long>(to - from), protection);
    if (is_syscall_error(result)) return Error(static_cast<int>(-result));
    if (from == piece.start && to == piece.end) piece.protection = protection;
  }
  return {};
}

} // namespace

PMEMFILE_API int pmemfile_mprotect(PMEMfilepool* pool, void* address, size_t size, int protection) {
  PMEMFILE_CALL(pool, -1);
  Locked locked(pool->mappings_lock);
  return finish(protect(call, reinterpret_cast<u64>(address), size, protection));
}
