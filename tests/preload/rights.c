// Descriptors in messages and from other processes: SCM_RIGHTS, pidfd_getfd.
#include "common.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>

static void make_message(struct msghdr *m, struct iovec *v, char *byte, char *control, size_t bytes) {
  memset(m, 0, sizeof *m);
  *v = (struct iovec){byte, 1};
  m->msg_iov = v;
  m->msg_iovlen = 1;
  m->msg_control = control;
  m->msg_controllen = bytes;
}

static void put_fds(struct msghdr *m, const int *fds, int count) {
  struct cmsghdr *c = CMSG_FIRSTHDR(m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(count * sizeof(int));
  memcpy(CMSG_DATA(c), fds, count * sizeof(int));
  m->msg_controllen = CMSG_SPACE(count * sizeof(int));
}

static long send_fds(int to, const int *fds, int count) {
  char control[2048] = {0}, byte = 'x';
  struct iovec v;
  struct msghdr m;
  make_message(&m, &v, &byte, control, sizeof control);
  put_fds(&m, fds, count);
  return sendmsg(to, &m, 0);
}

// How many came.
static int receive_fds(int from, int *fds, int room, int flags) {
  char control[2048] = {0}, byte;
  struct iovec v;
  struct msghdr m;
  make_message(&m, &v, &byte, control, CMSG_SPACE(room * sizeof(int)));
  if (recvmsg(from, &m, flags) < 0) return -errno;
  if ((m.msg_flags & MSG_CTRUNC) != 0) printf("truncated ");
  int count = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(c), count * sizeof(int));
  }
  return count;
}

static int receive_fd(int from) {
  int fd = -1, count = receive_fds(from, &fd, 1, 0);
  return count == 1 ? fd : count;
}

static const char *text_of(int fd) {
  static char text[64];
  ssize_t got = pread(fd, text, sizeof text - 1, 0);
  text[got > 0 ? got : 0] = 0;
  return got < 0 ? strerrorname_np(errno) : text;
}

static void same_description(int a, int b) {
  struct stat s, t;
  SHOW(fstat(a, &s) | fstat(b, &t));
  printf("same inode %d\n", s.st_ino == t.st_ino && s.st_dev == t.st_dev);
  SHOW(lseek(a, 3, SEEK_SET));
  SHOW(lseek(b, 0, SEEK_CUR));
  SHOW(write(b, "W", 1));
  SHOW(lseek(a, 0, SEEK_CUR));
  SHOW(fcntl(a, F_SETFL, O_APPEND));
  SHOW(fcntl(b, F_GETFL) & (O_ACCMODE | O_APPEND));
  SHOW(fcntl(b, F_GETFD));
}

static void within_one_process(void) {
  int s[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  put("f", "0123456789");
  int fd = open("f", O_RDWR | O_CLOEXEC);
  SHOW(send_fds(s[0], &fd, 1));
  SHOW(receive_fd(s[1]));
  same_description(fd, fd + 1);
  SHOW(close(fd));
  printf("%s\n", text_of(fd + 1));
  SHOW(send_fds(s[0], (int[]){fd + 1}, 1));
  SHOW(close(fd + 1));
  SHOW(receive_fds(s[1], &fd, 1, MSG_CMSG_CLOEXEC));
  printf("number %d %s\n", fd, text_of(fd));
  SHOW(fcntl(fd, F_GETFD));
  SHOW(close(fd));
  SHOW(send_fds(s[0], &fd, 1));
  SHOW(send_fds(s[0], (int[]){open("none", O_RDONLY)}, 1));
  close(s[0]);
  close(s[1]);
}

static void several_at_once(void) {
  int s[2], fds[4] = {-1, -1, -1, -1};
  socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s);
  put("a", "file a");
  put("b", "file b");
  int a = open("a", O_RDONLY), b = open("b", O_RDONLY), null = open("/dev/null", O_RDONLY), dir = open(".", O_RDONLY);
  SHOW(send_fds(s[0], (int[]){a, null, b, dir}, 4));
  SHOW(receive_fds(s[1], fds, 4, 0));
  for (int i = 0; i < 4; ++i) printf("%d: %s\n", fds[i], text_of(fds[i]));
  SHOW(faccessat(fds[3], "a", R_OK, 0));
  for (int i = 0; i < 4; ++i) close(fds[i]);
  SHOW(send_fds(s[0], (int[]){a, b, null, dir}, 4));
  SHOW(receive_fds(s[1], fds, 2, 0));
  printf("%d: %s\n", fds[1], text_of(fds[1]));
  close(fds[0]);
  close(fds[1]);
  SHOW(send_fds(s[0], (int[]){a, b}, 2));
  SHOW(receive_fds(s[1], fds, 2, MSG_PEEK));
  SHOW(receive_fds(s[1], fds + 2, 2, 0));
  for (int i = 0; i < 4; ++i) printf("%d: %s\n", fds[i], text_of(fds[i]));
  for (int i = 0; i < 4; ++i) close(fds[i]);
  int path = open("a", O_PATH);
  SHOW(send_fds(s[0], &path, 1));
  SHOW(receive_fd(s[1]));
  printf("%s\n", text_of(path + 1));
  for (int i = a; i < path + 2; ++i) close(i);
  close(s[0]);
  close(s[1]);
}

static void many_messages(void) {
  int s[2];
  socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
  struct mmsghdr m[3];
  struct iovec v[3];
  char bytes[3], control[3][CMSG_SPACE(sizeof(int))];
  memset(control, 0, sizeof control);
  int f[3];
  for (int i = 0; i < 3; ++i) {
    f[i] = open(i == 1 ? "/dev/null" : "a", O_RDONLY);
    make_message(&m[i].msg_hdr, &v[i], &bytes[i], control[i], sizeof control[i]);
    put_fds(&m[i].msg_hdr, &f[i], 1);
    if (i == 2) m[i].msg_hdr.msg_controllen = 0;
  }
  SHOW(sendmmsg(s[0], m, 3, 0));
  printf("%u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
  for (int i = 0; i < 3; ++i) make_message(&m[i].msg_hdr, &v[i], &bytes[i], control[i], sizeof control[i]);
  SHOW(recvmmsg(s[1], m, 3, MSG_DONTWAIT, NULL));
  for (int i = 0; i < 3; ++i) {
    struct cmsghdr *c = CMSG_FIRSTHDR(&m[i].msg_hdr);
    int fd = -1;
    if (c != NULL) memcpy(&fd, CMSG_DATA(c), sizeof fd);
    printf("%d: %s\n", fd, fd < 0 ? "" : text_of(fd));
    close(fd);
    close(f[i]);
  }
  close(s[0]);
  close(s[1]);
}

// The sender is gone before the message is received.
static void from_the_dead(int killed) {
  int s[2], fd;
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  pid_t child = fork();
  if (child == 0) {
    put("temporary", "of the dead");
    fd = open("temporary", O_RDWR);
    unlink("temporary");
    send_fds(s[1], &fd, 1);
    if (killed) kill(getpid(), SIGKILL);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  close(s[1]);
  for (int i = 0; i < 5; ++i)
    if (fork() == 0) _exit(0); // whoever comes by must not clear it away
  while (wait(&status) > 0) {}
  fd = receive_fd(s[0]);
  printf("%s\n", text_of(fd));
  struct stat st;
  SHOW(fstat(fd, &st) == 0 && st.st_nlink == 0);
  SHOW(close(fd));
  close(s[0]);
}

// Locks live as long as the message, and go with it.
static void never_received(void) {
  int s[2], other = open("a", O_RDWR);
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  int fd = open("a", O_RDWR);
  SHOW(flock(fd, LOCK_EX));
  SHOW(send_fds(s[0], &fd, 1));
  SHOW(close(fd));
  SHOW(flock(other, LOCK_EX | LOCK_NB));
  SHOW(close(s[0]));
  SHOW(flock(other, LOCK_EX | LOCK_NB));
  SHOW(close(s[1]));
  SHOW(flock(other, LOCK_EX | LOCK_NB));
  close(other);
}

// Who took the lock lives, but the last who had the description was killed.
static void lock_of_a_killed_sharer(void) {
  int other = open("a", O_RDWR), fd = open("a", O_RDWR), p[2];
  pipe(p);
  SHOW(flock(fd, LOCK_EX));
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  close(fd);
  SHOW(flock(other, LOCK_EX | LOCK_NB));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  SHOW(flock(other, LOCK_EX));
  SHOW(flock(other, LOCK_UN));
  close(other);
  close(p[0]);
  close(p[1]);
}

static void handed_on(void) {
  int s[2], t[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  socketpair(AF_UNIX, SOCK_STREAM, 0, t);
  put("h", "handed on");
  if (fork() == 0) { // the one in the middle
    int fd = receive_fd(s[1]);
    send_fds(t[0], &fd, 1);
    _exit(0);
  }
  int fd = open("h", O_RDONLY);
  send_fds(s[0], &fd, 1);
  close(fd);
  fd = receive_fd(t[1]);
  wait(NULL);
  printf("%s\n", text_of(fd));
  // Back into a program that inherits it.
  dup2(fd, 40);
  close(fd);
  fflush(stdout);
  if (fork() == 0) execl("/bin/sh", "sh", "-c", "cat <&40", NULL);
  wait(NULL);
  close(40);
  for (int i = 0; i < 2; ++i) close(s[i]), close(t[i]);
}

static void from_another_process(void) {
  int p[2], q[2];
  pipe(p);
  pipe(q);
  pid_t child = fork();
  if (child == 0) {
    int fd = open("a", O_RDWR), closed = open("a", O_RDONLY);
    int numbers[2] = {fd, closed};
    close(closed);
    lseek(fd, 2, SEEK_SET);
    write(p[1], numbers, sizeof numbers);
    char c;
    read(q[0], &c, 1);
    _exit(0);
  }
  int numbers[2];
  read(p[0], numbers, sizeof numbers);
  int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
  int fd = (int)syscall(SYS_pidfd_getfd, pidfd, numbers[0], 0);
  printf("%s\n", text_of(fd));
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(fcntl(fd, F_GETFD));
  SHOW(syscall(SYS_pidfd_getfd, pidfd, numbers[1], 0));
  int null = (int)syscall(SYS_pidfd_getfd, pidfd, q[0], 0);
  SHOW(fcntl(null, F_GETFL));
  write(q[1], "x", 1);
  wait(NULL);
  printf("%s\n", text_of(fd));
  for (int i = p[0]; i < null + 1; ++i) close(i);
}

// A copy of the message's control data that somebody else's number is in must fail as a whole.
static void bad_numbers(void) {
  int s[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  int a = open("a", O_RDONLY);
  SHOW(send_fds(s[0], (int[]){a, 77}, 2));
  SHOW(send_fds(s[0], (int[]){a, -1}, 2));
  SHOW(send_fds(a, (int[]){a}, 1));
  SHOW(recv(s[1], (char[1]){0}, 1, MSG_DONTWAIT));
  close(a);
  close(s[0]);
  close(s[1]);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  within_one_process();
  several_at_once();
  many_messages();
  from_the_dead(0);
  from_the_dead(1);
  never_received();
  lock_of_a_killed_sharer();
  handed_on();
  from_another_process();
  bad_numbers();
  return 0;
}
