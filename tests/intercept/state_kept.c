// Fills every register around a system call and compares it afterwards. The
// output says "kept" only if all of it is; run under a hook that trashes all.
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

struct State {
  unsigned long gpr[16];  // rax rbx rcx rdx rsi rdi rbp r8 ... r15, rflags last
  unsigned char vector[16384] __attribute__((aligned(64)));
  unsigned char red_zone[128];
};

void fill_and_call(struct State *in, struct State *out, unsigned long mask);

static unsigned long read_xcr0(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | (unsigned long)high << 32;
}

static void set_vectors(struct State *s, unsigned long mask) {
  unsigned a, b, c, d;
  for (unsigned i = 0; i < sizeof s->vector; ++i) s->vector[i] = (unsigned char)rand();
  memset(s->vector + 512, 0, 64);
  memcpy(s->vector + 512, &mask, 8);  // every component is in use
  unsigned short control = 0x037f & ~0x300, status = 0, tag = 0xff;
  unsigned mxcsr = 0x1f80 | 0x6000 | 0x8000;  // rounding and flush bits
  memcpy(s->vector, &control, 2);
  memcpy(s->vector + 2, &status, 2);
  memcpy(s->vector + 4, &tag, 2);
  memset(s->vector + 6, 0, 18);
  memcpy(s->vector + 24, &mxcsr, 4);
  for (int r = 0; r < 8; ++r) memset(s->vector + 32 + 16 * r + 10, 0, 6);
  if (mask >> 9 & 1) {  // protection keys: the program's own value, or it could not go on
    __cpuid_count(0xd, 9, a, b, c, d);
    memset(s->vector + b, 0, a);
    unsigned pkru;
    __asm__ volatile("rdpkru" : "=a"(pkru), "=d"(d) : "c"(0));
    memcpy(s->vector + b, &pkru, 4);
  }
}

static int differs(const struct State *in, const struct State *out, unsigned long mask) {
  int bad = 0;
  // 28: the mask of control bits is the processor's; 416: reserved.
  bad |= memcmp(in->vector, out->vector, 28) != 0 || memcmp(in->vector + 32, out->vector + 32, 384) != 0;
  if (bad) puts("x87 or SSE state differs");
  for (unsigned i = 2; i < 32; ++i) {
    unsigned size, offset, c, d;
    if (!(mask >> i & 1)) continue;
    __cpuid_count(0xd, i, size, offset, c, d);
    if (memcmp(in->vector + offset, out->vector + offset, size) == 0) continue;
    printf("state component %u differs\n", i);
    bad = 1;
  }
  static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rflags"};
  for (int i = 1; i < 16; ++i) {
    if (i == 2 || i == 10 || in->gpr[i] == out->gpr[i]) continue;
    printf("%s differs: %lx %lx\n", names[i], in->gpr[i], out->gpr[i]);
    bad = 1;
  }
  if (out->gpr[10] != (in->gpr[15] | 0x202)) printf("r11 is not the flags: %lx\n", out->gpr[10]), bad = 1;
  if (memcmp(in->red_zone, out->red_zone, 128) != 0) puts("the red zone differs"), bad = 1;
  return bad;
}

int main(void) {
  static struct State in, out;
  const unsigned long user = 0xe7 | 1ul << 9;
  const unsigned long mask = read_xcr0() & user;
  unsigned long result = 0;
  for (int round = 0; round < 200; ++round) {
    srand(round + 1);
    set_vectors(&in, mask);
    for (int i = 0; i < 15; ++i) in.gpr[i] = ((unsigned long)rand() << 33) ^ (unsigned long)rand();
    in.gpr[15] = 0x202 | (rand() & 0x8d5) | (round % 2 ? 0x400 : 0);  // arithmetic flags and direction
    for (int i = 0; i < 128; ++i) in.red_zone[i] = (unsigned char)rand();
    fill_and_call(&in, &out, mask);
    if (differs(&in, &out, mask)) return 1;
    result = out.gpr[0];
  }
  printf("kept, result %s\n", result == 4711 ? "from the hook" : "from the kernel");
  return 0;
}
