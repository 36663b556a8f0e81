// Another process puts a way into the pool where this one has just seen a plain directory, or nothing.
#include "common.h"

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

// Makes this process sure of `d`, then lets another put a symlink to the working directory in its place.
static void replace(int exists) {
  char command[1024];
  struct stat st;
  snprintf(command, sizeof command, "rm -rf %s/d; %s %s/d", outside, exists ? "mkdir" : "true", outside);
  helper(command);
  for (int i = 0; i < 3; ++i) stat(in("d/x"), &st);
  snprintf(command, sizeof command, "rm -rf %s/d; ln -s \"$PWD\" %s/d", outside, outside);
  helper(command);
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
    SHOW(unlink(in("d/made2")));
    helper("stat -c '%n %A %h' *; rm -rf made* dir link moved");
  }
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", outside);
  helper(command);
  return 0;
}
