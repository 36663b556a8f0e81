// Waiting on a word of V that another process changes.
//
// Rules: any thread, any process that maps V; hook-safe. Every wait ends after a bounded time, because nobody wakes
// those who wait for the dead.
#pragma once

#include "base/atomic.h"
#include "base/syscall.h"

namespace pmemfile::shm {

// The longest sleep before the waiter asks the kernel whether the one it waits for is alive (foundations C3).
inline constexpr i64 kLivenessCheckNs = 2'000'000;

// Sleeps while `word` has `value`, at most `timeout_ns`. Returns 0 (woken or changed), ETIMEDOUT or EINTR.
int futex_wait_at(const void* word, u32 value, i64 timeout_ns);
void futex_wake_at(const void* word, i32 count);
inline int futex_wait(const u32& word, u32 value, i64 timeout_ns) { return futex_wait_at(&word, value, timeout_ns); }
inline void futex_wake(const u32& word, i32 count) { futex_wake_at(&word, count); }

} // namespace pmemfile::shm
