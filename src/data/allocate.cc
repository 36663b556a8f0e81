#include "data/allocate.h"

namespace pmemfile::data {

namespace {

// Of one Tx: how many stretches of the map it looks at, so that a file that has its blocks does not keep the lock.
constexpr unsigned kSpansOfStep = 64;

class AllocateStep {
 public:
  AllocateStep(journal::Tx& tx, inode::Attr& attr, Fill fill)
      : tx_(tx), attr_(attr), fill_(fill), view_(tx.store()), cursor_(view_, attr.ino), edit_(tx, attr) {}

  // Returns where the next step goes on.
  Result<u64> run(u64 first, u64 end);

 private:
  Result<u64> one(u64 at, u64 end);
  void zero(BlockNo block, u64 count) {
    pmem::zero(tx_.store().medium, journal::block_offset(block), count * layout::kBlockBytes);
    tx_.note_fresh_data();
  }

  journal::Tx& tx_;
  inode::Attr& attr_;
  Fill fill_;
  journal::View view_;
  MapCursor cursor_;
  MapEdit edit_;
};

Result<u64> AllocateStep::one(u64 at, u64 end) {
  MapSpan span = TRY(cursor_.span(at, end - at));
  if (span.hole()) {
    alloc::Extent extent = TRY(edit_.take(at, span.count, end - at));
    if (fill_ == Fill::kZeros) zero(extent.start, extent.count);
    TRY(edit_.set(at, extent.count, raw(extent.start) | (fill_ == Fill::kUnwritten ? layout::kPtrUnwritten : 0)));
    return extent.count;
  }
  if (!span.unwritten() || fill_ == Fill::kUnwritten) return span.count;
  u64 count = min_of(span.count, edit_.room(at));
  if (count == 0) return Error(kEditFull);
  if (!tx_.store().data_blocks(span.block(), count)) return Error(kErrnoCorrupt);
  zero(span.block(), count);
  TRY(edit_.set(at, count, raw(span.block())));
  return count;
}

Result<u64> AllocateStep::run(u64 first, u64 end) {
  u64 at = first;
  for (unsigned spans = 0; at < end && spans < kSpansOfStep; ++spans) {
    auto done = one(at, end);
    if (done.ok()) {
      at += done.value();
      continue;
    }
    // What fits is committed; the next step shows whether there is more to be had.
    if ((done.error() == kEditFull || done.error() == ENOSPC) && at != first) break;
    return Error(done.error());
  }
  if (!edit_.changed()) return at;
  TRY(edit_.finish());
  inode::store_size(tx_, attr_);
  if (fill_ == Fill::kZeros && at * layout::kBlockBytes > attr_.size) {
    attr_.flags |= layout::kFlagBeyondEof;
    inode::store_mode(tx_, attr_);
  }
  TRY(tx_.commit());
  return at;
}

} // namespace

Result<void> allocate_range(journal::Store& store, Ino ino, u64 first, u64 end, Fill fill) {
  u64 limit = end; // lower when there is no room for the nodes beyond
  WalkBound bound(store);
  while (first < end) {
    TRY(bound.step());
    auto next = run_in_order(store, ino, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<u64> {
      TRY(tx.lock(shm::inode_key(store.segment, ino)));
      inode::Attr attr = TRY(load_locked(tx, ino));
      return AllocateStep(tx, attr, fill).run(first, limit);
    });
    if (next.error() == kNodesMissed) {
      // Nodes taken in vain: that Tx was given up. Stop before them the next time, if there is something before.
      u64 before = first < layout::kDirectCount ? u64{layout::kDirectCount} : leaf_first_of(first) + layout::kPtrsPerNode;
      if (limit <= before || before >= end) return Error(ENOSPC);
      limit = before;
      continue;
    }
    first = TRY(next);
    if (first == limit && limit != end) return Error(ENOSPC);
  }
  return {};
}

namespace {

// EIO: the medium fails there. Contents are read as programs read them, so that it costs this call and not the pool.
Result<bool> is_zero(const pmem::Medium& medium, PoolOff from, u64 bytes) {
  u64 words[64];
  while (bytes != 0) {
    u64 piece = min_of<u64>(bytes, sizeof words), any = 0;
    words[(piece - 1) / sizeof(u64)] = 0;
    if (pmem::copy_out(medium, words, from, piece) != 0) return Error(EIO);
    for (u64 i = 0; i < div_up(piece, sizeof(u64)); ++i) any |= words[i];
    if (any != 0) return false;
    from = from + piece;
    bytes -= piece;
  }
  return true;
}

// Seen without a lock, so that a file without holes is mapped beside whoever changes it, and may be stopped.
Result<bool> is_materialized(journal::Store& store, Ino ino, u64 first, u64 end) {
  u64 size = TRY(inode::read(store, ino)).size;
  WalkBound bound(store);
  constexpr u32 kRuns = 16;
  Run found[kRuns];
  while (first < end) {
    TRY(bound.step());
    u32 count = TRY(runs(store, ino, first, end - first, found, kRuns));
    if (count == 0) return false;
    for (u32 i = 0; i < count; ++i) {
      if (found[i].block == BlockNo{0} || found[i].unwritten) return false;
      u64 last = size / layout::kBlockBytes - found[i].file_block, inside = size % layout::kBlockBytes;
      if (inside != 0 && last < found[i].count) {
        if (!store.data_block(found[i].block + last)) return Error(kErrnoCorrupt);
        if (!TRY(is_zero(store.medium, journal::block_offset(found[i].block + last) + inside, layout::kBlockBytes - inside))) return false;
      }
      first = found[i].file_block + found[i].count;
    }
  }
  return true;
}

} // namespace

Result<void> materialize(journal::Store& store, Ino ino, u64 offset, u64 bytes) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  if (offset > layout::kMaxFileBytes || bytes > layout::kMaxFileBytes - offset) return Error(EFBIG);
  if (TRY(is_materialized(store, ino, offset / layout::kBlockBytes, div_up(offset + bytes, layout::kBlockBytes)))) return {};
  TRY(allocate_range(store, ino, offset / layout::kBlockBytes, div_up(offset + bytes, layout::kBlockBytes), Fill::kZeros));
  // What a mapping shows of the last block behind the end of the file are zeros.
  return run_in_order(store, ino, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    inode::Attr attr = TRY(load_locked(tx, ino));
    if (TRY(zero_written(store, ino, attr.size, align_up(attr.size, layout::kBlockBytes)))) pmem::fence(store.medium);
    return {};
  });
}

} // namespace pmemfile::data
