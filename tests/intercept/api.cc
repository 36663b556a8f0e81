// The C API, linked and not preloaded: every call of the program reaches the
// hook, results are the hook's, and the events of each flavour of clone come.
#include <errno.h>
#include <execinfo.h>
#include <libsyscall_intercept_hook_point.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace {

int* children;  // shared with the children
int parents = 0;
long last_pid = 0;
int seen_getppid = 0;
bool hook_sees_main = false;

int hook(long nr, long a0, long, long, long, long, long, long* result) {
  if (nr != SYS_getppid) return 1;
  ++seen_getppid;
  (void)a0;
  void* frames[32];
  const int count = backtrace(frames, 32);
  char** names = backtrace_symbols(frames, count);
  for (int i = 0; i < count; ++i)
    if (strstr(names[i], "(main") != nullptr) hook_sees_main = true;
  free(names);
  *result = seen_getppid == 1 ? 4711 : -EPERM;
  return 0;
}
void in_child() { __atomic_fetch_add(children, 1, __ATOMIC_SEQ_CST); }
void in_parent(long pid) {
  ++parents;
  last_pid = pid;
}

int failures = 0;
void check(bool truth, const char* what) {
  if (truth) return;
  printf("FAILED: %s\n", what);
  ++failures;
}

void expect_events(const char* what, int child, int parent) {
  if (*children != child || parents != parent) {
    printf("FAILED: %s: %d child and %d parent events\n", what, *children, parents);
    ++failures;
  }
  *children = parents = 0;
}

void* nothing(void*) { return nullptr; }
int nothing_in_clone(void*) { return 0; }

void clone_events() {
  int status;
  pid_t pid = fork();
  if (pid == 0) _exit(0);
  waitpid(pid, &status, 0);
  check(last_pid == pid, "pid of fork");
  expect_events("fork", 1, 1);

  pid = vfork();
  if (pid == 0) _exit(0);
  waitpid(pid, &status, 0);
  expect_events("vfork", 1, 1);

  pthread_t thread;
  pthread_create(&thread, nullptr, nothing, nullptr);
  pthread_join(thread, nullptr);
  expect_events("pthread_create", 1, 1);

  const char* const argv[] = {"true", nullptr};
  posix_spawn(&pid, "/bin/true", nullptr, nullptr, const_cast<char**>(argv), environ);
  waitpid(pid, &status, 0);
  expect_events("posix_spawn", 1, 1);

  char* stack = static_cast<char*>(mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  pid = clone(nothing_in_clone, stack + 65536, CLONE_VM | SIGCHLD, nullptr);
  waitpid(pid, &status, 0);
  expect_events("clone", 1, 1);

  clone(nothing_in_clone, stack + 65536, CLONE_THREAD, nullptr);
  check(last_pid == -EINVAL, "error of clone");
  expect_events("clone that fails", 0, 1);

  pid = static_cast<pid_t>(syscall(SYS_fork));
  if (pid == 0) syscall(SYS_exit_group, 0);
  waitpid(pid, &status, 0);
  expect_events("fork by syscall()", 1, 1);
}

} // namespace

int main() {
  setvbuf(stdout, nullptr, _IONBF, 0);
  children = static_cast<int*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  check(syscall_hook_in_process_allowed() == 1, "allowed");
  const long real = syscall_no_intercept(SYS_getppid);
  check(real == getppid(), "no hook yet");
  void* warm[4];
  backtrace(warm, 4);
  intercept_hook_point = hook;
  check(getppid() == 4711, "the hook's result");
  check(hook_sees_main, "a backtrace in the hook reaches main");
  check(syscall(SYS_getppid) == -1 && errno == EPERM, "the hook's error");
  check(syscall_no_intercept(SYS_getppid) == real, "syscall_no_intercept");
  check(seen_getppid == 2, "each call seen once");
  check(syscall_error_code(-ENOENT) == ENOENT && syscall_error_code(5) == 0, "syscall_error_code");
  intercept_hook_point_clone_child = in_child;
  intercept_hook_point_clone_parent = in_parent;
  clone_events();
  puts(failures == 0 ? "ok" : "failed");
  return failures != 0;
}
