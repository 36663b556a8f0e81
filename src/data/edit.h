// One bounded change of a file's block map inside a Tx: new blocks, new nodes, new pointers.
//
// Owner: the body of one Tx, which holds the inode's stripe. File blocks are given in ascending order. An edit
// reaches the direct pointers and two leaves, so that a small write is one commit wherever it lies; whoever has more to
// do makes another Tx. All limits are here, so that
// finish() and the commit cannot run out of room.
// Rules: stack object (about 1.2 KiB); hook-safe.
#pragma once

#include "alloc/alloc.h"
#include "data/map.h"
#include "inode/inode.h"

namespace pmemfile::data {

// The operation cannot go on in this Tx, but in another one after what is staged has been committed.
inline constexpr int kEditFull = 1003;
// The file has to be brought in order first: finish_truncate, then again.
inline constexpr int kMustFinish = 1004;

// The lines of the bitmap that a Tx changes. Each is a line of the record and a stripe held
// (shm::kMaxHeldLocks is 24).
class BitmapLines {
 public:
  static constexpr u32 kMost = 14;

  u32 left() const { return kMost - count_; }
  u32 count() const { return count_; }
  // False when it would be one too many.
  bool add(BlockNo block);
  bool add(BlockNo first, u64 count);

 private:
  u64 lines_[kMost];
  u32 count_ = 0;
};

class MapEdit {
 public:
  MapEdit(journal::Tx& tx, inode::Attr& attr) : tx_(tx), attr_(attr), view_(tx.store()) {}
  MapEdit(const MapEdit&) = delete;
  MapEdit& operator=(const MapEdit&) = delete;

  // Takes data blocks for up to `want` file blocks from `first` on. `total`: what the caller wants in the end, a
  // hint for the choice of place. kEditFull; ENOSPC: nothing was taken. kNodesMissed: there is no room even for the
  // nodes, and the Tx must not be committed.
  Result<alloc::Extent> take(u64 first, u64 want, u64 total);
  // Gives back the end of the extent that take() returned last.
  Result<void> give_back(alloc::Extent tail);
  // How many pointers from `first` on may be set; 0: kEditFull.
  u64 room(u64 first);
  // Notes that file blocks [first, first + count) shall have consecutive pointers from `pointer` on. Within room().
  Result<void> set(u64 first, u64 count, u64 pointer);
  // After all takes: frees data blocks that the file had before.
  bool may_release(BlockNo first, u64 count) { return lines_.add(first, count); }
  Result<void> release(BlockNo first, u64 count);
  // Writes new nodes and stages all pointers and the inode's block count. Once, at the end.
  Result<void> finish();

  bool changed() const { return run_count_ != 0 || leaves_[0].missing != 0 || leaves_[1].missing != 0; }

 private:
  struct Run {
    u64 first, count, pointer;
  };
  static constexpr u32 kMaxRuns = 16;
  static constexpr u32 kLeaves = 2;
  // Lines of the record for pointers. The inode needs 3, parent words in nodes 2, the bitmap 14: 53 of 56.
  static constexpr u32 kPointerLines = 34;
  static constexpr u32 kLinesOfTake = 4; // of the bitmap, at most

  // A leaf, and what has to be made to reach it.
  struct Leaf {
    bool open = false;
    u64 first = 0;            // file block of its first pointer
    BlockNo block{};          // if it is there
    TreePath path{};
    u32 missing = 0;          // levels that are new, from the top in `nodes`
    alloc::MetaBlock nodes[layout::kTreeCount];
    PoolOff parent_word{};    // where nodes[0] goes, unless
    bool below_other = false; // it hangs below one of the other leaf's new nodes:
    u32 other_depth = 0;      // the one of this depth
  };

  Leaf* leaf_of(u64 file_block);
  Result<Leaf*> open_leaf(u64 first);
  u32 join_other(Leaf& leaf, u32 depth) const;
  u64 pointer_at(u64 file_block, u32* run) const;
  void write_leaf(const Leaf& leaf);
  void write_upper(const Leaf& leaf, u32 depth, const Leaf& other);
  void write_nodes(const Leaf& leaf, const Leaf& other);

  journal::Tx& tx_;
  inode::Attr& attr_;
  journal::View view_; // what is committed: nothing of the map is staged before finish()
  BitmapLines lines_;
  Run runs_[kMaxRuns];
  u32 run_count_ = 0;
  u32 pointer_lines_ = 0;
  BlockNo goal_{};
  Leaf leaves_[kLeaves];
};

inline constexpr int kNodesMissed = 1005;

} // namespace pmemfile::data
