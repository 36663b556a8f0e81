// References to open files that travel in messages (SCM_RIGHTS): counted like a process's, and given up like a dead one's.
//
// A reference under way has an entry of its own in V (shm::ProcessState::kTransit) with one handle, number 0. Its token, an open
// file description of V, is held by nothing but the kernel's object that carries the reference, so that the reference lives
// exactly as long as the message, or whoever holds the object. The entry names the object by its inode number.
// Rules: hook-safe, any thread; not inside an operation.
#pragma once

#include "vfs/pool.h"

namespace pmemfile::vfs {

// What carriers of this pool's references are marked with; tells nothing about V's name.
u64 transit_label(const Pool& pool);

// A reference to the description. The ticket's token is the caller's until it is handed to the carrier. EOPNOTSUPP: this process may
// only read the pool, and its descriptions are private; ENFILE.
Result<Pool::ChildTicket> begin_transit(Pool& pool, Description description);
void set_carrier(Pool& pool, shm::ProcessRef transit, u64 carrier);
// The carrier has its own copy of the token.
void transit_under_way(Pool& pool, const Pool::ChildTicket& ticket);
void cancel_transit(Pool& pool, const Pool::ChildTicket& ticket);

// A handle of this process to what the carrier stands for. ESTALE: nothing (any more).
Result<Description> receive_transit(Pool& pool, shm::ProcessRef transit, u64 carrier, u32 handle);
// The caller has closed the carrier, or a copy of it: drops the reference if that was the last.
void end_transit(Pool& pool, shm::ProcessRef transit);

// The handle of another process, by its pid and number: pidfd_getfd(2). ENOENT: no process of this pool; EBADF: not open there.
Result<Description> take_from_process(Pool& pool, i32 pid, u32 number, u32 handle);

} // namespace pmemfile::vfs
