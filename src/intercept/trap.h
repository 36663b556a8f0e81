// A process that has not been patched yet: the kernel reports its system calls.
//
// Most programs make a few dozen calls and end. For them patching, that is mapping patched copies of libc and ld.so and
// touching their pages again, costs more than all they do. So a start can be deferred: Syscall User Dispatch (Linux 5.11)
// turns each call from outside our own text into a SIGSYS, whose handler asks the hook as a stub would. A process that
// makes a call that a handler cannot make in the program's name (clone, whatever touches signals, code that is mapped), or
// its kMaxTraps-th call, is patched then and there; the trap ends, and the call goes on through its stub.
//
// Thread rule: a process that traps has one thread, no child that shares its memory, and no signal handler but ours and
// those of faults, because whatever would change that ends the trap first.
#pragma once

#include "intercept/engine.h"

namespace pmemfile::intercept {

// From now on every system call outside the library's own text is reported. False: the kernel cannot, or SIGSYS is in use
// (blocked, ignored); nothing has changed then. `patch_everything` is called once, when the trap ends.
bool start_trapping(u32 max_traps, void (*patch_everything)());

// Does another copy of the engine trap the calls of this process?
bool is_trapped_by_another();

} // namespace pmemfile::intercept
