// Record locks: what takes them away and what does not, and what is a circle of waiters.
#include "common.h"

static int lock(int fd, int command, short type, off_t start) {
  struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};
  return fcntl(fd, command, &l) == 0 ? 0 : errno;
}
static int is_held(const char *name) {
  pid_t child = fork();
  if (child == 0) _exit(lock(open(name, O_RDWR), F_SETLK, F_WRLCK, 0) != 0);
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

static void what_takes_them_away(void) {
  int fd = open("a", O_RDWR);
  SHOW(lock(fd, F_SETLK, F_WRLCK, 0));
  SHOW(truncate("a", 100));
  SHOW(is_held("a"));
  SHOW(close(open("a", O_PATH)));
  SHOW(is_held("a"));
  SHOW(close(open("a", O_RDONLY)));
  SHOW(is_held("a"));
  close(fd);
}

// Each lets go of the second before it asks for the first: nobody waits for nobody in a circle, whoever runs when.
static int lock_in_order(void) {
  int wrong = 0, ready[2];
  if (pipe(ready) != 0) return -1;
  int fd = open("a", O_RDWR);
  for (int i = 0; i < 50; ++i) {
    wrong += lock(fd, F_SETLK, F_WRLCK, 2) != 0;
    pid_t child = fork();
    if (child == 0) {
      int own = open("a", O_RDWR);
      int failed = lock(own, F_SETLK, F_WRLCK, 1) != 0;
      if (write(ready[1], "r", 1) != 1) failed = 1;
      _exit(failed || lock(own, F_SETLKW, F_WRLCK, 2) != 0);
    }
    char byte;
    if (read(ready[0], &byte, 1) != 1) ++wrong;
    usleep(2000); // it waits
    wrong += lock(fd, F_SETLK, F_UNLCK, 2) != 0;
    wrong += lock(fd, F_SETLKW, F_WRLCK, 1) != 0;
    wrong += lock(fd, F_SETLK, F_UNLCK, 1) != 0;
    int status = 0;
    waitpid(child, &status, 0);
    wrong += status != 0;
  }
  return wrong;
}

// A true one is found by who closes it.
static int close_a_circle(void) {
  int ready[2];
  if (pipe(ready) != 0) return -1;
  int fd = open("a", O_RDWR);
  if (lock(fd, F_SETLK, F_WRLCK, 2) != 0) return -1;
  pid_t child = fork();
  if (child == 0) {
    int own = open("a", O_RDWR);
    lock(own, F_SETLK, F_WRLCK, 1);
    if (write(ready[1], "r", 1) != 1) _exit(1);
    _exit(lock(own, F_SETLKW, F_WRLCK, 2));
  }
  char byte;
  if (read(ready[0], &byte, 1) != 1) return -1;
  usleep(50000);
  int error = lock(fd, F_SETLKW, F_WRLCK, 1), status = 0;
  close(fd);
  waitpid(child, &status, 0);
  printf("the other: %d\n", status);
  return error;
}

// Who was killed while it waited is in nobody's way.
static int outlive_a_waiter(void) {
  int fd = open("a", O_RDWR), ready[2];
  if (pipe(ready) != 0 || lock(fd, F_SETLK, F_WRLCK, 2) != 0) return -1;
  pid_t child = fork();
  if (child == 0) {
    int own = open("a", O_RDWR);
    lock(own, F_SETLK, F_WRLCK, 1);
    if (write(ready[1], "r", 1) != 1) _exit(1);
    lock(own, F_SETLKW, F_WRLCK, 2);
    _exit(1);
  }
  char byte;
  if (read(ready[0], &byte, 1) != 1) return -1;
  usleep(2000);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  int error = lock(fd, F_SETLKW, F_WRLCK, 1);
  close(fd);
  return error;
}

int main(void) {
  put("a", "contents");
  what_takes_them_away();
  SHOW(lock_in_order());
  SHOW(close_a_circle() == EDEADLK);
  SHOW(outlive_a_waiter());
  return 0;
}
