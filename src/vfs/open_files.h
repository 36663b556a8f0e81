// What opens.cc, files.cc, locks.cc, process.cc and repair.cc share: operations on the tables of open files.
//
// The tables are V's (shm/opens.h, handles.h, locks.h). A process that may only read the pool keeps tables of its own in
// private memory, laid out alike: open_tables() says which.
// Rules: private to the room; hook-safe; nothing here may be called while a slot is held.
#pragma once

#include "shm/handles.h"
#include "shm/locks.h"
#include "shm/opens.h"
#include "shm/vlog.h"
#include "vfs/internals.h"
#include "vfs/repair.h"

namespace pmemfile::vfs {

using journal::Store;

inline shm::Segment& open_tables(Pool& pool) {
  shm::Segment& own = PoolInternals::private_tables(pool);
  return PMEMFILE_UNLIKELY(own.base != nullptr) ? own : pool.store().segment;
}
inline const shm::Segment& open_tables(const Pool& pool) { return open_tables(const_cast<Pool&>(pool)); }

// Each thread finds the slot that it used last again (as journal::Tx does).
inline u32 slot_hint(const shm::Segment& v) {
  u64 stack = reinterpret_cast<u64>(__builtin_frame_address(0)) >> 18;
  return static_cast<u32>((shm::mix(stack * 31 + v.self.index_plus_1) & 0xffffffff) * v.header->slot_count >> 32);
}

// Null for what cannot be a description in use.
inline shm::OpenDescription* find_description(const Pool& pool, Description description) {
  shm::OpenDescription* found = shm::description_at(open_tables(pool), static_cast<u32>(description));
  return found == nullptr || load_acquire(found->refs) == 0 ? nullptr : found;
}

// Runs `body`; if a table of V is full, clears it of what the dead have and runs it again.
template <class Body>
auto with_room(Pool& pool, Body&& body) {
  auto result = body();
  if (PMEMFILE_LIKELY(result.error() != ENFILE && result.error() != ENOLCK)) return result;
  bury_all_dead(pool);
  return body();
}

// Private handles at the upper end are for calls that keep a file open for a moment: no child gets them, no new image keeps them.
inline constexpr u32 kPassingHandles = 64;
inline constexpr u32 kFirstPassingHandle = kFirstPrivateHandle + (1u << shm::kHandleTableBits) - kPassingHandles;

// A fresh description of the inode, referred to by the handle. ESTALE: the inode is not the one of `attr` any more.
// EBUSY: the handle is in use. ENFILE: a table is full.
Result<u32> make_description(Pool& pool, const inode::Attr& attr, u32 flags, u32 handle);
// One more reference to a description by a handle of `process`, which is this one or its child to be.
Result<void> make_reference(Pool& pool, shm::ProcessRef process, u32 handle, u32 description, bool mapping);
// close: of this process or of a dead one.
Result<void> drop_handle(Pool& pool, shm::ProcessRef process, u32 handle);
// Frees an inode that lost its last user, if it has neither links nor users. `word`: of Process::pending, of this process
// or of a dead one.
void free_pending(Pool& pool, u64& word, bool of_dead);
// In repair, with the stripes of the dead one's slot still held by it: was the inode made that note_unnamed (change.h) speaks of?
void settle_unnamed(Store& store, u32 slot, shm::ProcessRef dead);

// Sets the size of an open file, whatever it was opened for (files.cc).
Result<void> truncate_open(Task& task, Description description, u64 size);

// ---- File locks (lock_table.cc); open_key of the inode is held by `tx`, which they commit --------------------------

// Removes the locks of an owner. True if there were any.
bool drop_locks(shm::Segment& v, shm::VTx& tx, shm::Vnode& vnode, shm::FileLockKind kind, u64 owner);
void wake_lock_waiters(shm::Vnode& vnode);

} // namespace pmemfile::vfs
