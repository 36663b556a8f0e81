// Moving what a file maps to an inode without a name, from where whoever looks for orphans frees it.

#include "data/free.h"

#include "data/map.h"

namespace pmemfile::data {

namespace {

// The body of one Tx: whole trees, direct pointers, and a stretch of pointers of one node that stays where it is.
class Leaver {
 public:
  Leaver(journal::Tx& tx, inode::Attr& attr, u64 low, u64 high)
      : tx_(tx), attr_(attr), view_(tx.store()), bound_(tx.store()), low_(low), high_(high) {}

  Result<bool> run();

 private:
  Result<void> choose();
  Result<void> choose_in(BlockNo node, unsigned level, u64 first);
  Result<void> choose_in_child(BlockNo node, unsigned level, u64 first, u64 index);
  Result<void> count(unsigned level, u64 pointer);
  void move_word(PoolOff from, PoolOff to);
  void move_stretch(Ino holder, const alloc::MetaBlock& node);
  bool covers_all() const { return low_ == 0 && high_ >= layout::kMaxFileBlocks; }
  u64 direct_end() const { return min_of<u64>(high_, layout::kDirectCount); }

  // Of the record, for what is cleared in the node; both inodes, an orphan list and the bitmap need some 15 of 56.
  static constexpr u64 kClearedLines = 30;

  journal::Tx& tx_;
  inode::Attr& attr_;
  journal::View view_;
  WalkBound bound_;
  u64 low_, high_;
  u32 trees_ = 0; // bit L: the tree of L levels
  bool any_direct_ = false;
  BlockNo node_{};
  unsigned level_ = 0;
  u64 begin_ = 0, end_ = 0;
  u64 blocks_ = 0; // in all that moves
};

// The blocks below a pointer, with the one that it names.
Result<void> Leaver::count(unsigned level, u64 pointer) {
  if (!(level == 0 ? leaf_pointer_ok(tx_.store(), pointer) : node_pointer_ok(tx_.store(), pointer))) return Error(kErrnoCorrupt);
  if (pointer == 0 || covers_all()) return {};
  TRY(bound_.step());
  ++blocks_;
  for (u64 index = 0; level != 0 && index < layout::kPtrsPerNode; ++index)
    TRY(count(level - 1, view_.load(node_word_offset(BlockNo{pointer}, index))));
  return {};
}

Result<void> Leaver::choose_in_child(BlockNo node, unsigned level, u64 first, u64 index) {
  u64 pointer = view_.load(node_word_offset(node, index));
  if (!node_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
  return pointer == 0 ? Result<void>() : choose_in(BlockNo{pointer}, level - 1, first + index * kSpanOfLevel[level - 1]);
}

// The range covers a part of what is below this node: its children that lie in it whole, from the end, or some below one of those two that do
// in part.
Result<void> Leaver::choose_in(BlockNo node, unsigned level, u64 first) {
  u64 span = kSpanOfLevel[level - 1];
  u64 low = max_of(low_, first) - first, high = min_of(high_ - first, kSpanOfLevel[level]);
  u64 begin = div_up(low, span), end = high / span;
  while (end > begin && view_.load(node_word_offset(node, end - 1)) == 0) --end;
  if (end > begin) {
    u64 lines = (end - 1) / layout::kLineWords + 1;
    if (lines > kClearedLines) begin = max_of(begin, (lines - kClearedLines) * layout::kLineWords);
    for (u64 index = begin; index < end; ++index) TRY(count(level - 1, view_.load(node_word_offset(node, index))));
    node_ = node;
    level_ = level;
    begin_ = begin;
    end_ = end;
    return {};
  }
  if (high % span != 0) TRY(choose_in_child(node, level, first, high / span));
  if (node_ == BlockNo{0} && low % span != 0 && low / span != high / span) TRY(choose_in_child(node, level, first, low / span));
  return {};
}

Result<void> Leaver::choose() {
  for (unsigned level = layout::kTreeCount; level >= 1; --level) {
    u64 first = tree_first(level), pointer = view_.load(root_offset(attr_.ino, level));
    if (!node_pointer_ok(tx_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer == 0 || first + kSpanOfLevel[level] <= low_ || first >= high_) continue;
    if (low_ <= first && first + kSpanOfLevel[level] <= high_) {
      // The node chosen takes the place of a tree of its level: one of both.
      if (node_ != BlockNo{0} && level_ == level) continue;
      trees_ |= 1u << level;
      TRY(count(level, pointer));
    } else if (node_ == BlockNo{0}) {
      TRY(choose_in(BlockNo{pointer}, level, first));
    }
  }
  for (u64 index = low_; index < direct_end(); ++index) {
    u64 pointer = view_.load(map_word_offset(attr_.ino, static_cast<unsigned>(index)));
    any_direct_ |= pointer != 0;
    TRY(count(0, pointer));
  }
  return {};
}

void Leaver::move_word(PoolOff from, PoolOff to) {
  tx_.store(to, view_.load(from));
  tx_.store(from, 0);
}

// The same places of a node of the holder's that is all new.
void Leaver::move_stretch(Ino holder, const alloc::MetaBlock& node) {
  journal::write_fresh_block(tx_, node.block, node.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    for (unsigned word = 0; word < layout::kLineWords; ++word) {
      u64 index = u64{line} * layout::kLineWords + word;
      words[word] = begin_ <= index && index < end_ ? view_.load(node_word_offset(node_, index)) : 0;
    }
  });
  tx_.store(root_offset(holder, level_), raw(node.block));
  for (u64 index = begin_; index < end_; ++index)
    if (PoolOff word = node_word_offset(node_, index); view_.load(word) != 0) tx_.store(word, 0);
}

Result<bool> Leaver::run() {
  TRY(choose());
  bool in_part = node_ != BlockNo{0};
  if (trees_ == 0 && !any_direct_ && !in_part) return true;
  alloc::MetaBlock node;
  if (in_part) {
    node = TRY(alloc::take_spare_meta(tx_));
    if (node.block == BlockNo{0}) return Error(EAGAIN);
  }
  inode::Attr holder = TRY(inode::create_holder(tx_, attr_.ino));
  if (holder.ino == Ino{0}) {
    if (in_part) alloc::untake_meta(tx_, node);
    return Error(EAGAIN);
  }
  u64 moved = covers_all() ? attr_.blocks : blocks_;
  attr_.blocks -= min_of(moved, attr_.blocks);
  holder.blocks = moved + (in_part ? 1 : 0);
  holder.size = min_of(high_, layout::kMaxFileBlocks) * layout::kBlockBytes;
  inode::store_mode(tx_, holder);
  inode::store_size(tx_, holder);
  for (unsigned level = 1; level <= layout::kTreeCount; ++level)
    if ((trees_ & 1u << level) != 0) move_word(root_offset(attr_.ino, level), root_offset(holder.ino, level));
  for (u64 index = low_; index < direct_end(); ++index)
    move_word(map_word_offset(attr_.ino, static_cast<unsigned>(index)), map_word_offset(holder.ino, static_cast<unsigned>(index)));
  if (in_part) move_stretch(holder.ino, node);
  inode::store_size(tx_, attr_);
  return !in_part;
}

} // namespace

Result<bool> free_part(journal::Tx& tx, inode::Attr& attr, u64 low, u64 high, Beside beside) {
  if (PMEMFILE_UNLIKELY(tx.leaves()) && beside == Beside::kLeave) return Leaver(tx, attr, low, high).run();
  if (beside == Beside::kLeave) tx.hurry(journal::Tx::Hurry::kOrLeave);
  Freer freer(tx, attr, low, high);
  bool all = TRY(freer.run());
  if (beside == Beside::kLeave) tx.hurry(journal::Tx::Hurry::kNo);
  // A step that does nothing would be repeated for ever.
  if (!all && !freer.any()) return Error(kErrnoCorrupt);
  inode::store_size(tx, attr);
  return all;
}

} // namespace pmemfile::data
