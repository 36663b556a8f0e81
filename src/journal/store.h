// Store: one process's attachment to a pool as the lower rooms see it: medium, geometry, shared segment.
//
// Owner: the vfs room's Pool. Rules: constant after attach but for the cursors, has_left and slow_operations; hook-safe.
#pragma once

#include "base/siphash.h"
#include "layout/layout.h"
#include "pmem/medium.h"
#include "shm/segment.h"
#include "shm/slots.h"

namespace pmemfile::journal {

// Private staging room of a record slot.
inline constexpr u64 kStagingBytes = 8192;

struct Store {
  pmem::Medium medium;
  layout::Geometry geometry; // the checked copy; the pool's is never read again
  shm::Segment segment;
  // Staging room of operations, one for each record slot, process-private, mapped at attach, touched lazily. The slot that this
  // process took first, mostly its only one, has a room that lies with other data of the process.
  u8* staging = nullptr;
  u8* first_staging = nullptr; // null: it has not
  u32 first_slot_plus_1 = 0;
  u8* staging_of(u32 slot) {
    u32 first = load_relaxed(first_slot_plus_1);
    if (first == 0 && first_staging != nullptr && compare_exchange(first_slot_plus_1, first, slot + 1)) first = slot + 1;
    return first == slot + 1 && first_staging != nullptr ? first_staging : staging + u64{slot} * kStagingBytes;
  }
  bool atomic_data = false; // overwrites go to new blocks (data=atomic)
  // How waiters ask whether an owner lives, and who repairs what a dead process left behind (locks, slots,
  // descriptions): set by the room that knows all of it; its context is this Store.
  shm::Waiter waiter{};
  u64 record_epoch = 0; // layout::State::record_epoch in force
  u32 has_left = 0;       // something that this process could not free waits for one of its opens
  // Where the users of a record slot, that is, mostly one thread, allocated last: hints, racy by design. On lines of their own:
  // all threads read what stands before.
  struct alignas(64) Cursors {
    u64 data = 0, meta = 0; // bitmap lines
    u64 inode_block = 0, inode_index = 0; // block of inodes, index to begin at
  };
  static constexpr u32 kCursorSets = 8;
  Cursors cursor_sets[kCursorSets];
  Cursors& cursors(u32 slot) { return cursor_sets[slot % kCursorSets]; }
  // Operations that were waited for in vain (Tx::lock_soon): most likely their processes are stopped. By record slot, so that several have
  // their places.
  u64 slow_operations[8] = {};
  u64& slow_operation(u64 operation) { return slow_operations[(operation >> 48) % 8]; }

  SipKey hash_key() const { return SipKey{geometry.hash_key[0], geometry.hash_key[1]}; }
  // May `block` be the target of a pointer read from the pool?
  bool data_block(BlockNo block) const {
    return raw(block) >= geometry.data_start_block && raw(block) < geometry.block_count;
  }
  bool data_blocks(BlockNo block, u64 count) const {
    return data_block(block) && count <= geometry.block_count - raw(block);
  }
  // May `ino` be read as an inode? (Whether it is one says its identity word.)
  bool inode_in_range(Ino ino) const { return data_block(layout::ino_block(ino)); }
};

constexpr PoolOff block_offset(BlockNo block) { return PoolOff{raw(block) * layout::kBlockBytes}; }
constexpr PoolOff line_of(PoolOff offset) { return PoolOff{align_down(raw(offset), layout::kLineBytes)}; }

} // namespace pmemfile::journal
