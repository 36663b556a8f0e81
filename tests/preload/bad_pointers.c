// Wild pointers give EFAULT, short buffers the bytes before the fault.
#include "common.h"

int main(void) {
  char *wild = (char *)8;
  char *two = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(two + 4096, 4096);
  put("f", "0123456789abcdef0123456789abcdef");
  int fd = open("f", O_RDWR);
  SHOW(open(wild, O_RDONLY));
  SHOW(syscall(SYS_open, NULL, O_RDONLY));
  SHOW(syscall(SYS_stat, "f", wild));
  SHOW(syscall(SYS_stat, wild, two));
  SHOW(syscall(SYS_fstat, fd, wild));
  SHOW(read(fd, wild, 4));
  SHOW(pread(fd, two + 4092, 32, 0));
  SHOW(memcmp(two + 4092, "0123", 4));
  SHOW(pwrite(fd, wild, 4, 0));
  SHOW(pwrite(fd, two + 4092, 32, 0));
  SHOW(mkdir(wild, 0755));
  SHOW(rename("f", wild));
  SHOW(rename(wild, "f"));
  SHOW(symlink(wild, "l"));
  SHOW(readlink("f", two, 10));
  SHOW(symlink("f", "s"));
  SHOW(readlink("s", wild, 10));
  SHOW(syscall(SYS_getcwd, wild, 4096));
  SHOW(syscall(SYS_getdents64, open(".", O_RDONLY), wild, 4096));
  SHOW(readv(fd, (struct iovec *)wild, 2));
  struct iovec v[2] = {{two, 4}, {wild, 4}};
  lseek(fd, 0, SEEK_SET);
  SHOW(readv(fd, v, 2));
  // Lengths that no address space has: the numbers alone say so, also behind buffers that are good.
  struct iovec endless[2] = {{two, 1}, {two, INT64_MAX}};
  int only_written = open("f", O_WRONLY), only_read = open("f", O_RDONLY);
  SHOW(preadv(fd, endless, 2, 0));
  SHOW(pwritev(fd, endless, 2, 0));
  SHOW(readv(only_written, endless, 2));
  SHOW(readv(only_written, (struct iovec *)wild, 2));
  SHOW(writev(only_read, endless, 2));
  SHOW(syscall(SYS_read, fd, two, -1L));
  SHOW(syscall(SYS_write, fd, two, -1L));
  SHOW(syscall(SYS_write, only_read, two, -1L));
  SHOW(sync_file_range(fd, INT64_MAX, 100, 0));
  close(only_written), close(only_read);
  SHOW(fcntl(fd, F_SETLK, wild));
  SHOW(syscall(SYS_utimensat, AT_FDCWD, "f", wild, 0));
  SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0, STATX_ALL, wild));
  SHOW(syscall(SYS_execve, wild, NULL, NULL));
  SHOW(syscall(SYS_execve, "./f", wild, NULL));
  SHOW(chmod("f", 0755));
  close(fd);
  SHOW(syscall(SYS_execve, "./f", NULL, wild));
  return 0;
}
