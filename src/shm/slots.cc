#include "shm/slots.h"

#include "shm/process.h"

namespace pmemfile::shm {
namespace {

// Tries that are cheaper than going to sleep: the holder usually needs less than a microsecond.
constexpr unsigned kSpins = 60;

u32 find_idle_slot(Segment& v, u32 hint) {
  u32 count = static_cast<u32>(v.header->slot_count);
  u32 slot = hint % count;
  for (u32 i = 0; i < count; ++i) {
    u64 nobody = 0;
    if (load_relaxed(v.slots[slot].owner) == 0 && compare_exchange(v.slots[slot].owner, nobody, pack(v.self)))
      return slot;
    slot = slot + 1 == count ? 0 : slot + 1;
  }
  return count;
}

void repair_if_dead(const Segment& v, u64 owner, const Waiter& waiter) {
  ProcessRef ref = unpack_process(owner);
  if (ref.index_plus_1 == 0 || ref == v.self || waiter.repair == nullptr) return;
  if (!process_alive(v, waiter.segment_fd, ref)) waiter.repair(waiter.context, ref);
}

// Says at the lock, which was seen as `word`, that somebody sleeps, and does. False: nobody woke us, and a dead holder has been repaired.
bool sleeps_until_woken(Segment& v, u32& lock, u32 word, const Waiter& waiter) {
  if ((word & kLockWaited) == 0) {
    if (!compare_exchange(lock, word, word | kLockWaited)) return true;
    word |= kLockWaited;
  }
  // Interrupted by a signal counts as timed out: a timer that is faster would put off the question for ever.
  if (futex_wait(lock, word, kLivenessCheckNs) == 0) return true;
  u32 holder = load_acquire(lock) & kLockSlotMask;
  if (holder != 0 && holder <= v.header->slot_count) repair_if_dead(v, load_acquire(v.slots[holder - 1].owner), waiter);
  return false;
}

// One question a process: neighbouring slots of one owner are asked about once.
void repair_dead_slot_owners(Segment& v, const Waiter& waiter) {
  u64 asked = 0;
  for (u64 i = 0; i < v.header->slot_count; ++i) {
    u64 owner = load_acquire(v.slots[i].owner);
    if (owner == 0 || owner == asked) continue;
    asked = owner;
    repair_if_dead(v, owner, waiter);
  }
}

} // namespace

u32 take_slot_slow(Segment& v, u32 hint, const Waiter& waiter) {
  u32 count = static_cast<u32>(v.header->slot_count);
  u32& waited = v.header->slots_waited;
  for (;;) {
    u32 slot = find_idle_slot(v, hint);
    if (PMEMFILE_LIKELY(slot != count)) return slot;
    // Announced before the last look, so that a release after that look wakes us.
    store_full(waited, 1u);
    slot = find_idle_slot(v, hint);
    if (slot != count) return slot;
    // Interrupted by signals, it might never sleep its time out.
    if (futex_wait(waited, 1, kLivenessCheckNs) != 0) repair_dead_slot_owners(v, waiter);
  }
}

bool lock_stripe_slow(Segment& v, u32 slot, LockKey key, const Waiter& waiter, bool for_a_while) {
  constexpr unsigned kPatience = 2; // sleeps that nobody ends
  u32& lock = v.stripe(key).lock;
  for (unsigned spin = 0; spin < kSpins; ++spin) {
    if (load_relaxed(lock) == 0 && detail::acquire_free(v.stripe(key), slot)) return true;
    cpu_relax();
  }
  for (unsigned in_vain = 0;;) {
    u32 word = load_acquire(lock);
    if ((word & kLockSlotMask) == 0) {
      // Others may sleep, too: who has slept takes the lock with the bit set and so passes the wake-up on.
      if (compare_exchange(lock, word, (slot + 1) | kLockWaited)) return true;
      continue;
    }
    if (for_a_while && in_vain == kPatience) return false;
    if (sleeps_until_woken(v, lock, word, waiter)) continue;
    ++in_vain;
  }
}

void wait_for_stripe(Segment& v, LockKey key, const Waiter& waiter) {
  u32& lock = v.stripe(key).lock;
  for (;;) {
    u32 word = load_acquire(lock);
    if ((word & kLockSlotMask) == 0) return;
    if (!sleeps_until_woken(v, lock, word, waiter)) continue;
    // The one that was woken is not the one that takes it.
    futex_wake(lock, 1);
    return;
  }
}

bool lock_stripe_soon(Segment& v, u32 slot, LockKey key, const Waiter& waiter) {
  constexpr unsigned kRounds = 4; // a stripe may pass from one of the dead to the next
  for (unsigned round = 0; round < kRounds; ++round) {
    for (unsigned spin = 0; spin < kSpins; ++spin) {
      if (try_lock_stripe(v, slot, key)) return true;
      cpu_relax();
    }
    u32 holder = load_acquire(v.stripe(key).lock) & kLockSlotMask;
    if (holder != 0 && holder <= v.header->slot_count) repair_if_dead(v, load_acquire(v.slots[holder - 1].owner), waiter);
  }
  return false;
}

void release_stripes_of_dead_slot(Segment& v, u32 slot) {
  Slot& s = v.slots[slot];
  for (u32 i = 0; i < kMaxHeldLocks; ++i) {
    u32 held = load_acquire(s.held[i]);
    if (held == 0) continue;
    if (held <= v.header->stripe_count) {
      LockKey key{held - 1};
      Stripe& stripe = v.stripe(key);
      // Listed before it is taken and struck off after it is released: only the lock word says whose it is.
      if ((load_acquire(stripe.lock) & kLockSlotMask) == slot + 1) {
        u32 sequence = load_acquire(stripe.sequence);
        if ((sequence & 1) != 0) store_release(stripe.sequence, sequence + 1);
        // It may have died while it waited for an overwriter: who comes next has to look for him again.
        if ((load_acquire(stripe.lock) & kLockExcludesOverwriters) != 0) store_full(stripe.overwritten, u64{1});
        unlock_stripe_word(v, key);
      }
    }
    store_release(s.held[i], 0u);
  }
}

} // namespace pmemfile::shm
