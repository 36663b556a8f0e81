// Handlers interrupt, use files and jump out at any moment; nothing is lost or hangs.
#include "common.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>

static sigjmp_buf back;
static volatile int count, jump;
static int log_fd;
static void on_alarm(int s) {
  (void)s;
  ++count;
  if (pwrite(log_fd, "x", 1, count % 1000) != 1) abort();
  struct stat st;
  if (stat("work", &st) != 0 && stat("other", &st) != 0) abort();
  if (jump) siglongjmp(back, 1);
}

// A signal that comes when a fork has been prepared, or makes the kernel begin it again, has its handler before the fork.
static void open_and_close(int s) {
  (void)s;
  for (int i = 0; i < 3; ++i) close(open("work", O_RDWR));
  ++count;
}
static volatile int counted;
static void count_one(int s) {
  (void)s;
  ++counted;
}
static void *do_nothing(void *until) {
  while (!*(volatile int *)until) usleep(1000);
  return NULL;
}
static int forks_among_handlers(int forks) {
  int bad = 0, status;
  for (int i = 0; i < forks; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(open("work", O_RDWR) < 0);
    if (waitpid(child, &status, 0) != child || status != 0) ++bad;
  }
  return bad;
}
static void handlers_before_forks(void) {
  struct sigaction a = {.sa_handler = open_and_close, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &a, 0);
  struct itimerval t = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &t, 0);
  SHOW(forks_among_handlers(40));
  int until = 0;
  pthread_t thread;
  pthread_create(&thread, NULL, do_nothing, &until);
  SHOW(forks_among_handlers(40));
  setitimer(ITIMER_REAL, &off, 0);
  until = 1;
  pthread_join(thread, NULL);
}

// Every signal there is comes within one call.
static void all_at_once(void) {
  struct sigaction counting = {.sa_handler = count_one, .sa_flags = SA_RESTART};
  int sent = 0;
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, 0);
  for (int s = 1; s <= SIGRTMAX; ++s) {
    if (s == SIGSEGV || s == SIGBUS || sigaction(s, &counting, 0) != 0) continue;
    kill(getpid(), s);
    ++sent;
  }
  sigprocmask(SIG_UNBLOCK, &all, 0);
  SHOW(sent > 50);
  SHOW(counted == sent);
  for (int s = 1; s <= SIGRTMAX; ++s)
    if (s != SIGSEGV && s != SIGBUS) signal(s, SIG_DFL);
}
int main(void) {
  log_fd = open("log", O_CREAT | O_RDWR, 0644);
  put("work", "");
  struct sigaction a = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, old;
  sigaction(SIGALRM, &a, 0);
  sigaction(SIGALRM, 0, &old);
  SHOW(old.sa_handler == on_alarm);
  SHOW((old.sa_flags & SA_RESTART) != 0);
  struct itimerval t = {{0, 300}, {0, 300}};
  setitimer(ITIMER_REAL, &t, 0);
  char buffer[4096];
  memset(buffer, 'w', sizeof buffer);
  int bad = 0;
  for (int round = 0; round < 4000; ++round) {
    jump = round >= 2000;
    if (sigsetjmp(back, 1) != 0) continue;
    if (jump) rename("other", "work"); // the last round may have ended between its two
    int fd = open("work", O_RDWR);
    if (fd < 0) ++bad;
    if (pwrite(fd, buffer, sizeof buffer, (round % 16) * 4096) != 4096) ++bad;
    if (rename("work", "other") != 0 || rename("other", "work") != 0) ++bad, rename("other", "work");
    close(fd);
    for (int i = 3; i < 100 && round >= 2000; ++i)
      if (i != log_fd) close(i);
  }
  t.it_value.tv_usec = t.it_interval.tv_usec = 0;
  setitimer(ITIMER_REAL, &t, 0);
  SHOW(bad);
  SHOW(count > 10);
  handlers_before_forks();
  // A waiting lock ends with EINTR without SA_RESTART.
  a.sa_flags = 0;
  jump = 0;
  sigaction(SIGALRM, &a, 0);
  rename("other", "work"); // a jump may have ended the last round, too, between its two
  int one = open("work", O_RDWR), two = open("work", O_RDWR);
  SHOW(flock(one, LOCK_EX));
  alarm(1);
  SHOW(flock(two, LOCK_EX));
  // A socket's time-out is not begun anew by signals with SA_RESTART.
  a.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &a, 0);
  int ends[2];
  struct timeval limit = {5, 0};
  char byte;
  SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  SHOW(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  alarm(1);
  struct sockaddr_storage from;
  socklen_t from_bytes = sizeof from;
  SHOW(recvfrom(ends[0], &byte, 1, 0, (struct sockaddr *)&from, &from_bytes));
  all_at_once();
  signal(SIGALRM, SIG_DFL);
  sigaction(SIGALRM, 0, &old);
  SHOW(old.sa_handler == SIG_DFL);
  return 0;
}
