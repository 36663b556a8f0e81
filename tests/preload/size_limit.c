// RLIMIT_FSIZE: what lies beyond it is EFBIG and SIGXFSZ; what straddles it is cut.
#include "common.h"
#include <sys/resource.h>
#include <sys/sendfile.h>

static volatile sig_atomic_t signals;
static void on_signal(int s) { signals += s == SIGXFSZ; }
static void count(void) {
  printf("signals %d\n", (int)signals);
  signals = 0;
}
static void limit(rlim_t bytes) {
  struct rlimit r;
  getrlimit(RLIMIT_FSIZE, &r);
  r.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &r);
}

int main(void) {
  static char data[20000];
  signal(SIGXFSZ, on_signal);
  int fd = open("f", O_CREAT | O_RDWR, 0644);
  int source = open("s", O_CREAT | O_RDWR, 0644);
  SHOW(write(source, data, sizeof data));
  limit(10000);
  SHOW(write(fd, data, 9000));
  SHOW(write(fd, data, 9000));
  count();
  SHOW(write(fd, data, 1));
  count();
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(pwrite(fd, data, 1, 9999));
  SHOW(pwrite(fd, data, 1, 10000));
  count();
  SHOW(write(fd, data, 0));
  count();
  struct iovec v[2] = {{data, 600}, {data, 600}};
  SHOW(pwritev(fd, v, 2, 9000));
  SHOW(pwritev(fd, v, 2, 20000));
  count();
  SHOW(ftruncate(fd, 10000));
  SHOW(ftruncate(fd, 10001));
  count();
  SHOW(truncate("f", 10001));
  count();
  SHOW(truncate("s", 15000));
  count();
  SHOW(truncate("s", 20001));
  count();
  SHOW(ftruncate(source, 20000));
  count();
  SHOW(posix_fallocate(fd, 0, 10000));
  SHOW(fallocate(fd, 0, 0, 10001));
  count();
  SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10001));
  count();
  SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 20000, 10001));
  count();
  SHOW(ftruncate(fd, 5000));
  off_t from = 0, to = 9000;
  SHOW(copy_file_range(source, &from, fd, &to, 3000, 0));
  to = 10000;
  SHOW(copy_file_range(source, &from, fd, &to, 3000, 0));
  count();
  SHOW(ftruncate(fd, 5000));
  lseek(fd, 9500, SEEK_SET);
  from = 0;
  SHOW(sendfile(fd, source, &from, 3000));
  SHOW(sendfile(fd, source, &from, 3000));
  count();
  int append = open("f", O_WRONLY | O_APPEND);
  SHOW(ftruncate(fd, 9990));
  SHOW(write(append, data, 20));
  SHOW(write(append, data, 20));
  count();
  int p[2];
  pipe(p);
  write(p[1], data, 100);
  to = 10000;
  SHOW(splice(p[0], 0, fd, &to, 100, 0));
  count();
  char *m = mmap(0, 20480, PROT_READ | PROT_WRITE, MAP_SHARED, source, 0);
  m[15000] = 1;
  count();
  // A larger file may be overwritten below the limit, and not beyond it.
  SHOW(pwrite(source, data, 100, 9950));
  SHOW(pwrite(source, data, 100, 12000));
  count();
  // Ignored, blocked, and by default.
  signal(SIGXFSZ, SIG_IGN);
  SHOW(pwrite(fd, data, 1, 10000));
  signal(SIGXFSZ, on_signal);
  sigset_t set, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGXFSZ);
  sigprocmask(SIG_BLOCK, &set, 0);
  SHOW(pwrite(fd, data, 1, 10000));
  count();
  sigpending(&pending);
  SHOW(sigismember(&pending, SIGXFSZ));
  sigprocmask(SIG_UNBLOCK, &set, 0);
  count();
  pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_DFL);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    pwrite(fd, data, 1, 10000);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  SHOW(WIFSIGNALED(status) ? WTERMSIG(status) : -1);
  // By other ways than setrlimit, and kept over fork and exec.
  limit(RLIM_INFINITY);
  SHOW(pwrite(fd, data, 1, 10000));
  struct rlimit other = {11000, 50000};
  SHOW(prlimit(getpid(), RLIMIT_FSIZE, &other, 0));
  SHOW(pwrite(fd, data, 1, 11000));
  count();
  if ((child = fork()) == 0) _exit(pwrite(fd, data, 1, 11000) == 1);
  waitpid(child, &status, 0);
  SHOW(status);
  fflush(stdout);
  system("ulimit -f 8; head -c 20000 /dev/zero > g; wc -c < g");
  return 0;
}
