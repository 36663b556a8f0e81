#include "shm/vlog.h"

namespace pmemfile::shm {

// Behind somebody who may be stopped a slot is kept only with what is locked already.
void VTx::lock_slow(LockKey key) {
  while (!lock_stripe_for_a_while(v_, slot_, key, waiter_)) {
    const Slot& s = slot_ref();
    bool holds = s.vlog_count != 0;
    for (u32 i = 0; i < s.held_count; ++i) holds |= s.held[i] != 0;
    if (holds) return lock_stripe(v_, slot_, key, waiter_);
    wait_without_slot(key);
  }
}

void VTx::lock_slow(LockKey first, LockKey second) {
  while (!lock_stripe_for_a_while(v_, slot_, second, waiter_)) {
    release_all(v_, slot_);
    wait_without_slot(second);
    lock(first);
  }
}

void VTx::wait_without_slot(LockKey key) {
  release_slot(v_, slot_);
  wait_for_stripe(v_, key, waiter_);
  slot_ = take_slot(v_, slot_, waiter_);
}

void repair_vlog(Segment& v, u32 slot) {
  Slot& s = v.slots[slot];
  u32 count = min_of<u32>(load_acquire(s.vlog_count), kMaxVlogWords);
  bool committed = load_acquire(s.vlog_committed) == 1;
  auto each = [&](auto&& body) {
    for (u32 i = 0; i < count; ++i) {
      u64 offset = s.vlog[i].offset;
      if (offset % 8 == 0 && offset <= v.bytes - 8) body(*v.at<u64>(offset), s.vlog[i].value);
    }
  };
  if (committed) each([](u64& word, u64 value) { store_release(word, value); });
  store_release(s.vlog_committed, 0u);
  // What was claimed in vain, or is to be free. Not before the list is void: others may take it from here on.
  each([&](u64& word, u64) {
    if (is_claimed_by(load_acquire(word), slot)) store_release(word, u64{0});
  });
  store_release(s.vlog_count, 0u);
}

Ino begun_use(const Segment& v, u32 slot) {
  const Slot& s = v.slots[slot];
  if (load_acquire(s.vlog_committed) == 1) return Ino{};
  u32 count = min_of<u32>(load_acquire(s.vlog_count), kMaxVlogWords);
  for (u32 i = 0; i < count; ++i) {
    u64 offset = s.vlog[i].offset;
    if (offset % 8 != 0 || offset > v.bytes - 8) continue;
    u64 word = load_acquire(*v.at<u64>(offset));
    if ((word & kUseClaim) != 0 && is_claimed_by(word, slot)) return Ino{word & ((u64{1} << kUseClaimSlotShift) - 1)};
  }
  return Ino{};
}

} // namespace pmemfile::shm
