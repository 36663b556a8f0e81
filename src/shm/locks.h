// File locks: POSIX record locks, OFD locks and flock(2), in lists that hang on vnodes.
//
// Rules: the list and its entries are guarded by open_key of the inode and changed by VTx; hook-safe.
#pragma once

#include "shm/opens.h"

namespace pmemfile::shm {

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

inline FileLock* file_lock_at(const Segment& v, u64 index) {
  return index < v.header->file_lock_count ? v.at<FileLock>(v.header->file_locks_offset) + index : nullptr;
}

} // namespace pmemfile::shm
