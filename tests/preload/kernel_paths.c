// Paths on the kernel's side that lead to something of ours, and those that only look so: symlinks, /proc/self/fd in all its spellings,
// names of digits, opens while somebody else exchanges a directory for a symlink into the pool.
#include "common.h"

#include <pthread.h>
#include <sys/xattr.h>
#include <time.h>

static char outside[64], inside[4096];
static const char *in(const char *name) {
  static char text[4][256];
  static int next;
  char *path = text[next++ & 3];
  snprintf(path, 256, "%s/%s", outside, name);
  return path;
}

static ino_t ino_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_ino : 0;
}

// All that one can ask of a path that leads to the file `f`.
static void look(const char *path, ino_t ino) {
  struct stat st;
  struct statx stx;
  char text[64] = "";
  int fd;
  SHOW(stat(path, &st) == 0 && st.st_ino == ino);
  SHOW(statx(AT_FDCWD, path, 0, STATX_INO, &stx) == 0 && stx.stx_ino == ino);
  SHOW(access(path, R_OK));
  SHOW(faccessat(AT_FDCWD, path, W_OK, AT_EACCESS));
  SHOW(getxattr(path, "user.none", text, 1));
  SHOW(chmod(path, 0640));
  SHOW(truncate(path, 4));
  SHOW((fd = open(path, O_RDWR)) >= 0);
  SHOW(fstat(fd, &st) == 0 && st.st_ino == ino);
  SHOW(pread(fd, text, 60, 0));
  printf("%s\n", text);
  close(fd);
  SHOW((fd = open(path, O_RDONLY | O_CREAT, 0600)) >= 0);
  close(fd);
}

static void numbers(void) {
  int fd = open("f", O_RDWR);
  dup2(fd, 77);
  close(fd);
  ino_t ino = ino_of("f");
  char own[64];
  snprintf(own, sizeof own, "/proc/%d/fd/77", getpid());
  const char *const spellings[] = {"/proc/self/fd/77", "/dev/fd/77", own, "//proc/self/fd/77", "/./proc/self/fd/77", "/dev/../proc/self/fd/77",
                                   "/proc/thread-self/fd/77", "/proc/self/task/../fd/77", in("fds/77"), in("one")};
  symlink("/proc/self/fd", in("fds"));
  symlink("/proc/self/fd/77", in("one"));
  for (unsigned i = 0; i < sizeof spellings / sizeof *spellings; ++i) {
    printf("-- spelling %u\n", i);
    look(spellings[i], ino);
    look(spellings[i], ino); // what the first time told may be remembered
  }
  static const char *const places[][2] = {{"/proc/self/fd", "77"}, {"/proc/self/fd", "./77"}, {"/proc/self", "fd/77"}, {"/proc", "self/fd/77"},
                                          {"/", "proc/self/fd/77"}, {"/", "dev/fd/77"}, {"/dev", "fd/77"}, {"/proc/self/task", "../fd/77"}};
  for (unsigned i = 0; i < sizeof places / sizeof *places; ++i) {
    printf("-- %s in %s\n", places[i][1], places[i][0]);
    SHOW(chdir(places[i][0]));
    look(places[i][1], ino);
    struct stat st;
    int dir = open(places[i][0], O_PATH | O_DIRECTORY);
    chdir(inside);
    SHOW(fstatat(dir, places[i][1], &st, 0) == 0 && st.st_ino == ino);
    SHOW(faccessat(dir, places[i][1], R_OK, 0));
    fd = openat(dir, places[i][1], O_RDWR);
    SHOW(fstat(fd, &st) == 0 && st.st_ino == ino);
    close(fd);
    close(dir);
  }
  SHOW(chdir("/proc/self"));
  SHOW((fd = open("mounts", O_RDONLY)) >= 0);
  close(fd);
  SHOW((fd = open("fdinfo/77", O_RDONLY)) >= 0);
  close(fd);
  chdir(inside);
  close(77);
  SHOW(access("/proc/self/fd/77", F_OK));
  SHOW(access("/dev/fd/77", F_OK));
}

static void links(void) {
  char text[256];
  struct stat st;
  ino_t ino = ino_of("f");
  symlink(inside, in("here"));
  symlink("here", in("there"));
  symlink("there/f", in("file"));
  symlink("there/none", in("none"));
  symlink("../f", "sub/up");
  mkdir(in("12"), 0700), mkdir(in("12/34"), 0700), mkdir(in("fd"), 0700), mkdir(in("mnt"), 0700);
  const char *const paths[] = {in("here/f"), in("there/f"), in("file"), in("there/sub/../f")};
  for (unsigned i = 0; i < sizeof paths / sizeof *paths; ++i) {
    printf("-- link %u\n", i);
    look(paths[i], ino);
    look(paths[i], ino);
  }
  chdir(outside);
  printf("-- relative\n");
  look("there/f", ino);
  look("12/../here/./f", ino);
  look("here/sub/up", ino);
  look("here/../here/f", ino_of("here/../here/f")); // beside the pool: not there
  SHOW(open("12/34/made", O_CREAT | O_EXCL | O_WRONLY, 0600) >= 0);
  SHOW(stat("12/34/made", &st));
  SHOW(mkdir("mnt/dir", 0700));
  SHOW(stat("mnt/dir", &st));
  SHOW(rmdir("mnt/dir"));
  SHOW(mkdir("fd/1", 0700));
  SHOW(rename("fd/1", "there/1"));
  SHOW(rmdir("fd/1"));
  SHOW(mkdir("there/2", 0700));
  SHOW(stat("here/2", &st));
  SHOW(rmdir("here/2"));
  SHOW(rmdir("here"));
  SHOW(rmdir("here/"));
  SHOW(mkdir("none", 0700));
  SHOW(open("none", O_CREAT | O_EXCL | O_WRONLY, 0600));
  SHOW(open("none", O_RDONLY));
  SHOW(open("none", O_CREAT | O_WRONLY | O_NOFOLLOW, 0600));
  SHOW(open("none", O_CREAT | O_WRONLY, 0600) >= 0);
  SHOW(stat("here/none", &st));
  SHOW(lstat("none", &st) == 0 && S_ISLNK(st.st_mode));
  SHOW(readlink("none", text, sizeof text));
  SHOW(unlink("none"));
  SHOW(unlink("here/none"));
  SHOW(open("here", O_RDONLY | O_NOFOLLOW));
  SHOW(open("here/", O_RDONLY | O_NOFOLLOW) >= 0);
  SHOW(open("here", O_WRONLY));
  SHOW(open("12", O_WRONLY));
  SHOW(open("12/none/x", O_WRONLY));
  SHOW(access("12/34/made/x", F_OK));
  SHOW(chdir("there/sub"));
  SHOW(ino_of("up") == ino);
  chdir(inside);
}

// A directory and a symlink to the pool's change places all the time. What is opened is one or the other, and what is made lies in one of them.
static volatile int over;
static void *exchange(void *nothing) {
  (void)nothing;
  while (!over) syscall(SYS_renameat2, AT_FDCWD, in("turn"), AT_FDCWD, in("other"), 2 /* RENAME_EXCHANGE */);
  return NULL;
}
static void storm(void) {
  mkdir(in("turn"), 0700);
  symlink(inside, in("other"));
  int fd = open(in("turn/f"), O_CREAT | O_WRONLY, 0600);
  write(fd, "outs", 4);
  close(fd);
  char path[256], made[256];
  snprintf(path, sizeof path, "%s", in("turn/f"));
  snprintf(made, sizeof made, "%s", in("turn/storm"));
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t threads[1];
    pthread_create(&threads[0], NULL, exchange, NULL);
    struct timespec second = {1, 0};
    nanosleep(&second, NULL);
    over = 1;
    pthread_join(threads[0], NULL);
    _exit(0);
  }
  // Nothing of this may be seen in what the mount point hides.
  int outs = 0, ins = 0, others = 0;
  while (waitpid(pid, NULL, WNOHANG) == 0) {
    char text[8] = "";
    fd = open(path, O_RDWR);
    if (fd >= 0 && pread(fd, text, 4, 0) == 4) {
      if (memcmp(text, "outs", 4) == 0) ++outs;
      else if (memcmp(text, "insi", 4) == 0) ++ins;
      else ++others;
    }
    close(fd);
    fd = open(made, O_CREAT | O_WRONLY, 0600); // there may be a directory, by now
    close(fd);
    char beside[300];
    snprintf(beside, sizeof beside, "%sx", made);
    unlink(beside);
    rename(made, beside);
    link(beside, made);
    unlink(made);
    mkdir(made, 0700);
    rmdir(made);
    symlink("x", made);
    unlink(made);
    mknod(made, S_IFREG | 0600, 0);
    unlink(beside);
  }
  SHOW(outs > 0);
  SHOW(ins > 0);
  SHOW(others);
}

int main(void) {
  strcpy(outside, "/tmp/kernel-paths-XXXXXX");
  if (mkdtemp(outside) == NULL || getcwd(inside, sizeof inside) == NULL) return 1;
  put("f", "inside");
  mkdir("sub", 0700);
  numbers();
  links();
  storm();
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", outside);
  return system(command) != 0;
}
