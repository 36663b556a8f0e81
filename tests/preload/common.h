// Helpers of the programs of this folder. Each runs in a fresh directory on tmpfs
// and in a pool; what it prints must be the same.
#ifndef PMEMFILE_TESTS_PRELOAD_COMMON_H
#define PMEMFILE_TESTS_PRELOAD_COMMON_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

// Prints an expression with its result and errno name.
#define SHOW(call)                                                              \
  do {                                                                          \
    errno = 0;                                                                  \
    long show_result_ = (long)(call);                                           \
    printf("%s = %ld%s%s\n", #call, show_result_, errno != 0 ? " " : "",        \
           show_result_ < 0 && errno != 0 ? strerrorname_np(errno) : "");       \
  } while (0)

static inline void put(const char *name, const char *text) {
  int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) perror(name);
  close(fd);
}
#endif
