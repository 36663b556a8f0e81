// Signals: handlers of the program run only outside served calls, and faults at
// our copies become EFAULT.
//
// Every handler the program installs is entered through wrap_signal(): if the
// thread is inside a served call, the signal is noted, all signals are blocked in
// the interrupted context, and the end of the call raises it again. So the fast
// path makes no system call, and handlers may jump out, fork and exec.
//
// SIGSEGV and SIGBUS are always ours first, and the kernel does not block them: our
// copies and the holes of mappings need them whatever the program does. What it
// believes to be its dispositions and masks stands in Process::actions and
// ThreadWords::blocked_faults; /proc/PID/status shows the kernel's side. Rules: async-signal-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// Installs the handlers of SIGSEGV and SIGBUS; keeps what they replace.
void start_signals(Process& process);
// End of a served call: raises what came meanwhile. True if the call shall be made again (SA_RESTART).
bool raise_pending(ThreadBlock& block, long nr, int fd, long result);
// The next image inherits the mask and what is ignored.
void signals_before_exec(const Process& process);
void signals_after_failed_exec(const Process& process);
// Does rt_sigprocmask with this set (an address of the program, or 0) say anything of faults?
bool mask_concerns_us(u64 set);
// A call that waits with a mask of its own (an address of the program) passes to the kernel.
void note_waiting_mask(const intercept::Frame& frame, u64 set);
// Is this address on the alternate signal stack of the thread?
bool on_alternate_stack(u64 stack_pointer);
// Runs fn on the thread's hook stack, for a call of the program at this stack pointer.
long run_on_hook_stack(ThreadBlock& block, u64 stack_pointer, long (*fn)(void*), void* argument);

} // namespace pmemfile::preload
