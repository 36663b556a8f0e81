#include "shm/segment_file.h"

#include "base/mapping.h"

#include "shm/handles.h"
#include "shm/locks.h"
#include "shm/opens.h"
#include "shm/process.h"

namespace pmemfile::shm {
namespace {

// How large the tables are. Stripes: so many that busy objects seldom share one. Tables: what many processes at once
// use; when one is full, open(2) fails with ENFILE, fcntl locks with ENOLCK.
struct Sizes {
  u64 pool_bytes; // up to this size
  u32 inodes, leaves, bitmap_lines, description_stripes, file_lock_stripes;
  u64 processes, lock_lists, descriptions, pages, file_locks;
};
constexpr u64 kMiB = 1024 * 1024;
constexpr Sizes kSizes[] = {
    // About 0.8, 6 and 16 MiB.
    {16 * kMiB, 1024, 1024, 64, 512, 128, 256, 512, 4096, 192, 512},
    {1024 * kMiB, 8192, 8192, 1024, 4096, 512, 4096, 4096, 16384, 1024, 4096},
    {~u64{0}, 32768, 32768, 4096, 16384, 2048, 4096, 16384, kMaxDescriptions, 2048, 16384},
};

const Sizes& sizes_for(u64 pool_bytes) {
  const Sizes* sizes = kSizes;
  while (pool_bytes > sizes->pool_bytes) ++sizes;
  return *sizes;
}

// One allocator hint a group of blocks (hints.h), a power of two of them, exact up to 2 TiB.
constexpr u64 kMaxHints = 65536;

void plan_stripes(SegmentHeader& h, const Sizes& sizes) {
  h.topology_first = 0;
  h.inode_first = 1;
  h.inode_count = sizes.inodes;
  h.leaf_first = h.inode_first + h.inode_count;
  h.leaf_count = sizes.leaves;
  h.orphan_first = h.leaf_first + h.leaf_count;
  h.orphan_count = layout::kOrphanLists;
  h.bitmap_first = h.orphan_first + h.orphan_count;
  h.bitmap_count = sizes.bitmap_lines;
  h.description_first = h.bitmap_first + h.bitmap_count;
  h.description_stripes = sizes.description_stripes;
  h.file_lock_first = h.description_first + h.description_stripes;
  h.file_lock_stripes = sizes.file_lock_stripes;
  h.stripe_count = h.file_lock_first + h.file_lock_stripes;
}

} // namespace

SegmentHeader plan_segment(const layout::Geometry& geometry) {
  const Sizes& sizes = sizes_for(geometry.block_count * layout::kBlockBytes);
  SegmentHeader h{};
  plan_stripes(h, sizes);
  u64 at = align_up(sizeof(SegmentHeader), 4096);
  auto place = [&](u64 bytes) {
    u64 offset = at;
    at = align_up(at + bytes, 64);
    return offset;
  };
  h.slot_count = geometry.record_slot_count;
  h.slots_offset = place(h.slot_count * sizeof(Slot));
  h.slot_hints_offset = place(h.slot_count * sizeof(SlotHints));
  h.hint_count = min_of(std::bit_ceil(div_up(geometry.block_count, layout::kBlocksPerBitmapBlock)), kMaxHints);
  h.hints_offset = place(h.hint_count * sizeof(u64));
  h.stripes_offset = place(u64{h.stripe_count} * sizeof(Stripe));
  h.process_count = sizes.processes;
  h.processes_offset = place(sizeof(ProcessTable) + h.process_count * sizeof(Process));
  h.buckets_offset = place(u64{h.file_lock_stripes} * sizeof(LockBucket));
  h.lock_list_count = sizes.lock_lists;
  h.lock_lists_offset = place(h.lock_list_count * sizeof(LockList));
  h.description_count = sizes.descriptions;
  h.descriptions_offset = place(h.description_count * sizeof(OpenDescription));
  // A word for each description, and nearly as many for mappings.
  h.use_group_count = std::bit_ceil(div_up(h.description_count, 4));
  h.uses_offset = place(h.use_group_count * sizeof(UseGroup));
  h.page_count = sizes.pages;
  h.page_owners_offset = place(h.page_count * sizeof(u64));
  h.pages_offset = place(h.page_count * kHandlePageBytes);
  h.file_lock_count = sizes.file_locks;
  h.file_locks_offset = place(h.file_lock_count * sizeof(FileLock));
  // Whole huge pages, unless that would be most of it.
  h.bytes = align_up(at, at < kHugePageBytes ? 4096 : kHugePageBytes);
  return h;
}

} // namespace pmemfile::shm
