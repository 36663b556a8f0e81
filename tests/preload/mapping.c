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

int main(void) {
  struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGBUS, &a, 0);
  sigaction(SIGSEGV, &a, 0);
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
