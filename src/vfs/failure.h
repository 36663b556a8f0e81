// The one clear line of a failed attach, and the kernel lock of the pool file. Private to the vfs room.
#pragma once

#include <fcntl.h>

#include "base/text.h"
#include "vfs/pool.h"

namespace pmemfile::vfs {

// "<path>: <what>"; returns the error.
inline Error fail(AttachFailure* failure, int error, const char* path, const char* what) {
  if (failure != nullptr) Text(failure->text, sizeof failure->text) << path << ": " << what;
  return Error(error);
}

// Bytes of the pool file. kPoolUse: shared by all who are attached or about to be, exclusive for who makes a V. kPoolGate: exclusive
// for the one of those who did not find V whose turn it is to look for it or make it. kPoolAttached: shared by all who found V.
// kPoolAlone: shared by those who may only read and do without V; they and those at V keep each other out: each locks its byte and then
// looks at the other.
enum class PoolLock : u8 { kPoolUse, kPoolGate, kPoolAttached, kPoolAlone };

// EAGAIN if it does not wait. The kernel drops what a dead process held.
inline Result<void> lock_pool(int fd, short type, bool wait, PoolLock which = PoolLock::kPoolUse) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = 0;
  lock.l_start = static_cast<long>(which);
  lock.l_len = 1;
  long result = raw_syscall(SYS_fcntl, fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, as_arg(&lock));
  if (is_syscall_error(result)) return Error(static_cast<int>(-result));
  return {};
}

} // namespace pmemfile::vfs
