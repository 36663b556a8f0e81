// Children of every kind, threads, cancellation, signals, unwinding. Prints
// what happened; the test compares the output with and without a hook.
#include <execinfo.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

extern char** environ;

namespace {

int status_of(pid_t pid) {
  int status = -1;
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {
  }
  return status;
}

void forks() {
  for (int i = 0; i < 5; ++i) {
    const pid_t pid = fork();
    if (pid == 0) _exit(i);
    printf("fork: %d\n", WEXITSTATUS(status_of(pid)));
  }
  const pid_t deep = fork();
  if (deep == 0) {
    const pid_t below = fork();
    if (below == 0) _exit(1);
    _exit(WEXITSTATUS(status_of(below)) + 1);
  }
  printf("fork in a fork: %d\n", WEXITSTATUS(status_of(deep)));
}

// The child overwrites as much of the shared stack as it may.
__attribute__((noinline)) int dig(int depth) {
  volatile char room[512];
  memset(const_cast<char*>(room), depth, sizeof room);
  return depth == 0 ? static_cast<int>(getppid() > 0) : dig(depth - 1) + room[0] - depth;
}

void vforks() {
  for (int i = 0; i < 5; ++i) {
    const pid_t pid = vfork();
    if (pid == 0) _exit(dig(20) + i);
    printf("vfork: %d\n", WEXITSTATUS(status_of(pid)));
  }
  const pid_t pid = vfork();
  if (pid == 0) {
    execl("/bin/sh", "sh", "-c", "exit 9", nullptr);
    _exit(127);
  }
  printf("vfork and exec: %d\n", WEXITSTATUS(status_of(pid)));
  const pid_t outer = vfork();
  if (outer == 0) {
    const pid_t inner = fork();
    if (inner == 0) _exit(3);
    _exit(WEXITSTATUS(status_of(inner)) + 1);
  }
  printf("fork in a vfork: %d\n", WEXITSTATUS(status_of(outer)));
}

void spawns() {
  const char* const argv[] = {"sh", "-c", "exit 5", nullptr};
  pid_t pid;
  const int error = posix_spawn(&pid, "/bin/sh", nullptr, nullptr, const_cast<char**>(argv), environ);
  printf("posix_spawn: %d %d\n", error, WEXITSTATUS(status_of(pid)));
  printf("posix_spawn of nothing: %d\n", posix_spawn(&pid, "/no/such", nullptr, nullptr, const_cast<char**>(argv), environ));
  printf("system: %d\n", WEXITSTATUS(system("exit 6")));
  FILE* pipe = popen("echo from popen", "r");
  char line[64] = "";
  if (fgets(line, sizeof line, pipe) == nullptr) puts("popen: nothing");
  printf("%s", line);
  pclose(pipe);
}

int shared_word = 0;
int in_clone(void* argument) {
  __atomic_store_n(&shared_word, *static_cast<int*>(argument), __ATOMIC_SEQ_CST);
  return 8;
}

void clones() {
  constexpr size_t kStack = 65536;
  char* stack = static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (int flags : {CLONE_VM | SIGCHLD, SIGCHLD, CLONE_VM | CLONE_VFORK | SIGCHLD, CLONE_VM | CLONE_FILES}) {
    int value = 77;
    shared_word = 0;
    const int pid = clone(in_clone, stack + kStack, flags, &value);
    printf("clone %x: %d", flags, WEXITSTATUS(status_of(pid)));
    printf(" %d\n", shared_word);
  }
  errno = 0;
  printf("clone with wrong flags: %d", clone(in_clone, stack + kStack, CLONE_THREAD, nullptr));
  printf(" %d\n", errno);
  errno = 0;
  printf("clone3 at a bad address: %ld", syscall(SYS_clone3, 8, sizeof(clone_args)));
  printf(" %d\n", errno);
  clone_args args{};
  args.exit_signal = SIGCHLD;
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(11);
  printf("clone3 as fork: %d\n", WEXITSTATUS(status_of(static_cast<pid_t>(pid))));
  munmap(stack, kStack);
}

void threads() {
  std::vector<std::thread> all;
  int sum = 0;
  for (int i = 0; i < 100; ++i) all.emplace_back([&sum, i] { __atomic_fetch_add(&sum, static_cast<int>(syscall(SYS_gettid) > 0) * i, __ATOMIC_SEQ_CST); });
  for (std::thread& t : all) t.join();
  printf("threads: %d\n", sum);
}

struct SaysGoodbye {
  const char* name;
  ~SaysGoodbye() { printf("unwound: %s\n", name); }
};

void cancel(const char* name, int type, void* (*body)(void*)) {
  pthread_t thread;
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) return;
  pthread_create(&thread, nullptr, body, pipe_fds);
  usleep(30000);
  pthread_cancel(thread);
  void* result = nullptr;
  pthread_join(thread, &result);
  printf("cancel %s (%d): %s\n", name, type, result == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

void* blocked_in_read(void* argument) {
  SaysGoodbye object{"blocked in read"};
  char byte;
  (void)!read(static_cast<int*>(argument)[0], &byte, 1);
  return nullptr;
}
void* blocked_in_poll(void*) {
  SaysGoodbye object{"blocked in poll"};
  poll(nullptr, 0, 10000);
  return nullptr;
}
void* asynchronous(void* argument) {
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
  pthread_cleanup_push([](void*) { puts("cleanup handler"); }, nullptr);
  char byte;
  syscall(SYS_read, static_cast<int*>(argument)[0], &byte, 1);
  pthread_cleanup_pop(0);
  return nullptr;
}

int alarms = 0;
void on_alarm(int) {
  ++alarms;
  (void)getpid();
}

void arm(int flags) {
  struct sigaction action {};
  action.sa_handler = on_alarm;
  action.sa_flags = flags;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval timer{{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

void signals() {
  int fds[2];
  if (pipe(fds) != 0) return;
  arm(0);
  char byte = 0;
  errno = 0;
  const ssize_t interrupted = read(fds[0], &byte, 1);
  printf("read interrupted: %zd %d, %d alarms\n", interrupted, errno, alarms);
  arm(SA_RESTART);
  std::thread writer([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    usleep(60000);
    (void)!write(fds[1], "x", 1);
  });
  const ssize_t restarted = read(fds[0], &byte, 1);
  printf("read restarted: %zd %c, %d alarms\n", restarted, byte, alarms);
  writer.join();
  raise(SIGALRM);
  printf("raised: %d alarms\n", alarms);
  close(fds[0]);
  close(fds[1]);
}

bool main_seen = false;
void look_back(int) {
  void* frames[64];
  const int count = backtrace(frames, 64);
  char** names = backtrace_symbols(frames, count);
  for (int i = 0; i < count; ++i)
    if (strstr(names[i], "main") != nullptr) main_seen = true;
  free(names);
}

void unwinding() {
  void* warm[4];
  backtrace(warm, 4);
  signal(SIGUSR1, look_back);
  main_seen = false;
  kill(getpid(), SIGUSR1);
  printf("backtrace through kill reaches main: %d\n", main_seen);
  signal(SIGALRM, look_back);
  const itimerval timer{{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  main_seen = false;
  usleep(50000);
  printf("backtrace through nanosleep reaches main: %d\n", main_seen);
}

// Thrown out of a handler that interrupted a system call (the object is built
// with -fnon-call-exceptions).
void throwing(int) { throw std::string("thrown through a system call"); }
void exceptions() {
  signal(SIGALRM, throwing);
  const itimerval timer{{0, 0}, {0, 20000}};
  try {
    SaysGoodbye object{"frame of usleep"};
    setitimer(ITIMER_REAL, &timer, nullptr);
    usleep(1000000);
    puts("not thrown");
  } catch (const std::string& text) {
    printf("caught: %s\n", text.c_str());
  }
}

} // namespace

int main() {
  setvbuf(stdout, nullptr, _IONBF, 0);
  forks();
  vforks();
  spawns();
  clones();
  threads();
  cancel("read", 0, blocked_in_read);
  cancel("poll", 0, blocked_in_poll);
  cancel("a raw system call, asynchronously", 1, asynchronous);
  signals();
  unwinding();
  exceptions();
  return 0;
}
