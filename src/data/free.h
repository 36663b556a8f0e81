// Freeing what a file maps, in steps that fit a record.
//
// Owner: the body of one Tx, which holds the inode's stripe and has excluded overwriters.
// Rules: stack object; hook-safe; recursion is at most five deep.
#pragma once

#include <errno.h>

#include "data/edit.h"

namespace pmemfile::data {

class Freer {
 public:
  // Frees file blocks [low, high) from the end. `attr.blocks` is brought up to date; the caller stores it.
  Freer(journal::Tx& tx, inode::Attr& attr, u64 low, u64 high)
      : tx_(tx), attr_(attr), view_(tx.store()), low_(low), high_(high) {}

  // True if all is gone; false: as much as one record holds, go on in another Tx. A node goes together with the last
  // pointer below it when the whole of what it covers is in the range; one of which only a part is freed stays.
  Result<bool> run();
  bool any() const { return any_; }

 private:
  Result<bool> free_children(BlockNo node, unsigned level, u64 first);
  Result<bool> free_leaf(BlockNo leaf, u64 first);
  Result<bool> free_leaf_in_parts(BlockNo leaf, u64 first, u64 begin, u64 end);
  Result<bool> free_whole_leaf(BlockNo leaf);
  Result<bool> free_direct();
  Result<void> release_run();
  u64 after_last(BlockNo node, u64 begin, u64 end) const;
  bool may_clear(PoolOff word);
  void clear(PoolOff word) { tx_.store(word, 0); }
  bool covers(u64 first, u64 count) const { return low_ <= first && first + count <= high_; }

  // Lines of the record for cleared pointers; the inode and an orphan list need 5, the bitmap 14: 49 of 56.
  static constexpr u32 kClearedLines = 30;

  journal::Tx& tx_;
  inode::Attr& attr_;
  journal::View view_;
  u64 low_, high_;
  BitmapLines lines_;
  u32 cleared_lines_ = 0;
  u64 last_cleared_line_ = 0;
  alloc::Extent run_;
  bool any_ = false;
};

// Would freeing everything take few lines of the record: the direct pointers and a tree of one level, in a few lines
// of the bitmap? Stages nothing.
Result<bool> may_free_all(journal::Tx& tx, const inode::Attr& attr);

// What to do where freeing would wait for somebody stopped who has lines of the bitmap in his hands. kOrFail: as the caller told the Tx.
enum class Beside : u8 { kWait, kLeave, kOrFail };
// One Tx's worth of freeing [low, high), or of moving it to an inode without a name (then tx.leaves(): inode::forget_orphan after the
// commit); stages the inode's block count, too. True when all is gone. EAGAIN: there is no inode or block to move it to; nothing is staged.
Result<bool> free_part(journal::Tx& tx, inode::Attr& attr, u64 low, u64 high, Beside beside);

// Runs `step`, which is one Tx, so that it waits only where nothing can be left.
template <class Step>
auto leave_or_wait(Step&& step) {
  auto result = step(Beside::kLeave);
  return PMEMFILE_LIKELY(result.error() != EAGAIN) ? result : step(Beside::kWait);
}

} // namespace pmemfile::data
