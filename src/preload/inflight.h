// Calls under way on descriptors, so that a close by another thread cannot pull
// the description from under them.
//
// Only while the process has several threads: a served call publishes the numbers
// that it may use (arguments that are none do no harm), with a full barrier before
// it reads the table. Who closes clears the table, then looks at all threads; a
// number in use is closed by the thread that uses it, when it is done.
// Rules: hook-safe; nothing here is locked. What a thread publishes stands in a line of its own, which outlives it.
#pragma once

#include <fcntl.h>

#include "preload/state.h"

namespace pmemfile::preload {

struct alignas(64) InFlight {
  u32 numbers[4]; // that the call under way may use, plus 1
  u64 deferred;   // mount << 32 | number + 1 that this thread has to close
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
void publish_numbers(const Call& call);
// Withdraws them and makes up for a close that was left to this thread.
void withdraw_numbers(Call& call);

// The table entry of `fd` is cleared already. True: whoever uses the number will close it.
bool leave_to_user(const Call& call, u32 fd, u32 mount);
// Waits until no other thread uses the number; for dup2 onto it, which needs it at once.
void wait_for_users(const Call& call, u32 fd);

} // namespace pmemfile::preload
