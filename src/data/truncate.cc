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

// Blocks that would have to wait for somebody stopped go, with the whole map, to an inode without a name, which whoever looks for orphans
// frees: so the file can be written at once. False: there is no inode to be had.
Result<bool> give_away_contents(journal::Tx& tx, inode::Attr& attr, u64 size) {
  inode::Attr holder = TRY(inode::create_holder(tx, attr.ino));
  if (holder.ino == Ino{0}) return false;
  holder.size = size;
  holder.blocks = attr.blocks;
  holder.flags |= attr.flags & layout::kFlagBeyondEof;
  inode::store_mode(tx, holder);
  inode::store_size(tx, holder);
  for (unsigned i = 0; i < layout::kMapWords; ++i) {
    tx.store(map_word_offset(holder.ino, i), tx.load(map_word_offset(attr.ino, i)));
    tx.store(map_word_offset(attr.ino, i), 0);
  }
  attr.blocks = 0;
  return true;
}

// True when all blocks beyond the new size are gone; otherwise the rest is for finish_truncate.
Result<bool> shrink(journal::Tx& tx, inode::Attr& attr, u64 size) {
  u64 old_size = attr.size;
  attr.size = size;
  bool all = attr.blocks == 0, given_away = false;
  if (!all) {
    TRY(tx.exclude_overwriters(shm::inode_key(tx.store().segment, attr.ino)));
    if (PMEMFILE_LIKELY(!tx.leaves())) {
      tx.hurry(journal::Tx::Hurry::kOrLeave);
      all = TRY(free_step(tx, attr, div_up(size, layout::kBlockBytes), layout::kMaxFileBlocks));
      tx.hurry(journal::Tx::Hurry::kNo);
    } else if (size == 0) {
      all = given_away = TRY(give_away_contents(tx, attr, old_size));
    }
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
  if (given_away) inode::forget_orphan(tx.store());
  return all;
}

// Of a file that somebody could not bring to its size: without waiting for its end. kMustFinish if that cannot be.
Result<void> empty_unfinished(journal::Tx& tx, inode::Attr& attr) {
  TRY(tx.exclude_overwriters(shm::inode_key(tx.store().segment, attr.ino)));
  if (!TRY(give_away_contents(tx, attr, attr.size))) return Error(kMustFinish);
  attr.size = 0;
  attr.flags &= static_cast<u16>(~(layout::kFlagTruncating | layout::kFlagBeyondEof));
  inode::store_mode(tx, attr);
  note_change(tx, attr);
  TRY(tx.commit());
  inode::forget_orphan(tx.store());
  return {};
}

// One step of what frees blocks from `low` on; true when done.
template <class Done>
Result<bool> free_more(journal::Tx& tx, inode::Attr& attr, u64 low, Done&& done) {
  TRY(tx.exclude_overwriters(shm::inode_key(tx.store().segment, attr.ino)));
  bool all = TRY(free_step(tx, attr, low, layout::kMaxFileBlocks));
  if (all) done();
  TRY(tx.commit());
  return all;
}

Result<inode::Attr> lock_and_load(journal::Tx& tx, Ino ino) {
  TRY(tx.lock(shm::inode_key(tx.store().segment, ino)));
  return inode::load(journal::View(tx.store()), ino);
}

} // namespace

Result<void> truncate(journal::Store& store, Ino ino, u64 size, bool pinned) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  if (size > layout::kMaxFileBytes) return Error(EFBIG);
  bool emptied = false;
  u32 list = 0;
  bool done = TRY(run_in_order(store, ino, journal::Opcode::kTruncate, [&](journal::Tx& tx) -> Result<bool> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    inode::Attr attr;
    Result<void> loaded = load_locked(tx, ino, attr);
    if (PMEMFILE_UNLIKELY(loaded.error() == kMustFinish) && size == 0 && !pinned && has_map(attr)) {
      u32 its_list = layout::orphan_list(ino, attr.flags);
      TRY(empty_unfinished(tx, attr));
      emptied = attr.nlink != 0;
      list = its_list;
      return true;
    }
    TRY(std::move(loaded));
    if (size >= attr.size) {
      TRY(grow(tx, attr, size));
      return true;
    }
    if (!pinned) return shrink(tx, attr, size);
    TRY(tx.exclude_overwriters(shm::inode_key(store.segment, ino)));
    TRY(shrink_pinned(tx, attr, size));
    return true;
  }));
  if (PMEMFILE_UNLIKELY(emptied)) return inode::leave_list(store, list);
  return done ? Result<void>() : finish_or_leave(store, ino);
}

Result<void> finish_truncate(journal::Store& store, Ino ino, Patience patience) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  bool linked = false;
  u32 list = 0;
  for (bool done = false; !done;) {
    done = TRY(journal::run_tx(store, journal::Opcode::kTruncate, [&](journal::Tx& tx) -> Result<bool> {
      if (patience == Patience::kHurried) tx.hurry(journal::Tx::Hurry::kOrFail);
      inode::Attr attr = TRY(lock_and_load(tx, ino));
      linked = attr.nlink != 0 && (attr.flags & layout::kFlagOrphan) != 0;
      list = layout::orphan_list(ino, attr.flags);
      if ((attr.flags & layout::kFlagTruncating) == 0) return true;
      if (!has_map(attr)) return Error(kErrnoCorrupt);
      return free_more(tx, attr, div_up(attr.size, layout::kBlockBytes), [&] {
        attr.flags &= static_cast<u16>(~layout::kFlagTruncating);
        inode::store_mode(tx, attr);
      });
    }));
  }
  return linked ? inode::leave_list(store, list) : Result<void>();
}

Result<void> finish_or_leave(journal::Store& store, Ino ino) {
  Result<void> finished = finish_truncate(store, ino, Patience::kHurried);
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
      return free_more(tx, attr, 0, [&] {
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
