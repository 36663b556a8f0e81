// A hook that leaves nothing as it was: every vector, mask, x87 and control
// register that it may change by the ABI, and the direction of its answers.
#include <immintrin.h>
#include <libcintercept.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static int answer;  // handle getppid ourselves
static int wide;    // AVX-512 is there
static int middle;  // AVX is there

__attribute__((target("avx512f,avx512bw"))) static void trash_wide(void) {
  __asm__ volatile(
      "vpternlogd $255,%%zmm0,%%zmm0,%%zmm0; vmovdqa64 %%zmm0,%%zmm1; vmovdqa64 %%zmm0,%%zmm7;"
      "vmovdqa64 %%zmm0,%%zmm15; vmovdqa64 %%zmm0,%%zmm16; vmovdqa64 %%zmm0,%%zmm31;"
      "kxnorq %%k0,%%k0,%%k0; kmovq %%k0,%%k1; kmovq %%k0,%%k7" ::: "memory");
}
__attribute__((target("avx"))) static void trash_middle(void) { __asm__ volatile("vzeroall" ::: "memory"); }

static int trash(long nr, long a0, long a1, long a2, long a3, long a4, long a5, long *result) {
  (void)a0, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5;
  unsigned control = 0x7f80 & ~0x40u;
  unsigned short x87 = 0x0f7f;
  if (middle) trash_middle();
  if (wide) trash_wide();
  __asm__ volatile("pcmpeqd %%xmm0,%%xmm0; pcmpeqd %%xmm8,%%xmm8; ldmxcsr %0; fldpi; fldl2e; fldz; fldcw %1; movq2dq %%mm3,%%xmm3" ::"m"(control), "m"(x87) : "memory");
  if (answer && nr == SYS_getppid) {
    *result = 4711;
    return 0;
  }
  return 1;
}

__attribute__((constructor)) static void set_hook(void) {
  __builtin_cpu_init();
  wide = __builtin_cpu_supports("avx512bw") != 0;
  middle = __builtin_cpu_supports("avx") != 0;
  answer = getenv("TRASH_ANSWERS") != NULL;
  intercept_hook_point = trash;
}
