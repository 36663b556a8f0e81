// Raw system calls: they bypass libc, errno, cancellation and, because the
// instruction lies in our own text, every interception engine.
//
// Rules: usable in any thread, any process, inside a hook; no state. A result
// in [-4095, -1] is a negated errno. In a program that brings a kernel of its
// own (tests/fuzz/kernel.h) they are calls of that.
#pragma once

#include <sys/syscall.h>

namespace pmemfile {

#if defined(PMEMFILE_TEST_KERNEL)
long raw_syscall(long nr, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0);
#else
inline long raw_syscall(long nr, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0,
                        long a5 = 0) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = a3;
  register long r8 __asm__("r8") = a4;
  register long r9 __asm__("r9") = a5;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#else
#error "raw_syscall: this architecture is not supported yet"
#endif
}
#endif

template <class T>
inline long as_arg(T* pointer) { return reinterpret_cast<long>(pointer); }

constexpr bool is_syscall_error(long result) {
  return static_cast<unsigned long>(result) > -4096UL;
}

} // namespace pmemfile
