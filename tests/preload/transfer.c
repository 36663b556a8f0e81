// Copying between descriptors of all kinds, and what else descriptors answer: sendfile, splice, tee, vmsplice, copy_file_range, poll,
// select, epoll, ioctl, fcntl, /proc/self/fdinfo.
#include "common.h"

#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum { kFile, kReadOnly, kAppend, kDir, kPath, kPipeOut, kPipeIn, kSocket, kKernel, kClosed, kKinds };
static const char *const names[] = {"file", "read-only", "append", "dir", "path", "pipe-out", "pipe-in", "socket", "kernel", "closed"};
static int fds[kKinds], peer;

static void open_all(void) {
  int p[2], s[2];
  pipe2(p, O_NONBLOCK);
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
  fds[kPipeOut] = p[0], fds[kPipeIn] = p[1], fds[kSocket] = s[0], peer = s[1];
  fds[kFile] = open("a", O_RDWR);
  fds[kReadOnly] = open("a", O_RDONLY);
  fds[kAppend] = open("b", O_WRONLY | O_APPEND);
  fds[kDir] = open(".", O_RDONLY);
  fds[kPath] = open("a", O_PATH);
  fds[kKernel] = memfd_create("kernel", 0);
  fds[kClosed] = 99;
}

static void fill(void) {
  char drain[4096];
  while (read(fds[kPipeOut], drain, sizeof drain) > 0) {}
  while (read(fds[kSocket], drain, sizeof drain) > 0) {}
  while (read(peer, drain, sizeof drain) > 0) {}
  put("a", "0123456789abcdefghij");
  put("b", "");
  ftruncate(fds[kKernel], 0);
  pwrite(fds[kKernel], "kernel kernel", 13, 0);
  lseek(fds[kFile], 0, SEEK_SET);
  lseek(fds[kReadOnly], 0, SEEK_SET);
  lseek(fds[kKernel], 0, SEEK_SET);
  write(fds[kPipeIn], "in the pipe", 11);
  write(peer, "in the socket", 13);
}

static void show_state(long result) {
  char text[64] = {0};
  struct stat a, b;
  stat("a", &a);
  stat("b", &b);
  int fd = open("a", O_RDONLY);
  read(fd, text, 24);
  close(fd);
  int left = 0;
  ioctl(fds[kPipeOut], FIONREAD, &left);
  printf(" = %ld %s; \"%s\" %ld, offsets %ld %ld %ld, pipe %d\n", result, result < 0 ? strerrorname_np(errno) : "", text, (long)b.st_size,
         (long)lseek(fds[kFile], 0, SEEK_CUR), (long)lseek(fds[kReadOnly], 0, SEEK_CUR), (long)lseek(fds[kKernel], 0, SEEK_CUR), left);
}

static int is_ours(int kind) { return kind <= kPath; }

static ssize_t copy_by_hand(int in, int out) {
  char b[4];
  return pread(in, b, 4, 1) == 4 ? pwrite(out, b, 4, 2) : -1;
}

static void copies(void) {
  for (int in = 0; in < kKinds; ++in)
    for (int out = 0; out < kKinds; ++out) {
      if (!is_ours(in) && !is_ours(out)) continue;
      fill();
      printf("sendfile %s -> %s", names[in], names[out]);
      show_state(sendfile(fds[out], fds[in], NULL, 7));
      fill();
      off_t offset = 3;
      printf("sendfile at 3 %s -> %s", names[in], names[out]);
      show_state(sendfile(fds[out], fds[in], &offset, 7));
      fill();
      printf("splice %s -> %s", names[in], names[out]);
      show_state(splice(fds[in], NULL, fds[out], NULL, 5, SPLICE_F_NONBLOCK));
      fill();
      offset = 2;
      printf("splice at 2 %s -> %s", names[in], names[out]);
      show_state(splice(fds[in], &offset, fds[out], NULL, 5, SPLICE_F_NONBLOCK));
      fill();
      printf("tee %s -> %s", names[in], names[out]);
      show_state(tee(fds[in], fds[out], 5, SPLICE_F_NONBLOCK));
      fill();
      off_t from = 1, to = 2;
      printf("copy_file_range %s -> %s", names[in], names[out]);
      ssize_t copied = copy_file_range(fds[in], &from, fds[out], &to, 4, 0);
      // Between file systems the kernel may say EXDEV, and callers copy by themselves; small files we copy.
      if (copied < 0 && errno == EXDEV && getenv("LD_PRELOAD") == NULL) copied = copy_by_hand(fds[in], fds[out]);
      show_state(copied);
      fill();
      printf("copy_file_range with flags %s -> %s", names[in], names[out]);
      show_state(copy_file_range(fds[in], &from, fds[out], &to, 4, 64));
    }
}

static void answers(void) {
  for (int kind = 0; kind <= kPath; ++kind) {
    int fd = fds[kind];
    fill();
    printf("-- %s\n", names[kind]);
    struct iovec v = {"abc", 3};
    SHOW(vmsplice(fd, &v, 1, 0));
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDNORM, 0};
    SHOW(poll(&p, 1, 0));
    enum { kMany = 1500 };
    static struct pollfd many[kMany];
    for (int i = 0; i < kMany; ++i) many[i] = p, many[i].revents = 0;
    SHOW(poll(many, kMany < sysconf(_SC_OPEN_MAX) ? kMany : 1, 0) >= 1);
    SHOW(many[0].revents == p.revents);
    printf("revents %x\n", p.revents);
    fd_set sets[3];
    for (int i = 0; i < 3; ++i) {
      FD_ZERO(&sets[i]);
      FD_SET(fd, &sets[i]);
    }
    struct timeval none = {0, 0};
    SHOW(select(fd + 1, &sets[0], &sets[1], &sets[2], &none));
    printf("sets %d %d %d\n", !!FD_ISSET(fd, &sets[0]), !!FD_ISSET(fd, &sets[1]), !!FD_ISSET(fd, &sets[2]));
    int e = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, fd, &event));
    close(e);
    int left = -1;
    SHOW(ioctl(fd, FIONREAD, &left));
    if (kind != kDir) printf("left %d\n", left);
    long long size = -1;
    SHOW(ioctl(fd, FIOQSIZE, &size));
    if (kind != kDir) printf("size %d\n", size > 0); // of what it occupies
    SHOW(ioctl(fd, 2 /* FIGETBSZ */, &left));
    SHOW(ioctl(fd, 0x5401 /* TCGETS */, &size));
    int flags = 1;
    SHOW(ioctl(fd, FS_IOC_GETFLAGS, &flags));
    printf("flags %x\n", flags);
    SHOW(ioctl(fd, FS_IOC_SETFLAGS, &flags)); // unchanged
    flags = FS_NOCOW_FL;
    SHOW(ioctl(fd, FS_IOC_SETFLAGS, &flags));
    SHOW(ioctl(fd, FS_IOC_SETFLAGS, NULL));
    SHOW(ioctl(fd, FS_IOC_GETFLAGS, NULL));
    struct fsxattr extended = {.fsx_xflags = 1};
    SHOW(ioctl(fd, FS_IOC_FSGETXATTR, &extended));
    printf("flags %x\n", extended.fsx_xflags);
    SHOW(ioctl(fd, FS_IOC_FSSETXATTR, &extended));
    SHOW(ioctl(fd, FS_IOC_GETVERSION, &flags));
    SHOW(ioctl(fd, FIOCLEX));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(ioctl(fd, FIONCLEX));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(fcntl(fd, F_GETFL));
    SHOW(fcntl(fd, F_GETOWN));
    SHOW(fcntl(fd, F_GETSIG));
    SHOW(fcntl(fd, F_GETLEASE));
    struct flock lock = {.l_type = F_RDLCK};
    SHOW(fcntl(fd, F_GETLK, &lock));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    char path[64], text[512], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(path, "r");
    if (info == NULL) {
      printf("%s\n", strerrorname_np(errno));
      continue;
    }
    while (fgets(line, sizeof line, info) != NULL)
      if (strncmp(line, "pos", 3) == 0 || strncmp(line, "flags", 5) == 0) fputs(line, stdout);
    fclose(info);
    // Relative to /proc/self/fd.
    int dir = open("/proc/self/fd", O_RDONLY);
    snprintf(path, sizeof path, "%d", fd);
    ssize_t bytes = readlinkat(dir, path, text, sizeof text - 1);
    text[bytes > 0 ? bytes : 0] = 0;
    char *last = strrchr(text, '/');
    printf("link %s\n", last == NULL ? text : last);
    struct stat st, through;
    SHOW(fstat(fd, &st) | fstatat(dir, path, &through, 0));
    printf("same %d\n", st.st_ino == through.st_ino);
    close(dir);
  }
}

int main(void) {
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  put("a", "");
  put("b", "");
  open_all();
  copies();
  answers();
  SHOW(open("/proc/self/fdinfo/99", O_RDONLY));
  close(open("a", O_RDONLY)); // its number looks closed
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", peer + 20);
  SHOW(open(path, O_RDONLY));
  return 0;
}
