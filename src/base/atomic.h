// Atomic access to words that lie in mapped memory, the pool or the shared
// volatile segment, where no C++ object was ever constructed.
//
// Rules: usable in any thread, any process, inside a hook; no state.
#pragma once

#include "base/types.h"

namespace pmemfile {

template <class T>
inline T load_relaxed(const T& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
template <class T>
inline T load_acquire(const T& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
template <class T>
inline void store_relaxed(T& word, T value) { __atomic_store_n(&word, value, __ATOMIC_RELAXED); }
template <class T>
inline void store_release(T& word, T value) { __atomic_store_n(&word, value, __ATOMIC_RELEASE); }
// A store that is globally visible before any later load of this thread.
template <class T>
inline void store_full(T& word, T value) { __atomic_exchange_n(&word, value, __ATOMIC_SEQ_CST); }
template <class T>
inline T exchange(T& word, T value) { return __atomic_exchange_n(&word, value, __ATOMIC_SEQ_CST); }
template <class T>
inline T fetch_add(T& word, T value) { return __atomic_fetch_add(&word, value, __ATOMIC_SEQ_CST); }
template <class T>
inline T fetch_or(T& word, T value) { return __atomic_fetch_or(&word, value, __ATOMIC_SEQ_CST); }
template <class T>
inline T fetch_and(T& word, T value) { return __atomic_fetch_and(&word, value, __ATOMIC_SEQ_CST); }
// On failure `expected` receives what was there.
template <class T>
inline bool compare_exchange(T& word, T& expected, T desired) {
  return __atomic_compare_exchange_n(&word, &expected, desired, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}
// Two words at once, which stand together on a boundary of 16 bytes; what is there has to be `expected`.
struct alignas(16) WordPair {
  u64 first, second;
};
inline bool compare_exchange_pair(WordPair& pair, WordPair expected, WordPair desired) {
  bool exchanged;
  __asm__ volatile("lock cmpxchg16b %[pair]"
                   : "=@ccz"(exchanged), [pair] "+m"(pair), "+a"(expected.first), "+d"(expected.second)
                   : "b"(desired.first), "c"(desired.second)
                   : "memory");
  return exchanged;
}
inline void acquire_fence() { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
inline void compiler_fence() { __asm__ volatile("" ::: "memory"); }
inline void cpu_relax() { __builtin_ia32_pause(); }

} // namespace pmemfile
