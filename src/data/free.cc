#include "data/free.h"

namespace pmemfile::data {

// Room for one more cleared pointer? Neighbours share a line.
bool Freer::may_clear(PoolOff word) {
  u64 line = raw(journal::line_of(word));
  if (line == last_cleared_line_) return true;
  if (cleared_lines_ == kClearedLines) return false;
  ++cleared_lines_;
  last_cleared_line_ = line;
  return true;
}

// One more than the index of the last word of [begin, end) that is not 0; `begin` if all are. Most of what a shrinking
// looks at is empty, so this is a plain run over the lines: nothing of them is staged.
u64 Freer::after_last(BlockNo node, u64 begin, u64 end) const {
  const pmem::Medium& medium = tx_.store().medium;
  PoolOff start = journal::block_offset(node);
  while (end > begin) {
    u64 line = (end - 1) / layout::kLineWords;
    const u64* words = &medium.word(start + line * layout::kLineBytes);
    u64 any = 0;
    for (unsigned word = 0; word < layout::kLineWords; ++word) any |= load_relaxed(words[word]);
    if (any != 0) break;
    end = line * layout::kLineWords;
  }
  while (end > begin && load_relaxed(medium.word(start + layout::node_word(end - 1))) == 0) --end;
  return max_of(begin, end);
}

Result<void> Freer::release_run() {
  if (run_.count == 0) return {};
  TRY(alloc::release_data(tx_, run_));
  attr_.blocks -= min_of(run_.count, attr_.blocks);
  any_ = true;
  run_.count = 0;
  return {};
}

Result<bool> Freer::free_leaf_in_parts(BlockNo leaf, u64 first, u64 begin, u64 end) {
  bool all = true;
  if (first != 0) end = after_last(leaf, begin, end);
  for (u64 index = end; index-- > begin;) {
    PoolOff word = first == 0 ? map_word_offset(attr_.ino, static_cast<unsigned>(index)) : node_word_offset(leaf, index);
    u64 pointer = view_.load(word);
    if (!leaf_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer == 0) continue;
    BlockNo block = layout::ptr_block(pointer);
    if (!may_clear(word) || !lines_.add(block)) {
      all = false;
      break;
    }
    clear(word);
    if (run_.count != 0 && raw(block) + 1 != raw(run_.start)) TRY(release_run());
    run_ = alloc::Extent{block, run_.count + 1};
  }
  TRY(release_run());
  return all;
}

// Everything below the leaf, without touching its words: the leaf itself goes, too. False if that is too much.
Result<bool> Freer::free_whole_leaf(BlockNo leaf) {
  BitmapLines lines = lines_;
  if (!lines.add(leaf)) return false;
  for (u64 index = 0; index < layout::kPtrsPerNode; ++index) {
    u64 pointer = view_.load(node_word_offset(leaf, index));
    if (!leaf_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer != 0 && !lines.add(layout::ptr_block(pointer))) return false;
  }
  lines_ = lines;
  for (u64 index = layout::kPtrsPerNode; index-- > 0;) {
    u64 pointer = view_.load(node_word_offset(leaf, index));
    if (pointer == 0) continue;
    BlockNo block = layout::ptr_block(pointer);
    if (run_.count != 0 && raw(block) + 1 != raw(run_.start)) TRY(release_run());
    run_ = alloc::Extent{block, run_.count + 1};
  }
  TRY(release_run());
  return true;
}

Result<bool> Freer::free_leaf(BlockNo leaf, u64 first) {
  if (covers(first, layout::kPtrsPerNode) && TRY(free_whole_leaf(leaf))) return true;
  u64 begin = max_of(low_, first) - first;
  u64 end = min_of(high_ - first, layout::kPtrsPerNode);
  return free_leaf_in_parts(leaf, first, begin, end);
}

// Frees what of [low, high) lies below a node of `level`; the caller frees the node.
Result<bool> Freer::free_children(BlockNo node, unsigned level, u64 first) {
  if (level == 1) return free_leaf(node, first);
  u64 span = kSpanOfLevel[level - 1];
  u64 begin = (max_of(low_, first) - first) / span;
  u64 end = min_of(div_up(high_ - first, span), layout::kPtrsPerNode);
  end = after_last(node, begin, end);
  for (u64 index = end; index-- > begin;) {
    PoolOff word = node_word_offset(node, index);
    u64 pointer = view_.load(word);
    if (!node_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer == 0) continue;
    u64 child_first = first + index * span;
    // The child's own room first: what was below it must not be left dangling.
    bool whole = covers(child_first, span);
    if (whole && (!may_clear(word) || !lines_.add(BlockNo{pointer}))) return false;
    if (!TRY(free_children(BlockNo{pointer}, level - 1, child_first))) return false;
    if (!whole) continue;
    clear(word);
    TRY(alloc::release_meta(tx_, BlockNo{pointer}));
    attr_.blocks -= min_of<u64>(1, attr_.blocks);
    any_ = true;
  }
  return true;
}

Result<bool> Freer::run() {
  for (unsigned level = layout::kTreeCount; level >= 1; --level) {
    u64 first = tree_first(level);
    PoolOff word = root_offset(attr_.ino, level);
    u64 pointer = view_.load(word);
    if (!node_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer == 0 || first + kSpanOfLevel[level] <= low_ || first >= high_) continue;
    BlockNo root{pointer};
    bool whole = covers(first, kSpanOfLevel[level]);
    if (whole && !lines_.add(root)) return false;
    if (!TRY(free_children(root, level, first))) return false;
    if (!whole) continue;
    clear(word);
    TRY(alloc::release_meta(tx_, root));
    attr_.blocks -= min_of<u64>(1, attr_.blocks);
    any_ = true;
  }
  return free_direct();
}

Result<bool> Freer::free_direct() {
  if (low_ >= layout::kDirectCount) return true;
  return free_leaf_in_parts(BlockNo{0}, 0, low_, min_of<u64>(high_, layout::kDirectCount));
}

Result<bool> may_free_all(journal::Tx& tx, const inode::Attr& attr) {
  // What the caller's removal of the inode may still need of the record, and of the stripes a slot can hold.
  constexpr u32 kReserved = 16, kBitmapLines = 8, kInodeLines = 2;
  journal::View view(tx.store());
  BitmapLines lines;
  auto add = [&](u64 pointer) -> Result<bool> {
    if (!leaf_pointer_ok(tx.store(), pointer)) return Error(kErrnoCorrupt);
    return pointer == 0 || (lines.add(layout::ptr_block(pointer)) && lines.count() <= kBitmapLines);
  };
  for (unsigned level = 2; level <= layout::kTreeCount; ++level)
    if (view.load(root_offset(attr.ino, level)) != 0) return false;
  for (unsigned index = 0; index < layout::kDirectCount; ++index)
    if (!TRY(add(view.load(map_word_offset(attr.ino, index))))) return false;
  u64 leaf = view.load(root_offset(attr.ino, 1));
  if (!node_pointer_ok(tx.store(), leaf)) return Error(kErrnoCorrupt);
  if (!TRY(add(leaf))) return false;
  for (u64 index = 0; leaf != 0 && index < layout::kPtrsPerNode; ++index)
    if (!TRY(add(view.load(node_word_offset(BlockNo{leaf}, index))))) return false;
  return tx.lines_left() >= lines.count() + kInodeLines + kReserved;
}

} // namespace pmemfile::data
