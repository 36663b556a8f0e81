// Open file descriptions and the uses of inodes: their tables in V.
//
// What it is: a description is what open(2) makes and dup, fork and SCM_RIGHTS share. The uses say which inodes have
// descriptions or mappings: a hash table of words, one for each description and one for each mapping. Both are changed by VTx
// (vlog.h) with description_key held, so that a death leaves them exact. Nothing here is locked by inode: opens and closes of one
// file do not wait for each other, nor for a process that is stopped in the middle of one.
//
// Who begins to use an inode and who takes its last link do not lock each other out either; each makes itself seen first and looks
// for the other then (docs/architecture.md, "Open files"):
//   user:    puts its word among the uses;            denies a record that would free the inode; looks whether it still has a link
//   remover: announces that its record frees (kEnding); looks for uses
//   last user: takes its word away;                   looks whether the inode still has a link
//   remover of a file in use: commits that it has none; looks for uses
//
// So do who begins to map an inode and who takes blocks away from it (kMoving): whose look comes second sees the other one. Blocks of a mapped
// inode stay where they are.
//
// Offset and directory cookie are guarded by an owned word: pack() of the process that holds it, with kLockWaited; 0: nobody. What
// such a word guards is whole at any moment, so it is simply taken from the dead.
// Rules: hook-safe; indices read from V are checked before use.
#pragma once

#include "base/result.h"
#include "shm/slots.h"
#include "shm/vlog.h"

namespace pmemfile::shm {

struct alignas(64) OpenDescription {
  u64 refs;          // handles; 0: the entry is free
  u64 lock;          // owned word: held by who moves the offset
  u64 ino;
  u64 file_locks;    // not 0: it has had flock or OFD locks; the last close looks for them
  u32 flags;         // O_* status flags and access mode
  u32 mode;          // of the inode at open
  u64 offset;        // bytes; of a directory: the cookie
  u64 generation;    // of the inode
  u64 reserved;
};
static_assert(sizeof(OpenDescription) == 64);

// ---- Uses of inodes ---------------------------------------------------------------------------------------------------

inline constexpr unsigned kUsesPerGroup = 7;
// Words of inodes of one hash; what does not fit stands in the next group.
struct alignas(64) UseGroup {
  u64 words[kUsesPerGroup]; // use_word(), use_claim(), or 0
  u64 passed;               // not 0: words that belong here may stand in the next group, too. For ever
};
static_assert(sizeof(UseGroup) == 64);

inline constexpr unsigned kUseInoBits = 44, kUseIndexBits = 18;
inline constexpr u64 kUseIsMapping = u64{1} << 62;
constexpr u64 use_word(Ino ino, u32 description, bool mapping) {
  return pmemfile::raw(ino) | (u64{description} + 1) << kUseInoBits | (mapping ? kUseIsMapping : 0);
}
constexpr Ino use_ino(u64 word) { return Ino{word & ((u64{1} << kUseInoBits) - 1)}; }
constexpr u32 use_description(u64 word) {
  return static_cast<u32>(word >> kUseInoBits & ((u64{1} << kUseIndexBits) - 1)) - 1;
}

inline UseGroup& use_group(const Segment& v, u64 index) { return v.at<UseGroup>(v.header->uses_offset)[index]; }
inline u64 use_home(const Segment& v, Ino ino) { return mix(pmemfile::raw(ino)) & (v.header->use_group_count - 1); }

// Calls `body` with each word of the inode, those of opens under way included, until it returns true. True if it did.
template <class Body>
bool find_use(const Segment& v, Ino ino, Body&& body) {
  u64 index = use_home(v, ino);
  for (u64 steps = 0; steps < v.header->use_group_count; ++steps) {
    UseGroup& group = use_group(v, index);
    for (u64& word : group.words) {
      u64 value = load_acquire(word);
      if (value != 0 && use_ino(value) == ino && body(word, value)) return true;
    }
    if (PMEMFILE_LIKELY(load_acquire(group.passed) == 0)) return false;
    index = index + 1 == v.header->use_group_count ? 0 : index + 1;
  }
  return false;
}
// Has the inode a description or a mapping, or is it getting one?
bool in_use(const Segment& v, Ino ino);
// Does anybody map it?
bool is_mapped(const Segment& v, Ino ino);
// A word for a use that `tx` begins: seen by everybody from now on, before anything that the caller loads after it; it counts for good, or
// goes, with `tx`. Null: there is no room.
u64* claim_use(Segment& v, VTx& tx, Ino ino, u32 description, bool mapping);
// Keeps the record from freeing the inode if an operation is about to commit one that does.
void deny_ending(const Segment& v, Ino ino);
// The same of one that takes blocks away from it.
void deny_moving(const Segment& v, Ino ino);
// Does an operation on its way replace blocks of it, and has to be waited for (its stripe)?
bool is_being_replaced(const Segment& v, Ino ino);

// Where a slot's user found or left a free entry: a place to look first. A line each: every open and close writes there.
struct alignas(64) SlotHints {
  u32 description, lock_list, page, file_lock;
};

inline OpenDescription* description_at(const Segment& v, u64 index) {
  return index < v.header->description_count ? v.at<OpenDescription>(v.header->descriptions_offset) + index : nullptr;
}
inline SlotHints& slot_hints(const Segment& v, u32 slot) { return v.at<SlotHints>(v.header->slot_hints_offset)[slot]; }

void lock_owned_slow(Segment& v, u64& word, int segment_fd);
void wake_owned(u64& word);
inline void lock_owned(Segment& v, u64& word, int segment_fd) {
  u64 nobody = 0;
  if (PMEMFILE_LIKELY(compare_exchange(word, nobody, pack(v.self)))) return;
  lock_owned_slow(v, word, segment_fd);
}
inline void unlock_owned(u64& word) {
  u64 old = exchange(word, u64{0});
  if (PMEMFILE_UNLIKELY((old & kLockWaited) != 0)) wake_owned(word);
}
// After exec: was it held by a thread of the old image?
inline void unlock_if_own(const Segment& v, u64& word) {
  if ((load_acquire(word) & ~u64{kLockWaited}) == pack(v.self)) unlock_owned(word);
}

} // namespace pmemfile::shm
