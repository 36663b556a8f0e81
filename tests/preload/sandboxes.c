// Under seccomp a program is killed for calls that it did not make: what is asked of the kernel is what it asked for.
#include "common.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static int file;

static void say(const char *text) { write(1, text, strlen(text)); }
// Kills at what nothing here calls.
static int allow(void) {
#define ALLOW(number) {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number}, {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}
  struct sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
      ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_openat), ALLOW(SYS_close), ALLOW(SYS_newfstatat), ALLOW(SYS_mkdir), ALLOW(SYS_rmdir),
      ALLOW(SYS_unlink), ALLOW(SYS_mmap), ALLOW(SYS_munmap), ALLOW(SYS_brk), ALLOW(SYS_rt_sigreturn), ALLOW(SYS_rt_sigprocmask), ALLOW(SYS_futex),
      ALLOW(SYS_fcntl), ALLOW(SYS_getdents64), ALLOW(SYS_exit), ALLOW(SYS_exit_group),
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS}};
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
static void filtered(void) {
  char buffer[16];
  struct stat st;
  if (allow() != 0) return say("no filters here\n");
  if (write(file, "x", 1) == 1) say("wrote\n");
  int kernel = open("/etc/passwd", O_RDONLY);
  if (read(kernel, buffer, 1) == 1) say("read\n");
  close(kernel);
  if (stat("/etc", &st) == 0) say("looked\n");
  if (mkdir("/tmp/sandboxed-dir", 0700) == 0 && rmdir("/tmp/sandboxed-dir") == 0) say("made and removed\n");
  int dir = open("/etc", O_RDONLY | O_DIRECTORY);
  char entries[4096];
  if (syscall(SYS_getdents64, dir, entries, sizeof entries) > 0) say("listed\n");
  if (open("none", O_RDONLY) < 0 && open("new", O_CREAT | O_RDWR, 0644) >= 0 && unlink("new") == 0) say("in the pool, too\n");
}
static void strict(void) {
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return;
  if (write(file, "y", 1) == 1) say("wrote\n");
  syscall(SYS_exit, 0);
}
static void in_child(void (*body)(void)) {
  fflush(stdout);
  int status;
  pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(0);
  }
  waitpid(pid, &status, 0);
  SHOW(status);
}

int main(void) {
  file = open("f", O_CREAT | O_RDWR, 0644);
  in_child(filtered);
  in_child(strict);
  struct stat st;
  SHOW(fstat(file, &st));
  SHOW(st.st_size);
  return 0;
}
