#include "alloc/convert.h"

#include "alloc/bitmap.h"
#include "journal/record.h"
#include "journal/recovery.h"
#include "shm/hints.h"
#include "shm/process.h"

namespace pmemfile::alloc {
namespace {

using journal::Tx;

// Bitmap lines a conversion changes: bounded by what it may lock.
constexpr u32 kConvertLines = 16;

struct Candidate {
  u64 line = 0;
  u64 version = 0;
};

u64 version_of(const Store& store, u64 line) {
  return layout::trailer_version(View(store).load(bitmap_offset(store, line) + 56));
}

u32 find_candidates(const Store& store, Candidate (&found)[kConvertLines]) {
  u32 count = 0;
  View view(store);
  search_lines(store, 0, shm::kHintNoFormatted, false, 0, [&](u64 line) {
    u64 version = version_of(store, line);
    acquire_fence();
    if (count != 0 && line == found[0].line) return Looked::kDone; // round once
    if (load_state(view, line).formatted().any()) found[count++] = Candidate{line, version};
    return count == kConvertLines ? Looked::kDone : Looked::kNothing;
  });
  return count;
}

bool take_if_idle(shm::Segment& v, u32 slot) {
  u64 nobody = 0;
  return compare_exchange(v.slots[slot].owner, nobody, shm::pack(v.self));
}

// Waits until no record of the slot that was there at `start` counts: an idle one is retired here; in a busy one both areas
// have to be written anew, or it has to become idle. Gives up after a while.
bool retire_other(Store& store, u32 index, u64 start) {
  shm::Segment& v = store.segment;
  shm::Slot& slot = v.slots[index];
  for (u32 spins = 0; spins < 100000; ++spins) {
    if (take_if_idle(v, index)) {
      journal::retire_slot(store, index);
      shm::release_slot(v, index);
      return true;
    }
    // Its owner may be converting, too, and be waiting for ours.
    if (load_acquire(slot.retired) >= start) return true;
    if (load_acquire(slot.sequence) >= start + layout::kRecordAreasPerSlot) return true;
    cpu_relax();
  }
  return false;
}

// Do the records that the slot has, both of them whole, leave the candidates alone? Then nothing has to be waited for: a record that its owner writes
// meanwhile names a free block only if its line of the bitmap changes, which is looked at last.
bool concerns_none(const Store& store, u32 index, const Candidate (&candidates)[kConvertLines], u32 count) {
  const shm::Slot& slot = store.segment.slots[index];
  u64 sequence = load_acquire(slot.sequence), retired = load_acquire(slot.retired);
  for (u64 one : {sequence, sequence - 1}) {
    if (one == 0 || one <= retired || one > sequence) continue;
    const u64* area = journal::area_words(store, index, one);
    if (journal::valid_record(store, index, area) != one) return false;
    journal::RecordCursor cursor(area);
    for (journal::RecordLine line; cursor.next(&line);) {
      u64 block = line.offset / layout::kBlockBytes;
      for (u32 i = 0; i < count; ++i) {
        u64 bit = block - candidates[i].line * layout::kBlocksPerBitmapLine;
        if (bit < layout::kBlocksPerBitmapLine && load_state(View(store), candidates[i].line).formatted().test(static_cast<u32>(bit))) return false;
      }
    }
  }
  acquire_fence();
  return load_relaxed(slot.sequence) == sequence;
}

bool repair_if_dead(Store& store, u32 index) {
  shm::ProcessRef owner = shm::unpack_process(load_acquire(store.segment.slots[index].owner));
  if (owner.index_plus_1 == 0) return true;
  if (owner == store.segment.self || shm::process_alive(store.segment, store.waiter.segment_fd, owner)) return false;
  store.waiter.repair(store.waiter.context, owner);
  return true;
}

// No record that existed at the call names a line of the candidates afterwards. Gives up on a stopped owner.
bool retire_all(Store& store, u32 own_slot, const Candidate (&candidates)[kConvertLines], u32 count) {
  journal::retire_slot(store, own_slot);
  const shm::Segment& v = store.segment;
  for (u32 i = 0; i < v.header->slot_count; ++i) {
    if (i == own_slot) continue;
    u64 start = load_acquire(v.slots[i].sequence);
    if (load_acquire(v.slots[i].owner) != 0 && concerns_none(store, i, candidates, count)) continue;
    if (!retire_other(store, i, start) && !(repair_if_dead(store, i) && retire_other(store, i, start))) return false;
  }
  return true;
}

} // namespace

bool may_convert(Tx& tx) {
  Candidate found[kConvertLines];
  return find_candidates(tx.store(), found) != 0;
}

Result<void> convert_formatted(Tx& tx) {
  Store& store = tx.store();
  Candidate found[kConvertLines];
  u32 count = find_candidates(store, found);
  if (count == 0 || !retire_all(store, tx.slot(), found, count)) return Error(ENOSPC);
  u32 gained = 0;
  for (u32 i = 0; i < count; ++i) {
    u64 line = found[i].line;
    if (!tx.try_lock(line_key(store, line))) continue;
    // An unchanged line: none of its free blocks was in use since before the records were retired.
    if (version_of(store, line) != found[i].version) continue;
    LineState state = load_state(tx.view(), line);
    gained += state.formatted().count();
    store_plane(tx, line, layout::kPlaneMeta, state.meta & state.used);
  }
  TRY(tx.commit());
  if (gained == 0) return Error(ENOSPC);
  return {};
}

} // namespace pmemfile::alloc
