// Between files and pipes: what fits is moved, and nobody waits for the rest.
#include "common.h"
#include <sys/sendfile.h>

int main(void) {
  static char data[300000], back[300000];
  for (unsigned i = 0; i < sizeof data; ++i) data[i] = (char)(i * 7 + i / 4096);
  int fd = open("f", O_CREAT | O_RDWR, 0644), p[2];
  SHOW(write(fd, data, sizeof data));
  SHOW(pipe(p));
  alarm(20);
  off_t at = 0;
  SHOW(splice(fd, &at, p[1], 0, sizeof data, 0));
  SHOW(at);
  SHOW(splice(fd, &at, p[1], 0, 4096, SPLICE_F_NONBLOCK));
  SHOW(read(p[0], back, sizeof back));
  SHOW(memcmp(data, back, 65536));
  SHOW(sendfile(p[1], fd, &at, sizeof data));
  SHOW(at);
  // The rest of what is in the pipe into a file: 64 KiB, four times what one step moves.
  int to = open("t", O_CREAT | O_RDWR, 0644);
  SHOW(splice(p[0], 0, to, 0, sizeof data, 0));
  SHOW(splice(p[0], 0, to, 0, sizeof data, SPLICE_F_NONBLOCK));
  SHOW(pread(to, back, sizeof back, 0));
  SHOW(memcmp(data + 65536, back, 65536));
  SHOW(lseek(to, 0, SEEK_CUR));
  fcntl(p[1], F_SETFL, O_NONBLOCK);
  SHOW(splice(fd, 0, p[1], 0, 10000, 0));
  SHOW(lseek(fd, 0, SEEK_CUR));
  lseek(fd, 0, SEEK_SET);
  SHOW(splice(fd, 0, p[1], 0, 65536, 0));
  SHOW(splice(fd, 0, p[1], 0, 65536, 0));
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(sendfile(p[1], fd, 0, 10));
  SHOW(splice(p[0], 0, to, 0, 65536, 0x100));
  // Who waits is woken, and gets what there is.
  SHOW(read(p[0], back, sizeof back));
  fflush(stdout);
  if (fork() == 0) {
    usleep(50000);
    write(p[1], "hello", 5);
    _exit(0);
  }
  SHOW(splice(p[0], 0, to, 0, 65536, 0));
  close(p[1]);
  SHOW(splice(p[0], 0, to, 0, 65536, 0));
  signal(SIGPIPE, SIG_IGN);
  SHOW(pipe(p));
  close(p[0]);
  SHOW(splice(fd, 0, p[1], 0, 100, 0));
  wait(0);
  // What is wrong with the descriptors is found before there is anything to move; where the offset cannot be stored is told.
  int empty = open("e", O_CREAT | O_RDWR, 0644), ro = open("e", O_RDONLY), wo = open("e", O_WRONLY);
  off_t *unwritable = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SHOW(sendfile(-1, empty, 0, 10));
  SHOW(sendfile(ro, empty, 0, 10));
  SHOW(sendfile(p[1], wo, 0, 10));
  SHOW(sendfile(to, 999, 0, 10));
  SHOW(sendfile(to, fd, unwritable, 10));
  SHOW(pipe(p));
  SHOW(splice(p[0], 0, ro, 0, 10, 0));
  SHOW(splice(wo, 0, p[1], 0, 10, 0));
  SHOW(splice(p[0], 0, open("e", O_WRONLY | O_APPEND), 0, 10, SPLICE_F_NONBLOCK));
  SHOW(splice(empty, 0, p[0], 0, 10, 0));
  SHOW(splice(empty, 0, 999, 0, 10, 0));
  SHOW(splice(empty, 0, to, 0, 10, 0));
  SHOW(splice(fd, unwritable, p[1], 0, 10, 0));
  SHOW(copy_file_range(fd, unwritable, to, 0, 10, 0));
  SHOW(copy_file_range(fd, 0, ro, 0, 10, 0));
  SHOW(copy_file_range(wo, 0, to, 0, 10, 0));
  return 0;
}
