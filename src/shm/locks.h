// File locks: POSIX record locks, OFD locks and flock(2), in one list an inode that has had some.
//
// What it is: the lists hang in chains, one a stripe of file_locks_key(ino), which guards the chain, the lists in it and their
// locks. A list is made by the first lock and goes with the last one that a close drops.
// Rules: changed by VTx; hook-safe.
#pragma once

#include "shm/opens.h"

namespace pmemfile::shm {

struct alignas(64) LockList {
  u64 in_use;       // 0: the entry is free
  u64 ino;
  u64 next_plus_1;  // of the chain
  u64 locks;        // FileLock + 1
  u32 lock_changes; // advanced whenever a lock goes, never set back: what waiters for a lock sleep on
  u32 lock_waiters; // a hint: somebody sleeps, perhaps
  u64 reserved[3];
};
static_assert(sizeof(LockList) == 64);

struct LockBucket {
  u64 first_plus_1; // LockList
};

enum class FileLockKind : u32 { kPosix, kOfd, kFlock };

struct alignas(64) FileLock {
  u64 in_use;      // 0: free
  u64 next_plus_1;
  u64 start, last; // bytes, both included; last kWholeFile: without end
  u64 owner;       // kPosix: pack(ProcessRef); else description + 1
  u64 holder;      // pack() of the process that took it: whose death may end it
  u64 shape;       // FileLockKind, and kLockExclusive
  u64 reserved;
};
static_assert(sizeof(FileLock) == 64);

inline constexpr u64 kLockKindMask = 0xff, kLockExclusive = 0x100;
inline constexpr u64 kWholeFile = ~u64{0} >> 1; // FileLock::last of a lock without end

inline LockBucket& lock_bucket(const Segment& v, Ino ino) {
  return v.at<LockBucket>(v.header->buckets_offset)[pmemfile::shm::raw(file_locks_key(v, ino)) - v.header->file_lock_first];
}
inline LockList* lock_list_at(const Segment& v, u64 index) {
  return index < v.header->lock_list_count ? v.at<LockList>(v.header->lock_lists_offset) + index : nullptr;
}
// With file_locks_key(ino) held: the list of the inode, or null.
LockList* find_lock_list(const Segment& v, Ino ino);

inline FileLock* file_lock_at(const Segment& v, u64 index) {
  return index < v.header->file_lock_count ? v.at<FileLock>(v.header->file_locks_offset) + index : nullptr;
}

} // namespace pmemfile::shm
