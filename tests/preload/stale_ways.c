// Another process puts a way into the pool where this one has just seen a plain directory, or nothing.
#include "common.h"

#include <sys/xattr.h>

static char outside[64];

static int helper(const char *command) { // by the shell: a process of its own
  int status = system(command);
  return WEXITSTATUS(status);
}

static const char *in(const char *name) {
  static char text[4][256];
  static int next;
  char *path = text[next++ & 3];
  snprintf(path, 256, "%s/%s", outside, name);
  return path;
}

static void make_nothing(void) {
  if (unlink(in("d")) != 0) rmdir(in("d"));
}
static void make_directory(void) {
  make_nothing();
  mkdir(in("d"), 0700);
}
static void make_way_in(void) {
  char cwd[4096];
  make_nothing();
  if (getcwd(cwd, sizeof cwd) == NULL || symlink(cwd, in("d")) != 0) perror("symlink");
}

static void other(void (*does)(void)) { // in a process of its own
  pid_t pid = fork();
  if (pid == 0) {
    does();
    _exit(0);
  }
  waitpid(pid, NULL, 0);
}

// Makes this process sure of `d`, then lets another put a symlink to the working directory in its place.
static void replace(int exists) {
  struct stat st;
  other(exists ? make_directory : make_nothing);
  for (int i = 0; i < 3; ++i) stat(in("d/x"), &st);
  other(make_way_in);
}

int main(void) {
  strcpy(outside, "/tmp/stale-XXXXXX");
  if (mkdtemp(outside) == NULL) return 1;
  put("f", "text");
  for (int exists = 0; exists < 2; ++exists) {
    struct stat st;
    int fd;
    replace(exists);
    SHOW(stat(in("d/f"), &st));
    replace(exists);
    SHOW(lstat(in("d/f"), &st));
    replace(exists);
    SHOW(access(in("d/f"), R_OK));
    replace(exists);
    fd = open(in("d/f"), O_RDONLY);
    SHOW(fd >= 0);
    close(fd);
    replace(exists);
    fd = open(in("d/made"), O_WRONLY | O_CREAT, 0600);
    SHOW(fd >= 0);
    close(fd);
    replace(exists);
    fd = open(in("d/made2"), O_WRONLY | O_CREAT | O_EXCL, 0600);
    SHOW(fd >= 0);
    close(fd);
    replace(exists);
    SHOW(mkdir(in("d/dir"), 0700));
    replace(exists);
    SHOW(symlink("x", in("d/link")));
    replace(exists);
    SHOW(rename("made", in("d/moved")));
    replace(exists);
    SHOW(chmod(in("d/f"), 0640));
    replace(exists);
    SHOW(truncate(in("d/f"), 3));
    replace(exists);
    SHOW(chown(in("d/f"), getuid(), getgid()));
    replace(exists);
    SHOW(lchown(in("d/f"), getuid(), getgid()));
    replace(exists);
    SHOW(utimensat(AT_FDCWD, in("d/f"), (struct timespec[2]){{1, 0}, {2, 0}}, 0));
    replace(exists);
    SHOW(setxattr(in("d/f"), "user.x", "y", 1, 0));
    replace(exists);
    SHOW(getxattr(in("d/f"), "user.x", NULL, 0));
    replace(exists);
    SHOW(removexattr(in("d/f"), "user.x"));
    replace(exists);
    SHOW(stat(in("d/f"), &st));
    printf("%ld bytes %o\n", (long)st.st_size, st.st_mode);
    replace(exists);
    char target[256];
    SHOW(readlink(in("d/link"), target, sizeof target));
    replace(exists);
    fd = open(in("d/f"), O_RDONLY);
    SHOW(read(fd, target, sizeof target));
    close(fd);
    replace(exists);
    fd = open(in("d/f"), O_WRONLY | O_TRUNC);
    SHOW(write(fd, "tex", 3));
    close(fd);
    // The directory itself.
    struct stat here;
    stat(".", &here);
    replace(exists);
    SHOW(stat(in("d"), &st) == 0 && st.st_ino == here.st_ino);
    replace(exists);
    SHOW(stat(in("d/"), &st) == 0 && st.st_ino == here.st_ino);
    replace(exists);
    SHOW(lstat(in("d/."), &st) == 0 && st.st_ino == here.st_ino);
    replace(exists);
    SHOW(access(in("d/none"), F_OK));
    replace(exists);
    SHOW(unlink(in("d/made2")));
    helper("stat -c '%n %A %h' *; rm -rf made* dir link moved");
  }
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", outside);
  helper(command);
  return 0;
}
