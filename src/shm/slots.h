// Taking record slots and stripes: the locks of V, which survive the death of their owner.
//
// What it is: a slot belongs to the thread that took it until release_slot; a stripe is held by a slot. Whoever waits
// for either asks the kernel every 2 ms whether the owner is alive and, if it is not, has it repaired.
// Order: a slot first, one a thread, then stripes in ascending order (docs/architecture.md, "Locks").
// Rules: any thread of a process that may write V; hook-safe; no system call unless something is contended.
#pragma once

#include "shm/futex.h"
#include "shm/segment.h"

namespace pmemfile::shm {

// Releases the slots and stripes of a dead process. Called in the middle of operations, so that it must not wait for
// any slot or stripe itself.
using RepairFn = void (*)(void* context, ProcessRef dead);
struct Waiter {
  RepairFn repair = nullptr;
  void* context = nullptr;
  int segment_fd = -1;
};

u32 take_slot_slow(Segment& v, u32 hint, const Waiter& waiter);
// With `for_a_while` false, and the stripe not taken, if somebody alive has it for longer than a change takes.
bool lock_stripe_slow(Segment& v, u32 slot, LockKey key, const Waiter& waiter, bool for_a_while);
// For who has no slot, and takes nothing: waits until somebody gives the stripe back.
void wait_for_stripe(Segment& v, LockKey key, const Waiter& waiter);
// Spins for a moment, and repairs a dead holder; false: somebody alive has it.
bool lock_stripe_soon(Segment& v, u32 slot, LockKey key, const Waiter& waiter);

// Different threads and processes start looking for a slot at different places, and each finds its own
// again: the lines of a slot then stay in its core's cache.
inline u32 slot_hint(const Segment& v) {
  u64 thread = reinterpret_cast<u64>(__builtin_thread_pointer());
  return static_cast<u32>((mix(thread * 31 + v.self.index_plus_1) & 0xffffffff) * v.header->slot_count >> 32);
}

// Returns the slot, now owned by this process. `hint`: where to look first. Waits if all are busy.
inline u32 take_slot(Segment& v, u32 hint, const Waiter& waiter) {
  u64 nobody = 0;
  if (PMEMFILE_LIKELY(hint < v.header->slot_count && load_relaxed(v.slots[hint].owner) == 0 &&
                      compare_exchange(v.slots[hint].owner, nobody, pack(v.self))))
    return hint;
  return take_slot_slow(v, hint, waiter);
}

// The slot must hold no stripe any more.
inline void release_slot(Segment& v, u32 slot) {
  Slot& s = v.slots[slot];
  store_relaxed(s.held_count, 0u);
  store_relaxed(s.phase, static_cast<u32>(SlotPhase::kIdle));
  store_release(s.owner, u64{0});
  // A waiter that is missed here because this load overtook the store wakes by its timeout.
  u32& waited = v.header->slots_waited;
  if (PMEMFILE_UNLIKELY(load_relaxed(waited) != 0)) {
    store_release(waited, 0u);
    futex_wake(waited, 1 << 30);
  }
}

namespace detail {
// Lists the stripe in the slot, so that repair finds it; kMaxHeldLocks if the list is full.
inline u32 list_held(Slot& s, LockKey key) {
  u32 count = load_relaxed(s.held_count);
  for (u32 i = 0; i < count; ++i)
    if (load_relaxed(s.held[i]) == 0) {
      store_release(s.held[i], raw(key) + 1);
      return i;
    }
  if (count >= kMaxHeldLocks) return kMaxHeldLocks;
  store_release(s.held[count], raw(key) + 1);
  store_release(s.held_count, count + 1);
  return count;
}
inline bool acquire_free(Stripe& stripe, u32 slot) {
  u32 free_word = 0;
  return compare_exchange(stripe.lock, free_word, slot + 1);
}
} // namespace detail

// May another stripe be locked by this slot?
inline bool may_hold_more(const Segment& v, u32 slot) {
  const Slot& s = v.slots[slot];
  if (load_relaxed(s.held_count) < kMaxHeldLocks) return true;
  for (u32 held : s.held)
    if (held == 0) return true;
  return false;
}

// The caller keeps to kMaxHeldLocks (may_hold_more) and does not hold the stripe yet.
inline void lock_stripe(Segment& v, u32 slot, LockKey key, const Waiter& waiter) {
  if (PMEMFILE_UNLIKELY(detail::list_held(v.slots[slot], key) == kMaxHeldLocks)) __builtin_trap();
  if (PMEMFILE_LIKELY(detail::acquire_free(v.stripe(key), slot))) return;
  lock_stripe_slow(v, slot, key, waiter, false);
}

// The same, but not behind somebody who may be stopped: false, and nothing is held. A slot is what others need, too, and who waits for long
// gives his back (wait_for_stripe).
inline bool lock_stripe_for_a_while(Segment& v, u32 slot, LockKey key, const Waiter& waiter) {
  u32 place = detail::list_held(v.slots[slot], key);
  if (PMEMFILE_UNLIKELY(place == kMaxHeldLocks)) __builtin_trap();
  if (PMEMFILE_LIKELY(detail::acquire_free(v.stripe(key), slot)) || lock_stripe_slow(v, slot, key, waiter, true)) return true;
  store_release(v.slots[slot].held[place], 0u);
  return false;
}

inline bool try_lock_stripe(Segment& v, u32 slot, LockKey key) {
  Slot& s = v.slots[slot];
  u32 place = detail::list_held(s, key);
  if (PMEMFILE_UNLIKELY(place == kMaxHeldLocks)) return false;
  if (PMEMFILE_LIKELY(detail::acquire_free(v.stripe(key), slot))) return true;
  store_release(s.held[place], 0u);
  return false;
}

inline void unlock_stripe_word(Segment& v, LockKey key) {
  u32& lock = v.stripe(key).lock;
  u32 old = exchange(lock, 0u);
  if (PMEMFILE_UNLIKELY((old & kLockWaited) != 0)) futex_wake(lock, 1);
}

inline void unlock_stripe(Segment& v, u32 slot, LockKey key) {
  unlock_stripe_word(v, key);
  Slot& s = v.slots[slot];
  u32 count = load_relaxed(s.held_count);
  for (u32 i = 0; i < count; ++i)
    if (load_relaxed(s.held[i]) == raw(key) + 1) store_release(s.held[i], 0u);
}

// All stripes of the slot; the slot stays taken.
inline void release_all(Segment& v, u32 slot) {
  Slot& s = v.slots[slot];
  u32 count = load_relaxed(s.held_count);
  for (u32 i = 0; i < count; ++i) {
    u32 held = load_relaxed(s.held[i]);
    if (held == 0) continue;
    unlock_stripe_word(v, LockKey{held - 1});
    store_release(s.held[i], 0u);
  }
  store_release(s.held_count, 0u);
}

// For repair: frees the stripes that a dead slot still holds, and makes sequences that it left odd even again. Its
// record and its log have been dealt with before.
void release_stripes_of_dead_slot(Segment& v, u32 slot);

} // namespace pmemfile::shm
