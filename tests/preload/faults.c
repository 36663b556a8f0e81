// SIGSEGV and SIGBUS: what the program blocks, ignores, handles and waits for is what it finds, and neither a bad pointer
// nor a hole of a mapping ever needs more of it than in the kernel.
#include "common.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <ucontext.h>

#define BIG (64ul << 20) // so large that its holes are filled at the first touch
static char *volatile nowhere = (char *)16;

static void show_mask(const char *where) {
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  printf("%s: blocked:", where);
  for (int s = 1; s < 32; ++s)
    if (sigismember(&now, s)) printf(" %d", s);
  printf("\n");
  fflush(stdout);
}

static void set_mask(int how, int signal) {
  sigset_t set;
  if (signal == 0) sigfillset(&set); else sigemptyset(&set), sigaddset(&set, signal);
  sigprocmask(how, &set, NULL);
}

static char *map_hole(const char *name) {
  int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);
  ftruncate(fd, BIG);
  char *map = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return map;
}

static void in_child(const char *name, void (*body)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    body();
    fflush(stdout);
    _exit(7);
  }
  int status;
  waitpid(child, &status, 0);
  printf("%s: %s %d\n", name, WIFSIGNALED(status) ? "killed by" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

// ---- Masks --------------------------------------------------------------------------------------------------------

static void everything_blocked(void) {
  set_mask(SIG_BLOCK, 0);
  show_mask("all");
  int fd = open("a", O_CREAT | O_RDWR, 0644);
  SHOW(write(fd, nowhere, 5000));
  SHOW(pread(fd, nowhere, 5000, 0));
  SHOW(open(nowhere, O_RDONLY));
  char *map = map_hole("hole");
  map[5 << 20] = 'x';
  map[40 << 20] = 'y';
  SHOW(map[5 << 20] + map[40 << 20]);
  set_mask(SIG_UNBLOCK, SIGBUS);
  show_mask("without SIGBUS");
}
static void fault_while_blocked(void) {
  set_mask(SIG_BLOCK, SIGSEGV);
  *nowhere = 1;
}
static void nothing(int s) { printf("handler %d\n", s); }
static void handled_but_blocked(void) {
  signal(SIGSEGV, nothing);
  set_mask(SIG_BLOCK, SIGSEGV);
  *nowhere = 1;
}
static void ignored(void) {
  signal(SIGSEGV, SIG_IGN);
  SHOW(raise(SIGSEGV));
  *nowhere = 1;
}
static void beyond_the_end(void) {
  int fd = open("short", O_CREAT | O_RDWR, 0644);
  ftruncate(fd, 100);
  char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  map[4096] = 1;
}
static void beyond_the_end_blocked(void) {
  set_mask(SIG_BLOCK, 0);
  beyond_the_end();
}
static void sent(void) { kill(getpid(), SIGBUS); }
static void sent_and_blocked(void) {
  set_mask(SIG_BLOCK, SIGSEGV);
  SHOW(kill(getpid(), SIGSEGV));
  sigset_t waiting;
  sigpending(&waiting);
  SHOW(sigismember(&waiting, SIGSEGV));
  int fd = open("a", O_CREAT | O_RDWR, 0644);
  SHOW(write(fd, "x", 1));
  set_mask(SIG_UNBLOCK, SIGSEGV);
  printf("alive\n");
}

// ---- Waiting for them ---------------------------------------------------------------------------------------------

static void waiting_for_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGSEGV);
  sigaddset(&set, SIGBUS);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int fd = signalfd(-1, &set, SFD_NONBLOCK);
  kill(getpid(), SIGSEGV);
  struct signalfd_siginfo info;
  SHOW(read(fd, &info, sizeof info));
  SHOW(info.ssi_signo);
  SHOW(info.ssi_pid == (uint32_t)getpid());
  union sigval value = {.sival_int = 44};
  sigqueue(getpid(), SIGBUS, value);
  siginfo_t got;
  SHOW(sigwaitinfo(&set, &got));
  SHOW(got.si_value.sival_int);
  struct timespec soon = {0, 1000000};
  SHOW(sigtimedwait(&set, &got, &soon));
  pid_t child = fork();
  if (child == 0) {
    usleep(20000);
    kill(getppid(), SIGBUS);
    _exit(0);
  }
  SHOW(sigwaitinfo(&set, &got));
  SHOW(got.si_pid == child);
  waitpid(child, NULL, 0);
  show_mask("after waiting");
}
static void *wait_in_thread(void *arg) {
  int got = 0;
  sigwait(arg, &got);
  return (void *)(long)got;
}
static void another_thread_waits(void) {
  static sigset_t set;
  sigfillset(&set);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  pthread_t t;
  pthread_create(&t, NULL, wait_in_thread, &set);
  usleep(20000);
  kill(getpid(), SIGSEGV);
  void *got;
  pthread_join(t, &got);
  SHOW((long)got);
}

// ---- Handlers -----------------------------------------------------------------------------------------------------

static sigjmp_buf back;
static volatile char *hole;
static void on_fault(int s, siginfo_t *info, void *opaque) {
  ucontext_t *context = opaque;
  printf("signal %d code %d address %p, blocked before: SEGV %d BUS %d\n", s, info->si_code, info->si_addr,
         sigismember(&context->uc_sigmask, SIGSEGV), sigismember(&context->uc_sigmask, SIGBUS));
  show_mask("in the handler");
  struct sigaction now;
  sigaction(s, NULL, &now);
  printf("disposition: %s flags %x\n", now.sa_handler == SIG_DFL ? "default" : "handler", now.sa_flags & ~0x4000000);
  int fd = open("a", O_CREAT | O_RDWR, 0644);
  SHOW(write(fd, nowhere, 5000));
  close(fd);
  hole[20 << 20] += 1;
  printf("hole %d\n", hole[20 << 20]);
  siglongjmp(back, 1);
}
static void handle(int signal, int flags, int also) {
  struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | flags}, old;
  sigemptyset(&a.sa_mask);
  if (also != 0) sigaddset(&a.sa_mask, also);
  sigaction(signal, &a, NULL);
  sigaction(signal, NULL, &old);
  printf("set: flags %x mask %d\n", old.sa_flags & ~0x4000000, sigismember(&old.sa_mask, also != 0 ? also : signal));
}
static void handlers(void) {
  hole = map_hole("hole2");
  handle(SIGSEGV, 0, SIGBUS);
  if (sigsetjmp(back, 1) == 0) *nowhere = 1;
  show_mask("after");
  handle(SIGSEGV, SA_NODEFER | SA_ONSTACK, SIGUSR1);
  static char stack[65536];
  stack_t on = {.ss_sp = stack, .ss_size = sizeof stack};
  SHOW(sigaltstack(&on, NULL));
  if (sigsetjmp(back, 1) == 0) *nowhere = 1;
  handle(SIGSEGV, 0, 0);
  hole[(20 << 20) + 1] = 0;
  int fd = open("short2", O_CREAT | O_RDWR, 0644);
  ftruncate(fd, 100);
  char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_RESETHAND};
  sigaction(SIGBUS, &a, NULL);
  fflush(stdout);
  if (sigsetjmp(back, 1) == 0) {
    // The address is printed.
    char *fixed = mmap((void *)0x510000000, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    fixed[4096] = 1;
  }
  shared[4096] = 1; // the handler has gone: death by SIGBUS
}
static void in_handler_fault(int s) {
  printf("in the handler %d\n", s);
  fflush(stdout);
  *nowhere = 2;
}
static void fault_in_handler(void) {
  signal(SIGSEGV, in_handler_fault);
  *nowhere = 1;
}
static void reset(void) {
  struct sigaction a = {.sa_handler = nothing, .sa_flags = SA_RESETHAND | SA_NODEFER};
  sigaction(SIGBUS, &a, NULL);
  raise(SIGBUS);
  show_mask("once");
  fflush(stdout);
  raise(SIGBUS);
}
static void keep_blocked(int s, siginfo_t *info, void *opaque) {
  (void)s, (void)info;
  sigaddset(&((ucontext_t *)opaque)->uc_sigmask, SIGSEGV);
  sigaddset(&((ucontext_t *)opaque)->uc_sigmask, SIGUSR2);
}
static void handlers_change_the_mask(void) {
  struct sigaction a = {.sa_sigaction = keep_blocked, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &a, NULL);
  raise(SIGUSR1);
  show_mask("left by the handler");
}
static volatile int sum;
static void on_usr1(int s) {
  (void)s;
  hole[33 << 20] = 5;
  sum += hole[33 << 20];
  show_mask("while suspended");
}
static void suspended(void) {
  hole = map_hole("hole3");
  signal(SIGUSR1, on_usr1);
  set_mask(SIG_BLOCK, SIGUSR1);
  raise(SIGUSR1);
  sigset_t most;
  sigfillset(&most);
  sigdelset(&most, SIGUSR1);
  SHOW(sigsuspend(&most));
  show_mask("afterwards");
  raise(SIGUSR1);
  struct timespec long_time = {5, 0};
  SHOW(ppoll(NULL, 0, &long_time, &most));
  raise(SIGUSR1);
  SHOW(pselect(0, NULL, NULL, NULL, &long_time, &most));
  SHOW(sum);
}
// Frames of several signals that come at once lie on each other: afterwards nothing is left blocked.
static volatile int seen[32];
static void count(int s) { ++seen[s]; }
static void many_signals(void) {
  for (int s = SIGUSR1; s <= SIGUSR2; s += SIGUSR2 - SIGUSR1) signal(s, count);
  signal(SIGHUP, count);
  pid_t parent = getpid(), child = fork();
  if (child == 0)
    for (;;) {
      if (kill(parent, SIGUSR1) != 0) _exit(0);
      kill(parent, SIGUSR2);
      kill(parent, SIGHUP);
      if (getppid() != parent) _exit(0);
    }
  // On a busy machine the child's signals may be slow to come.
  for (int i = 0; i < 3000 || ((seen[SIGUSR1] <= 100 || seen[SIGUSR2] <= 100 || seen[SIGHUP] <= 100) && i < 3000000); ++i) {
    int fd = open("many", O_CREAT | O_RDWR, 0644);
    pwrite(fd, &i, sizeof i, 0);
    close(fd);
    if (i % 3 == 0) unlink("many");
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigprocmask(SIG_UNBLOCK, &set, &old);
    if (sigismember(&old, SIGUSR1) || sigismember(&old, SIGUSR2) || !sigismember(&old, SIGSEGV)) {
      printf("round %d: a wrong mask\n", i);
      break;
    }
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  show_mask("after many signals");
  SHOW(seen[SIGUSR1] > 100 && seen[SIGUSR2] > 100 && seen[SIGHUP] > 100);
}

// ---- What is inherited --------------------------------------------------------------------------------------------

static void next_image(void) {
  set_mask(SIG_BLOCK, SIGSEGV);
  set_mask(SIG_BLOCK, SIGUSR1);
  signal(SIGBUS, SIG_IGN);
  fflush(stdout);
  execl("./program", "program", "inherited", NULL);
}
static void kernel_image(void) {
  set_mask(SIG_BLOCK, SIGSEGV);
  signal(SIGBUS, SIG_IGN);
  signal(SIGUSR2, SIG_IGN);
  fflush(stdout);
  unsetenv("LD_PRELOAD"); // in a pool: without the library
  setenv("PMEMFILE_POOLS", "none", 1);
  execl("/bin/grep", "grep", "-E", "SigBlk|SigIgn", "/proc/self/status", NULL);
}
static void exec_among_signals(void) {
  signal(SIGUSR1, count);
  signal(SIGUSR2, SIG_IGN); // stays ignored
  for (int i = 0; i < 40; ++i) {
    pid_t child = fork();
    if (child == 0) {
      kill(getppid(), SIGUSR2);
      execl("./program", "program", "masks", NULL);
    }
    usleep((unsigned)(i * 37 % 800));
    kill(child, SIGUSR1);
    int status;
    waitpid(child, &status, 0);
    // Killed by the signal if it came after exec, otherwise it finds an empty mask.
    if (!(WIFSIGNALED(status) ? WTERMSIG(status) == SIGUSR1 : WEXITSTATUS(status) == 0)) printf("status %x\n", status);
  }
}
static void *in_thread(void *arg) {
  show_mask(arg);
  int fd = open("a", O_CREAT | O_RDWR, 0644);
  SHOW(write(fd, nowhere, 5000));
  return NULL;
}
static void other_thread(void) {
  set_mask(SIG_BLOCK, SIGSEGV);
  pthread_t t;
  pthread_create(&t, NULL, in_thread, "thread");
  pthread_join(t, NULL);
  show_mask("first thread");
}
static void vfork_child(void) {
  set_mask(SIG_BLOCK, SIGBUS);
  pid_t child = vfork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  show_mask("after vfork");
  SHOW(system("true"));
  show_mask("after system");
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (argc > 1 && strcmp(argv[1], "inherited") == 0) {
    show_mask("next image");
    struct sigaction a;
    sigaction(SIGBUS, NULL, &a);
    SHOW(a.sa_handler == SIG_IGN);
    int fd = open("a", O_CREAT | O_RDWR, 0644);
    SHOW(write(fd, nowhere, 5000));
    return 3;
  }
  if (argc > 1 && strcmp(argv[1], "masks") == 0) {
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    return sigisemptyset(&now) ? 0 : 9;
  }
#define CASE(name) in_child(#name, name)
  CASE(everything_blocked);
  CASE(fault_while_blocked);
  CASE(handled_but_blocked);
  CASE(ignored);
  CASE(beyond_the_end);
  CASE(beyond_the_end_blocked);
  CASE(sent);
  CASE(sent_and_blocked);
  CASE(waiting_for_signals);
  CASE(another_thread_waits);
  CASE(handlers);
  CASE(fault_in_handler);
  CASE(reset);
  CASE(handlers_change_the_mask);
  CASE(suspended);
  CASE(many_signals);
  CASE(next_image);
  CASE(kernel_image);
  CASE(exec_among_signals);
  CASE(other_thread);
  CASE(vfork_child);
  return 0;
}
