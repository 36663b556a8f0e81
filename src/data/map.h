// Reading the block map of a file: direct pointers and trees of one to five levels (docs/format.md).
//
// Owner: the call that made it. Rules: stack objects of one thread; hook-safe; every pointer read from the pool
// is checked on the loaded copy. What a cursor on a lock-free reader's view found counts only if the reader
// validates, and its cached leaf only as long as the reader stays valid.
#pragma once

#include "journal/view.h"

namespace pmemfile::data {

// Blocks below one pointer of a node of level L, and the first file block of the tree of L levels.
inline constexpr u64 kSpanOfLevel[layout::kTreeCount + 1] = {
    1, 448, 448ull * 448, 448ull * 448 * 448, 448ull * 448 * 448 * 448, 448ull * 448 * 448 * 448 * 448};
constexpr u64 tree_first(unsigned levels) {
  u64 first = layout::kDirectCount;
  for (unsigned level = 1; level < levels; ++level) first += kSpanOfLevel[level];
  return first;
}
static_assert(layout::kPtrsPerNode == 448 && tree_first(layout::kTreeCount + 1) == layout::kMaxFileBlocks);

constexpr PoolOff map_word_offset(Ino ino, unsigned index) {
  return layout::inode_offset(ino) + layout::inode_map_word(index);
}
constexpr PoolOff root_offset(Ino ino, unsigned levels) {
  return map_word_offset(ino, layout::kDirectCount + levels - 1);
}
constexpr PoolOff node_word_offset(BlockNo node, u64 index) {
  return journal::block_offset(node) + layout::node_word(index);
}

// The way to a file block that lies in a tree: index[0] is taken in the root.
struct TreePath {
  unsigned levels;
  u32 index[layout::kTreeCount];
};
inline TreePath tree_path(u64 file_block) {
  TreePath path;
  u64 rest = file_block - layout::kDirectCount;
  path.levels = 1;
  while (rest >= kSpanOfLevel[path.levels]) rest -= kSpanOfLevel[path.levels++];
  for (unsigned depth = path.levels; depth-- > 0; rest /= layout::kPtrsPerNode)
    path.index[depth] = static_cast<u32>(rest % layout::kPtrsPerNode);
  return path;
}
// First file block of the leaf that holds `file_block`'s pointer; kDirectCount <= file_block.
inline u64 leaf_first_of(u64 file_block) {
  return file_block - (file_block - layout::kDirectCount) % layout::kPtrsPerNode;
}

// May this word stand in a leaf (or among the direct pointers), or in an upper node?
inline bool leaf_pointer_ok(const journal::Store& store, u64 pointer) {
  return (pointer & ~(layout::kBlockNoMask | layout::kPtrUnwritten)) == 0 &&
         (pointer == 0 || store.data_block(layout::ptr_block(pointer)));
}
inline bool node_pointer_ok(const journal::Store& store, u64 pointer) {
  return pointer == 0 || ((pointer & ~layout::kBlockNoMask) == 0 && store.data_block(BlockNo{pointer}));
}

// `count` file blocks that are alike: a hole (pointer 0), or consecutive blocks from ptr_block(pointer) on, all
// written or all unwritten.
struct MapSpan {
  u64 pointer = 0;
  u64 count = 0;

  bool hole() const { return pointer == 0; }
  bool unwritten() const { return (pointer & layout::kPtrUnwritten) != 0; }
  bool written() const { return !hole() && !unwritten(); }
  BlockNo block() const { return layout::ptr_block(pointer); }
};

class MapCursor {
 public:
  MapCursor(const journal::View& view, Ino ino) : view_(view), ino_(ino) {}

  // Forgets the cached leaf: after a reader had to begin again.
  void reset() { leaf_first_ = kNoLeaf; }
  // What stands at `first`, and for how many of the next `limit` (>= 1) blocks it goes on; what follows may be alike
  // nevertheless, as one call looks at no more than kMaxLooks pointers. first + limit <= kMaxFileBlocks.
  static constexpr unsigned kMaxLooks = 2048;
  Result<MapSpan> span(u64 first, u64 limit);
  // The same without looking further than the hole or block at `first` itself.
  Result<MapSpan> find(u64 first) {
    if (PMEMFILE_UNLIKELY(first - leaf_first_ >= layout::kPtrsPerNode)) {
      if (first >= layout::kDirectCount) return find_slow(first);
      return check(view_.load(map_word_offset(ino_, static_cast<unsigned>(first))));
    }
    return check(view_.load(node_word_offset(leaf_, first - leaf_first_)));
  }

 private:
  static constexpr u64 kNoLeaf = ~u64{0} - layout::kPtrsPerNode;
  Result<MapSpan> find_slow(u64 first);
  Result<MapSpan> check(u64 pointer) const {
    if (PMEMFILE_UNLIKELY(!leaf_pointer_ok(view_.store(), pointer))) return Error(kErrnoCorrupt);
    return MapSpan{pointer, 1};
  }

  const journal::View& view_;
  Ino ino_;
  u64 leaf_first_ = kNoLeaf;
  BlockNo leaf_{};
};

// Bounds a walk over a whole map. No sound map has more spans than this pool has room for pointers that differ.
class WalkBound {
 public:
  explicit WalkBound(const journal::Store& store) : left_(4 * store.geometry.block_count + 64) {}
  Result<void> step() {
    if (left_-- == 0) return Error(kErrnoCorrupt);
    return {};
  }

 private:
  u64 left_;
};

} // namespace pmemfile::data
