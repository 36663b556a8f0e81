// Setting the size, and giving back everything.

#include "data/extent_io.h"
#include "data/free.h"

#include <sys/stat.h>

namespace pmemfile::data {

namespace {

// Whether the map words of this inode are pointers (a short symlink keeps its target there).
bool has_map(const inode::Attr& attr) {
  return S_ISREG(attr.mode) || (S_ISLNK(attr.mode) && attr.size > layout::kInlineTargetBytes);
}

void note_change(journal::Tx& tx, inode::Attr& attr) {
  attr.mtime_ns = attr.ctime_ns = inode::now_ns();
  inode::store_size(tx, attr);
  inode::store_times(tx, attr);
}

Result<void> grow(journal::Tx& tx, inode::Attr& attr, u64 size) {
  if (TRY(zero_gap(tx.store(), attr, size))) tx.note_fresh_data();
  attr.size = size;
  note_change(tx, attr);
  return tx.commit();
}

// Mapped: the blocks stay where they are, with zeros in them. After the commit, so that a death in between leaves
// either the old contents or the new size; whoever extends the file zeroes again.
Result<void> shrink_pinned(journal::Tx& tx, inode::Attr& attr, u64 size) {
  u64 old_size = attr.size;
  attr.size = size;
  attr.flags |= layout::kFlagBeyondEof;
  inode::store_mode(tx, attr);
  note_change(tx, attr);
  TRY(tx.commit());
  (void)zero_written(tx.store(), attr.ino, size, align_up(old_size, layout::kBlockBytes));
  pmem::fence(tx.store().medium);
  return {};
}

// True when all blocks beyond the new size are gone; otherwise the rest is for finish_truncate.
Result<bool> shrink(journal::Tx& tx, inode::Attr& attr, u64 size) {
  attr.size = size;
  bool all = attr.blocks == 0;
  if (!all) {
    TRY(tx.exclude_overwriters(shm::inode_key(tx.store().segment, attr.ino)));
    Result<bool> freed = free_part(tx, attr, div_up(size, layout::kBlockBytes), layout::kMaxFileBlocks, Beside::kLeave);
    if (PMEMFILE_LIKELY(freed.error() != EAGAIN)) all = TRY(std::move(freed));
  }
  u16 flags = attr.flags;
  attr.flags &= static_cast<u16>(~layout::kFlagBeyondEof);
  if (!all) {
    attr.flags |= layout::kFlagTruncating;
    TRY(inode::add_orphan(tx, attr));
  }
  if (attr.flags != flags) inode::store_mode(tx, attr);
  note_change(tx, attr);
  TRY(tx.commit());
  if (PMEMFILE_UNLIKELY(tx.leaves())) inode::forget_orphan(tx.store());
  return all;
}

// One step of what frees blocks from `low` on; true when done.
template <class Done>
Result<bool> free_more(journal::Tx& tx, inode::Attr& attr, u64 low, Beside beside, Done&& done) {
  TRY(tx.exclude_overwriters(shm::inode_key(tx.store().segment, attr.ino)));
  bool all = TRY(free_part(tx, attr, low, layout::kMaxFileBlocks, beside));
  if (all) done();
  TRY(tx.commit());
  if (PMEMFILE_UNLIKELY(tx.leaves())) inode::forget_orphan(tx.store());
  return all;
}

Result<inode::Attr> lock_and_load(journal::Tx& tx, Ino ino) {
  TRY(tx.lock(shm::inode_key(tx.store().segment, ino)));
  return inode::load(journal::View(tx.store()), ino);
}

struct Finishing {
  bool done = false;
  bool linked = false; // and in a list of orphans,
  u32 list = 0;        // this one
};

Result<Finishing> finish_step(journal::Store& store, Ino ino, Beside beside) {
  return journal::run_tx(store, journal::Opcode::kTruncate, [&](journal::Tx& tx) -> Result<Finishing> {
    if (beside == Beside::kOrFail) tx.hurry(journal::Tx::Hurry::kOrFail);
    inode::Attr attr = TRY(lock_and_load(tx, ino));
    bool linked = attr.nlink != 0 && (attr.flags & layout::kFlagOrphan) != 0;
    u32 list = layout::orphan_list(ino, attr.flags);
    if ((attr.flags & layout::kFlagTruncating) == 0) return Finishing{true, linked, list};
    if (!has_map(attr)) return Error(kErrnoCorrupt);
    bool done = TRY(free_more(tx, attr, div_up(attr.size, layout::kBlockBytes), beside, [&] {
      attr.flags &= static_cast<u16>(~layout::kFlagTruncating);
      inode::store_mode(tx, attr);
    }));
    return Finishing{done, linked, list};
  });
}

// Steps until it is done.
template <class Step>
Result<void> finish(journal::Store& store, Ino ino, Step&& step) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  Finishing now;
  while (!now.done) now = TRY(step());
  return now.linked ? inode::leave_list(store, now.list) : Result<void>();
}

} // namespace

Result<void> truncate(journal::Store& store, Ino ino, u64 size) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  if (size > layout::kMaxFileBytes) return Error(EFBIG);
  bool done = TRY(run_in_order(store, ino, journal::Opcode::kTruncate, [&](journal::Tx& tx) -> Result<bool> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    inode::Attr attr = TRY(load_locked(tx, ino));
    if (size >= attr.size) {
      TRY(grow(tx, attr, size));
      return true;
    }
    if (PMEMFILE_LIKELY(may_move_blocks(tx, ino))) return shrink(tx, attr, size);
    TRY(tx.exclude_overwriters(shm::inode_key(store.segment, ino)));
    TRY(shrink_pinned(tx, attr, size));
    return true;
  }));
  return done ? Result<void>() : finish_or_leave(store, ino);
}

Result<void> finish_truncate(journal::Store& store, Ino ino, Patience patience) {
  return finish(store, ino, [&]() -> Result<Finishing> {
    if (patience == Patience::kHurried) return finish_step(store, ino, Beside::kOrFail);
    return leave_or_wait([&](Beside beside) { return finish_step(store, ino, beside); });
  });
}

Result<void> finish_or_leave(journal::Store& store, Ino ino) {
  Result<void> finished = finish(store, ino, [&] { return finish_step(store, ino, Beside::kLeave); });
  if (PMEMFILE_LIKELY(finished.error() != EAGAIN)) return finished;
  inode::forget_orphan(store);
  return {};
}

Result<void> free_contents(journal::Store& store, Ino ino, u64 generation) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  for (bool done = false; !done;) {
    done = TRY(journal::run_tx(store, journal::Opcode::kFree, [&](journal::Tx& tx) -> Result<bool> {
      tx.hurry(journal::Tx::Hurry::kOrFail);
      inode::Attr attr = TRY(lock_and_load(tx, ino));
      if (!has_map(attr) || attr.generation != generation) return true;
      // A symlink must not come to look like one with its target inside.
      if (S_ISREG(attr.mode)) attr.size = 0;
      return free_more(tx, attr, 0, Beside::kOrFail, [&] {
        constexpr u16 kOver = layout::kFlagTruncating | layout::kFlagBeyondEof;
        if ((attr.flags & kOver) == 0) return;
        attr.flags &= static_cast<u16>(~kOver);
        inode::store_mode(tx, attr);
      });
    }));
  }
  return {};
}

Result<void> release_contents(journal::Tx& tx, const inode::Attr& attr) {
  if (attr.blocks == 0 || !has_map(attr)) return {};
  inode::Attr left = attr;
  if (!TRY(may_free_all(tx, left))) return Error(journal::kRecordFull);
  TRY(tx.exclude_overwriters(shm::inode_key(tx.store().segment, attr.ino)));
  Freer freer(tx, left, 0, layout::kMaxFileBlocks);
  return TRY(freer.run()) ? Result<void>() : Result<void>(Error(kErrnoCorrupt));
}

} // namespace pmemfile::data
