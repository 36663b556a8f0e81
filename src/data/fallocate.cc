// fallocate(2), mode by mode.

#include "data/allocate.h"
#include "data/free.h"
#include "data/rotate.h"

#include <linux/falloc.h>

namespace pmemfile::data {

namespace {

constexpr u64 kBlock = layout::kBlockBytes;
// Zeroed under the lock at once.
constexpr u64 kZeroBytes = 4 * 1024 * 1024;

// The checks of the kernel, in its order.
Result<void> check_mode(int mode) {
  constexpr int kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE |
                         FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
  if ((mode & ~kKnown) != 0) return Error(EOPNOTSUPP);
  constexpr int kBoth = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((mode & kBoth) == kBoth) return Error(EOPNOTSUPP);
  if ((mode & FALLOC_FL_PUNCH_HOLE) != 0 && (mode & FALLOC_FL_KEEP_SIZE) == 0) return Error(EOPNOTSUPP);
  if ((mode & FALLOC_FL_COLLAPSE_RANGE) != 0 && mode != FALLOC_FL_COLLAPSE_RANGE) return Error(EINVAL);
  if ((mode & FALLOC_FL_INSERT_RANGE) != 0 && mode != FALLOC_FL_INSERT_RANGE) return Error(EINVAL);
  if ((mode & FALLOC_FL_UNSHARE_RANGE) != 0 && (mode & ~(FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE)) != 0)
    return Error(EINVAL);
  return {};
}

// Times, and the size if `end` lies beyond it.
Result<void> finish_change(journal::Store& store, Ino ino, u64 end) {
  return run_in_order(store, ino, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    inode::Attr attr = TRY(load_locked(tx, ino));
    if (end > attr.size) {
      if (TRY(zero_gap(store, attr, end))) tx.note_fresh_data();
      attr.size = end;
      inode::store_size(tx, attr);
    }
    attr.mtime_ns = attr.ctime_ns = inode::now_ns();
    inode::store_times(tx, attr);
    return tx.commit();
  });
}

// How many blocks of the range are missing, when that may be more than there are: so that a full pool is noticed
// before anything is done.
Result<void> check_space(journal::Store& store, Ino ino, u64 first, u64 end) {
  if (alloc::has_free_blocks(store, end - first)) return {};
  u64 free = alloc::free_blocks(store);
  u64 missing = 0;
  WalkBound bound(store);
  constexpr u32 kRuns = 16;
  Run found[kRuns];
  while (first < end && missing <= free) {
    TRY(bound.step());
    u32 count = TRY(runs(store, ino, first, end - first, found, kRuns));
    for (u32 i = 0; i < count; ++i) {
      if (found[i].block == BlockNo{0}) missing += found[i].count;
      first = found[i].file_block + found[i].count;
    }
  }
  return missing > free ? Result<void>(Error(ENOSPC)) : Result<void>();
}

Result<void> preallocate(journal::Store& store, Ino ino, u64 offset, u64 end) {
  u64 first = offset / kBlock, last = div_up(end, kBlock);
  TRY(check_space(store, ino, first, last));
  return allocate_range(store, ino, first, last, Fill::kUnwritten);
}

// Zeroes what is written in the range, piece by piece, without changing the map.
Result<void> zero_contents(journal::Store& store, Ino ino, u64 offset, u64 end) {
  WalkBound bound(store);
  while (offset < end) {
    TRY(bound.step());
    u64 piece = min_of(end - offset, kZeroBytes);
    u64 next = TRY(run_in_order(store, ino, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<u64> {
      TRY(tx.lock(shm::inode_key(store.segment, ino)));
      TRY(load_locked(tx, ino));
      // Pieces without anything written cost nothing: skip as far as the map says so.
      journal::View view(store);
      MapCursor cursor(view, ino);
      MapSpan span = TRY(cursor.span(offset / kBlock, div_up(end, kBlock) - offset / kBlock));
      if (!span.written()) return min_of(end, (offset / kBlock + span.count) * kBlock);
      if (TRY(zero_written(store, ino, offset, offset + piece))) pmem::fence(store.medium);
      return offset + piece;
    }));
    offset = next;
  }
  return {};
}

enum class Freed : u8 { kInPart, kAll, kMapped };

// Whole blocks of [first block, end byte); at the end of the file the last one, too, with what stands behind the end: where that is, is known under
// the lock only. kMapped: its blocks have to stay; some may be gone.
Result<Freed> free_range(journal::Store& store, Ino ino, u64 first, u64 end_byte) {
  for (;;) {
    Freed freed = TRY(leave_or_wait([&](Beside beside) {
      return run_in_order(store, ino, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<Freed> {
        TRY(tx.lock(shm::inode_key(store.segment, ino)));
        inode::Attr attr = TRY(load_locked(tx, ino));
        if (attr.blocks == 0) return Freed::kAll;
        if (PMEMFILE_UNLIKELY(!may_move_blocks(tx, ino))) return Freed::kMapped;
        u64 end = end_byte >= attr.size ? div_up(end_byte, kBlock) : end_byte / kBlock;
        if (first >= end) return Freed::kAll;
        TRY(tx.exclude_overwriters(shm::inode_key(store.segment, ino)));
        bool all = TRY(free_part(tx, attr, first, end, beside));
        TRY(tx.commit());
        if (PMEMFILE_UNLIKELY(tx.leaves())) inode::forget_orphan(store);
        return all ? Freed::kAll : Freed::kInPart;
      });
    }));
    if (freed != Freed::kInPart) return freed;
  }
}

Result<void> punch(journal::Store& store, Ino ino, u64 offset, u64 end) {
  u64 first = min_of(align_up(offset, kBlock), end), last = max_of(align_down(end, kBlock), first);
  TRY(zero_contents(store, ino, offset, first));
  TRY(zero_contents(store, ino, last, end));
  if (first % kBlock == 0 && TRY(free_range(store, ino, first / kBlock, end)) == Freed::kMapped) TRY(zero_contents(store, ino, first, last));
  return finish_change(store, ino, 0);
}

} // namespace

Result<void> fallocate(journal::Store& store, Ino ino, int mode, u64 offset, u64 bytes) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  constexpr u64 kMaxOffset = ~u64{0} >> 1; // of the kernel's loff_t
  if (offset > kMaxOffset || bytes == 0 || bytes > kMaxOffset) return Error(EINVAL);
  TRY(check_mode(mode));
  if (bytes > layout::kMaxFileBytes || offset > layout::kMaxFileBytes - bytes) return Error(EFBIG);
  u64 end = offset + bytes;
  bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) return punch(store, ino, offset, end);
  if ((mode & FALLOC_FL_COLLAPSE_RANGE) != 0) return collapse_range(store, ino, offset, bytes);
  if ((mode & FALLOC_FL_INSERT_RANGE) != 0) return insert_range(store, ino, offset, bytes);
  if ((mode & FALLOC_FL_ZERO_RANGE) != 0) TRY(zero_contents(store, ino, offset, end));
  TRY(preallocate(store, ino, offset, end));
  return finish_change(store, ino, keep_size ? 0 : end);
}

} // namespace pmemfile::data
