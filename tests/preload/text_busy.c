// A program that somebody has open for writing is not executed: ETXTBSY. Whoever it is, as long as he lives.
#include "common.h"
#include <spawn.h>
#include <sys/socket.h>
extern char **environ;

static void copy_program(const char *from, const char *to) {
  char buffer[65536];
  ssize_t got;
  int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0755);
  while ((got = read(in, buffer, sizeof buffer)) > 0) write(out, buffer, got);
  close(in);
  close(out);
}

// Exit status of the program, or the errno of exec, negated.
static int run(const char *path) {
  pid_t pid = vfork();
  if (pid == 0) {
    execl(path, path, NULL);
    _exit(errno == ETXTBSY ? 99 : 98);
  }
  int status;
  waitpid(pid, &status, 0);
  return WEXITSTATUS(status) == 99 ? -ETXTBSY : WEXITSTATUS(status);
}

static void wait_for_byte(int fd) {
  char byte;
  if (read(fd, &byte, 1) != 1) abort();
}

int main(int argc, char **argv) {
  if (argc == 1 && strcmp(argv[0], "./prog") == 0) return 7;
  setvbuf(stdout, NULL, _IONBF, 0);
  copy_program(argv[0], "prog");
  put("script", "#!/bin/sh\nexit 5\n");
  chmod("script", 0755);
  put("by-ours", "#!./prog\n");
  chmod("by-ours", 0755);
  SHOW(run("./prog"));
  SHOW(run("./script"));
  static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_CLOEXEC, O_PATH};
  for (unsigned i = 0; i < sizeof modes / sizeof *modes; ++i) {
    int fd = open("prog", modes[i]), other = open("script", modes[i]);
    printf("open %o: ", modes[i]);
    SHOW(run("./prog"));
    SHOW(run("./script"));
    int copy = dup(fd);
    close(fd);
    SHOW(run("./prog"));
    close(copy);
    close(other);
    SHOW(run("./prog"));
    SHOW(run("./script"));
  }
  // The file, not the name.
  link("prog", "prog2");
  int fd = open("prog2", O_WRONLY);
  SHOW(run("./prog"));
  SHOW(run("./by-ours"));
  pid_t pid;
  char *args[] = {"./prog", NULL};
  SHOW(posix_spawn(&pid, "./prog", NULL, NULL, args, environ));
  int reading = open("prog", O_RDONLY);
  if (vfork() == 0) {
    fexecve(reading, args, environ);
    _exit(errno == ETXTBSY ? 0 : 1);
  }
  int status;
  wait(&status);
  SHOW(WEXITSTATUS(status));
  close(reading);
  // A child has inherited it.
  int ready[2], go[2];
  pipe(ready);
  pipe(go);
  if ((pid = fork()) == 0) {
    close(go[1]);
    write(ready[1], "x", 1);
    char byte;
    read(go[0], &byte, 1);
    _exit(0);
  }
  wait_for_byte(ready[0]);
  close(fd);
  SHOW(run("./prog"));
  close(go[1]);
  waitpid(pid, NULL, 0);
  SHOW(run("./prog"));
  // Somebody is killed while he writes.
  pipe(go);
  if ((pid = fork()) == 0) {
    fd = open("prog", O_RDWR);
    write(ready[1], "x", 1);
    pause();
  }
  wait_for_byte(ready[0]);
  SHOW(run("./prog"));
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  SHOW(run("./prog"));
  // A mapping holds the file open.
  fd = open("prog", O_RDWR);
  void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  SHOW(run("./prog"));
  munmap(map, 4096);
  SHOW(run("./prog"));
  // In a message on its way.
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  fd = open("prog", O_WRONLY);
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
  struct iovec one = {"x", 1};
  struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  SHOW(sendmsg(pair[0], &message, 0));
  close(fd);
  SHOW(run("./prog"));
  close(pair[0]);
  close(pair[1]);
  SHOW(run("./prog"));
  return 0;
}
