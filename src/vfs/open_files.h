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
static_assert(kFirstPrivateHandle == 1u << shm::kHandleTableBits);

inline shm::Segment& open_tables(Pool& pool) {
  shm::Segment& own = PoolInternals::private_tables(pool);
  return PMEMFILE_UNLIKELY(own.base != nullptr) ? own : pool.store().segment;
}
inline const shm::Segment& open_tables(const Pool& pool) { return open_tables(const_cast<Pool&>(pool)); }

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
  (void)bury_all_dead(pool);
  return body();
}

// The same of the pool's blocks: a dead process's unlinked files are free space.
template <class Body>
auto with_space(Store& store, Body&& body) {
  auto result = body();
  if (PMEMFILE_LIKELY(result.error() != ENOSPC)) return result;
  return bury_all_dead(PoolInternals::of(store)) ? body() : result;
}

// A fresh description of the inode, referred to by the handle. ESTALE: the inode is not the one of `attr` any more.
// EBUSY: the handle is in use. ENFILE: a table is full.
// Among the flags of a description: made by the library for the length of a call.
inline constexpr u32 kOpenedInPassing = u32{1} << 31;
Result<u32> make_description(Pool& pool, const inode::Attr& attr, u32 flags, u32 handle);
// One more reference to a description by a handle of `process`, which is this one or its child to be.
Result<void> make_reference(Pool& pool, shm::ProcessRef process, u32 handle, u32 description, bool mapping);
// close: of this process or of a dead one.
// Takes the stripe; with kNo only from who holds it for a moment, or is dead.
inline bool lock_or_not(shm::VTx& tx, shm::LockKey key, inode::Wait wait) {
  if (wait == inode::Wait::kNo) return tx.lock_soon(key);
  tx.lock(key);
  return true;
}

// EAGAIN, with kNo: somebody who may be stopped is at the description, or at the locks of the file.
Result<void> drop_handle(Pool& pool, shm::ProcessRef process, u32 handle, inode::Wait wait = inode::Wait::kYes);
// Frees an inode that lost its last user, if it has neither links nor users. `word`: of Process::pending, of this process
// or of a dead one.
void free_pending(Pool& pool, u64& word, bool of_dead);
// Tries again with what this process has left (shm::kPendingLeft). Has an entry left something?
void free_left(Pool& pool);
// The same of another process's entry; true if it had left anything.
bool free_left_of(Pool& pool, shm::Process& entry);
bool has_left(const shm::Process& entry);
// Frees what nobody uses and nobody notes, and takes what waits in front off its list (shm::ProcessTable::forgotten).
void free_forgotten(Pool& pool);
// In repair, with the stripes of the dead one's slot still held by it: was the inode made that note_unnamed (change.h) speaks of?
void settle_unnamed(Store& store, u32 slot, shm::ProcessRef dead);
// In repair, before and after repair_vlog: an inode that may have been left to what the slot's thread was beginning, or was ending, is noted
// in the slot until that is taken away, and then, if nothing is left of it, for who buries the process.
void settle_begun(Store& store, u32 slot);
void settle_left(Store& store, u32 slot, shm::ProcessRef dead);

// Word of Process::pending.
u64 pending_word(Ino ino, u64 generation);

// An inode that lost its last link or its last user, while the other was going: freed after the operation, noted in this
// process's entry meanwhile. Nobody frees without a note: who finds an inode that nobody notes knows that nobody is at it.
class LeftInode {
 public:
  void note(const shm::Segment& v, u64 word); // 0: nothing
  bool noted() const { return noted_ != nullptr; }
  // The caller, who has noted it, has freed it.
  void forget() {
    store_release(*noted_, u64{0});
    word_ = 0;
  }
  // The caller could not free it: at this process's next open it is tried again.
  void leave(Pool& pool);
  // Frees it if it still has neither links nor users; no slot may be held. False: there is nothing to free.
  bool free(Pool& pool);

 private:
  u64 word_ = 0;
  u64* noted_ = nullptr;
};

// Sets the size of an open file, whatever it was opened for (files.cc).
Result<void> truncate_open(Task& task, Description description, u64 size);

// ---- File locks (lock_table.cc) ---------------------------------------------------------------------------------------

// The list of an inode, made if there is none; file_locks_key is held. ENOLCK: no room.
Result<shm::LockList*> make_lock_list(shm::Segment& v, shm::VTx& tx, Ino ino);
// Removes the locks of an owner, each with a commit; file_locks_key is held. True if there were any.
bool drop_locks(shm::Segment& v, shm::VTx& tx, shm::LockList& list, shm::FileLockKind kind, u64 owner);
// Before a commit that takes something off a lock, with file_locks_key held, whether anybody waits or not: who has looked and is about to
// wait does not sleep then, and who sleeps finds out by himself if the caller dies before it wakes him.
void note_lock_change(shm::LockList& list);
void wake_lock_waiters(shm::LockList& list);
// What goes when a handle of a process is closed, `last` the last one of its description: takes the stripe if there can be any, may commit,
// and leaves the end of an empty list to the caller's commit. False, with kNo: the stripe could not be had, and nothing was done.
bool drop_locks_of_handle(shm::Segment& v, shm::VTx& tx, const shm::OpenDescription& description, shm::ProcessRef process, bool mapping,
                          bool last, inode::Wait wait);

} // namespace pmemfile::vfs
