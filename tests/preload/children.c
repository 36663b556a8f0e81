// Offsets are shared, descriptor changes are not; a vfork child leaves its parent alone.
#include "common.h"
#include <spawn.h>
#include <sys/file.h>
extern char **environ;

int main(int argc, char **argv) {
  if (argc > 1) { // started by posix_spawn
    char b[8] = {0};
    SHOW(read(0, b, 4));
    puts(b);
    SHOW(fcntl(20, F_GETFD));
    SHOW(fcntl(21, F_GETFD));
    char cwd[4096];
    puts(strrchr(getcwd(cwd, sizeof cwd), '/'));
    return 7;
  }
  put("f", "0123456789abcdefghij");
  int fd = open("f", O_RDWR);
  char b[8] = {0};
  SHOW(read(fd, b, 4));
  fflush(stdout);
  if (fork() == 0) {
    SHOW(read(fd, b, 4));
    close(fd);
    mkdir("d", 0755);
    SHOW(chdir("d"));
    umask(077);
    exit(0);
  }
  wait(0);
  SHOW(read(fd, b, 4));
  puts(b);
  SHOW(access("f", F_OK));
  dup2(fd, 20);
  dup3(fd, 21, O_CLOEXEC);
  posix_spawn_file_actions_t acts;
  posix_spawn_file_actions_init(&acts);
  posix_spawn_file_actions_adddup2(&acts, fd, 0);
  posix_spawn_file_actions_addchdir_np(&acts, "d");
  pid_t pid;
  char *args[] = {argv[0], "child", NULL};
  fflush(stdout);
  SHOW(posix_spawn(&pid, argv[0], &acts, 0, args, environ));
  int status;
  fflush(stdout);
  waitpid(pid, &status, 0);
  SHOW(WEXITSTATUS(status));
  SHOW(fcntl(0, F_GETFD));
  SHOW(fcntl(21, F_GETFD));
  SHOW(access("f", F_OK));
  SHOW(read(fd, b, 4));
  puts(b);
  fflush(stdout);
  if (vfork() == 0) {
    dup2(20, 30);
    close(20);
    chdir("d");
    _exit(3);
  }
  wait(&status);
  SHOW(WEXITSTATUS(status));
  SHOW(fcntl(20, F_GETFD));
  SHOW(fcntl(30, F_GETFD));
  SHOW(access("f", F_OK));
  // What one child had, even one that was killed, is not there in the next.
  fflush(stdout);
  if (vfork() == 0) {
    dup2(20, 400);
    char *many[] = {"missing", "1", "2", NULL};
    execve("./missing", many, environ);
    kill(getpid(), SIGKILL);
  }
  wait(&status);
  SHOW(WTERMSIG(status));
  if (vfork() == 0) _exit((fcntl(30, F_GETFD) < 0) | (fcntl(400, F_GETFD) < 0) << 1 | (fcntl(20, F_GETFD) >= 0) << 2 | (fcntl(399, F_GETFD) < 0) << 3);
  wait(&status);
  SHOW(WEXITSTATUS(status));
  if (vfork() == 0) {
    char *shell[] = {"sh", "-c", "test -e f && exit 5", NULL};
    execve("/bin/sh", shell, environ);
    _exit(9);
  }
  wait(&status);
  SHOW(WEXITSTATUS(status));
  // As flock(1) on an inherited descriptor: who takes the lock ends, and it stays while somebody has the description.
  fflush(stdout);
  if (fork() == 0) _exit(flock(fd, LOCK_EX));
  wait(&status);
  SHOW(WEXITSTATUS(status));
  fflush(stdout);
  if (fork() == 0) {
    int other = open("f", O_RDWR);
    SHOW(flock(other, LOCK_EX | LOCK_NB));
    exit(0);
  }
  wait(0);
  SHOW(posix_spawn(&pid, "./f", 0, 0, args, environ));
  SHOW(unlink("f"));
  SHOW(lseek(fd, 0, SEEK_SET));
  SHOW(read(fd, b, 4));
  return 0;
}
