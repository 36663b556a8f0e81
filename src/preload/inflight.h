// Calls under way on descriptors, so that a close by another thread cannot pull
// the description from under them.
//
// Only while the process has several threads: a served call publishes the numbers
// that it may use (one that is none may keep a file open as long as the call lasts), with a full barrier before
// it reads the table. Who closes clears the table, then looks at all threads; what a
// number in use refers to is set aside and closed by the thread that uses it, when it is done.
// Rules: hook-safe; nothing here is locked. What a thread publishes stands in a line of its own, which outlives it.
#pragma once

#include <fcntl.h>

#include "preload/state.h"

namespace pmemfile::preload {

struct alignas(64) InFlight {
  u32 numbers[4]; // that the call under way may use, plus 1
  u32 deferred;   // what this thread has to close: a chain of passing handles (inflight.cc)
  u32 taken;      // by a thread
};

// Null: there is no memory for it.
InFlight* claim_in_flight();
void release_in_flight(InFlight& own);
// In the child of fork: only this thread is left.
void keep_only_in_flight(InFlight& own);

// False: no argument of the call is a descriptor, or it is one that the call will close, of which nobody else makes anything any more.
inline bool may_name_numbers(const Call& call) {
  switch (call.nr) {
    case SYS_open: case SYS_creat: case SYS_stat: case SYS_lstat: case SYS_access: case SYS_unlink: case SYS_rename: case SYS_mkdir: case SYS_rmdir:
    case SYS_close:
      return false;
    case SYS_openat: case SYS_newfstatat: case SYS_faccessat: case SYS_faccessat2: case SYS_unlinkat: case SYS_mkdirat:
      return call.fd(0) != AT_FDCWD;
    default:
      return true;
  }
}
// `arguments`: bits of those that may be descriptors.
void publish_numbers(const Call& call, unsigned arguments);
// Withdraws them and makes up for a close that was left to this thread.
void withdraw_numbers(Call& call);

// Closing, for who has taken the number from everybody else (its word says that it is no file). First the number's handle is freed: what
// others still use it for stands under the passing handle that is returned; 0: nothing does. Then, when the number is what it shall be
// (others may wait for that), what stands there is closed, or left to who uses it. ENFILE: no passing handle is free; with `insist` users are
// waited for then, and at last lose their description.
Result<u32> vacate_handle(Call& call, u32 fd, u32 mount, bool insist);
void close_vacated(Call& call, u32 fd, u32 mount, u32 handle);

} // namespace pmemfile::preload
