// One line of the allocation bitmap, decoded. Private to the alloc room.
#pragma once

#include "base/bits.h"
#include "journal/tx.h"
#include "shm/hints.h"

namespace pmemfile::alloc {

using journal::Store;
using journal::View;

// 128 bits: what one plane says of the blocks of a line.
struct Bits {
  u64 low = 0, high = 0;

  Bits operator|(Bits o) const { return {low | o.low, high | o.high}; }
  Bits operator&(Bits o) const { return {low & o.low, high & o.high}; }
  Bits operator~() const { return {~low, ~high}; }
  bool any() const { return (low | high) != 0; }
  bool all() const { return (low & high) == ~u64{0}; }
  bool test(u32 bit) const { return ((bit < 64 ? low : high) >> (bit % 64) & 1) != 0; }
  u32 count() const { return count_bits(low) + count_bits(high); }
  // First set bit at or after `from`, 128 if none.
  u32 next(u32 from) const {
    if (from < 64 && (low >> from) != 0) return from + static_cast<u32>(std::countr_zero(low >> from));
    u32 shift = from < 64 ? 0 : from - 64;
    if (from >= 128 || (high >> shift) == 0) return 128;
    return 64 + shift + static_cast<u32>(std::countr_zero(high >> shift));
  }
  // Bits [start, start + count).
  static Bits range(u32 start, u32 count) {
    auto below = [](u32 n) { return n >= 64 ? ~u64{0} : (u64{1} << n) - 1; };
    auto half = [&](u32 base) {
      u32 first = start > base ? start - base : 0, last = start + count > base ? start + count - base : 0;
      return first >= 64 ? 0 : below(last) & ~below(first);
    };
    return {half(0), half(64)};
  }
};

inline u64 line_count(const Store& store) { return div_up(store.geometry.block_count, layout::kBlocksPerBitmapLine); }
inline u64 group_count(const Store& store) { return store.geometry.bitmap_block_count; }
inline u64 line_of_block(BlockNo block) { return raw(block) / layout::kBlocksPerBitmapLine; }
inline u32 bit_of_block(BlockNo block) { return static_cast<u32>(raw(block) % layout::kBlocksPerBitmapLine); }
inline BlockNo block_of(u64 line, u32 bit) { return BlockNo{line * layout::kBlocksPerBitmapLine + bit}; }

inline PoolOff bitmap_offset(const Store& store, u64 line) {
  return journal::block_offset(BlockNo{store.geometry.bitmap_start_block}) + line * layout::kLineBytes;
}
inline Bits load_plane(const View& view, u64 line, unsigned plane) {
  PoolOff at = bitmap_offset(view.store(), line) + 8 * plane;
  return {view.load(at), view.load(at + 8)};
}
inline void store_plane(journal::Tx& tx, u64 line, unsigned plane, Bits bits) {
  PoolOff at = bitmap_offset(tx.store(), line) + 8 * plane;
  tx.store(at, bits.low);
  tx.store(at + 8, bits.high);
}
inline shm::LockKey line_key(const Store& store, u64 line) { return shm::bitmap_key(store.segment, line); }

// The blocks of a line that are there to be taken: not those of the fixed regions, nor those beyond the end, whatever a damaged
// bitmap says of them.
inline Bits allocatable(const Store& store, u64 line) {
  u64 start = line * layout::kBlocksPerBitmapLine;
  auto clip = [&](u64 block) { return static_cast<u32>(block <= start ? 0 : min_of<u64>(block - start, layout::kBlocksPerBitmapLine)); };
  u32 first = clip(store.geometry.data_start_block), end = clip(store.geometry.block_count);
  return Bits::range(first, end - first);
}

struct LineState {
  Bits used, meta, allocatable;
  Bits unused() const { return ~used & allocatable; }
  Bits free() const { return unused() & ~meta; }
  Bits formatted() const { return unused() & meta; }
};
inline LineState load_state(const View& view, u64 line) {
  return {load_plane(view, line, layout::kPlaneUsed), load_plane(view, line, layout::kPlaneMeta), allocatable(view.store(), line)};
}

// What a search sees in a line.
enum class Looked : u8 {
  kNothing,
  kSomething, // which could not be had now
  kDone,
};

// Of a line in which nothing was found: what this Tx has taken there is there again if it is abandoned.
inline Looked found_nothing(journal::Tx& tx, u64 line) {
  return PMEMFILE_UNLIKELY(tx.stages(bitmap_offset(tx.store(), line))) ? Looked::kSomething : Looked::kNothing;
}

// Goes through all lines once, starting at `start` and skipping groups whose hint carries one of `skip_facts` (or, if
// `count_matters`, a known free count of 0), until `visit(line)` says kDone. Facts are learned for groups in which it said
// kNothing of every line.
template <class Visit>
bool search_lines(const Store& store, u64 start, u64 skip_facts, bool count_matters, u64 learn, Visit&& visit) {
  const shm::Segment& v = store.segment;
  u64 lines = line_count(store), groups = group_count(store);
  bool exact = shm::hints_exact(v, groups);
  u64 group = start / layout::kLinesPerBlock;
  u64 first = start;
  // The first group is searched from `start`, and again whole at the end.
  for (u64 round = 0; round <= groups; ++round, group = group + 1 == groups ? 0 : group + 1) {
    u64 begin = round == 0 ? first : group * layout::kLinesPerBlock;
    u64 end = min_of((group + 1) * layout::kLinesPerBlock, lines);
    u64 hint = load_acquire(shm::hint_word(v, group));
    bool known_full = count_matters && (hint & shm::kHintCountMask) == 1;
    if (exact && ((hint & skip_facts) != 0 || known_full)) continue;
    bool nothing = true;
    for (u64 line = begin; line < end; ++line) {
      Looked looked = visit(line);
      if (looked == Looked::kDone) return true;
      nothing &= looked == Looked::kNothing;
    }
    if (exact && nothing && begin == group * layout::kLinesPerBlock) shm::learn_hint(v, group, hint, learn);
  }
  return false;
}

} // namespace pmemfile::alloc
