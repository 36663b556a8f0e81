// VTx: an operation on the tables of V that happens wholly or not at all, whatever instruction its thread dies at.
//
// What it is: the new values of words are listed in the record slot (Slot::vlog), the list is marked committed, the values
// are stored, the mark is cleared. Repair of a dead slot stores the values of a committed list again and forgets an
// uncommitted one. A free entry of a table is taken by claim(): the word that says "free" (0) gets a mark that names the
// slot, so that repair can tell and free it; until the commit the entry is this operation's own. An entry is given back by
// release(): it gets the same mark with the other values and becomes free when the list is not committed any more.
// Life: construct (takes a slot), lock, claim and store, commit, maybe again, end (releases everything). What is not
// committed leaves no trace. Nothing may take a second slot meanwhile.
// Rules: stack object of one thread; hook-safe.
#pragma once

#include "shm/slots.h"

namespace pmemfile::shm {

inline constexpr u64 kClaimMark = u64{1} << 63;
constexpr u64 claim_mark(u32 slot) { return kClaimMark | (u64{slot} + 1); }
// A mark among the uses of inodes (opens.h), which names the inode and what it will be, too.
inline constexpr u64 kUseClaim = u64{1} << 62, kUseClaimOfMapping = u64{1} << 61;
inline constexpr unsigned kUseClaimSlotShift = 44;
constexpr u64 use_claim(u32 slot, u64 ino, bool mapping) {
  return kClaimMark | kUseClaim | (mapping ? kUseClaimOfMapping : 0) | (u64{slot} + 1) << kUseClaimSlotShift | ino;
}
constexpr bool is_mapping_claim(u64 word) {
  constexpr u64 kAll = kClaimMark | kUseClaim | kUseClaimOfMapping;
  return (word & kAll) == kAll;
}
constexpr bool is_claimed_by(u64 word, u32 slot) {
  if ((word & (kClaimMark | kUseClaim)) != (kClaimMark | kUseClaim)) return word == claim_mark(slot);
  return (word >> kUseClaimSlotShift & (u64{kLockSlotMask} << 1 | 1)) == u64{slot} + 1;
}

class VTx {
 public:
  VTx(Segment& v, const Waiter& waiter, u32 slot_hint) : v_(v), waiter_(waiter), slot_(take_slot(v, slot_hint, waiter)) {}
  ~VTx() {
    abandon();
    release_all(v_, slot_);
    release_slot(v_, slot_);
  }
  VTx(const VTx&) = delete;
  VTx& operator=(const VTx&) = delete;

  u32 slot() const { return slot_; }
  void lock(LockKey key) {
    if (PMEMFILE_UNLIKELY(!try_lock_stripe(v_, slot_, key))) lock_slow(key);
  }
  // Both, in this order; behind somebody who has the second the first is given back.
  void lock(LockKey first, LockKey second) {
    lock(first);
    if (PMEMFILE_UNLIKELY(!try_lock_stripe(v_, slot_, second))) lock_slow(first, second);
  }
  bool try_lock(LockKey key) { return try_lock_stripe(v_, slot_, key); }
  // Waits for a dead holder's repair, and for nobody who may be stopped.
  bool lock_soon(LockKey key) { return lock_stripe_soon(v_, slot_, key, waiter_); }
  // After a commit. What the caller loads from here on is not older than what it stored.
  void unlock_all() { release_all(v_, slot_); }

  // The word gets the value at the commit. At most kMaxVlogWords claims, stores and releases a commit.
  void store(u64& word, u64 value) { list(word, value); }
  // The entry of the word is free after the commit. Not simply a store of 0: somebody else could take the entry while the
  // list still counts, and repair would free it under him. So it is marked first, and freed when the list is done with.
  void release(u64& word) { list(word, claim_mark(slot_)); }
  // Takes a free word; false if it is taken already.
  bool claim(u64& word, u64 value) { return claim(word, value, claim_mark(slot_)); }
  PMEMFILE_INLINE bool claim(u64& word, u64 value, u64 mark) {
    if (load_relaxed(word) != 0) return false;
    list(word, value);
    u64 expected = 0;
    if (PMEMFILE_LIKELY(compare_exchange(word, expected, mark))) return true;
    store_release(slot_ref().vlog_count, slot_ref().vlog_count - 1);
    return false;
  }
  // Gives back what the last call of claim() took.
  void unclaim() {
    Slot& s = slot_ref();
    store_release(*v_.at<u64>(s.vlog[s.vlog_count - 1].offset), u64{0});
    store_release(s.vlog_count, s.vlog_count - 1);
  }
  // See Slot::left_ino.
  u64& left_ino() { return slot_ref().left_ino; }
  PMEMFILE_INLINE void commit() {
    Slot& s = slot_ref();
    store_release(s.vlog_committed, 1u);
    bool releases = false;
    for (u32 i = 0; i < s.vlog_count; ++i) {
      store_release(*v_.at<u64>(s.vlog[i].offset), s.vlog[i].value);
      releases |= s.vlog[i].value == claim_mark(slot_);
    }
    store_release(s.vlog_committed, 0u);
    if (releases) free_marked();
    store_release(s.vlog_count, 0u);
  }
  void abandon() {
    Slot& s = slot_ref();
    if (PMEMFILE_LIKELY(s.vlog_count == 0)) return;
    free_marked();
    store_release(s.vlog_count, 0u);
  }

 private:
  void lock_slow(LockKey key);
  void lock_slow(LockKey first, LockKey second);
  void wait_without_slot(LockKey key);
  Slot& slot_ref() { return v_.slots[slot_]; }
  void free_marked() {
    const Slot& s = slot_ref();
    for (u32 i = 0; i < s.vlog_count; ++i) {
      u64& word = *v_.at<u64>(s.vlog[i].offset);
      if (is_claimed_by(load_relaxed(word), slot_)) store_release(word, u64{0});
    }
  }
  PMEMFILE_INLINE void list(u64& word, u64 value) {
    Slot& s = slot_ref();
    u32 count = s.vlog_count;
    if (PMEMFILE_UNLIKELY(count >= kMaxVlogWords)) __builtin_trap();
    s.vlog[count].offset = static_cast<u64>(reinterpret_cast<u8*>(&word) - v_.base);
    s.vlog[count].value = value;
    // Listed before anything is stored: repair looks at the first vlog_count entries.
    store_release(s.vlog_count, count + 1);
  }

  Segment& v_;
  const Waiter& waiter_;
  u32 slot_;
};

// For repair of a dead slot: completes a committed list, drops an uncommitted one. Idempotent.
void repair_vlog(Segment& v, u32 slot);
// Before it: the inode of a use that an uncommitted list begins; 0: none.
Ino begun_use(const Segment& v, u32 slot);

} // namespace pmemfile::shm
