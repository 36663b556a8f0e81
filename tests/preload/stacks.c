// Small stacks: handlers on an alternate stack, coroutines, threads. Below each lies a page without access.
#include "common.h"
#include <pthread.h>
#include <sys/auxv.h>
#include <ucontext.h>

static char *make_stack(size_t bytes) {
  char *room = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(room, 4096, PROT_NONE);
  return room + 4096;
}

static int operations(void) {
  struct stat st;
  char text[64];
  int fd = open("f", O_CREAT | O_RDWR, 0644), bad = 0;
  bad += write(fd, "abc", 3) != 3;
  bad += ftruncate(fd, 100000) != 0;
  bad += fallocate(fd, 0, 0, 1 << 20) != 0;
  char *map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  map[5000] = 1;
  munmap(map, 65536);
  struct flock lock = {.l_type = F_WRLCK};
  bad += fcntl(fd, F_SETLK, &lock) != 0;
  close(fd);
  bad += stat("f", &st) != 0;
  bad += rename("f", "g") != 0 || rename("g", "f") != 0;
  bad += mkdir("d", 0755) != 0 || rmdir("d") != 0;
  bad += symlink("f", "s") != 0 || readlink("s", text, sizeof text) != 1 || unlink("s") != 0;
  bad += write(open("f", O_RDWR | O_CLOEXEC), (char *)16, 100) != -1;
  for (fd = 3; fd < 20; ++fd) close(fd);
  return bad;
}

static volatile int bad, runs, nested, where;
static void on_usr2(int s) {
  (void)s;
  stack_t now;
  sigaltstack(NULL, &now);
  where |= now.ss_flags;
  ++nested;
}
static void on_usr1(int s) {
  (void)s;
  volatile char canary[64];
  memset((char *)canary, 0x33, sizeof canary);
  bad += operations();
  stack_t now, off = {.ss_flags = SS_DISABLE};
  sigaltstack(NULL, &now);
  where |= now.ss_flags;
  bad += sigaltstack(&off, NULL) != -1 || errno != EPERM;
  raise(SIGUSR2);
  pid_t child = fork();
  if (child == 0) _exit(operations());
  int status;
  waitpid(child, &status, 0);
  bad += status != 0;
  child = vfork();
  if (child == 0) {
    execl("/bin/true", "true", NULL);
    _exit(1);
  }
  waitpid(child, &status, 0);
  bad += status != 0;
  for (unsigned i = 0; i < sizeof canary; ++i) bad += canary[i] != 0x33;
  ++runs;
}
static ucontext_t main_context, other_context;
static void coroutine(void) {
  for (int i = 0; i < 20; ++i) {
    bad += operations();
    ++runs;
    swapcontext(&other_context, &main_context);
  }
}

// The handler on a stack that disarms itself may set another one.
static volatile int replaced = -2;
static void on_own(int s) {
  (void)s;
  static char other[1 << 16];
  stack_t next = {.ss_sp = other, .ss_size = sizeof other};
  replaced = sigaltstack(&next, NULL);
  replaced += operations();
}
static void disarming(void) {
  static char room[1 << 16];
  stack_t own = {.ss_sp = room, .ss_size = sizeof room, .ss_flags = (int)(1u << 31) /* SS_AUTODISARM */}, now;
  struct sigaction action = {.sa_handler = on_own, .sa_flags = SA_ONSTACK};
  SHOW(sigaltstack(&own, NULL));
  sigaction(SIGUSR1, &action, NULL);
  for (int i = 0; i < 2; ++i) {
    raise(SIGUSR1);
    SHOW(replaced);
    SHOW(sigaltstack(NULL, &now));
    SHOW(now.ss_sp == room);
  }
}

int main(void) {
  disarming();
  // A handler in a handler: two frames of the kernel's, 3.3 KiB each with AVX-512, and 4 KiB for what the handlers do.
  size_t bytes = 2 * getauxval(AT_MINSIGSTKSZ) + 4096;
  operations();
  stack_t on = {.ss_sp = make_stack(bytes), .ss_size = bytes};
  SHOW(sigaltstack(&on, NULL));
  struct sigaction a = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK | SA_RESTART}, b = {.sa_handler = on_usr2, .sa_flags = SA_ONSTACK | SA_RESTART};
  sigaction(SIGUSR1, &a, NULL);
  sigaction(SIGUSR2, &b, NULL);
  // Another process sends, so that signals come in the middle of calls, too.
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    for (int i = 0; getppid() == parent; ++i) {
      kill(parent, i % 40 == 0 ? SIGUSR1 : SIGUSR2);
      usleep(1000);
    }
    _exit(0); // not on into its parent's code, which kills `child`: in the child that is the whole process group
  }
  for (int i = 0; i < 400 || runs < 20; ++i) {
    struct stat st;
    stat("f", &st);
    if (i % 100 == 0) raise(SIGUSR1);
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  SHOW(bad);
  SHOW(runs >= 20 && nested >= 20);
  SHOW(where);
  runs = 0;
  getcontext(&other_context);
  other_context.uc_stack.ss_sp = make_stack(8192);
  other_context.uc_stack.ss_size = 8192;
  other_context.uc_link = &main_context;
  makecontext(&other_context, coroutine, 0);
  for (int i = 0; i < 20; ++i) swapcontext(&main_context, &other_context);
  SHOW(bad);
  SHOW(runs);
  return 0;
}
