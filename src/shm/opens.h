// Open inodes (vnodes) and open file descriptions: their tables in V.
//
// What it is: a description is what open(2) makes and dup, fork and SCM_RIGHTS share; a vnode is an inode that has
// descriptions, with the list of its file locks. Vnodes hang in chains, one a stripe of the class "open inodes":
// open_key(ino) guards the chain, the vnodes in it, their descriptions' counts and their locks.
// Who changes them: vfs, by VTx (vlog.h), so that a death leaves them exact. Offset and directory cookie are guarded
// by an owned word instead: pack() of the process that holds it, with kLockWaited; 0: nobody. What such a word guards is
// whole at any moment, so it is simply taken from the dead.
// Rules: hook-safe; indices read from V are checked before use.
#pragma once

#include "base/result.h"
#include "shm/slots.h"

namespace pmemfile::shm {

struct alignas(64) Vnode {
  u64 users;      // descriptions; 0: the entry is free
  u64 ino;
  u64 next_plus_1;
  u64 generation; // of the inode
  u64 pins;       // handles that map it
  u64 locks;      // FileLock + 1, head of the list (locks.h)
  u32 lock_changes; // advanced whenever a lock goes: what waiters for a lock sleep on
  u32 lock_waiters; // a hint: somebody sleeps, perhaps
  u64 shrink_lock;  // owned word: held while blocks may be taken away, so that no mapping begins meanwhile
};
static_assert(sizeof(Vnode) == 64);

struct alignas(64) OpenDescription {
  u64 refs;          // handles; 0: the entry is free
  u64 lock;          // owned word: held by who moves the offset
  u64 ino;
  u64 vnode;         // index
  u32 flags;         // O_* status flags and access mode
  u32 mode;          // of the inode at open
  u64 offset;        // bytes; of a directory: the cookie
  u64 reserved[2];
};
static_assert(sizeof(OpenDescription) == 64);

// Where a slot's user found or left a free entry: a place to look first.
struct SlotHints {
  u32 description, vnode, page, file_lock;
};

inline u64* bucket_of(const Segment& v, Ino ino) {
  return v.at<u64>(v.header->buckets_offset) + (pmemfile::shm::raw(open_key(v, ino)) - v.header->open_first);
}
inline Vnode* vnode_at(const Segment& v, u64 index) {
  return index < v.header->vnode_count ? v.at<Vnode>(v.header->vnodes_offset) + index : nullptr;
}
inline OpenDescription* description_at(const Segment& v, u64 index) {
  return index < v.header->description_count ? v.at<OpenDescription>(v.header->descriptions_offset) + index : nullptr;
}
inline SlotHints& slot_hints(const Segment& v, u32 slot) { return v.at<SlotHints>(v.header->slot_hints_offset)[slot]; }

// With open_key(ino) held: the vnode of the inode, or null.
Vnode* find_vnode(const Segment& v, Ino ino);
// With open_key(ino) held: has the inode a description or mapping? For who removes the last name.
bool in_use(const Segment& v, Ino ino);

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
