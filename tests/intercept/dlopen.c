// dlopen of an object with a system call: the hook answers it. Loading and
// unloading again and again leaves nothing behind.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libcintercept.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static int hook(long nr, long a0, long a1, long a2, long a3, long a4, long a5, long *result) {
  (void)a0, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5;
  *result = 4711;
  return nr != SYS_getppid;
}

static int count_mappings(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  int count = 0;
  for (int c = getc(maps); c != EOF; c = getc(maps)) count += c == '\n';
  fclose(maps);
  return count;
}

int main(int argc, char **argv) {
  int first = 0;
  (void)argc;
  intercept_hook_point = hook;
  for (int i = 0; i < 60; ++i) {
    void *object = dlopen(argv[1], RTLD_NOW);
    long (*late_getppid)(void) = object == NULL ? NULL : (long (*)(void))dlsym(object, "late_getppid");
    if (late_getppid == NULL) return puts(dlerror()), 1;
    if (late_getppid() != 4711) return printf("round %d: the hook was not asked\n", i), 1;
    dlclose(object);
    if (i == 10) first = count_mappings();
  }
  if (count_mappings() > first + 4) return printf("mappings grow: %d %d\n", first, count_mappings()), 1;
  puts("ok");
  return 0;
}
