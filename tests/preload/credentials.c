// Credentials belong to a task of the kernel: a thread that changes its own, a child, and all threads by glibc.
#include "common.h"
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/fsuid.h>

static void owner(const char *name) {
  int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0640);
  struct stat st = {0};
  if (fd < 0 || fstat(fd, &st) != 0) printf("%s: %s\n", name, strerrorname_np(errno));
  else printf("%s: owner %u:%u\n", name, st.st_uid, st.st_gid);
  close(fd);
}
static void may_read(const char *name) { printf("read %s: %s\n", name, access(name, R_OK) == 0 && open(name, O_RDONLY) >= 0 ? "yes" : strerrorname_np(errno)); }

static void in_thread(void *(*body)(void *)) {
  pthread_t t;
  pthread_create(&t, NULL, body, NULL);
  pthread_join(t, NULL);
}
static void in_child(void (*body)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    body();
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

static void *inherited(void *arg) {
  (void)arg;
  owner("inherited");
  return NULL;
}
static void *with_fsuid(void *arg) {
  (void)arg;
  owner("before-fsuid");
  setfsuid(1000);
  setfsgid(1001);
  owner("with-fsuid");
  may_read("secret");
  in_thread(inherited);
  return NULL;
}
static void *with_raw_uid(void *arg) {
  (void)arg;
  SHOW(syscall(SYS_setresgid, 1001, 1001, 1001));
  SHOW(syscall(SYS_setresuid, 1000, 1000, 1000));
  owner("with-raw-uid");
  may_read("secret");
  SHOW(chown("of-main", 1, 1));
  return NULL;
}
static void *without_override(void *arg) {
  (void)arg;
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  syscall(SYS_capget, &header, data);
  data[0].effective &= ~(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH);
  syscall(SYS_capset, &header, data);
  may_read("of-1000");
  return NULL;
}
static pthread_barrier_t meeting;
static void *waits(void *arg) {
  owner("thread-before");
  pthread_barrier_wait(&meeting);
  pthread_barrier_wait(&meeting);
  owner("thread-after");
  may_read("secret");
  return arg;
}
static void by_glibc(void) {
  pthread_barrier_init(&meeting, NULL, 2);
  pthread_t t;
  pthread_create(&t, NULL, waits, NULL);
  pthread_barrier_wait(&meeting);
  SHOW(setgid(1001));
  SHOW(setuid(1000));
  owner("main-after");
  pthread_barrier_wait(&meeting);
  pthread_join(t, NULL);
  in_thread(inherited);
}
static void groups(void) {
  gid_t many[100];
  for (unsigned i = 0; i < 100; ++i) many[i] = 5000 + i;
  many[70] = 4242;
  SHOW(setgroups(100, many));
  SHOW(setresuid(1000, 1000, 1000));
  may_read("of-group");
}
static void no_groups(void) {
  SHOW(setgroups(0, NULL));
  SHOW(setresuid(1000, 1000, 1000));
  may_read("of-group");
}
static void *vforks(void *arg) {
  (void)arg;
  pid_t child = vfork();
  if (child == 0) {
    syscall(SYS_setresuid, 1000, 1000, 1000);
    owner("vfork-child");
    _exit(0);
  }
  waitpid(child, NULL, 0);
  owner("vfork-parent");
  return NULL;
}
static void *in_its_own(void *arg) {
  setfsuid(1000);
  vforks(NULL);
  return arg;
}
static void spawned(void) {
  SHOW(seteuid(1000));
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_RESETIDS);
  char *argv[] = {"touch", "by-spawn", NULL}, *envp[] = {NULL};
  pid_t child;
  extern char **environ;
  (void)envp;
  SHOW(posix_spawn(&child, "/usr/bin/touch", NULL, &attributes, argv, environ));
  waitpid(child, NULL, 0);
  struct stat st;
  SHOW(stat("by-spawn", &st));
  SHOW(st.st_uid);
  owner("spawner");
}
static void *changes_umask(void *arg) {
  umask(077);
  return arg;
}
static void *unshares(void *arg) {
  int fd = open("umasked", O_CREAT | O_WRONLY, 0666);
  struct stat st;
  fstat(fd, &st);
  printf("mode %o\n", st.st_mode & 0777);
  return arg;
}

int main(void) {
  chmod(".", 0777);
  put("secret", "x");
  chmod("secret", 0600);
  put("of-main", "x");
  put("of-1000", "x");
  SHOW(chown("of-1000", 1000, 1000));
  chmod("of-1000", 0600);
  put("of-group", "x");
  SHOW(chown("of-group", 0, 4242));
  chmod("of-group", 0640);
  in_thread(with_fsuid);
  owner("main-1");
  in_thread(with_raw_uid);
  owner("main-2");
  may_read("secret");
  in_thread(without_override);
  may_read("of-1000");
  in_child(by_glibc);
  in_child(groups);
  in_child(no_groups);
  vforks(NULL);
  unlink("vfork-child"), unlink("vfork-parent");
  in_thread(in_its_own);
  in_child(spawned);
  in_thread(changes_umask);
  in_thread(unshares);
  owner("last");
  return 0;
}
