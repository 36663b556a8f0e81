// A process that shares our memory, and even our thread-local storage, beside us; and code that runs before main.
#include "common.h"
#include <sched.h>

static int early_fd = -1;
static void early(void) { early_fd = open("early", O_CREAT | O_RDWR, 0644); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = early;

static volatile int go_on = 1, calls, opened;
static int guest(void *arg) {
  (void)arg;
  while (go_on) {
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC);
    char text[64];
    if (fd >= 0 && syscall(SYS_read, fd, text, sizeof text) == sizeof text) ++opened;
    syscall(SYS_close, fd);
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
    ++calls;
  }
  return 5;
}

int main(void) {
  SHOW(early_fd);
  SHOW(write(early_fd, "early", 5));
  SHOW(access("early", R_OK));
  char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int bad = 0;
  for (int round = 0; round < 3; ++round) {
    go_on = 1;
    calls = 0;
    pid_t child = clone(guest, stack + 65536, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED, NULL);
    if (child < 0) {
      SHOW(child);
      break;
    }
    char b[64];
    for (int i = 0; i < 2000 || calls < 100; ++i) {
      int fd = open("work", O_CREAT | O_RDWR, 0644);
      bad += pwrite(fd, &i, sizeof i, i % 100) != sizeof i;
      bad += pread(fd, b, sizeof i, i % 100) != sizeof i || memcmp(b, &i, sizeof i) != 0;
      close(fd);
    }
    go_on = 0;
    int status = 0;
    SHOW(waitpid(child, &status, __WALL) == child);
    SHOW(WEXITSTATUS(status));
  }
  SHOW(bad);
  SHOW(opened > 0);
  pid_t child = fork();
  if (child == 0) _exit(open("work", O_RDONLY) >= 0 ? 0 : 1);
  int status;
  waitpid(child, &status, 0);
  SHOW(status);
  return 0;
}
