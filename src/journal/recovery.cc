#include "journal/recovery.h"

#include "journal/record.h"
#include "journal/tx.h"

namespace pmemfile::journal {

namespace {

enum class LineState : u8 { kDone, kNext, kAhead, kImpossible };

// Where the line of the pool stands against the line of a record.
LineState compare(const Store& store, const RecordLine& line) {
  if (line.offset + layout::kLineBytes > store.medium.bytes ||
      line.offset < store.geometry.orphan_block * layout::kBlockBytes)
    return LineState::kImpossible;
  u64 found = layout::trailer_version(store.medium.word(PoolOff{line.offset + 8 * layout::kLineWords}));
  if (line.version() <= found) return LineState::kDone;
  return line.version() == found + 1 ? LineState::kNext : LineState::kAhead;
}

void apply_record_line(const Store& store, const RecordLine& line) {
  apply_line(store, line.offset, line.mask, line.words, true, line.trailer);
}

// One pass over all valid records: applies every line whose turn has come.
Result<bool> replay_pass(const Store& store, ReplayCount* count, bool* waiting) {
  bool progress = false;
  for (u32 slot = 0; slot < store.geometry.record_slot_count; ++slot) {
    for (u32 area = 0; area < layout::kRecordAreasPerSlot; ++area) {
      const u64* words = area_words(store, slot, area);
      u64 sequence = valid_record(store, slot, words);
      if (sequence == 0 || sequence % layout::kRecordAreasPerSlot != area) continue;
      ++count->records;
      RecordCursor cursor(words);
      RecordLine line;
      while (cursor.next(&line)) {
        switch (compare(store, line)) {
          case LineState::kDone: break;
          case LineState::kImpossible: return Error(kErrnoCorrupt);
          case LineState::kAhead: *waiting = true; break;
          case LineState::kNext:
            apply_record_line(store, line);
            ++count->lines;
            progress = true;
        }
      }
    }
  }
  return progress;
}

void void_area(const Store& store, u32 slot, u64 sequence) {
  PoolOff area = block_offset(area_block(store, slot, sequence));
  pmem::store_word(store.medium, area, 0);
  pmem::flush(store.medium, area, 8);
}

} // namespace

Result<ReplayCount> replay_all(const Store& store) {
  ReplayCount count;
  for (;;) {
    bool waiting = false;
    count.records = 0;
    bool progress = TRY(replay_pass(store, &count, &waiting));
    if (progress) continue;
    // A version that nobody's record leads up to: the chain is complete in every state a crash can leave.
    if (waiting) return Error(kErrnoCorrupt);
    break;
  }
  pmem::fence(store.medium);
  return count;
}

void repair_slot(Store& store, u32 slot_index) {
  shm::Slot& slot = store.segment.slots[slot_index];
  if (load_acquire(slot.phase) != static_cast<u32>(shm::SlotPhase::kApplying)) {
    // Nobody has seen anything of the operation: a record of it, whole or not, must never count. The record before
    // it goes too, and so its effects, which the dead thread may not have fenced, are made durable first.
    retire_slot(store, slot_index);
    return;
  }
  RecordCursor cursor(area_words(store, slot_index, slot.sequence));
  RecordLine line;
  while (cursor.next(&line)) {
    if (compare(store, line) == LineState::kNext)
      apply_record_line(store, line);
    else
      note_bitmap_change(store, line.offset); // it may have died between the one and the other
  }
  pmem::fence(store.medium);
}

void retire_slot(Store& store, u32 slot) {
  for (u32 area = 0; area < layout::kRecordAreasPerSlot; ++area) {
    const u64* words = area_words(store, slot, area);
    if (valid_record(store, slot, words) == 0) continue;
    RecordCursor cursor(words);
    RecordLine line;
    while (cursor.next(&line))
      if (line.offset < store.medium.bytes) pmem::flush(store.medium, PoolOff{line.offset}, layout::kLineBytes);
  }
  pmem::fence(store.medium);
  for (u32 area = 0; area < layout::kRecordAreasPerSlot; ++area) void_area(store, slot, area);
  pmem::fence(store.medium);
  shm::Slot& s = store.segment.slots[slot];
  store_release(s.retired, s.sequence);
}

} // namespace pmemfile::journal
