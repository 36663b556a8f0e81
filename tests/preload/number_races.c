// Numbers that some threads use while others close, replace and reuse them, and while children close theirs.
#include "common.h"
#include <pthread.h>
#include <sys/file.h>
#include <sys/wait.h>

enum { kThreads = 3, kNine = 9, kTarget = 60 };
static volatile int stop, number;
static int source;
static int failures;

static void run_beside(void *(*body)(void *), unsigned threads, void (*work)(void)) {
  pthread_t t[kThreads];
  stop = 0;
  for (unsigned i = 0; i < threads; ++i) pthread_create(&t[i], NULL, body, NULL);
  work();
  stop = 1;
  for (unsigned i = 0; i < threads; ++i) pthread_join(t[i], NULL);
}

// A child in its parent's memory has numbers of its own.
static void *read_much(void *unused) {
  static char room[1 << 20];
  (void)unused;
  while (!stop)
    if (pread(number, room, sizeof room, 0) < 0) ++failures;
  return NULL;
}
static void close_in_children(void) {
  for (int i = 0; i < 500; ++i) {
    pid_t child = vfork();
    if (child == 0) {
      close(number);
      _exit(0);
    }
    waitpid(child, NULL, 0);
    if (fcntl(number, F_GETFD) < 0) ++failures;
  }
}

// Arguments that happen to be a number do not keep it.
static void *write_nine(void *unused) {
  (void)unused;
  while (!stop)
    if (pwrite(number, "123456789", kNine, 0) != kNine) ++failures;
  return NULL;
}
static void reuse_nine(void) {
  int file = open("a", O_RDWR);
  for (int i = 0; i < 300; ++i)
    if (dup2(file, kNine) != kNine || close(kNine) != 0) ++failures;
  close(file);
}

// A number that dup2 replaces again and again is never closed.
static void *write_there(void *unused) {
  (void)unused;
  while (!stop)
    if (pwrite(kTarget, "x", 1, 0) != 1) ++failures;
  return NULL;
}
static void replace(void) {
  int files[] = {open("a", O_RDWR), open("b", O_RDWR)};
  for (int i = 0; i < 20000; ++i)
    if (dup2(files[i % 2], kTarget) != kTarget) ++failures;
  close(files[0]);
  close(files[1]);
}

// Who opens and who duplicates may want the same number: each has it in turn.
static void *duplicate_there(void *unused) {
  (void)unused;
  while (!stop)
    if (dup2(source, number) != number && errno != EBUSY) ++failures;
  return NULL;
}
static void open_there(void) {
  for (int i = 0; i < 20000; ++i) {
    int fd = open("b", O_RDWR);
    if (fd < 0) ++failures;
    else if (fd != number) close(fd);
    close(number);
  }
}
static void open_many(void) {
  int fds[20];
  for (int i = 0; i < 20; ++i)
    if ((fds[i] = open("b", O_RDWR)) < 0) ++failures;
  for (int i = 0; i < 20; ++i) close(fds[i]);
}

// A thread waits in a call on a number that is closed: the number is free, here and in a child.
static void *wait_for_lock(void *unused) {
  (void)unused;
  flock(number, LOCK_EX);
  return NULL;
}
static void reuse_under_waiter(void) {
  int holder = open("a", O_RDWR);
  flock(holder, LOCK_EX);
  number = open("a", O_RDWR);
  pthread_t waiter;
  pthread_create(&waiter, NULL, wait_for_lock, NULL);
  usleep(100000);
  if (close(number) != 0) ++failures;
  pid_t child = fork();
  if (child == 0) _exit(dup2(holder, number) != number);
  int status;
  waitpid(child, &status, 0);
  if (status != 0) ++failures;
  if (dup2(holder, number) != number) ++failures;
  flock(holder, LOCK_UN);
  pthread_join(waiter, NULL);
  close(holder);
  close(number);
}

int main(void) {
  put("a", "");
  put("b", "");
  number = open("a", O_RDWR);
  SHOW(ftruncate(number, 1 << 20));
  run_beside(read_much, 1, close_in_children);
  printf("closed by children: %d failures\n", failures);
  run_beside(write_nine, kThreads, reuse_nine);
  printf("named by arguments: %d failures\n", failures);
  dup2(number, kTarget);
  run_beside(write_there, 2, replace);
  close(kTarget);
  printf("replaced: %d failures\n", failures);
  source = open("a", O_RDWR);
  close(number);
  run_beside(duplicate_there, 1, open_there);
  close(number);
  open_many();
  printf("opened and duplicated: %d failures\n", failures);
  reuse_under_waiter();
  printf("waited on: %d failures\n", failures);
  SHOW(open("a", O_RDONLY));
  return 0;
}
