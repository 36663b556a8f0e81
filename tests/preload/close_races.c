// Threads read and write numbers that others close and open again: every call answers for some file, none is lost.
#include "common.h"
#include <pthread.h>
#include <sys/ioctl.h>

static volatile int stop;
static void *use(void *arg) {
  char b[64];
  (void)arg;
  while (!stop)
    for (int fd = 10; fd < 14; ++fd) {
      ssize_t n = pread(fd, b, sizeof b, 0);
      if (n > 0 && b[0] != 'A' && b[0] != 'B') abort();
      n = pwrite(fd, b, 0, 0);
      if (n < 0 && errno != EBADF) abort();
    }
  return NULL;
}

// A number that was closed stays closed, whatever another thread sets on it meanwhile.
static volatile int number = -1;
static void *set_flags(void *arg) {
  for (unsigned i = 0; !stop; ++i)
    if (arg != NULL)
      ioctl(number, i & 1 ? FIOCLEX : FIONCLEX);
    else
      fcntl(number, F_SETFD, i & 1 ? FD_CLOEXEC : 0);
  return NULL;
}
static void close_under_flags(void) {
  pthread_t t[2];
  stop = 0;
  for (int i = 0; i < 2; ++i) pthread_create(&t[i], NULL, set_flags, i ? "" : NULL);
  for (int round = 0; round < 200000; ++round) {
    int fd = open("a", O_RDONLY);
    number = fd;
    if (fd < 0 || close(fd) != 0) abort();
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) abort();
  }
  stop = 1;
  for (int i = 0; i < 2; ++i) pthread_join(t[i], NULL);
}

int main(void) {
  put("a", "AAAAAAAAAAAAAAAA");
  put("b", "BBBBBBBBBBBBBBBB");
  pthread_t t[3];
  for (int i = 0; i < 3; ++i) pthread_create(&t[i], NULL, use, NULL);
  for (int round = 0; round < 20000; ++round) {
    int fd = open(round & 1 ? "a" : "b", O_RDWR), to = 10 + round % 4;
    if (fd < 0 || dup2(fd, to) != to) abort();
    close(fd);
    if (round % 3 == 0 && close(to) != 0) abort();
  }
  stop = 1;
  for (int i = 0; i < 3; ++i) pthread_join(t[i], NULL);
  for (int fd = 10; fd < 14; ++fd) close(fd);
  close_under_flags();
  SHOW(open("a", O_RDONLY));
  SHOW(unlink("a"));
  SHOW(unlink("b"));
  return 0;
}
