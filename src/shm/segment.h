// The shared volatile segment (V): what the processes on one pool share and what need not survive them.
//
// What it is: one file per pool and boot in /dev/shm (PMEMFILE_SHM_DIR), mapped by every attached process.
// Addressed by offset only. Here: its header, record slots and lock stripes; the tables of attached processes,
// open file descriptions, uses of inodes and file locks stand in process.h, opens.h and locks.h.
// Owner: nobody; made by the first process to attach, thrown away at will when none is attached.
// Rules: all of it may be used inside a hook. A word that several processes write is only touched through
// base/atomic.h.
#pragma once

#include "base/atomic.h"
#include "base/types.h"

namespace pmemfile::shm {

inline constexpr u64 kSegmentMagic = 0x314745534d454d50; // "PMEMSEG1"
inline constexpr u32 kSegmentVersion = 13;
inline constexpr u64 kMaxDescriptions = 65536; // open file descriptions in the largest V

// An attached process: index of its entry and the generation of the entry's use. 0 is nobody.
struct ProcessRef {
  u32 index_plus_1 = 0;
  u32 generation = 0;
  bool operator==(const ProcessRef&) const = default;
};
constexpr u64 pack(ProcessRef ref) { return u64{ref.generation} << 32 | ref.index_plus_1; }
constexpr ProcessRef unpack_process(u64 word) {
  return ProcessRef{static_cast<u32>(word), static_cast<u32>(word >> 32)};
}

// Index into the array of stripes. Locks are taken in ascending order, so the order of the classes in the array
// is the lock order between classes: topology, inodes, directory leaves, orphan lists, bitmap lines, descriptions, lists
// of file locks.
enum class LockKey : u32 {};
constexpr u32 raw(LockKey key) { return static_cast<u32>(key); }

// Lock word: bits 0..15 record slot that holds it plus 1, bit 30 kLockExcludesOverwriters, bit 31 kLockWaited.
inline constexpr u32 kLockSlotMask = 0xffff;
inline constexpr u32 kLockExcludesOverwriters = u32{1} << 30;
inline constexpr u32 kLockWaited = u32{1} << 31;

// A lock and what readers validate. Several objects of one class may share a stripe: they then exclude each
// other, which costs time and is never wrong.
struct alignas(64) Stripe {
  u32 lock;
  u32 sequence; // odd: a committed change is being applied
  // Not 0: some slot may be overwriting data in place under this stripe. Set by overwriters after they published their
  // slot and before they look at the lock; see Tx::exclude_overwriters.
  u64 overwritten;
  // Times that are newer than the pool's copy (foundations A9): whose (inode::times_owner; 0: nobody's), and the time. Both words change
  // at once, by compare_exchange_pair alone.
  WordPair mtime, ctime, atime;
};
static_assert(sizeof(Stripe) == 64 && alignof(Stripe) == 64);

inline constexpr unsigned kMaxHeldLocks = 24;
inline constexpr unsigned kMaxVlogWords = 16;

enum class SlotPhase : u32 {
  kIdle,     // nobody's
  kPlanning, // nothing of the operation is in the pool but unreachable blocks
  kEnding,   // the same, and its record will free Slot::announced_ino: who begins to use that inode denies it (opens.h)
  kMoving,   // the same, and its record will take blocks away from that inode, or move them: who begins to map it denies it
  kReplacing, // the same, by an overwrite that must not come true later (data=atomic): who begins to map the inode waits for its end
  kDenied,   // somebody did: the record, whole or not, does not count; the operation plans anew
  kApplying, // the record is durable; its effects are being stored
};

// The volatile half of a record slot. Owned by the thread that took it from idle to its end.
struct alignas(64) Slot {
  u64 owner;         // pack(ProcessRef) of the process that uses it; 0: idle
  u64 sequence;      // of the last record committed in it
  u32 phase;         // SlotPhase
  u32 opcode;        // for people
  u64 last_thread;   // who flushed the last record's effects; see Tx
  u32 shared_plus_1; // stripe in which this slot overwrites data in place, plus 1; 0: none
  u32 held_count;    // entries of `held` to look at
  u64 retired;       // sequence up to which all records are void, their effects durable
  u64 pending_ino;   // word of Process::pending that counts only if this operation commits; see vfs, note_unnamed
  u64 announced_ino; // counts in the phases kEnding, kMoving and kReplacing
  u32 held[kMaxHeldLocks]; // stripe + 1, written before the lock is taken and cleared after it is released
  // Redo log of an operation on V itself (open, close, file locks): see vlog.h.
  u32 vlog_committed; // 1: complete, effects may be partly stored; replay it
  u32 vlog_count;
  struct {
    u64 offset; // in V
    u64 value;
  } vlog[kMaxVlogWords];
  // Inode that may just have lost its last link or a user here: for who repairs the slot to look whether it has any left. Our own thread
  // looks itself, after the operation.
  u64 left_ino;
};
static_assert(sizeof(Slot) == 448);

struct SegmentHeader {
  u64 magic;
  u32 version;
  u32 ready;        // 1 once everything is laid out
  u64 segment_id;   // random; the pool's superblock names it
  u64 pool_dev, pool_ino;
  u8 pool_uuid[16];
  u64 bytes;
  u64 record_epoch;
  // Offsets from the start of the segment, and counts (powers of two where a hash selects).
  u64 slots_offset, slot_count;
  u64 stripes_offset;
  u32 topology_first, inode_first, inode_count, leaf_first, leaf_count, orphan_first, orphan_count,
      bitmap_first, bitmap_count, description_first, description_stripes, file_lock_first, file_lock_stripes, stripe_count, reserved0;
  u64 processes_offset, process_count;       // process.h
  u64 slot_hints_offset;                     // opens.h: one SlotHints a record slot
  u64 uses_offset, use_group_count;          // opens.h: which inodes are open or mapped
  u64 buckets_offset;                        // locks.h: one a stripe of file locks
  u64 lock_lists_offset, lock_list_count;    // locks.h
  u64 descriptions_offset, description_count;
  u64 page_owners_offset, pages_offset, page_count; // handles.h
  u64 file_locks_offset, file_lock_count;    // locks.h
  u64 hints_offset, hint_count;    // allocator: one word a group of blocks
  u32 slots_waited; // not 0 while somebody waits for a slot
  u32 reserved2;
  u64 relinks;           // how often directories got another parent, twice; odd while one does, or after a death in it: see vfs/rename
  u64 topology_sequence; // advanced by what can make a cached path wrong: see vfs/walk
  u64 used_blocks_delta;
  i64 pool_changed_ns; // ctime of the pool's file when it was last left; another one: somebody has written to it, and this is no V of it
  // A bit for each kTimeGroups-th of the inode stripes: some of them have times that are not in the pool (inode/times.h).
  u64 times_left[8];
  u64 reserved[5];
  char pool_path[256]; // absolute, of the pool when this V was made; empty if unknown. For remove_stale_segments.
};

// This process's mapping of V.
struct Segment {
  u8* base = nullptr;
  u64 bytes = 0;
  SegmentHeader* header = nullptr;
  Slot* slots = nullptr;
  Stripe* stripes = nullptr;
  int fd = -1;    // of V; asks the kernel about liveness
  ProcessRef self;

  Stripe& stripe(LockKey key) const { return stripes[raw(key)]; }
  template <class T>
  T* at(u64 offset) const { return reinterpret_cast<T*>(base + offset); }
};

constexpr u64 mix(u64 value) {
  value *= 0x9e3779b97f4a7c15;
  return value ^ (value >> 32);
}
// Neighbours have neighbouring stripes: who makes or visits inodes one after the other finds their stripes on one page and,
// mostly, in the cache already. Groups are scattered, so that what lies powers of two apart does not meet in one stripe.
constexpr u32 spread(u64 value, u32 count) {
  constexpr unsigned kGroupBits = 6;
  return static_cast<u32>((mix(value >> kGroupBits) << kGroupBits | (value & ((1u << kGroupBits) - 1))) & (count - 1));
}
inline constexpr u32 kTimeGroups = 64 * sizeof(SegmentHeader::times_left) / sizeof(u64);
inline LockKey topology_key(const Segment& v) { return LockKey{v.header->topology_first}; }
inline LockKey inode_key(const Segment& v, Ino ino) {
  return LockKey{v.header->inode_first + spread(pmemfile::raw(ino), v.header->inode_count)};
}
inline LockKey leaf_key(const Segment& v, BlockNo leaf) {
  return LockKey{v.header->leaf_first + spread(pmemfile::raw(leaf), v.header->leaf_count)};
}
inline LockKey orphan_key(const Segment& v, u32 list) {
  return LockKey{v.header->orphan_first + list % v.header->orphan_count};
}
inline LockKey bitmap_key(const Segment& v, u64 line) {
  return LockKey{v.header->bitmap_first + static_cast<u32>(line & (v.header->bitmap_count - 1))};
}
// Guards the references to an open file description, and its entries among the uses of inodes (opens.h).
inline LockKey description_key(const Segment& v, u64 index) {
  return LockKey{v.header->description_first + static_cast<u32>(index & (v.header->description_stripes - 1))};
}
// Guards the list of the inode's file locks (locks.h).
inline LockKey file_locks_key(const Segment& v, Ino ino) {
  return LockKey{v.header->file_lock_first + spread(pmemfile::raw(ino), v.header->file_lock_stripes)};
}

} // namespace pmemfile::shm
