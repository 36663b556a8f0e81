#include "preload/maps.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "preload/handlers.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif

namespace pmemfile::preload {

u32 g_mapping_count;
u64 g_mapping_changes;

namespace {

constexpr u64 kPage = 4096;
constexpr u64 kUserEnd = (u64{1} << 47) - kPage;
// Holes of a mapping up to this size are filled at once: system calls may then be given any address of it.
constexpr u64 kFillAtOnceBytes = 8 << 20;
constexpr int kProtSem = 8; // PROT_SEM: without effect
constexpr u64 kFillStepBytes = 64 << 10;

struct Mapping {
  u64 start, bytes;
  u64 file_offset;
  u64 ino;
  vfs::Description description; // only to pin with
  u32 handle; // the pin; several pieces of one mapping share it
  u32 mount;
  i32 prot;
  bool shared, may_write;
};
constexpr u32 kMaxMappings = 65536;
Mapping* g_mappings; // ascending
u32 g_lock;
u32 g_next_handle;

class MapLock {
 public:
  MapLock() {
    while (exchange(g_lock, 1u) != 0) raw_syscall(SYS_sched_yield);
  }
  ~MapLock() { store_release(g_lock, 0u); }
  MapLock(const MapLock&) = delete;
  MapLock& operator=(const MapLock&) = delete;
};

bool make_table() {
  if (g_mappings != nullptr) return true;
  long room = raw_syscall(SYS_mmap, 0, kMaxMappings * sizeof(Mapping), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_syscall_error(room)) return false;
  g_mappings = reinterpret_cast<Mapping*>(room);
  return true;
}

// First mapping that ends behind `address`.
u32 find(u64 address) {
  u32 low = 0, high = g_mapping_count;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if (g_mappings[middle].start + g_mappings[middle].bytes <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void insert_at(u32 index, const Mapping& mapping) {
  fetch_add(g_mapping_changes, u64{1});
  for (u32 i = g_mapping_count; i > index; --i) g_mappings[i] = g_mappings[i - 1];
  g_mappings[index] = mapping;
  ++g_mapping_count;
}

bool handle_in_use(u32 handle) {
  for (u32 i = 0; i < g_mapping_count; ++i)
    if (g_mappings[i].handle == handle) return true;
  return false;
}

void erase_at(u32 index) {
  Mapping gone = g_mappings[index];
  --g_mapping_count;
  for (u32 i = index; i < g_mapping_count; ++i) g_mappings[i] = g_mappings[i + 1];
  if (!handle_in_use(gone.handle)) (void)vfs::unpin_mapping(*current_process().pools[gone.mount], gone.handle);
}

// Splits so that no mapping crosses `address`. False if the table is full.
bool split_at(u64 address) {
  u32 index = find(address);
  if (index == g_mapping_count || g_mappings[index].start >= address) return true;
  if (g_mapping_count == kMaxMappings) return false;
  Mapping second = g_mappings[index];
  u64 first_bytes = address - second.start;
  g_mappings[index].bytes = first_bytes;
  second.start += first_bytes;
  second.bytes -= first_bytes;
  second.file_offset += first_bytes;
  insert_at(index + 1, second);
  return true;
}

bool has_any(u64 start, u64 bytes) {
  u32 index = find(start);
  return index != g_mapping_count && g_mappings[index].start < start + bytes;
}
// The table must not become full between a call of the kernel and what it says of it.
bool has_room() { return g_mapping_count + 4 < kMaxMappings; }

// Forgets what the table says of a range that has been replaced or unmapped. Not before: as long as pages of a file can be reached, its blocks
// have to be pinned.
bool forget_range(u64 start, u64 bytes) {
  if (!split_at(start) || !split_at(start + bytes)) return false;
  for (u32 index = find(start); index < g_mapping_count && g_mappings[index].start < start + bytes;) erase_at(index);
  return true;
}

Result<u32> new_handle() {
  for (u32 tries = 0; tries < kMaxMapHandles; ++tries) {
    u32 handle = kFirstMapHandle + g_next_handle++ % kMaxMapHandles;
    if (!handle_in_use(handle)) return handle;
  }
  return Error(ENOMEM);
}

// ---- Giving pages their blocks ----------------------------------------------------------------------------------

// A private copy, where the pool file cannot be mapped: executable pages from a file system mounted noexec, private ones from a
// medium of huge pages.
Result<void> copy_pages(journal::Store& store, const Mapping& mapping, u64 address, u64 bytes) {
  long made = raw_syscall(SYS_mmap, static_cast<long>(address), static_cast<long>(bytes), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (is_syscall_error(made)) return Error(static_cast<int>(-made));
  data::IoVec vector{reinterpret_cast<void*>(address), bytes};
  TRY(data::read(store, Ino{mapping.ino}, mapping.file_offset + (address - mapping.start), &vector, 1));
  long set = raw_syscall(SYS_mprotect, static_cast<long>(address), static_cast<long>(bytes), mapping.prot);
  if (set != 0) return Error(static_cast<int>(-set));
  return {};
}

Result<void> map_run(vfs::Pool& pool, const Mapping& mapping, const data::Run& run, u64 first_block) {
  u64 address = mapping.start + (run.file_block - first_block) * kPage;
  u64 bytes = run.count * kPage;
  if (raw(run.block) == 0 || run.unwritten) {
    if (mapping.shared) return {}; // stays without access until it is touched
    long set = raw_syscall(SYS_mprotect, static_cast<long>(address), static_cast<long>(bytes), mapping.prot);
    return set == 0 ? Result<void>() : Error(static_cast<int>(-set));
  }
  if (!pool.store().data_blocks(run.block, run.count)) return Error(kErrnoCorrupt);
  long mapped = raw_syscall(SYS_mmap, static_cast<long>(address), static_cast<long>(bytes), mapping.prot,
                            (mapping.shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, pool.pool_fd(),
                            static_cast<long>(raw(run.block) * kPage));
  // Pieces of devdax and hugetlbfs are huge pages: a block alone cannot be mapped. And devdax has no private mappings at all.
  if (mapped == -EINVAL && mapping.shared && pool.store().medium.page_bytes > kPage) return Error(ENODEV);
  bool private_refused = mapped == -EINVAL && !mapping.shared;
  if (private_refused || (mapped == -EPERM && (mapping.prot & PROT_EXEC) != 0)) return copy_pages(pool.store(), mapping, address, bytes);
  if (is_syscall_error(mapped)) return Error(static_cast<int>(-mapped));
  return {};
}

// Maps the blocks that [offset, offset + bytes) of the file has; `fill`: gives holes of shared mappings blocks first.
Result<void> map_blocks(vfs::Pool& pool, const Mapping& mapping, u64 address, u64 bytes, bool fill) {
  journal::Store& store = pool.store();
  u64 offset = mapping.file_offset + (address - mapping.start);
  u64 size = TRY(inode::read(store, Ino{mapping.ino})).size;
  u64 end = min_of(offset + bytes, align_up(size, kPage));
  if (offset >= end) return {};
  if (fill && mapping.shared && store.medium.writable) TRY(vfs::fill_mapping(pool, Ino{mapping.ino}, offset, end - offset));
  u64 first_block = mapping.file_offset / kPage;
  data::Run runs[16];
  for (u64 block = offset / kPage; block < end / kPage;) {
    u32 count = TRY(data::runs(store, Ino{mapping.ino}, block, end / kPage - block, runs, 16));
    if (count == 0) break;
    for (u32 i = 0; i < count; ++i) {
      if (runs[i].count == 0 || runs[i].file_block != block || runs[i].count > end / kPage - block) return Error(kErrnoCorrupt);
      TRY(map_run(pool, mapping, runs[i], first_block));
      block += runs[i].count;
    }
  }
  return {};
}

long check_request(const vfs::DescriptionInfo& info, u64 bytes, int prot, int flags, u64 offset) {
  constexpr int kType = 0x0f;
  int type = flags & kType;
  if (bytes == 0 || (offset & (kPage - 1)) != 0) return -EINVAL;
  constexpr u64 kMaxBytes = ~u64{0} >> 1;
  if (offset > kMaxBytes || bytes > kMaxBytes - offset) return -EOVERFLOW;
  if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE) return -EINVAL;
  // The others are those that MAP_SHARED ignores if it does not know them; MAP_SYNC is not offered.
  constexpr int kLegacy = kType | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE |
                          MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | 0x80 | 0x3f << 26;
  if (type == MAP_SHARED_VALIDATE && (flags & ~(kLegacy | MAP_FIXED_NOREPLACE)) != 0) return -EOPNOTSUPP;
  if ((info.flags & O_PATH) != 0) return -EBADF;
  int access = info.flags & O_ACCMODE;
  if (access != O_RDONLY && access != O_RDWR) return -EACCES;
  if (type != MAP_PRIVATE && (prot & PROT_WRITE) != 0 && access != O_RDWR) return -EACCES;
  if ((info.mode & 0170000) != 0100000) return -ENODEV;
  return 0;
}

long map_file(Call& call, FdWord word, u64 hint, u64 bytes, int prot, int flags, u64 offset) {
  vfs::Pool& pool = call.pool(mount_of(word));
  vfs::DescriptionInfo info = vfs::info(pool, description_of(word));
  long bad = check_request(info, bytes, prot, flags, offset);
  if (bad != 0) return bad;
  bytes = align_up(bytes, kPage);
  MapLock locked;
  if (!make_table() || !has_room()) return -ENOMEM;
  Result<u32> handle = new_handle();
  if (!handle.ok()) return -handle.error();
  Result<void> pinned = vfs::pin_mapping(pool, description_of(word), handle.value());
  if (!pinned.ok()) return -pinned.error();
  long start = raw_syscall(SYS_mmap, static_cast<long>(hint), static_cast<long>(bytes), PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT)), -1, 0);
  if (is_syscall_error(start)) {
    (void)vfs::unpin_mapping(pool, handle.value());
    return start;
  }
  forget_range(static_cast<u64>(start), bytes); // what MAP_FIXED replaced
  bool shared = (flags & 0x0f) != MAP_PRIVATE;
  Mapping mapping{static_cast<u64>(start), bytes, offset, raw(info.ino), description_of(word), handle.value(), mount_of(word), prot,
                  shared, !shared || (info.flags & O_ACCMODE) == O_RDWR};
  insert_at(find(mapping.start), mapping);
  Result<void> mapped = map_blocks(pool, mapping, mapping.start, bytes, bytes <= kFillAtOnceBytes || (flags & MAP_POPULATE) != 0);
  if (!mapped.ok()) {
    raw_syscall(SYS_munmap, start, static_cast<long>(bytes));
    forget_range(mapping.start, bytes);
    return mapped.error() == ESTALE ? -ENODEV : -mapped.error();
  }
  return start;
}

} // namespace

void reset_map_lock() { store_release(g_lock, 0u); }

namespace {

void detach_mapping(const Mapping& mapping) {
  long start = static_cast<long>(mapping.start), bytes = static_cast<long>(mapping.bytes);
  if (mapping.shared) {
    raw_syscall(SYS_mprotect, start, bytes, PROT_NONE);
    return;
  }
  raw_syscall(SYS_mprotect, start, bytes, mapping.prot | PROT_WRITE);
  raw_syscall(SYS_madvise, start, bytes, MADV_POPULATE_WRITE); // every page is copied; those that cannot be had stay as they are
  raw_syscall(SYS_mprotect, start, bytes, mapping.prot);
}

} // namespace

void detach_mappings(u32 mount) {
  // The interrupted thread itself may have the lock: then nobody else changes the table for long.
  bool locked = false;
  for (unsigned tries = 0; tries < 100 && !locked; ++tries) {
    locked = exchange(g_lock, 1u) == 0;
    if (!locked) raw_syscall(SYS_sched_yield);
  }
  for (u32 i = 0; i < g_mapping_count; ++i)
    if (g_mappings[i].mount == mount) detach_mapping(g_mappings[i]);
  if (locked) store_release(g_lock, 0u);
}

namespace {
bool is_readable(u64 address) {
  u8 byte;
  return pmem::copy_guarded(&byte, reinterpret_cast<void*>(address), 1) == 0;
}
} // namespace

Fill fill_mapping(u64 address) {
  if (load_relaxed(g_mapping_count) == 0) return Fill::kNotOurs;
  MapLock locked;
  u32 index = find(address);
  if (index == g_mapping_count || g_mappings[index].start > address) return Fill::kNotOurs;
  const Mapping& mapping = g_mappings[index];
  vfs::Pool& pool = *current_process().pools[mapping.mount];
  if (pool.is_cut_off()) return Fill::kFailed;
  // No access is what the program wants; and what it sees of a private mapping may be its own, and would be lost.
  if (mapping.prot == PROT_NONE || (!mapping.shared && is_readable(align_down(address, kPage)))) return Fill::kNotOurs;
  Result<inode::Attr> attr = inode::read(pool.store(), Ino{mapping.ino});
  if (!attr.ok()) return Fill::kFailed;
  u64 page = align_down(address, kPage);
  if (mapping.file_offset + (page - mapping.start) >= attr.value().size) return Fill::kBeyondEnd;
  u64 bytes = min_of(mapping.shared ? kFillStepBytes : kPage, mapping.start + mapping.bytes - page);
  return map_blocks(pool, mapping, page, bytes, true).ok() ? Fill::kFilled : Fill::kFailed;
}

bool fill_range(u64 address, u64 bytes) {
  if (load_relaxed(g_mapping_count) == 0 || address + bytes < address) return false;
  bool any = false;
  for (u64 page = align_down(address, kPage); page < address + bytes; page += kPage) {
    if (is_readable(page)) continue;
    if (fill_mapping(page) != Fill::kFilled) break;
    any = true;
  }
  return any;
}

namespace {
// A call of the kernel that, if it succeeds, replaces or takes away what is mapped there.
long replace_range(Call& call, u64 start, u64 bytes) {
  bytes = align_up(bytes, kPage);
  if (load_relaxed(g_mapping_count) == 0) return kPassOn;
  MapLock locked;
  if (!has_any(start, bytes)) return kPassOn;
  if (!has_room()) return -ENOMEM;
  long result = call.kernel();
  if (!is_syscall_error(result)) forget_range(start, bytes);
  return result;
}
} // namespace

long h_mmap(Call& call) {
  FdWord word = call.file(4);
  int flags = call.fd(3);
  if (word == 0 || (flags & MAP_ANONYMOUS) != 0) {
    bool replaces = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED;
    return replaces ? replace_range(call, call.arg(0), call.arg(1)) : kPassOn;
  }
  if (!is_file(word)) return -EBADF;
  return map_file(call, word, call.arg(0), call.arg(1), call.fd(2), flags, call.arg(5));
}

long h_munmap(Call& call) { return replace_range(call, call.arg(0), call.arg(1)); }

// MADV_REMOVE is a hole in the file. The kernel would make it in the pool.
long h_madvise(Call& call) {
  if ((call.arg(2) & 0xffffffff) != MADV_REMOVE) return kPassOn;
  u64 start = call.arg(0), end = start + align_up(call.arg(1), kPage);
  if ((start & (kPage - 1)) != 0 || end < start) return -EINVAL;
  MapLock locked;
  for (u32 i = find(start); i < g_mapping_count && g_mappings[i].start < end; ++i) {
    const Mapping& mapping = g_mappings[i];
    if (!mapping.shared || !mapping.may_write) return -EACCES;
    u64 from = max_of(start, mapping.start), to = min_of(end, mapping.start + mapping.bytes);
    vfs::Task task = make_task(call, mapping.mount);
    Result<void> removed = vfs::fallocate_file(task, mapping.description, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                               mapping.file_offset + (from - mapping.start), to - from);
    if (!removed.ok()) return -removed.error();
    if (to == end) return 0;
    start = to;
  }
  return start == call.arg(0) ? kPassOn : -ENOMEM; // the rest is not ours
}

// Another page of the same file in that place. The kernel would take another page of the pool.
long h_remap_file_pages(Call& call) {
  u64 start = align_down(call.arg(0), kPage), bytes = align_down(call.arg(1), kPage), page = call.arg(3);
  if (call.arg(2) != 0) return kPassOn; // an error whatever is there
  FdWord word;
  int prot;
  {
    MapLock locked;
    u32 index = find(start);
    if (index == g_mapping_count || g_mappings[index].start >= start + bytes) return kPassOn;
    const Mapping& mapping = g_mappings[index];
    if (!mapping.shared || start < mapping.start || bytes > mapping.start + mapping.bytes - start || page > ~u64{0} / kPage) return -EINVAL;
    word = file_word(mapping.mount, mapping.description, 0);
    prot = mapping.prot;
  }
  long mapped = map_file(call, word, start, bytes, prot, MAP_SHARED | MAP_FIXED, page * kPage);
  return is_syscall_error(mapped) ? mapped : 0;
}

namespace {

// What has no block keeps no access, and gets it when touched.
long protect_mapping(Call& call, Mapping& mapping, int prot) {
  vfs::Pool& pool = call.pool(mapping.mount);
  Result<inode::Attr> attr = inode::read(pool.store(), Ino{mapping.ino});
  if (!attr.ok()) return 0;
  mapping.prot = prot;
  fetch_add(g_mapping_changes, u64{1});
  if (mapping.shared) {
    Result<void> mapped = map_blocks(pool, mapping, mapping.start, mapping.bytes, mapping.bytes <= kFillAtOnceBytes);
    return mapped.ok() ? 0 : -mapped.error();
  }
  u64 end = align_up(attr.value().size, kPage);
  u64 inside = end > mapping.file_offset ? min_of(end - mapping.file_offset, mapping.bytes) : 0;
  return raw_syscall(SYS_mprotect, static_cast<long>(mapping.start), static_cast<long>(inside), prot);
}

} // namespace

long h_mprotect(Call& call) {
  u64 start = call.arg(0), bytes = align_up(call.arg(1), kPage);
  int prot = call.fd(2);
  if ((start & (kPage - 1)) != 0) return kPassOn;
  MapLock locked;
  u32 index = find(start);
  if (index == g_mapping_count || g_mappings[index].start >= start + bytes) return kPassOn;
  if ((prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | kProtSem)) != 0) return -EINVAL;
  if (!split_at(start) || !split_at(start + bytes)) return -ENOMEM;
  index = find(start);
  for (u32 i = index; i < g_mapping_count && g_mappings[i].start < start + bytes; ++i)
    if (g_mappings[i].shared && !g_mappings[i].may_write && (prot & PROT_WRITE) != 0) return -EACCES;
  // Piece by piece: pages without a block must not become accessible, not even for a moment, as what another thread stores there would be lost.
  u64 at = start, end = start + bytes;
  for (u32 i = index; at < end; ++i) {
    bool ours = i < g_mapping_count && g_mappings[i].start < end;
    if (u64 next = ours ? g_mappings[i].start : end; at < next) {
      long result = raw_syscall(SYS_mprotect, static_cast<long>(at), static_cast<long>(next - at), prot);
      if (result != 0) return result;
      at = next;
    }
    if (!ours) break;
    at = g_mappings[i].start + g_mappings[i].bytes;
    long result = protect_mapping(call, g_mappings[i], prot);
    if (result != 0) return result;
  }
  return 0;
}

namespace {

// A descriptor-like word by which map_file can map what a mapping shows.
long remap(Call& call, const Mapping& old, u64 old_bytes, u64 new_bytes, u64 target, int flags) {
  vfs::Pool& pool = call.pool(old.mount);
  long start = raw_syscall(SYS_mmap, static_cast<long>(target), static_cast<long>(new_bytes), PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  if (is_syscall_error(start)) return start;
  forget_range(static_cast<u64>(start), new_bytes); // what MREMAP_FIXED replaced
  Mapping moved = old;
  moved.start = static_cast<u64>(start);
  moved.bytes = new_bytes;
  Result<void> mapped = map_blocks(pool, moved, moved.start, new_bytes, new_bytes <= kFillAtOnceBytes);
  if (!mapped.ok()) {
    raw_syscall(SYS_munmap, start, static_cast<long>(new_bytes));
    return -mapped.error();
  }
  if (!moved.shared && (old.prot & PROT_WRITE) != 0) // what the program wrote into its private pages goes along
    (void)pmem::copy_guarded(reinterpret_cast<void*>(start), reinterpret_cast<void*>(old.start), min_of(old_bytes, new_bytes));
  if (static_cast<u64>(start) != old.start) {
    insert_at(find(moved.start), moved); // shares the pin, so that it stays
    raw_syscall(SYS_munmap, static_cast<long>(old.start), static_cast<long>(old_bytes));
    forget_range(old.start, old_bytes);
  }
  return start;
}

// A mapping of ours; the lock is held.
long remap_ours(Call& call, u64 start, u64 old_bytes, u64 new_bytes, int flags) {
  u64 target = call.arg(4);
  bool fixed = (flags & MREMAP_FIXED) != 0;
  if ((flags & MREMAP_DONTUNMAP) != 0) return refuse(call, EINVAL);
  if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) != 0 || (start & (kPage - 1)) != 0 || new_bytes == 0) return -EINVAL;
  // Nothing may have been touched when the new place turns out to be none.
  bool beyond = new_bytes > kUserEnd || target > kUserEnd - new_bytes, overlaps = target < start + old_bytes && start < target + new_bytes;
  if (fixed && ((flags & MREMAP_MAYMOVE) == 0 || (target & (kPage - 1)) != 0 || beyond || overlaps)) return -EINVAL;
  if (old_bytes == 0) return refuse(call, EINVAL);
  if (!has_room() || !split_at(start) || !split_at(start + old_bytes)) return -ENOMEM;
  Mapping mapping = g_mappings[find(start)];
  if (mapping.start != start || mapping.bytes != old_bytes) return -EFAULT; // crosses mappings
  if (fixed) return remap(call, mapping, old_bytes, new_bytes, target, MAP_FIXED);
  if (new_bytes <= old_bytes) {
    if (new_bytes == old_bytes) return static_cast<long>(start);
    raw_syscall(SYS_munmap, static_cast<long>(start + new_bytes), static_cast<long>(old_bytes - new_bytes));
    forget_range(start + new_bytes, old_bytes - new_bytes);
    return static_cast<long>(start);
  }
  // In place, if there is room behind it.
  u64 more = new_bytes - old_bytes;
  long behind = raw_syscall(SYS_mmap, static_cast<long>(start + old_bytes), static_cast<long>(more), PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (!is_syscall_error(behind)) {
    Mapping& grown = g_mappings[find(start)];
    grown.bytes = new_bytes;
    Result<void> mapped = map_blocks(call.pool(mapping.mount), grown, start + old_bytes, more, new_bytes <= kFillAtOnceBytes);
    if (mapped.ok()) return static_cast<long>(start);
    grown.bytes = old_bytes;
    raw_syscall(SYS_munmap, behind, static_cast<long>(more));
    return -mapped.error();
  }
  if ((flags & MREMAP_MAYMOVE) == 0) return -ENOMEM;
  return remap(call, mapping, old_bytes, new_bytes, 0, 0);
}

} // namespace

long h_mremap(Call& call) {
  u64 start = call.arg(0), old_bytes = align_up(call.arg(1), kPage), new_bytes = align_up(call.arg(2), kPage);
  int flags = call.fd(3);
  {
    MapLock locked;
    if (has_any(start, max_of(old_bytes, u64{1}))) return remap_ours(call, start, old_bytes, new_bytes, flags);
  }
  return (flags & MREMAP_FIXED) != 0 ? replace_range(call, call.arg(4), new_bytes) : kPassOn;
}

} // namespace pmemfile::preload
