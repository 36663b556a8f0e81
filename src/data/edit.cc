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

u64 MapEdit::room(u64 first) const {
  if (run_count_ == kMaxRuns) return 0;
  u64 limit = layout::kDirectCount - first;
  if (first >= layout::kDirectCount) {
    u64 leaf_first = leaf_first_of(first);
    if (leaf_open_ && leaf_first != leaf_first_) return 0;
    limit = leaf_first + layout::kPtrsPerNode - first;
  }
  // `count` pointers touch at most count / 7 + 2 lines.
  if (pointer_lines_ + 2 >= kPointerLines) return 0;
  return min_of<u64>(limit, u64{kPointerLines - 2 - pointer_lines_} * layout::kLineWords);
}

// Finds the leaf for `first`, or takes what is missing on the way to it.
Result<void> MapEdit::open_leaf(u64 first) {
  if (leaf_open_ || first < layout::kDirectCount) return {};
  TreePath path = tree_path(first);
  PoolOff word = root_offset(attr_.ino, path.levels);
  BlockNo node{};
  u32 depth = 0;
  for (; depth < path.levels; ++depth) {
    u64 pointer = view_.load(word);
    if (!node_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer == 0) break;
    node = BlockNo{pointer};
    word = node_word_offset(node, path.index[depth]);
  }
  u32 missing = path.levels - depth;
  if (lines_.left() < missing) return Error(kEditFull);
  for (u32 i = 0; i < missing; ++i) {
    auto taken = alloc::take_meta(tx_);
    if (!taken.ok()) return Error(taken.error() == ENOSPC ? kNodesMissed : taken.error());
    nodes_[i] = taken.value();
    if (!lines_.add(nodes_[i].block)) return Error(kErrnoCorrupt);
  }
  leaf_open_ = true;
  leaf_first_ = leaf_first_of(first);
  leaf_ = missing == 0 ? node : BlockNo{0};
  path_ = path;
  parent_word_ = word;
  missing_ = missing;
  attr_.blocks += missing;
  return {};
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
    if (last.first + last.count == first && last.pointer + last.count == pointer) {
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

void MapEdit::write_leaf(BlockNo leaf, bool was_meta) {
  u32 run = 0;
  journal::write_fresh_block(tx_, leaf, was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    for (unsigned word = 0; word < layout::kLineWords; ++word)
      words[word] = pointer_at(leaf_first_ + line * layout::kLineWords + word, &run);
  });
}

void MapEdit::write_upper(alloc::MetaBlock node, u32 index, BlockNo child) {
  journal::write_fresh_block(tx_, node.block, node.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    if (line == index / layout::kLineWords) words[index % layout::kLineWords] = raw(child);
  });
}

Result<void> MapEdit::finish() {
  for (u32 i = 0; i < missing_; ++i) {
    bool is_leaf = i + 1 == missing_;
    if (is_leaf) {
      write_leaf(nodes_[i].block, nodes_[i].was_meta);
    } else {
      u32 depth = path_.levels - missing_ + i;
      write_upper(nodes_[i], path_.index[depth], nodes_[i + 1].block);
    }
  }
  if (missing_ != 0) tx_.store(parent_word_, raw(nodes_[0].block));
  for (u32 i = 0; i < run_count_; ++i) {
    const Run& run = runs_[i];
    for (u64 block = 0; block < run.count; ++block) {
      u64 file_block = run.first + block;
      if (file_block < layout::kDirectCount)
        tx_.store(map_word_offset(attr_.ino, static_cast<unsigned>(file_block)), run.pointer + block);
      else if (missing_ == 0)
        tx_.store(node_word_offset(leaf_, file_block - leaf_first_), run.pointer + block);
    }
  }
  return {};
}

} // namespace pmemfile::data
