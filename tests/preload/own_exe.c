// A program that looks at itself, and runs itself again, by /proc/self/exe; with variables of the loader as long as they come.
#include "common.h"

static void show_self(int step) {
  char path[4096], magic[4] = {0};
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  path[length > 0 ? length : 0] = '\0';
  char *name = strrchr(path, '/');
  printf("step %d: %s\n", step, name != NULL ? name : path);
  struct stat by_link, by_path;
  SHOW(stat("/proc/self/exe", &by_link));
  SHOW(stat(path, &by_path));
  SHOW(by_link.st_ino == by_path.st_ino && by_link.st_dev == by_path.st_dev);
  SHOW(by_link.st_mode);
  SHOW(access("/proc/self/exe", X_OK));
  int fd = open("/proc/self/exe", O_RDONLY);
  SHOW(read(fd, magic, 4));
  SHOW(memcmp(magic, "\177ELF", 4));
  SHOW(close(fd));
}

int main(int argc, char **argv) {
  int step = argc > 1 ? atoi(argv[1]) : 1;
  const char *list = getenv("LD_PRELOAD"), *dirs = getenv("LD_LIBRARY_PATH");
  // Of the list only what this program put there counts: the library itself stands in it, or not.
  SHOW(list != NULL && strstr(list, ":::::") != NULL ? (int)strlen(strstr(list, ":::::")) : 0);
  SHOW(dirs != NULL ? (int)strlen(dirs) : 0);
  show_self(step);
  fflush(stdout);
  static char colons[20001], directories[20001];
  memset(colons, ':', 20000);
  for (int i = 0; i < 20000; i += 20) memcpy(directories + i, "/nonexistent/0123/4:", 20);
  if (step == 1) execl("/proc/self/exe", "again", "2", NULL);
  if (step == 2) {
    setenv("LD_PRELOAD", colons, 1);
    setenv("LD_LIBRARY_PATH", directories, 1);
    execl("/proc/self/exe", "long", "3", NULL);
  }
  if (step == 3) execl("./program", "program", "4", NULL);
  if (step != 4) perror("exec");
  return 0;
}
