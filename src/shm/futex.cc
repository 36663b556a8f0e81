#include "shm/futex.h"

#include <cerrno>

namespace pmemfile::shm {
namespace {

// Not FUTEX_PRIVATE: the word is shared by processes.
constexpr long kFutexWait = 0, kFutexWake = 1;
constexpr i64 kNsPerSecond = 1'000'000'000;

} // namespace

int futex_wait_at(const void* word, u32 value, i64 timeout_ns) {
  struct { i64 seconds, nanoseconds; } timeout{timeout_ns / kNsPerSecond, timeout_ns % kNsPerSecond};
  long result = raw_syscall(SYS_futex, as_arg(word), kFutexWait, value, as_arg(&timeout));
  if (result == -ETIMEDOUT) return ETIMEDOUT;
  return result == -EINTR ? EINTR : 0;
}

void futex_wake_at(const void* word, i32 count) { raw_syscall(SYS_futex, as_arg(word), kFutexWake, count); }

} // namespace pmemfile::shm
