#include "data/rotate.h"

#include "data/free.h"

namespace pmemfile::data {

namespace {

constexpr u64 kBlock = layout::kBlockBytes;

// Makes file block n of [begin, end) what begin + (n - begin + shift) mod (end - begin) was.
class Rotation {
 public:
  Rotation(journal::Tx& tx, inode::Attr& attr, Beside beside, u64 begin, u64 end, u64 shift)
      : tx_(tx), attr_(attr), view_(tx.store()), cursor_(view_, attr.ino), beside_(beside), begin_(begin), end_(end), shift_(shift) {}

  // EAGAIN: more nodes are left behind, where somebody stopped keeps them from being freed, than one record can leave to inodes without names.
  Result<void> run();

 private:
  bool touches(u64 first, u64 count) const { return first < end_ && begin_ < first + count; }
  u64 source(u64 n) const {
    if (n < begin_ || n >= end_) return n;
    u64 to_end = end_ - begin_ - shift_; // so many come from behind the shift, the rest from the front
    return n - begin_ < to_end ? n + shift_ : n - to_end;
  }
  Result<u64> load_source(u64 n) { return TRY(cursor_.find(source(n))).pointer; }
  Result<bool> mapped(u64 first, u64 count);
  Result<bool> mapped_afterwards(u64 first, u64 count);
  Result<u64> child_word(unsigned level, u64 first, BlockNo old, u64 index);
  Result<u64> rebuild(unsigned level, u64 first, u64 old);
  Result<void> release_old(unsigned level, u64 first, u64 old);

  journal::Tx& tx_;
  inode::Attr& attr_;
  journal::View view_;
  MapCursor cursor_;
  BitmapLines lines_;
  Beside beside_;
  u64 begin_, end_, shift_;
};

// Is any of these blocks mapped now?
Result<bool> Rotation::mapped(u64 first, u64 count) {
  WalkBound bound(tx_.store());
  while (count != 0) {
    TRY(bound.step());
    MapSpan span = TRY(cursor_.span(first, count));
    if (!span.hole()) return true;
    first += span.count;
    count -= span.count;
  }
  return false;
}

// Will any of them be? Sources follow each other but for the ends of the stretch and the place where it wraps.
Result<bool> Rotation::mapped_afterwards(u64 first, u64 count) {
  const u64 cuts[] = {begin_, end_ - shift_, end_, first + count};
  u64 at = first;
  for (u64 cut : cuts) {
    u64 stop = min_of(cut, first + count);
    if (stop <= at) continue;
    if (TRY(mapped(source(at), stop - at))) return true;
    at = stop;
  }
  return false;
}

Result<u64> Rotation::child_word(unsigned level, u64 first, BlockNo old, u64 index) {
  if (level == 1) return load_source(first + index);
  u64 child = old == BlockNo{0} ? 0 : view_.load(node_word_offset(old, index));
  return rebuild(level - 1, first + index * kSpanOfLevel[level - 1], child);
}

// Writes the subtree anew where it changes; returns the pointer to it. The old nodes still stand.
Result<u64> Rotation::rebuild(unsigned level, u64 first, u64 old) {
  if (!node_pointer_ok(tx_.store(), old)) return Error(kErrnoCorrupt);
  if (!touches(first, kSpanOfLevel[level])) return old;
  // An empty subtree is left away, unless empty nodes below it that do not move would be lost.
  bool moves_whole = begin_ <= first && first + kSpanOfLevel[level] <= end_;
  if ((old == 0 || moves_whole) && !TRY(mapped_afterwards(first, kSpanOfLevel[level]))) return u64{0};
  alloc::MetaBlock node = TRY(alloc::take_meta(tx_));
  if (!lines_.add(node.block)) return Error(EOPNOTSUPP);
  ++attr_.blocks;
  int error = 0;
  journal::write_fresh_block(tx_, node.block, node.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    for (unsigned word = 0; word < layout::kLineWords && error == 0; ++word) {
      auto child = child_word(level, first, BlockNo{old}, line * layout::kLineWords + word);
      error = child.error();
      if (child.ok()) words[word] = child.value();
    }
  });
  if (error != 0) return Error(error);
  return raw(node.block);
}

// Frees the nodes that were written anew: after the last take, which must not find them.
Result<void> Rotation::release_old(unsigned level, u64 first, u64 old) {
  if (old == 0 || !touches(first, kSpanOfLevel[level])) return {};
  if (!node_pointer_ok(tx_.store(), old)) return Error(kErrnoCorrupt);
  if (!lines_.add(BlockNo{old})) return Error(EOPNOTSUPP);
  Result<void> released = beside_ == Beside::kLeave ? inode::release_or_leave(tx_, BlockNo{old}, attr_.ino) : alloc::release_meta(tx_, BlockNo{old});
  if (PMEMFILE_UNLIKELY(released.error() == journal::kRecordFull) && tx_.leaves()) return Error(EAGAIN);
  TRY(std::move(released));
  attr_.blocks -= min_of<u64>(1, attr_.blocks);
  for (u64 index = 0; level > 1 && index < layout::kPtrsPerNode; ++index)
    TRY(release_old(level - 1, first + index * kSpanOfLevel[level - 1], view_.load(node_word_offset(BlockNo{old}, index))));
  return {};
}

Result<void> Rotation::run() {
  for (unsigned index = 0; index < layout::kDirectCount; ++index)
    if (touches(index, 1)) tx_.store(map_word_offset(attr_.ino, index), TRY(load_source(index)));
  for (unsigned level = 1; level <= layout::kTreeCount; ++level) {
    if (!touches(tree_first(level), kSpanOfLevel[level])) continue;
    PoolOff word = root_offset(attr_.ino, level);
    tx_.store(word, TRY(rebuild(level, tree_first(level), view_.load(word))));
  }
  for (unsigned level = 1; level <= layout::kTreeCount; ++level)
    TRY(release_old(level, tree_first(level), view_.load(root_offset(attr_.ino, level))));
  return {};
}

Result<inode::Attr> lock_exclusively(journal::Tx& tx, Ino ino) {
  shm::LockKey key = shm::inode_key(tx.store().segment, ino);
  TRY(tx.lock(key));
  inode::Attr attr = TRY(load_locked(tx, ino));
  TRY(tx.exclude_overwriters(key));
  return attr;
}

Result<void> commit_size(journal::Tx& tx, inode::Attr& attr, u64 size) {
  attr.size = size;
  attr.mtime_ns = attr.ctime_ns = inode::now_ns();
  inode::store_size(tx, attr);
  inode::store_times(tx, attr);
  TRY(tx.commit());
  if (PMEMFILE_UNLIKELY(tx.leaves())) inode::forget_orphan(tx.store());
  return {};
}

} // namespace

Result<void> collapse_range(journal::Store& store, Ino ino, u64 offset, u64 bytes) {
  if ((offset | bytes) % kBlock != 0) return Error(EINVAL);
  bool rest = TRY(leave_or_wait([&](Beside beside) {
    return run_in_order(store, ino, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<bool> {
      inode::Attr attr = TRY(lock_exclusively(tx, ino));
      if (offset + bytes >= attr.size) return Error(EINVAL);
      if (!may_move_blocks(tx, ino)) return Error(EOPNOTSUPP);
      bool any = attr.blocks != 0;
      if (any) {
        TRY(Rotation(tx, attr, beside, offset / kBlock, div_up(attr.size, kBlock), bytes / kBlock).run());
        // From here on the collapsed blocks are what a shrinking leaves to be freed.
        attr.flags = static_cast<u16>((attr.flags | layout::kFlagTruncating) & ~layout::kFlagBeyondEof);
        TRY(inode::add_orphan(tx, attr));
        inode::store_mode(tx, attr);
      }
      TRY(commit_size(tx, attr, attr.size - bytes));
      return any;
    });
  }));
  return rest ? finish_or_leave(store, ino) : Result<void>();
}

Result<void> insert_range(journal::Store& store, Ino ino, u64 offset, u64 bytes) {
  if ((offset | bytes) % kBlock != 0) return Error(EINVAL);
  return leave_or_wait([&](Beside beside) {
    return run_in_order(store, ino, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<void> {
      inode::Attr attr = TRY(lock_exclusively(tx, ino));
      if (offset >= attr.size) return Error(EINVAL);
      if (bytes > layout::kMaxFileBytes - attr.size) return Error(EFBIG);
      if (!may_move_blocks(tx, ino)) return Error(EOPNOTSUPP);
      if (attr.blocks != 0) {
        // Blocks behind the end come to stand in the inserted range and have to read as zeros there.
        u64 end = div_up(attr.size, kBlock) + bytes / kBlock;
        if (end > layout::kMaxFileBlocks) return Error(EFBIG);
        if (TRY(zero_gap(store, attr, end * kBlock))) tx.note_fresh_data();
        u64 begin = offset / kBlock;
        TRY(Rotation(tx, attr, beside, begin, end, end - begin - bytes / kBlock).run());
      }
      return commit_size(tx, attr, attr.size + bytes);
    });
  });
}

} // namespace pmemfile::data
