// Children that are made, and directories that are left, while other threads open and close: a number of a child is the file that it says, or
// closed, and a relative path always leads somewhere.
#include "common.h"
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>

extern char **environ;
enum { kThreads = 2, kFiles = 8, kNumbers = 40, kChildren = 150 };
static volatile int stop;
static struct stat files[kFiles];

static void name_of(char *name, int i) { snprintf(name, 8, "f%d", i); }

static void *open_and_close(void *argument) {
  unsigned turn = (unsigned)(intptr_t)argument;
  char name[8];
  while (!stop) {
    name_of(name, turn++ % kFiles);
    int fd = open(name, O_RDWR), again = dup(fd);
    close(fd);
    close(again);
  }
  return NULL;
}

// What is open has to be one of the files, with its contents; several wrong ones count once a child.
static int is_wrong(int fd) {
  struct stat st;
  char name[8], text[8] = "";
  if (fcntl(fd, F_GETFD) < 0) return 0;
  if (fstat(fd, &st) != 0 || pread(fd, text, sizeof text - 1, 0) < 1) return 1;
  for (int i = 0; i < kFiles; ++i) {
    name_of(name, i);
    if (st.st_ino == files[i].st_ino) return strcmp(text, name) != 0 || close(fd) != 0;
  }
  return 1;
}
static int count_wrong(int first) {
  for (int fd = first; fd < kNumbers; ++fd)
    if (is_wrong(fd)) return 1;
  return 0;
}

static int exit_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static int forks(void) {
  int wrong = 0;
  for (int i = 0; i < kChildren; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(count_wrong(3));
    wrong += exit_of(child) != 0;
  }
  return wrong;
}

// Files that survive the exec, beside pipes that must not.
static void *open_pipes(void *unused) {
  (void)unused;
  while (!stop) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) continue;
    close(ends[0]);
    close(ends[1]);
  }
  return NULL;
}
static int spawns(const char *self) {
  int wrong = 0;
  char *arguments[] = {(char *)self, (char *)"look", NULL};
  for (int i = 0; i < kChildren; ++i) {
    pid_t child;
    if (posix_spawn(&child, self, NULL, NULL, arguments, environ) != 0) ++wrong;
    else wrong += exit_of(child) != 0;
  }
  return wrong;
}

static void *go_to_and_fro(void *unused) {
  (void)unused;
  while (!stop)
    if (chdir("../two") != 0 || chdir("../one") != 0) break;
  return NULL;
}
static int look_from_there(const char *unused) {
  (void)unused;
  int missed = 0;
  char path[4096];
  for (int i = 0; i < 20000; ++i) missed += access("here", F_OK) != 0 || getcwd(path, sizeof path) == NULL;
  return missed;
}

static int beside(void *(*first)(void *), void *(*second)(void *), int (*work)(const char *), const char *argument) {
  pthread_t t[kThreads];
  stop = 0;
  pthread_create(&t[0], NULL, first, (void *)0);
  if (second != NULL) pthread_create(&t[1], NULL, second, (void *)3);
  int result = work(argument);
  stop = 1;
  pthread_join(t[0], NULL);
  if (second != NULL) pthread_join(t[1], NULL);
  return result;
}
static int forks_of(const char *unused) {
  (void)unused;
  return forks();
}

int main(int argc, char **argv) {
  (void)argv;
  char name[8], self[4096];
  for (int i = 0; i < kFiles; ++i) {
    name_of(name, i);
    if (argc == 1) put(name, name);
    stat(name, &files[i]);
  }
  if (argc == 2) return count_wrong(3);
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  self[length] = '\0';
  SHOW(beside(open_and_close, open_and_close, forks_of, NULL));
  SHOW(beside(open_and_close, open_pipes, spawns, self));
  SHOW(mkdir("one", 0755) | mkdir("two", 0755));
  put("one/here", "1");
  put("two/here", "2");
  SHOW(chdir("one"));
  SHOW(beside(go_to_and_fro, NULL, look_from_there, NULL));
  return 0;
}
