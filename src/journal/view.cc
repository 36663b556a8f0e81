#include "journal/view.h"

#include "journal/record.h"
#include "journal/tx.h"

namespace pmemfile::journal {

u64 View::load_slow(PoolOff offset) const {
  u64 line_offset = raw(line_of(offset));
  unsigned word = static_cast<unsigned>(raw(offset) % layout::kLineBytes / 8);
  if (tx_ != nullptr) {
    if (const StagedLine* staged = tx_->find_line(line_offset); staged != nullptr && word < layout::kLineWords)
      return staged->line.words[word];
  } else {
    RecordCursor cursor(overlay_);
    RecordLine line;
    while (cursor.next(&line)) {
      if (line.offset != line_offset) continue;
      if (word == layout::kLineWords) return line.trailer;
      if ((line.mask >> word & 1) == 0) break;
      return load_relaxed(line.words[count_bits(line.mask & ((u64{1} << word) - 1))]);
    }
  }
  return load_relaxed(store_->medium.word(offset));
}

__attribute__((noinline)) const u64* View::words_slow(PoolOff line, layout::Line& room) const {
  if (tx_ != nullptr) {
    const StagedLine* staged = tx_->find_line(raw(line));
    return staged != nullptr ? staged->line.words : &store_->medium.word(line);
  }
  room = load_line(line);
  return room.words;
}

layout::Line View::load_line(PoolOff offset) const {
  layout::Line line;
  PoolOff start = line_of(offset);
  for (unsigned i = 0; i < layout::kLineWords; ++i) line.words[i] = load(start + 8 * i);
  line.trailer = load(start + 8 * layout::kLineWords);
  return line;
}

void Reader::begin_slow() {
  const shm::Segment& v = store_.segment;
  const shm::Stripe& stripe = v.stripe(key_);
  // A writer changes one stripe for some hundred nanoseconds: give it that time when it keeps getting in the way.
  if (attempts_ > 4)
    for (u32 i = 0; i < min_of<u32>(attempts_, 64); ++i) cpu_relax();
  ++attempts_;
  for (;;) {
    writer_ = nullptr;
    view_.overlay_ = nullptr;
    view_.filter_ = nullptr;
    sequence_ = load_acquire(stripe.sequence);
    if ((sequence_ & 1) == 0) return;
    u32 holder = load_acquire(stripe.lock) & shm::kLockSlotMask;
    if (holder != 0 && holder <= v.header->slot_count) {
      const shm::Slot& slot = v.slots[holder - 1];
      if (load_acquire(slot.phase) != kApplying) {
        writer_ = &slot;
      } else {
        // Committed: the record stays as it is until the sequence is even again.
        view_.overlay_ = area_words(store_, holder - 1, load_acquire(slot.sequence));
        view_.filter_ = &View::kAllLines;
      }
      // What was found belongs together if the stripe is still in the same change.
      if (load_acquire(stripe.sequence) == sequence_) return;
    }
    cpu_relax();
  }
}

} // namespace pmemfile::journal
