// What becomes of the dead: their locks and slots at once, their descriptors, file locks and orphans soon after.
//
// Two phases, because who meets a dead process's lock usually holds locks itself:
// 1. repair_dead: completes or voids its operations and frees its slots and stripes. Takes no lock, so it may run in
//    the middle of any operation. The entry becomes "unburied".
// 2. bury: drops its handles, and with them record locks, flock, mapping pins and unlinked files; frees the entry. These
//    are operations of their own, run between operations: at open, close, attach, fork and lock conflicts.
// Both are claimed (shm::claim_repair), idempotent, and begun again by the next one if the repairer dies.
// Rules: any thread; hook-safe.
#pragma once

#include "vfs/pool.h"

namespace pmemfile::vfs {

// Phase 1, for shm::Waiter.
void repair_dead(journal::Store& store, shm::ProcessRef dead);

// Both phases for one process, if it is dead. Not inside an operation. With kNo it stays unburied if somebody who may be stopped is at a
// description that it shared, or at the locks of its file; who wants those waits for him.
void bury(Pool& pool, shm::ProcessRef dead, inode::Wait wait);
// Phase 2 for all that phase 1 left. Waits for nobody, nor do those below.
void bury_unburied(Pool& pool);
// Asks the kernel about every entry: O(attached processes). False: there was nothing to bury or to free.
bool bury_all_dead(Pool& pool);
// Asks about the next few entries, by turns: so that the dead whom nobody waits for are found in time. Two are so few that nobody
// feels them, and enough that a shell loop whose commands are killed stays clean.
void bury_dead(journal::Store& store, unsigned questions = 2);

// For adopt: what the threads that exec killed left half done.
void repair_own_threads(Pool& pool);

// For shm::register_process, when every entry is taken: this process stands in for a dead one and empties its entry.
void inherit_dead(journal::Store& store);

// Drops every handle of this process.
void drop_all_handles(journal::Store& store);

} // namespace pmemfile::vfs
