#include "shm/opens.h"

#include "shm/locks.h"
#include "shm/process.h"

namespace pmemfile::shm {
namespace {

constexpr unsigned kSpins = 200;

// The half of the lock word that waiters sleep on: x86 stores the low half first.
const void* futex_half(const u64& lock) { return &lock; }

} // namespace

bool in_use(const Segment& v, Ino ino) {
  return find_use(v, ino, [](u64&, u64) { return true; });
}

bool is_mapped(const Segment& v, Ino ino) {
  return find_use(v, ino, [](u64&, u64 value) { return (value & (kUseIsMapping | kClaimMark)) == kUseIsMapping || is_mapping_claim(value); });
}

u64* claim_use(Segment& v, VTx& tx, Ino ino, u32 description, bool mapping) {
  u64 value = use_word(ino, description, mapping), mark = use_claim(tx.slot(), pmemfile::raw(ino), mapping);
  u64 index = use_home(v, ino);
  for (u64 steps = 0; steps < v.header->use_group_count; ++steps) {
    UseGroup& group = use_group(v, index);
    // Threads begin at different words, so that they seldom want the same one.
    unsigned first = tx.slot() % kUsesPerGroup;
    for (unsigned i = 0; i < kUsesPerGroup; ++i) {
      u64& word = group.words[first + i < kUsesPerGroup ? first + i : first + i - kUsesPerGroup];
      if (tx.claim(word, value, mark)) return &word;
    }
    if (load_relaxed(group.passed) == 0) store_release(group.passed, u64{1});
    index = index + 1 == v.header->use_group_count ? 0 : index + 1;
  }
  return nullptr;
}

namespace {
// The slot of an operation that has announced this; null: there is none.
Slot* announcer(const Segment& v, Ino ino, SlotPhase phase) {
  u32 holder = load_acquire(v.stripe(inode_key(v, ino)).lock) & kLockSlotMask;
  if (PMEMFILE_LIKELY(holder == 0) || holder > v.header->slot_count) return nullptr;
  Slot& slot = v.slots[holder - 1];
  return load_acquire(slot.phase) == static_cast<u32>(phase) && load_acquire(slot.announced_ino) == pmemfile::raw(ino) ? &slot : nullptr;
}

void deny(const Segment& v, Ino ino, SlotPhase phase) {
  Slot* slot = announcer(v, ino, phase);
  if (PMEMFILE_LIKELY(slot == nullptr)) return;
  // Not that of the operation after it, perhaps: that one only plans once more.
  u32 announced = static_cast<u32>(phase);
  compare_exchange(slot->phase, announced, static_cast<u32>(SlotPhase::kDenied));
}
} // namespace

void deny_ending(const Segment& v, Ino ino) { deny(v, ino, SlotPhase::kEnding); }
void deny_moving(const Segment& v, Ino ino) { deny(v, ino, SlotPhase::kMoving); }
bool is_being_replaced(const Segment& v, Ino ino) { return announcer(v, ino, SlotPhase::kReplacing) != nullptr; }

LockList* find_lock_list(const Segment& v, Ino ino) {
  u64 next = load_acquire(lock_bucket(v, ino).first_plus_1);
  for (u64 steps = 0; next != 0 && steps < v.header->lock_list_count; ++steps) {
    LockList* list = lock_list_at(v, next - 1);
    if (list == nullptr) return nullptr;
    if (load_relaxed(list->ino) == pmemfile::raw(ino)) return list;
    next = load_acquire(list->next_plus_1);
  }
  return nullptr;
}

void lock_owned_slow(Segment& v, u64& lock, int segment_fd) {
  u64 self = pack(v.self);
  for (unsigned spin = 0; spin < kSpins; ++spin) {
    u64 nobody = 0;
    if (load_relaxed(lock) == 0 && compare_exchange(lock, nobody, self)) return;
    cpu_relax();
  }
  for (;;) {
    u64 word = load_acquire(lock);
    if (word == 0) {
      // Who has slept passes the wake-up on.
      if (compare_exchange(lock, word, self | kLockWaited)) return;
      continue;
    }
    if ((word & kLockWaited) == 0) {
      if (!compare_exchange(lock, word, word | kLockWaited)) continue;
      word |= kLockWaited;
    }
    if (futex_wait_at(futex_half(lock), static_cast<u32>(word), kLivenessCheckNs) == 0) continue;
    ProcessRef owner = unpack_process(word & ~u64{kLockWaited});
    if (owner == v.self || process_alive(v, segment_fd, owner)) continue;
    if (compare_exchange(lock, word, self | kLockWaited)) return;
  }
}

void wake_owned(u64& word) { futex_wake_at(futex_half(word), 1); }

} // namespace pmemfile::shm
