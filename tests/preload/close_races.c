// Threads read and write numbers that others close and open again: every call answers for some file, none is lost.
#include "common.h"
#include <pthread.h>

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
  SHOW(open("a", O_RDONLY));
  SHOW(unlink("a"));
  SHOW(unlink("b"));
  return 0;
}
