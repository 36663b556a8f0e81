// AMX tiles survive a system call under a hook that releases them. Says
// "skipped" where the processor or the kernel has none.
#include <immintrin.h>
#include <libcintercept.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

__attribute__((target("amx-tile"))) static int hook(long nr, long a0, long a1, long a2, long a3, long a4, long a5, long *result) {
  (void)a0, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)result;
  if (nr == SYS_getppid) _tile_release();
  return 1;
}

__attribute__((target("amx-tile"))) static int tiles_survive(void) {
  static unsigned char config[64] __attribute__((aligned(64))), in[1024], out[1024];
  config[0] = 1;
  for (int tile = 0; tile < 8; ++tile) {
    config[16 + 2 * tile] = 64;
    config[48 + tile] = 16;
  }
  for (int i = 0; i < 1024; ++i) in[i] = (unsigned char)(i * 7);
  _tile_loadconfig(config);
  _tile_loadd(0, in, 64);
  _tile_loadd(7, in, 64);
  getppid();
  _tile_stored(7, out, 64);
  const int same = memcmp(in, out, 1024) == 0;
  _tile_release();
  return same;
}

int main(void) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512f") || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0) return puts("skipped"), 77;
  intercept_hook_point = hook;
  for (int i = 0; i < 100; ++i)
    if (!tiles_survive()) return puts("tiles lost"), 1;
  puts("ok");
  return 0;
}
