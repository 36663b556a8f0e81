// Waits that are cancelled, parents that die, threads that exec, and programs that give up system calls.
#include "common.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <time.h>

static void doze(long milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
}

// ---- pthread_cancel --------------------------------------------------------------------------------------------

static char kernel_fifo[64];
static int waits_in(int what) {
  struct flock range = {.l_type = F_WRLCK};
  struct pollfd ends[2];
  int p[2], fd = open("locked", O_RDWR);
  char byte;
  switch (what) {
    case 0: return fcntl(fd, F_OFD_SETLKW, &range);
    case 1: return open("fifo", O_RDONLY);
    case 2: return open(kernel_fifo, O_RDONLY);
    case 3: return read(open("fifo", O_RDWR), &byte, 1);
    case 4:
      pipe(p);
      ends[0] = (struct pollfd){fd, 0, 0}, ends[1] = (struct pollfd){p[0], POLLIN, 0};
      return poll(ends, 2, -1);
    case 5: pipe(p); return splice(p[0], NULL, fd, NULL, 10, 0);
    default: pause(); return 0;
  }
}
static const char *const names[] = {"F_OFD_SETLKW", "open of a FIFO", "open of a kernel's FIFO", "read of a FIFO", "poll", "splice", "pause"};

static void clean_up(void *what) {
  int fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0600);
  dprintf(fd, "%s cleaned up\n", names[(long)what]);
  close(fd);
}
static void *waiter(void *what) {
  pthread_cleanup_push(clean_up, what);
  waits_in((int)(long)what);
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancelled(void) {
  strcpy(kernel_fifo, "/tmp/endings-XXXXXX");
  close(mkstemp(kernel_fifo));
  unlink(kernel_fifo);
  mkfifo(kernel_fifo, 0600);
  mkfifo("fifo", 0600);
  put("locked", "0123456789");
  int fd = open("locked", O_RDWR);
  struct flock range = {.l_type = F_WRLCK};
  SHOW(flock(fd, LOCK_EX));
  SHOW(fcntl(fd, F_OFD_SETLK, &range));
  for (long what = 0; what < (long)(sizeof names / sizeof *names); ++what) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, waiter, (void *)what);
    doze(50);
    printf("%s: ", names[what]);
    fflush(stdout);
    SHOW(pthread_cancel(thread));
    SHOW(pthread_join(thread, &result));
    SHOW(result == PTHREAD_CANCELED);
  }
  unlink(kernel_fifo);
  char text[1024] = "";
  int log = open("log", O_RDONLY);
  read(log, text, sizeof text - 1);
  fputs(text, stdout);
  close(log);
  // Who was cancelled in his wait has no lock.
  SHOW(flock(fd, LOCK_UN));
  int other = open("locked", O_RDWR);
  SHOW(flock(other, LOCK_EX | LOCK_NB));
  close(other);
  close(fd);
}

// ---- PR_SET_PDEATHSIG ------------------------------------------------------------------------------------------

static void parent_dies(void) {
  put("alive", "");
  fflush(stdout);
  int p[2];
  pipe(p);
  pid_t parent = fork();
  if (parent == 0) {
    if (fork() == 0) {
      SHOW(prctl(PR_SET_PDEATHSIG, SIGKILL));
      fflush(stdout);
      int fd = open("alive", O_RDWR);
      flock(fd, LOCK_EX);
      write(p[1], "x", 1);
      for (;;) pwrite(fd, "alive", 5, 0);
    }
    pause();
  }
  char byte;
  read(p[0], &byte, 1);
  close(p[1]);
  kill(parent, SIGKILL);
  waitpid(parent, NULL, 0);
  SHOW(read(p[0], &byte, 1)); // 0: the grandchild is gone, too
  int fd = open("alive", O_RDWR);
  SHOW(flock(fd, LOCK_EX));
  close(fd);
}

// ---- exec from a thread ------------------------------------------------------------------------------------------

static void *executes(void *program) {
  char *args[] = {program, "executed", NULL};
  execv(program, args);
  return NULL;
}
static void *holds(void *fd) {
  flock((int)(long)fd, LOCK_EX);
  pause();
  return NULL;
}
static void thread_executes(char *program) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t threads[3];
    int a = open("kept", O_CREAT | O_RDWR, 0600), b = open("kept", O_RDWR);
    write(a, "kept", 4);
    dup2(a, 50);
    pthread_create(&threads[0], NULL, holds, (void *)(long)a);
    doze(20);
    pthread_create(&threads[1], NULL, holds, (void *)(long)b); // waits for ever
    doze(20);
    pthread_create(&threads[2], NULL, executes, program);
    pthread_join(threads[0], NULL);
  }
  int status;
  waitpid(pid, &status, 0);
  SHOW(status);
  int fd = open("kept", O_RDWR);
  SHOW(flock(fd, LOCK_EX | LOCK_NB));
  close(fd);
}
static int executed(void) {
  char text[8] = "";
  SHOW(pread(50, text, 7, 0));
  puts(text);
  int fd = open("kept", O_RDWR);
  SHOW(flock(fd, LOCK_EX | LOCK_NB)); // descriptor 50 has it
  SHOW(flock(50, LOCK_UN));
  SHOW(flock(fd, LOCK_EX | LOCK_NB));
  SHOW(gettid() == getpid());
  return 0;
}

// ---- seccomp ---------------------------------------------------------------------------------------------------

#define SYSCALL(number, action) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, action)
static void filter(struct sock_filter *instructions, unsigned count) {
  struct sock_fprog program = {count, instructions};
  SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}
static int use_files(int fd) {
  char text[32] = "";
  struct stat st;
  SHOW(pwrite(fd, "under a filter", 14, 0));
  SHOW(pread(fd, text, 31, 0));
  SHOW(lseek(fd, 0, SEEK_END));
  SHOW(write(fd, "!", 1));
  SHOW(fstat(fd, &st));
  SHOW(st.st_size);
  SHOW(ftruncate(fd, 5));
  return 0;
}
static void filtered(void) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) { // as old sandboxes do with calls that they do not know
    struct sock_filter no_new_calls[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                         SYSCALL(SYS_openat2, SECCOMP_RET_ERRNO | EPERM), SYSCALL(SYS_statx, SECCOMP_RET_ERRNO | ENOSYS),
                                         SYSCALL(SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS), SYSCALL(SYS_memfd_create, SECCOMP_RET_ERRNO | EPERM),
                                         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    filter(no_new_calls, sizeof no_new_calls / sizeof *no_new_calls);
    struct stat st;
    SHOW(open("/etc/passwd", O_RDONLY) >= 0);
    SHOW(open("/etc/none", O_RDONLY));
    SHOW(open("/etc/none/x", O_WRONLY | O_CREAT, 0600));
    SHOW(stat("/etc/passwd", &st));
    SHOW(stat("/etc/none", &st));
    SHOW(access("/etc/passwd", R_OK));
    SHOW(mkdir("/etc", 0700));
    int fd = open("filtered", O_CREAT | O_RDWR, 0600);
    use_files(fd);
    SHOW(rename("filtered", "renamed"));
    SHOW(mkdir("made", 0700));
    SHOW(unlink("renamed"));
    if (fork() == 0) _exit(unlink("none") == 0);
    SHOW(wait(NULL) > 0);
    exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  SHOW(status);
  fflush(stdout);
  if ((pid = fork()) == 0) { // only what it has open already
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    int fd = open("filtered2", O_CREAT | O_RDWR, 0600);
    use_files(fd);
    struct sock_filter few_calls[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                      SYSCALL(SYS_read, SECCOMP_RET_ALLOW), SYSCALL(SYS_write, SECCOMP_RET_ALLOW), SYSCALL(SYS_pread64, SECCOMP_RET_ALLOW),
                                      SYSCALL(SYS_pwrite64, SECCOMP_RET_ALLOW), SYSCALL(SYS_lseek, SECCOMP_RET_ALLOW), SYSCALL(SYS_fstat, SECCOMP_RET_ALLOW),
                                      SYSCALL(SYS_newfstatat, SECCOMP_RET_ALLOW), SYSCALL(SYS_ftruncate, SECCOMP_RET_ALLOW), SYSCALL(SYS_close, SECCOMP_RET_ALLOW),
                                      SYSCALL(SYS_exit_group, SECCOMP_RET_ALLOW), SYSCALL(SYS_futex, SECCOMP_RET_ALLOW), SYSCALL(SYS_brk, SECCOMP_RET_ALLOW),
                                      SYSCALL(SYS_mmap, SECCOMP_RET_ALLOW), SYSCALL(SYS_munmap, SECCOMP_RET_ALLOW), SYSCALL(SYS_madvise, SECCOMP_RET_ALLOW),
                                      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)};
    filter(few_calls, sizeof few_calls / sizeof *few_calls);
    use_files(fd);
    SHOW(close(fd));
    exit(0);
  }
  waitpid(pid, &status, 0);
  SHOW(status);
}

int main(int argc, char **argv) {
  if (argc > 1) return executed();
  cancelled();
  parent_dies();
  thread_executes(argv[0]);
  filtered();
  return 0;
}
