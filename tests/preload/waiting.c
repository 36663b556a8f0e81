// select, poll and their kin, on files of ours, pipes, and both.
#include "common.h"
#include <sys/resource.h>
#include <sys/select.h>

static int fd, p[2];
static void nothing(int signal) { (void)signal; }

// More numbers than the sets have room for: no more is touched than the table of descriptors has.
static void wide_sets(int count) {
  struct {
    fd_set x, w, r;
    char tail[2048];
  } s;
  memset(&s, 0, sizeof s);
  FD_SET(fd, &s.r), FD_SET(p[0], &s.r), FD_SET(fd, &s.w);
  struct timeval tv = {0, 10000};
  SHOW(select(count, &s.r, &s.w, &s.x, &tv));
  printf("%d: %d %d %d %d\n", count, FD_ISSET(fd, &s.r), FD_ISSET(p[0], &s.r), FD_ISSET(fd, &s.w), FD_ISSET(fd, &s.x));
}

static void set_at_page_end(int count) {
  char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(pages + 4096, 4096);
  fd_set *set = (fd_set *)(pages + 4096 - sizeof(fd_set));
  FD_SET(fd, set);
  struct timeval tv = {0, 10000};
  SHOW(select(count, set, 0, 0, &tv));
  munmap(pages, 4096);
}

static void stale_bit(int number, int count) {
  static unsigned long set[131072 / 8];
  memset(set, 0, sizeof set);
  set[fd / 64] |= 1ul << fd % 64, set[number / 64] |= 1ul << number % 64;
  struct timeval tv = {0, 10000};
  printf("%d of %d: ", number, count);
  SHOW(select(count, (fd_set *)set, 0, 0, &tv));
}

static void bad_times(void) {
  fd_set set;
  struct timeval tv[] = {{-1, 0}, {0, -1}, {-1, 1000000}, {-2, 1000000}, {0, 2000000}};
  for (unsigned i = 0; i < 5; ++i) {
    FD_ZERO(&set);
    FD_SET(fd, &set);
    SHOW(syscall(SYS_select, fd + 1, &set, 0, 0, &tv[i]));
  }
  struct timespec ts[] = {{-1, 0}, {0, -1}, {0, 1000000000}, {0, 999999999}};
  struct pollfd one = {fd, POLLIN, 0};
  for (unsigned i = 0; i < 4; ++i) {
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timespec copy = ts[i];
    SHOW(syscall(SYS_pselect6, fd + 1, &set, 0, 0, &copy, 0));
    SHOW(syscall(SYS_ppoll, &one, 1, &ts[i], 0, 8));
  }
  unsigned long mask = 0, pack[] = {(unsigned long)&mask, 4};
  SHOW(syscall(SYS_ppoll, &one, 1, 0, &mask, 4));
  SHOW(syscall(SYS_ppoll, &one, 1, 0, 8, 8));
  SHOW(syscall(SYS_ppoll, &one, 1, 8, 0, 8));
  SHOW(syscall(SYS_pselect6, fd + 1, &set, 0, 0, 0, pack));
  SHOW(syscall(SYS_pselect6, fd + 1, &set, 0, 0, 0, 8));
  SHOW(syscall(SYS_select, fd + 1, &set, 0, 0, 8));
}

// What is ready goes before a signal that the call's mask lets in.
static void ready_before_signal(void) {
  sigset_t blocked, none;
  sigemptyset(&none), sigemptyset(&blocked), sigaddset(&blocked, SIGUSR1);
  signal(SIGUSR1, nothing);
  sigprocmask(SIG_BLOCK, &blocked, 0);
  raise(SIGUSR1);
  struct pollfd two[2] = {{p[0], POLLIN, 0}, {fd, POLLIN, 0}};
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set), FD_SET(p[0], &set);
  struct timespec ts = {1, 0};
  SHOW(ppoll(two, 2, &ts, &none));
  SHOW(pselect(10, &set, 0, 0, &ts, &none));
  sigset_t pending;
  sigpending(&pending);
  SHOW(sigismember(&pending, SIGUSR1));
  FD_ZERO(&set);
  FD_SET(p[0], &set);
  SHOW(pselect(10, &set, 0, 0, &ts, &none));
  sigpending(&pending);
  SHOW(sigismember(&pending, SIGUSR1));
}

int main(void) {
  fd = open("f", O_CREAT | O_RDWR, 0644);
  pipe(p);
  wide_sets(10), wide_sets(64), wide_sets(1024), wide_sets(4096), wide_sets(9000), wide_sets(1 << 20);
  set_at_page_end(4096), set_at_page_end(100000);
  stale_bit(40, 41), stale_bit(60, 1000), stale_bit(333, 1000), stale_bit(901, 1024), stale_bit(9000, 20000);
  dup2(p[0], 100);
  stale_bit(90, 1000), stale_bit(101, 1000), stale_bit(333, 1000);
  bad_times();
  ready_before_signal();
  dup2(fd, 20), close(20);
  stale_bit(20, 64);
  return 0;
}
