// What kill_family steps and kills: a program that makes a child, or becomes another program, with a record lock, an flock
// and a file without a name in its hands. It stops at the beginning and at the end of the window.
//   family_program fork|vfork|spawn|exec|exec-threads PROGRAM
//   family_program child F U   what vfork, spawn and exec start
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void stop_here(void) { syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSTOP); }

static int open_with(const char *name, const char *text) {
  int fd = open(name, O_CREAT | O_RDWR, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) exit(10);
  return fd;
}

static int is_whole(int fd, const char *text) {
  char found[64];
  ssize_t bytes = pread(fd, found, sizeof found, 0);
  return bytes == (ssize_t)strlen(text) && memcmp(found, text, strlen(text)) == 0;
}

static int check(int f, int u) {
  if (!is_whole(f, "0123456789")) return 20;
  if (!is_whole(u, "unlinked")) return 21;
  if (access("f", R_OK) != 0) return 22;
  return 0;
}

static void *work(void *unused) {
  (void)unused;
  for (;;) {
    int fd = open("busy", O_CREAT | O_RDWR, 0644);
    if (fd < 0 || write(fd, "busy", 4) != 4) exit(30);
    close(fd);
    unlink("busy");
  }
}

int main(int argc, char **argv) {
  if (argc == 4) {
    int error = check(atoi(argv[2]), atoi(argv[3]));
    stop_here();
    return error;
  }
  const char *mode = argv[1];
  int f = open_with("f", "0123456789"), g = open_with("g", "g"), u = open_with("u", "unlinked");
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 100};
  if (fcntl(f, F_SETLK, &lock) != 0 || flock(g, LOCK_EX) != 0 || unlink("u") != 0) return 11;
  char f_text[12], u_text[12];
  snprintf(f_text, sizeof f_text, "%d", f);
  snprintf(u_text, sizeof u_text, "%d", u);
  char *arguments[] = {argv[2], "child", f_text, u_text, NULL};
  pthread_t thread;
  if (strcmp(mode, "exec-threads") == 0 && pthread_create(&thread, NULL, work, NULL) != 0) return 12;
  pid_t child = 0;
  stop_here();
  if (strncmp(mode, "exec", 4) == 0) {
    execve(argv[2], arguments, environ);
    return 13;
  }
  if (strcmp(mode, "fork") == 0) {
    child = fork();
    if (child == 0) {
      int error = check(f, u);
      stop_here();
      _exit(error);
    }
  } else if (strcmp(mode, "vfork") == 0) {
    child = vfork();
    if (child == 0) {
      if (dup2(f, 30) != 30 || close(30) != 0) _exit(14);
      execve(argv[2], arguments, environ);
      _exit(13);
    }
  } else {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, f, 30);
    posix_spawn_file_actions_addclose(&actions, 30);
    if (posix_spawn(&child, argv[2], &actions, NULL, arguments, environ) != 0) return 15;
  }
  if (child < 0) return 16;
  int error = check(f, u);
  stop_here();
  waitpid(child, NULL, 0);
  return error;
}
