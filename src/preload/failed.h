// Pools whose medium has failed: a page of pool or V could not be had (a bad block, a truncated file).
//
// The fault comes anywhere in an operation, with locks held here and in V. So the operation is not left: the process is cut off from the
// pool as if it had died (vfs::Pool::cut_off), its operations run to their ends in private memory, and what they return is replaced
// by EIO, as is what all later calls on that pool return. The others repair what it left, as after a death.
// Faults of the listed copies of contents are EIO for that call alone (pmem/fault.h).
// Rules: survive_pool_fault runs in the handler of the fault; the rest in served calls.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

extern u32 g_failed_mounts; // one bit each

// True: the instruction is to be tried again.
bool survive_pool_fault(int signal, u64 address);
// What a call returns while some pool has failed.
long answer_of_failed_pool(Call& call, long result);

} // namespace pmemfile::preload
