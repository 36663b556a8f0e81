#include "data/edit.h"

namespace pmemfile::data {

bool BitmapLines::add(BlockNo block) {
  u64 line = raw(block) / layout::kBlocksPerBitmapLine;
  for (u32 i = count_; i-- > 0;)
    if (lines_[i] == line) return true;
  if (count_ == kMost) return false;
  lines_[count_++] = line;
  return true;
}

bool BitmapLines::add(BlockNo first, u64 count) {
  u64 last = raw(first) + count - 1;
  for (u64 block = raw(first); block <= last; block = align_down(block, layout::kBlocksPerBitmapLine) + layout::kBlocksPerBitmapLine)
    if (!add(BlockNo{block})) return false;
  return true;
}

MapEdit::Leaf* MapEdit::leaf_of(u64 file_block) {
  for (Leaf& leaf : leaves_)
    if (leaf.open && file_block - leaf.first < layout::kPtrsPerNode) return &leaf;
  return nullptr;
}

u64 MapEdit::room(u64 first) {
  if (run_count_ == kMaxRuns) return 0;
  u64 limit = layout::kDirectCount - first;
  if (first >= layout::kDirectCount) {
    if (leaves_[kLeaves - 1].open && leaf_of(first) == nullptr) return 0;
    limit = leaf_first_of(first) + layout::kPtrsPerNode - first;
  }
  // `count` pointers touch at most count / 7 + 2 lines.
  if (pointer_lines_ + 2 >= kPointerLines) return 0;
  return min_of<u64>(limit, u64{kPointerLines - 2 - pointer_lines_} * layout::kLineWords);
}

// The way to `leaf` ends at `depth`. If the first leaf's does so at the same place, they share its new nodes as far as
// their ways are one. Returns the depth of the first node that `leaf` needs for itself.
u32 MapEdit::join_other(Leaf& leaf, u32 depth) const {
  const Leaf& other = leaves_[0];
  if (&leaf == &other || other.missing == 0 || other.path.levels != leaf.path.levels) return depth;
  if (other.path.levels - other.missing != depth) return depth;
  u32 common = 0;
  while (common < leaf.path.levels && leaf.path.index[common] == other.path.index[common]) ++common;
  if (common < depth) return depth;
  leaf.below_other = true;
  leaf.other_depth = common;
  return common + 1;
}

// Finds the leaf for `first`, or takes what is missing on the way to it. Null for a direct pointer.
Result<MapEdit::Leaf*> MapEdit::open_leaf(u64 first) {
  if (first < layout::kDirectCount) return static_cast<Leaf*>(nullptr);
  if (Leaf* open = leaf_of(first)) return open;
  Leaf& leaf = leaves_[0].open ? leaves_[1] : leaves_[0];
  if (leaf.open) return Error(kEditFull);
  leaf.path = tree_path(first);
  PoolOff word = root_offset(attr_.ino, leaf.path.levels);
  BlockNo node{};
  u32 depth = 0;
  for (; depth < leaf.path.levels; ++depth) {
    u64 pointer = view_.load(word);
    if (!node_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer == 0) break;
    node = BlockNo{pointer};
    word = node_word_offset(node, leaf.path.index[depth]);
  }
  u32 own = join_other(leaf, depth);
  u32 missing = leaf.path.levels - own;
  if (lines_.left() < missing) return Error(kEditFull);
  for (u32 i = 0; i < missing; ++i) {
    auto taken = alloc::take_meta(tx_);
    if (!taken.ok()) return Error(taken.error() == ENOSPC ? kNodesMissed : taken.error());
    leaf.nodes[i] = taken.value();
    if (!lines_.add(leaf.nodes[i].block)) return Error(kErrnoCorrupt);
  }
  leaf.open = true;
  leaf.first = leaf_first_of(first);
  leaf.block = missing == 0 ? node : BlockNo{0};
  leaf.parent_word = word;
  leaf.missing = missing;
  attr_.blocks += missing;
  return &leaf;
}

Result<alloc::Extent> MapEdit::take(u64 first, u64 want, u64 total) {
  u64 limit = room(first);
  if (limit == 0) return Error(kEditFull);
  TRY(open_leaf(first));
  if (lines_.left() < kLinesOfTake) return Error(kEditFull);
  want = min_of(want, limit);
  if (goal_ == BlockNo{0} && first != 0) {
    MapCursor cursor(view_, attr_.ino);
    MapSpan before = TRY(cursor.find(first - 1));
    if (!before.hole()) goal_ = before.block() + 1;
  }
  // Large files get runs that start where huge pages do: the whole run is asked for, and what this Tx cannot map is
  // given back at once, to be found by the next one as what follows its goal.
  constexpr u64 kHuge = 512;
  bool aligned = first % kHuge == 0 && total >= kHuge;
  bool at_place = aligned && raw(goal_) % kHuge == 0 && goal_ != BlockNo{0};
  alloc::Extent extent = TRY(alloc::take_data(tx_, aligned ? kHuge : want, goal_, aligned && !at_place));
  if (!lines_.add(extent.start, extent.count)) return Error(kErrnoCorrupt);
  if (extent.count > want) {
    TRY(alloc::release_data(tx_, alloc::Extent{extent.start + want, extent.count - want}));
    extent.count = want;
  }
  attr_.blocks += extent.count;
  goal_ = extent.start + extent.count;
  return extent;
}

Result<void> MapEdit::give_back(alloc::Extent tail) {
  if (tail.count == 0) return {};
  attr_.blocks -= tail.count;
  goal_ = tail.start;
  return alloc::release_data(tx_, tail);
}

Result<void> MapEdit::release(BlockNo first, u64 count) {
  attr_.blocks -= count;
  return alloc::release_data(tx_, alloc::Extent{first, count});
}

Result<void> MapEdit::set(u64 first, u64 count, u64 pointer) {
  if (count == 0) return {};
  TRY(open_leaf(first));
  if (run_count_ != 0) {
    Run& last = runs_[run_count_ - 1];
    // A run does not cross from one node to the next.
    bool same_node = leaf_of(last.first) == leaf_of(first);
    if (same_node && last.first + last.count == first && last.pointer + last.count == pointer) {
      last.count += count;
      pointer_lines_ += static_cast<u32>(count / layout::kLineWords + 1);
      return {};
    }
  }
  if (run_count_ == kMaxRuns) return Error(kEditFull);
  runs_[run_count_++] = Run{first, count, pointer};
  pointer_lines_ += static_cast<u32>(count / layout::kLineWords + 2);
  return {};
}

// `run` is where the search goes on: callers ask in ascending order.
u64 MapEdit::pointer_at(u64 file_block, u32* run) const {
  while (*run < run_count_ && runs_[*run].first + runs_[*run].count <= file_block) ++*run;
  if (*run == run_count_ || runs_[*run].first > file_block) return 0;
  return runs_[*run].pointer + (file_block - runs_[*run].first);
}

void MapEdit::write_leaf(const Leaf& leaf) {
  u32 run = 0;
  const alloc::MetaBlock& node = leaf.nodes[leaf.missing - 1];
  journal::write_fresh_block(tx_, node.block, node.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    for (unsigned word = 0; word < layout::kLineWords; ++word)
      words[word] = pointer_at(leaf.first + line * layout::kLineWords + word, &run);
  });
}

// A new upper node: the next node of its own leaf, and the first one of the other if that hangs here.
void MapEdit::write_upper(const Leaf& leaf, u32 depth, const Leaf& other) {
  u32 place = depth - (leaf.path.levels - leaf.missing);
  const alloc::MetaBlock& node = leaf.nodes[place];
  auto put = [](unsigned line, u64(&words)[layout::kLineWords], u32 index, BlockNo child) {
    if (line == index / layout::kLineWords) words[index % layout::kLineWords] = raw(child);
  };
  bool second = other.open && other.below_other && other.other_depth == depth;
  journal::write_fresh_block(tx_, node.block, node.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    put(line, words, leaf.path.index[depth], leaf.nodes[place + 1].block);
    if (second) put(line, words, other.path.index[depth], other.nodes[0].block);
  });
}

void MapEdit::write_nodes(const Leaf& leaf, const Leaf& other) {
  if (leaf.missing == 0) return;
  for (u32 depth = leaf.path.levels - leaf.missing; depth + 1 < leaf.path.levels; ++depth) write_upper(leaf, depth, other);
  write_leaf(leaf);
  if (!leaf.below_other) tx_.store(leaf.parent_word, raw(leaf.nodes[0].block));
}

Result<void> MapEdit::finish() {
  write_nodes(leaves_[0], leaves_[1]);
  write_nodes(leaves_[1], leaves_[0]);
  for (u32 i = 0; i < run_count_; ++i) {
    const Run& run = runs_[i];
    const Leaf* leaf = leaf_of(run.first);
    if (leaf != nullptr && leaf->missing != 0) continue; // stands in the new leaf
    for (u64 block = 0; block < run.count; ++block) {
      u64 file_block = run.first + block;
      PoolOff word = leaf != nullptr ? node_word_offset(leaf->block, file_block - leaf->first)
                                     : map_word_offset(attr_.ino, static_cast<unsigned>(file_block));
      tx_.store(word, run.pointer + block);
    }
  }
  return {};
}

} // namespace pmemfile::data
