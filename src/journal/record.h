// Records as they stand in the areas of a slot: reading them safely.
//
// Rules: hook-safe, no state. A record may change while it is read (a reader of a live writer's record) or be
// hostile: everything is bounded here, and counts only if the caller's own validation says so.
#pragma once

#include "base/bits.h"
#include "journal/store.h"

namespace pmemfile::journal {

inline BlockNo area_block(const Store& store, u32 slot, u64 sequence) {
  return BlockNo{store.geometry.record_start_block + u64{slot} * layout::kRecordAreasPerSlot +
                 sequence % layout::kRecordAreasPerSlot};
}
inline const u64* area_words(const Store& store, u32 slot, u64 sequence) {
  return &store.medium.word(block_offset(area_block(store, slot, sequence)));
}

inline constexpr unsigned kHeaderWords = sizeof(layout::RecordHeader) / 8;
inline constexpr unsigned kAreaWords = layout::kRecordAreaBytes / 8;

// One line of a record.
struct RecordLine {
  u64 offset = 0; // of the line in the pool; not checked
  u64 mask = 0;
  u64 trailer = 0;
  const u64* words = nullptr; // popcount(mask) of them
  u64 version() const { return layout::trailer_version(trailer); }
};

// Walks the lines of a record, never past its area.
class RecordCursor {
 public:
  explicit RecordCursor(const u64* area)
      : area_(area), left_(load_relaxed(area[1]) >> 16 & 0xffff) {}
  bool next(RecordLine* line) {
    if (left_ == 0 || position_ + 2 > kAreaWords) return false;
    --left_;
    u64 where = load_relaxed(area_[position_]);
    line->mask = where & 0x7f;
    line->offset = (where >> 8) * layout::kLineBytes;
    line->trailer = load_relaxed(area_[position_ + 1]);
    line->words = area_ + position_ + 2;
    position_ += 2 + count_bits(line->mask);
    return position_ <= kAreaWords;
  }

 private:
  const u64* area_;
  u64 left_;
  unsigned position_ = kHeaderWords;
};

// Stores the words of `mask` (from a packed or a full array) and then the trailer; flushes the line.
void apply_line(const Store& store, u64 offset, u64 mask, const u64* words, bool packed, u64 trailer);
// Of a line that has been changed, if it is one of the bitmap.
void note_bitmap_change(const Store& store, u64 offset);

// Is there a record of this slot in the area, complete, undamaged and of the epoch in force? Its sequence, or 0.
u64 valid_record(const Store& store, u32 slot, const u64* area);

} // namespace pmemfile::journal
