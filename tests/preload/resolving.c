// openat2: ways of resolving, checks of its argument.
#include "common.h"
#include <linux/openat2.h>

static int open_how(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  int fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
  if (fd < 0) return -1;
  char text[64] = "";
  struct stat st;
  fstat(fd, &st);
  if (S_ISREG(st.st_mode)) pread(fd, text, 63, 0);
  printf("[%o %s] ", st.st_mode & S_IFMT, text);
  close(fd);
  return 0;
}
#define TRY_HOW(path, flags, resolve) SHOW(open_how(dir, path, flags, 0, resolve))

// From the kernel's side into the pool by "..": not out of a file.
static void up_and_in(const char *cwd) {
  char side[] = "/tmp/resolving-XXXXXX", path[8192];
  if (mkdtemp(side) == NULL) return;
  snprintf(path, sizeof path, "%s/etc", side);
  symlink("/etc", path);
  static const char *const ways[] = {"etc/..", "etc/passwd/../..", "etc/passwd/.", "etc/none/../.."};
  for (int i = 0; i < 4; ++i) {
    snprintf(path, sizeof path, "%s/%s%s/top", side, ways[i], cwd);
    printf("by %s: ", ways[i]);
    SHOW(open(path, O_RDONLY) >= 0 ? 0 : -1);
  }
  int file = open("top", O_RDWR);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  SHOW(open(path, O_CREAT | O_EXCL | O_RDWR, 0644));
  snprintf(path, sizeof path, "%s/etc", side);
  unlink(path), rmdir(side);
}

int main(void) {
  char cwd[4000], away[4096];
  getcwd(cwd, sizeof cwd);
  mkdir("d", 0755), mkdir("d/e", 0755), mkdir("d/e/f", 0755);
  put("top", "top"), put("d/in", "in"), put("d/e/deep", "deep");
  symlink("in", "d/rel"), symlink("e/deep", "d/down"), symlink("../top", "d/up"), symlink("e", "d/dirlink");
  symlink("/in", "d/abs"), symlink("../../in", "d/e/far"), symlink("e/../in", "d/round"), symlink("/../in", "d/absup");
  symlink("/etc", "d/etc"), symlink("loop", "d/loop"), symlink("..", "d/dotdot"), symlink("/", "d/root"), symlink("/..", "d/rootup");
  snprintf(away, sizeof away, "%s/d/in", cwd);
  symlink(away, "d/full");
  up_and_in(cwd);
  int dir = open("d", O_RDONLY | O_DIRECTORY);
  static const uint64_t ways[] = {0, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV};
  static const char *const paths[] = {"in", "./in", "e/deep", "e/../in", "..", "../top", "../d/in", "e/../../d/in", "rel", "down", "up",
                                      "dirlink/deep", "dirlink", "dirlink/../in", "abs", "/in", "/", "/..", "/../in", "e/far", "round",
                                      "absup", "loop", "dotdot/in", "dotdot/top", "root", "root/in", "rootup/in", ".", "", "none", "e/f/../../..", "etc/passwd", "full"};
  for (unsigned w = 0; w < sizeof ways / sizeof *ways; ++w)
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; ++p) {
      if (ways[w] == 0 || ways[w] == RESOLVE_NO_MAGICLINKS || ways[w] == RESOLVE_NO_XDEV)
        if (strcmp(paths[p], "root") == 0 || strcmp(paths[p], "/") == 0 || strcmp(paths[p], "etc/passwd") == 0) continue;
      printf("%d %s: ", (int)ways[w], paths[p]);
      SHOW(open_how(dir, paths[p], O_RDONLY, 0, ways[w]));
    }
  TRY_HOW("rel", O_RDONLY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  TRY_HOW("rel", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  TRY_HOW("rel", O_PATH, RESOLVE_NO_SYMLINKS);
  TRY_HOW("rel/", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  TRY_HOW("/in", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT);
  TRY_HOW("rel", O_RDONLY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  TRY_HOW("up", O_RDONLY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  TRY_HOW("/abs", O_RDONLY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
  TRY_HOW("in", O_RDONLY, RESOLVE_CACHED | RESOLVE_BENEATH);
  TRY_HOW("c", O_CREAT | O_WRONLY, RESOLVE_CACHED);
  TRY_HOW("in", O_RDONLY | O_TRUNC, RESOLVE_CACHED);
  TRY_HOW("in", O_RDONLY, 0x40);
  TRY_HOW("in", O_RDONLY, 1ull << 40);
  TRY_HOW("in", 1ull << 40, 0);
  TRY_HOW("in", 1 << 30, 0);
  TRY_HOW("in", O_PATH | O_RDWR, 0);
  TRY_HOW("in", O_PATH | O_CREAT, 0);
  TRY_HOW("in", O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
  TRY_HOW("in", 3, 0);
  TRY_HOW("in", __O_TMPFILE | O_RDWR, 0);
  TRY_HOW("e", O_TMPFILE | O_RDONLY, 0);
  TRY_HOW("e", O_TMPFILE | O_CREAT | O_RDWR, 0);
  TRY_HOW("e", O_DIRECTORY | O_CREAT | O_RDWR, 0);
  SHOW(open_how(dir, "in", O_RDONLY, 0644, 0));
  SHOW(open_how(dir, "new", O_CREAT | O_WRONLY, 0644, RESOLVE_BENEATH));
  SHOW(open_how(dir, "new2", O_CREAT | O_WRONLY, 010644, 0));
  SHOW(open_how(dir, "../new", O_CREAT | O_WRONLY, 0644, RESOLVE_BENEATH));
  SHOW(open_how(dir, "/new3", O_CREAT | O_WRONLY, 0644, RESOLVE_IN_ROOT));
  SHOW(access("d/new3", F_OK));
  SHOW(open_how(dir, "e", O_TMPFILE | O_RDWR, 0600, RESOLVE_BENEATH));
  SHOW(open_how(dir, "../d", O_TMPFILE | O_RDWR, 0600, RESOLVE_BENEATH));
  SHOW(open_how(AT_FDCWD, "d/../top", O_RDONLY, 0, RESOLVE_BENEATH));
  SHOW(open_how(AT_FDCWD, "../x", O_RDONLY, 0, RESOLVE_BENEATH));
  SHOW(open_how(AT_FDCWD, "/top", O_RDONLY, 0, RESOLVE_IN_ROOT));
  SHOW(open_how(9999, "x", O_RDONLY, 0, RESOLVE_BENEATH));
  SHOW(open_how(9999, "/x", O_RDONLY, 0, RESOLVE_IN_ROOT));
  int file = open("top", O_RDONLY);
  SHOW(open_how(file, "x", O_RDONLY, 0, RESOLVE_BENEATH));
  SHOW(open_how(file, "/x", O_RDONLY, 0, RESOLVE_IN_ROOT));
  // Magic links.
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  SHOW(open_how(AT_FDCWD, link, O_RDONLY, 0, 0));
  SHOW(open_how(AT_FDCWD, link, O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
  SHOW(open_how(AT_FDCWD, link, O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
  SHOW(open_how(AT_FDCWD, link, O_RDONLY, 0, RESOLVE_NO_XDEV));
  snprintf(link, sizeof link, "/proc/self/fd/%d/in", dir);
  SHOW(open_how(AT_FDCWD, link, O_RDONLY, 0, 0));
  SHOW(open_how(AT_FDCWD, link, O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
  SHOW(open_how(AT_FDCWD, "/proc/self/cwd/top", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
  SHOW(open_how(AT_FDCWD, "/proc/self/cwd/top", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
  // From a directory of the kernel, across the mount point. (tmpfs: /dev/shm, the pool: its mount point.)
  snprintf(away, sizeof away, "%s/top", cwd);
  SHOW(open_how(AT_FDCWD, away, O_RDONLY, 0, RESOLVE_NO_XDEV));
  int root = open("/", O_PATH);
  SHOW(open_how(root, away + 1, O_RDONLY, 0, RESOLVE_NO_XDEV));
  SHOW(open_how(root, away + 1, O_RDONLY, 0, RESOLVE_BENEATH));
  SHOW(open_how(root, away, O_RDONLY, 0, RESOLVE_IN_ROOT));
  // The argument itself.
  struct {
    struct open_how how;
    uint64_t more;
  } big = {{.flags = O_RDONLY}, 0};
  SHOW(syscall(SYS_openat2, dir, "in", &big, sizeof big) > 0);
  big.more = 1;
  SHOW(syscall(SYS_openat2, dir, "in", &big, sizeof big));
  SHOW(syscall(SYS_openat2, dir, "in", &big, 8));
  SHOW(syscall(SYS_openat2, dir, "in", &big, 0));
  SHOW(syscall(SYS_openat2, dir, "in", &big, 100000));
  SHOW(syscall(SYS_openat2, dir, "in", NULL, 24));
  SHOW(syscall(SYS_openat2, dir, NULL, &big.how, 24));
  return 0;
}
