// Threads on the smallest stacks; each has its own file.
#include "common.h"
#include <limits.h>
#include <pthread.h>

static void *work(void *arg) {
  char name[32], b[64];
  snprintf(name, sizeof name, "t%ld", (long)arg);
  for (int i = 0; i < 300; ++i) {
    int fd = open(name, O_CREAT | O_RDWR, 0644);
    if (write(fd, name, strlen(name)) < 0) abort();
    if (pread(fd, b, sizeof b, 0) < 2) abort();
    close(fd);
    if (i % 10 == 0 && unlink(name) != 0) abort();
    if (i % 7 == 0) close(open("/dev/null", O_RDONLY));
  }
  return NULL;
}

// A thread that gives itself a table of descriptors of its own does not close those of the others; or it is refused.
static void *close_its_own(void *unused) {
  syscall(SYS_close_range, 3, ~0u, 2 /* CLOSE_RANGE_UNSHARE */);
  return unused;
}

int main(void) {
  int kept = open("kept", O_CREAT | O_RDWR, 0644);
  pthread_t closer;
  pthread_create(&closer, NULL, close_its_own, NULL);
  pthread_join(closer, NULL);
  SHOW(write(kept, "x", 1));
  close(kept);
  pthread_t t[8];
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setstacksize(&a, PTHREAD_STACK_MIN);
  for (int round = 0; round < 20; ++round) {
    for (long i = 0; i < 8; ++i)
      if (pthread_create(&t[i], &a, work, (void *)i) != 0) abort();
    for (int i = 0; i < 8; ++i) pthread_join(t[i], NULL);
  }
  struct stat st;
  SHOW(stat("t0", &st));
  SHOW(st.st_size);
  SHOW(open("t0", O_RDONLY));
  return 0;
}
