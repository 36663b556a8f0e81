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

// Byte 0 of the pool file: shared by all who are attached, exclusive for who makes a V. EAGAIN if it does not wait.
inline Result<void> lock_pool(int fd, short type, bool wait) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = 0;
  lock.l_start = 0;
  lock.l_len = 1;
  long result = raw_syscall(SYS_fcntl, fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, as_arg(&lock));
  if (is_syscall_error(result)) return Error(static_cast<int>(-result));
  return {};
}

} // namespace pmemfile::vfs
