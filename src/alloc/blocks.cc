// Taking and giving back blocks.
#include "alloc/alloc.h"
#include "alloc/bitmap.h"
#include "alloc/convert.h"
#include "shm/hints.h"

namespace pmemfile::alloc {
namespace {

using journal::Tx;

// A line may be busy for the length of an operation: allocation then goes on to the next line and comes back only
// when there is no other.
enum class Patience : u8 { kSkipBusy, kWait };

Result<bool> lock_line(Tx& tx, u64 line, Patience patience) {
  if (patience == Patience::kSkipBusy) return tx.try_lock(line_key(tx.store(), line));
  TRY(tx.lock(line_key(tx.store(), line)));
  return true;
}

u32 run_length(Bits free, u32 start, u32 limit) {
  u32 end = (~free).next(start);
  return min_of(end - start, limit);
}

void mark_data(Tx& tx, u64 line, u32 bit, u32 count) {
  Bits used = load_plane(tx.view(), line, layout::kPlaneUsed);
  store_plane(tx, line, layout::kPlaneUsed, used | Bits::range(bit, count));
}

// Lines a single call may stage: the caller's own words need room in the record, too.
constexpr u32 kLinesPerTake = 4;

// Takes a run that starts at `bit` of `line` (locked, free there) and goes on into following lines as far as they
// are free and not busy.
Extent take_run(Tx& tx, u64 line, u32 bit, u64 want) {
  const Store& store = tx.store();
  Extent extent{block_of(line, bit), 0};
  for (u32 taken_lines = 0; taken_lines < kLinesPerTake && extent.count < want; ++taken_lines, ++line, bit = 0) {
    if (line >= line_count(store)) break;
    if (taken_lines != 0 && !tx.try_lock(line_key(store, line))) break;
    Bits free = load_state(tx.view(), line).free();
    if (!free.test(bit)) break;
    u32 count = run_length(free, bit, static_cast<u32>(min_of<u64>(want - extent.count, 128)));
    mark_data(tx, line, bit, count);
    extent.count += count;
    if (bit + count < layout::kBlocksPerBitmapLine) break;
  }
  return extent;
}

Result<Extent> search_data(Tx& tx, u64 want, u64 start, u32 goal_bit, Patience patience) {
  Store& store = tx.store();
  Extent found;
  int error = 0;
  u32 first_bit = goal_bit;
  search_lines(store, start, 0, true, 1, [&](u64 line) {
    u32 from = first_bit;
    first_bit = 0;
    if (!load_state(tx.view(), line).free().any()) return found_nothing(tx, line);
    auto locked = lock_line(tx, line, patience);
    if (!locked.ok()) {
      error = locked.error();
      return Looked::kDone;
    }
    if (!locked.value()) return Looked::kSomething;
    Bits free = load_state(tx.view(), line).free();
    u32 bit = free.next(from);
    if (bit == 128) bit = free.next(0);
    if (bit == 128) return found_nothing(tx, line);
    found = take_run(tx, line, bit, want);
    return Looked::kDone;
  });
  if (error != 0) return Error(error);
  if (found.count == 0) return Error(ENOSPC);
  return found;
}

// A run of 512 blocks at a multiple of 512: four free lines in a row.
bool take_aligned(Tx& tx, u64 start, Extent* extent) {
  Store& store = tx.store();
  constexpr u32 kLines = 512 / layout::kBlocksPerBitmapLine;
  return search_lines(store, align_down(start, kLines), 0, true, 0, [&](u64 line) -> Looked {
    if (line % kLines != 0 || line + kLines > line_count(store)) return Looked::kNothing;
    for (u32 i = 0; i < kLines; ++i)
      if (!load_state(tx.view(), line + i).free().all()) return Looked::kNothing;
    for (u32 i = 0; i < kLines; ++i)
      if (!tx.try_lock(line_key(store, line + i)) || !load_state(tx.view(), line + i).free().all()) return Looked::kSomething;
    for (u32 i = 0; i < kLines; ++i) mark_data(tx, line + i, 0, 128);
    *extent = Extent{block_of(line, 0), 512};
    return Looked::kDone;
  });
}

// The first place where the users of this slot look, apart from where others do.
u64 first_cursor(const Store& store, u32 slot) {
  u64 eighth = line_count(store) / 8;
  return (store.segment.self.index_plus_1 + slot) % 8 * eighth;
}

Result<MetaBlock> search_meta(Tx& tx, u64 start, bool formatted, Patience patience) {
  MetaBlock found;
  int error = 0;
  u64 fact = formatted ? shm::kHintNoFormatted : 0;
  search_lines(tx.store(), start, fact, !formatted, formatted ? fact : 1, [&](u64 line) {
    auto candidates = [&] {
      LineState state = load_state(tx.view(), line);
      return formatted ? state.formatted() : state.free();
    };
    if (!candidates().any()) return found_nothing(tx, line);
    auto locked = lock_line(tx, line, patience);
    if (!locked.ok()) {
      error = locked.error();
      return Looked::kDone;
    }
    if (!locked.value()) return Looked::kSomething;
    u32 bit = candidates().next(0);
    if (bit == 128) return found_nothing(tx, line);
    Bits one = Bits::range(bit, 1);
    store_plane(tx, line, layout::kPlaneUsed, load_plane(tx.view(), line, layout::kPlaneUsed) | one);
    store_plane(tx, line, layout::kPlaneMeta, load_plane(tx.view(), line, layout::kPlaneMeta) | one);
    found = MetaBlock{block_of(line, bit), formatted};
    return Looked::kDone;
  });
  if (error != 0) return Error(error);
  if (found.block == BlockNo{0}) return Error(ENOSPC);
  return found;
}

Result<MetaBlock> take_meta(Tx& tx, Patience patience) {
  Store& store = tx.store();
  Store::Cursors& cursors = store.cursors(tx.slot());
  u64 cursor = load_relaxed(cursors.meta);
  u64 start = min_of(cursor == 0 ? first_cursor(store, tx.slot()) : cursor, line_count(store) - 1);
  auto result = search_meta(tx, start, true, patience);
  if (result.error() == ENOSPC) result = search_meta(tx, start, false, patience);
  MetaBlock block = TRY(result);
  store_relaxed(cursors.meta, line_of_block(block.block));
  return block;
}

Result<void> release(Tx& tx, u64 line, Bits blocks, bool meta) {
  TRY(tx.lock(line_key(tx.store(), line)));
  LineState state = load_state(tx.view(), line);
  Bits expected = meta ? state.used & state.meta : state.used & ~state.meta;
  // Freeing what is not allocated, or as what it is not, would damage a stranger's file.
  if ((blocks & ~expected).any()) return Error(kErrnoCorrupt);
  store_plane(tx, line, layout::kPlaneUsed, state.used & ~blocks);
  Bits inodes = load_plane(tx.view(), line, layout::kPlaneInodesFree);
  store_plane(tx, line, layout::kPlaneInodesFree, inodes & ~blocks);
  return {};
}

} // namespace

Result<Extent> take_data(Tx& tx, u64 want, BlockNo goal, bool aligned) {
  Store& store = tx.store();
  Store::Cursors& cursors = store.cursors(tx.slot());
  u64 cursor = load_relaxed(cursors.data);
  if (cursor == 0) cursor = first_cursor(store, tx.slot());
  bool has_goal = store.data_block(goal);
  u64 start = has_goal ? line_of_block(goal) : min_of(cursor, line_count(store) - 1);
  Extent extent;
  if (!(aligned && want >= 512 && take_aligned(tx, start, &extent))) {
    auto result = search_data(tx, want, start, has_goal ? bit_of_block(goal) : 0, Patience::kSkipBusy);
    if (result.error() == ENOSPC) result = search_data(tx, want, start, 0, Patience::kWait);
    if (result.error() == ENOSPC && may_convert(tx)) return tx.retry_after(convert_formatted);
    extent = TRY(result);
  }
  store_relaxed(cursors.data, line_of_block(extent.start));
  return extent;
}

Result<MetaBlock> take_meta(Tx& tx) {
  MetaBlock block = TRY(take_spare_meta(tx));
  return PMEMFILE_LIKELY(block.block != BlockNo{0}) ? Result<MetaBlock>(block) : take_meta(tx, Patience::kWait);
}

Result<MetaBlock> take_spare_meta(Tx& tx) {
  Result<MetaBlock> block = take_meta(tx, Patience::kSkipBusy);
  return block.error() == ENOSPC ? Result<MetaBlock>(MetaBlock{}) : block;
}

void untake_meta(Tx& tx, const MetaBlock& block) {
  u64 line = line_of_block(block.block);
  Bits one = Bits::range(bit_of_block(block.block), 1);
  store_plane(tx, line, layout::kPlaneUsed, load_plane(tx.view(), line, layout::kPlaneUsed) & ~one);
  if (!block.was_meta) store_plane(tx, line, layout::kPlaneMeta, load_plane(tx.view(), line, layout::kPlaneMeta) & ~one);
}

bool try_lock_to_release(Tx& tx, BlockNo block) {
  return tx.store().data_block(block) && tx.try_lock(line_key(tx.store(), line_of_block(block)));
}

Result<void> release_data(Tx& tx, Extent extent) {
  if (extent.count == 0) return {};
  // What was in use a moment ago is mapped and perhaps still cached: the next search begins there.
  u64& cursor = tx.store().cursors(tx.slot()).data;
  if (line_of_block(extent.start) < load_relaxed(cursor)) store_relaxed(cursor, max_of<u64>(line_of_block(extent.start), 1));
  if (!tx.store().data_blocks(extent.start, extent.count)) return Error(kErrnoCorrupt);
  u64 last_line = line_of_block(extent.start + (extent.count - 1));
  if (last_line - line_of_block(extent.start) + 1 > tx.lines_left()) return Error(journal::kRecordFull);
  while (extent.count != 0) {
    u32 bit = bit_of_block(extent.start);
    u64 count = min_of<u64>(extent.count, layout::kBlocksPerBitmapLine - bit);
    TRY(release(tx, line_of_block(extent.start), Bits::range(bit, static_cast<u32>(count)), false));
    extent = Extent{extent.start + count, extent.count - count};
  }
  return {};
}

Result<void> release_meta(Tx& tx, BlockNo block) {
  if (!tx.store().data_block(block)) return Error(kErrnoCorrupt);
  if (tx.lines_left() == 0) return Error(journal::kRecordFull);
  return release(tx, line_of_block(block), Bits::range(bit_of_block(block), 1), true);
}

SpaceCount count_space(const Store& store) {
  SpaceCount count;
  View view(store);
  count.total_blocks = store.geometry.block_count;
  for (u64 line = 0; line < line_count(store); ++line) {
    LineState state = load_state(view, line);
    count.free_blocks += state.unused().count();
  }
  return count;
}

bool has_free_blocks(Store& store, u64 count) {
  const shm::Segment& v = store.segment;
  View view(store);
  bool exact = shm::hints_exact(v, group_count(store));
  u64 free = 0, line = min_of(load_relaxed(store.cursors(shm::slot_hint(v)).data), line_count(store) - 1);
  // What is formatted, or stands before the cursor in its group, does not count; if that decides, all of it is looked at.
  for (u64 i = 0; i < group_count(store) && free < count; ++i) {
    u64 group = line / layout::kLinesPerBlock, end = min_of((group + 1) * layout::kLinesPerBlock, line_count(store));
    u64 hint = load_acquire(shm::hint_word(v, group)) & shm::kHintCountMask;
    if (exact && hint != 0 && i != 0) {
      free += hint - 1;
      line = end;
    }
    for (; line < end && free < count; ++line) free += load_state(view, line).free().count();
    if (line == line_count(store)) line = 0;
  }
  return free >= count || free_blocks(store) >= count;
}

u64 free_blocks(const Store& store) {
  const shm::Segment& v = store.segment;
  View view(store);
  bool exact = shm::hints_exact(v, group_count(store));
  u64 free = 0;
  for (u64 group = 0; group < group_count(store); ++group) {
    u64 hint = load_acquire(shm::hint_word(v, group));
    if (exact && (hint & shm::kHintCountMask) > 1) {
      free += (hint & shm::kHintCountMask) - 1;
      continue;
    }
    u64 in_group = 0, free_data = 0;
    u64 end = min_of((group + 1) * layout::kLinesPerBlock, line_count(store));
    for (u64 line = group * layout::kLinesPerBlock; line < end; ++line) {
      LineState state = load_state(view, line);
      in_group += state.unused().count();
      free_data += state.free().count();
    }
    // The count serves searches for free data blocks, too, so it is kept only where both mean the same.
    if (exact && in_group == free_data && (hint & shm::kHintCountMask) == 0)
      shm::learn_hint(v, group, hint, in_group + 1);
    free += in_group;
  }
  return free;
}

} // namespace pmemfile::alloc
