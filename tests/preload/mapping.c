// Mappings and read and write show the same bytes; beyond the end is SIGBUS; private ones keep theirs.
#include "common.h"
#include <setjmp.h>

static sigjmp_buf back;
static void on_fault(int s, siginfo_t *i, void *c) {
  (void)c;
  siglongjmp(back, s * 100 + i->si_code);
}
static int touch(volatile char *p) {
  int r = sigsetjmp(back, 1);
  if (r != 0) return r;
  return p[0] == 127 ? 127 : 0;
}

static void put_file(const char *name, char byte) {
  static char block[65536];
  memset(block, byte, sizeof block);
  int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);
  if (write(fd, block, sizeof block) != sizeof block) puts("short");
  close(fd);
}
static int count_other(const char *p, char byte) {
  int others = 0;
  for (int i = 0; i < 65536; ++i) others += p[i] != byte;
  return others;
}
// A call that fails to replace a mapping leaves it what it was: its file, not somebody else's blocks.
static void failing_replacements(void) {
  for (int how = 0; how < 6; ++how) {
    put_file("old", 'S');
    int fd = open("old", O_RDWR);
    char *m = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *k = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *other = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *got = 0;
    if (how == 0) got = mmap(m, 65536, PROT_READ, MAP_FIXED | MAP_ANONYMOUS, -1, 0);
    if (how == 1) got = mmap(m, 1UL << 50, PROT_READ, MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (how == 2) got = mremap(other, 65536, 65536, MREMAP_FIXED, m);
    if (how == 3) got = mremap(k, 65536, 1UL << 50, MREMAP_FIXED | MREMAP_MAYMOVE, m);
    if (how == 4) got = mremap(m, 32768, 32768, MREMAP_FIXED | MREMAP_MAYMOVE, m + 4096);
    if (how == 5) got = mremap(k, 65536, 65536, MREMAP_FIXED | MREMAP_MAYMOVE, m + 1);
    printf("way %d: %d, errno %d\n", how, got == MAP_FAILED, errno);
    close(fd);
    unlink("old");
    char name[16];
    int harmed = 0;
    for (int i = 0; i < 60; ++i) snprintf(name, sizeof name, "new%d", i), put_file(name, 'V');
    SHOW(count_other(m, 'S'));
    memset(m, 'X', 65536);
    for (int i = 0; i < 60; ++i) {
      static char block[65536];
      snprintf(name, sizeof name, "new%d", i);
      int in = open(name, O_RDONLY);
      harmed += read(in, block, sizeof block) != sizeof block || count_other(block, 'V') != 0;
      close(in);
      unlink(name);
    }
    SHOW(harmed);
    munmap(m, 65536), munmap(k, 65536), munmap(other, 65536);
  }
}
// A hole at the same address again and again is not the same fault again and again.
static void windows(void) {
  int fd = open("window", O_CREAT | O_RDWR, 0644);
  char *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  for (int i = 0; i < 12; ++i) {
    at = mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, i * 4096L);
    ftruncate(fd, (i + 1) * 4096L);
    SHOW(touch(at));
    at[0] = (char)i;
  }
  munmap(at, 4096);
}

int main(void) {
  struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGBUS, &a, 0);
  sigaction(SIGSEGV, &a, 0);
  failing_replacements();
  windows();
  int fd = open("m", O_CREAT | O_RDWR, 0644);
  SHOW(ftruncate(fd, 10000));
  char *m = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  m[0] = 'a', m[5000] = 'b';
  char c[3] = {0};
  SHOW(pread(fd, c, 1, 5000));
  puts(c);
  SHOW(pwrite(fd, "z", 1, 5001));
  SHOW(m[5001]);
  SHOW(m[9999]);
  SHOW(touch(m + 12288));
  SHOW(ftruncate(fd, 20000));
  SHOW(touch(m + 12288));
  m[19999] = 'e';
  SHOW(pread(fd, c, 1, 19999));
  puts(c);
  char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  p[0] = 'P';
  SHOW(m[0]);
  SHOW(touch(0));
  SHOW(mprotect(m, 4096, PROT_READ));
  SHOW(munmap(m + 4096, 4096));
  SHOW(touch(m + 4096));
  SHOW(m[8192]);
  if (fork() == 0) {
    m[8193] = 'k';
    _exit(0);
  }
  wait(0);
  SHOW(m[8193]);
  char *q = mremap(p, 8192, 32768, MREMAP_MAYMOVE);
  SHOW(q[0]);
  SHOW(q[19999]);
  int ro = open("m", O_RDONLY);
  SHOW(mmap(0, 4096, PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED);
  SHOW(mmap(0, 4096, PROT_READ, MAP_SHARED, open(".", O_RDONLY), 0) == MAP_FAILED);
  SHOW(mmap(0, 0, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
  SHOW(msync(m, 4096, MS_SYNC));
  int big = open("big", O_CREAT | O_RDWR, 0644);
  SHOW(ftruncate(big, 1L << 40));
  char *huge = mmap(0, 1L << 40, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, big, 0);
  huge[1L << 39] = 'h';
  SHOW(pread(big, c, 1, 1L << 39));
  puts(c);
  SHOW(huge[(1L << 39) + 100000]);
  // Its holes stay holes, and have no access but by a touch.
  struct stat st;
  SHOW(mprotect(huge, 1L << 40, PROT_READ));
  SHOW(fstat(big, &st));
  SHOW(st.st_blocks < 10000);
  SHOW(huge[1L << 39]);
  SHOW(touch(huge + (1L << 38)));
  SHOW(mprotect(huge, 1L << 40, PROT_READ | PROT_WRITE));
  huge[1L << 37] = 'w';
  SHOW(pread(big, c, 1, 1L << 37));
  puts(c);
  // What the program has made of its private pages stays, whoever touches them without access.
  int private_fd = open("private", O_CREAT | O_RDWR, 0644);
  SHOW(ftruncate(private_fd, 8192));
  SHOW(pwrite(private_fd, "file", 4, 0));
  char *own = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, private_fd, 0);
  own[0] = 'o';
  SHOW(mprotect(own, 8192, PROT_NONE));
  SHOW(touch(own));
  SHOW(pwrite(private_fd, own, 4, 4096));
  SHOW(mprotect(own, 8192, PROT_READ));
  SHOW(own[0]);
  // Buffers in a mapping whose file has grown since.
  int grown = open("grown", O_CREAT | O_RDWR, 0644), other = open("other", O_CREAT | O_RDWR, 0644);
  char *room = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, grown, 0);
  SHOW(pwrite(other, "contents", 8, 0));
  SHOW(pread(other, room, 8, 0));
  SHOW(ftruncate(grown, 65536));
  SHOW(pread(other, room, 8, 0));
  SHOW(pwrite(other, room + 4096, 8, 0));
  SHOW(memcmp(room, "contents", 8));
  return 0;
}
