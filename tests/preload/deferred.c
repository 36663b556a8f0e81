// A process is patched at its first call that a signal handler cannot make for it, or after a number of calls. Each case is a
// fresh image, so that this happens anew, and ends with a call on the pool that must be served.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

static void served(const char* what) {
  struct stat st;
  int ok = stat("program", &st) == 0 && st.st_size > 0;
  int fd = open("made", O_CREAT | O_EXCL | O_WRONLY, 0600);
  printf("%s: %s, %s\n", what, ok ? "served" : strerror(errno), fd >= 0 ? "made" : strerror(errno));
  if (fd >= 0) close(fd);
  unlink("made");
  fflush(stdout);
}

// ---- registers --------------------------------------------------------------------------------------------------
// Fills every register, makes one call, and stores what it finds behind it.
struct registers {
  uint64_t number, arguments[6];          // in
  uint64_t rbx, rbp, r12, r13, r14, r15;  // out
  uint64_t rdi, rsi, rdx, r10, r8, r9, rax, rcx, r11, after;
  uint64_t red_zone[16];
  uint8_t vectors[16][32];
};
int call_with_all(struct registers*); // the carry flag
__asm__(
    ".text\n.type call_with_all,@function\ncall_with_all:\n.cfi_startproc\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\n"
    "mov %rdi, %rbx\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "mov $0x1111000000000000+\\n, %rax\nmov %rax, -8*(\\n+1)(%rsp)\nvmovq %rax, %xmm\\n\nvinsertf128 $1, %xmm\\n, %ymm\\n, %ymm\\n\n.endr\n"
    "mov (%rbx), %rax\nmov 8(%rbx), %rdi\nmov 16(%rbx), %rsi\nmov 24(%rbx), %rdx\nmov 32(%rbx), %r10\nmov 40(%rbx), %r8\nmov 48(%rbx), %r9\n"
    "mov $0xb0b0, %ebx\nmov $0xbebe, %ebp\nmov $0x1212, %r12d\nmov $0x1313, %r13d\nmov $0x1414, %r14d\nmov $0x1515, %r15d\n"
    "stc\n"
    "syscall\n"
    "1: setc -136(%rsp)\n"
    "mov %rax, -144(%rsp)\n"
    "mov (%rsp), %rax\n" // the struct
    "mov %rbx, 56(%rax)\nmov %rbp, 64(%rax)\nmov %r12, 72(%rax)\nmov %r13, 80(%rax)\nmov %r14, 88(%rax)\nmov %r15, 96(%rax)\n"
    "mov %rdi, 104(%rax)\nmov %rsi, 112(%rax)\nmov %rdx, 120(%rax)\nmov %r10, 128(%rax)\nmov %r8, 136(%rax)\nmov %r9, 144(%rax)\n"
    "mov -144(%rsp), %rbx\nmov %rbx, 152(%rax)\nmov %rcx, 160(%rax)\nmov %r11, 168(%rax)\nlea 1b(%rip), %rbx\nmov %rbx, 176(%rax)\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "mov -8*(\\n+1)(%rsp), %rbx\nmov %rbx, 184+8*\\n(%rax)\nvmovdqu %ymm\\n, 312+32*\\n(%rax)\n.endr\n"
    "movzbl -136(%rsp), %eax\n"
    "vzeroupper\npop %rdi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\n"
    "ret\n.cfi_endproc\n.size call_with_all, .-call_with_all\n");

static void registers(const char* name, long number, long a0, long a1, long a2, long a3) {
  static struct registers r;
  memset(&r, 0, sizeof r);
  r.number = (uint64_t)number;
  uint64_t arguments[6] = {(uint64_t)a0, (uint64_t)a1, (uint64_t)a2, (uint64_t)a3, 0x8888, 0x9999};
  memcpy(r.arguments, arguments, sizeof arguments);
  // The red zone of the callee begins below its saved registers: 16 words down to -128.
  int carry = call_with_all(&r);
  int wrong = r.rbx != 0xb0b0 || r.rbp != 0xbebe || r.r12 != 0x1212 || r.r13 != 0x1313 || r.r14 != 0x1414 || r.r15 != 0x1515;
  wrong |= (r.rdi != arguments[0] || r.rsi != arguments[1] || r.rdx != arguments[2] || r.r10 != arguments[3] || r.r8 != 0x8888 || r.r9 != 0x9999) << 1;
  wrong |= (carry != 1) << 2;
  wrong |= (r.rcx != r.after) << 3;
  wrong |= ((r.r11 & 1) != 1) << 4; // the flags, with carry
  for (uint64_t i = 0; i < 16; ++i) {
    uint64_t want = 0x1111000000000000 + i, low, high;
    memcpy(&low, r.vectors[i], 8);
    memcpy(&high, r.vectors[i] + 16, 8);
    wrong |= (r.red_zone[i] != want) << 5;
    wrong |= (low != want || high != want) << 6;
  }
  printf("%s: result %ld, wrong %d\n", name, (long)r.rax > 0 ? 1 : (long)r.rax, wrong);
}

static void case_registers(void) {
  struct stat st;
  if (!__builtin_cpu_supports("avx")) return;
  registers("getppid", SYS_getppid, 1, 2, 3, 4);
  registers("stat", SYS_stat, (long)"program", (long)&st, 3, 4);
  registers("missing", SYS_access, (long)"missing", 0, 3, 4);
  uint64_t mask = 0;
  registers("sigprocmask", SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, 8);
  registers("stat patched", SYS_stat, (long)"program", (long)&st, 3, 4);
  served("registers");
}

// A site whose instruction is a branch target: the jump of the patch covers it and what follows it.
long covered_call(long number, long a0, long a1, long a2, long a3);
__asm__(
    ".text\n.p2align 4\n.type covered_call,@function\ncovered_call:\n.cfi_startproc\n"
    "mov %rdi, %rax\nmov %rsi, %rdi\nmov %rdx, %rsi\nmov %rcx, %rdx\nmov %r8, %r10\n"
    "test %rax, %rax\njs 1f\ncmp $1000, %rax\njne 1f\nxor %eax, %eax\nret\n"
    "1: syscall\nadd $1000, %rax\nsub $1000, %rax\nret\n"
    ".cfi_endproc\n.size covered_call, .-covered_call\n");

static void case_covered(void) {
  uint64_t mask = 0;
  printf("first %ld\n", covered_call(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, 8));
  printf("then %ld\n", covered_call(SYS_access, (long)"program", 0, 0, 0));
  served("covered");
}
static void case_covered_clone(void) {
  fflush(stdout);
  long pid = covered_call(SYS_fork, 0, 0, 0, 0);
  if (pid == 0) {
    served("in the child");
    _exit(7);
  }
  int status = 0;
  waitpid((pid_t)pid, &status, 0);
  printf("status %d\n", WEXITSTATUS(status));
  served("covered clone");
}

// ---- first calls ------------------------------------------------------------------------------------------------
static volatile sig_atomic_t got;
static void handler(int signal) {
  struct stat st;
  got = stat("program", &st) == 0 ? signal : -signal;
}
static void case_handler(void) {
  signal(SIGUSR1, handler);
  raise(SIGUSR1);
  printf("got %d\n", (int)got);
  served("handler");
}
static void case_own_sigsys(void) {
  struct sigaction action = {.sa_handler = handler}, old;
  sigaction(SIGSYS, NULL, &old);
  printf("default %d\n", old.sa_handler == SIG_DFL);
  sigaction(SIGSYS, &action, NULL);
  raise(SIGSYS);
  printf("got %d\n", (int)got);
  served("own SIGSYS");
}
static void case_fork(void) {
  pid_t pid = fork();
  if (pid == 0) {
    served("in the child");
    _exit(3);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  printf("status %d\n", WEXITSTATUS(status));
  served("fork");
}
static void case_vfork(void) {
  pid_t pid = vfork();
  if (pid == 0) {
    execl("/bin/test", "test", "-e", "program", (char*)NULL);
    _exit(9);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  printf("status %d\n", WEXITSTATUS(status));
  served("vfork");
}
static void* thread(void* argument) {
  served("in the thread");
  return argument;
}
static void case_thread(void) {
  pthread_t id;
  pthread_create(&id, NULL, thread, NULL);
  pthread_join(id, NULL);
  served("thread");
}
static void case_code(void) {
  unsigned char* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  page[0] = 0xc3;
  ((void (*)(void))page)();
  served("code");
}
static void case_many(void) {
  int missed = 0;
  struct stat st;
  for (int i = 0; i < 300; ++i) missed += stat("program", &st) != 0;
  printf("missed %d\n", missed);
  served("many");
}
static void case_old_interface(void) { // numbers of the 32-bit interface
  long pid;
  __asm__ volatile("int $0x80" : "=a"(pid) : "a"(20L) : "memory");
  printf("its own pid %d\n", pid == getpid());
  served("old interface");
}
static void case_blocked_wait(void) { // a wait that the trap makes ends as others do
  int ends[2];
  pipe(ends);
  alarm(0);
  write(ends[1], "x", 1);
  char c = 0;
  read(ends[0], &c, 1);
  printf("read %c\n", c);
  served("wait");
}

// ---- SIGSYS itself ----------------------------------------------------------------------------------------------
static void case_killed(void) {
  served("before");
  kill(getpid(), SIGSYS);
  printf("still here\n");
}
static void case_traced(void) { // a debugger sees no signals but the program's
  fflush(stdout);
  pid_t pid = vfork();
  if (pid == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execl("/bin/sh", "sh", "-c", "exec ./program many", (char*)NULL);
    _exit(9);
  }
  int status = 0, stops = 0;
  while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
    stops += WSTOPSIG(status) == SIGSYS;
    ptrace(PTRACE_CONT, pid, NULL, WSTOPSIG(status) == SIGTRAP ? 0L : (long)WSTOPSIG(status));
  }
  printf("stopped by SIGSYS %d, status %d\n", stops, WEXITSTATUS(status));
  served("traced");
}
static void case_pause(void) { // for the parent to kill
  char c;
  read(0, &c, 1);
  printf("still here\n");
}
static void case_masks(void) {
  char line[200];
  FILE* status = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, status) != NULL)
    if (strncmp(line, "SigBlk", 6) == 0 || strncmp(line, "SigIgn", 6) == 0) printf("%s", line);
  fclose(status);
  served("masks");
}
static void case_exec(void) {
  execl("./program", "program", "masks", (char*)NULL);
  printf("exec: %s\n", strerror(errno));
}
static void case_failed_exec(void) {
  char* const arguments[] = {"x", NULL};
  execv("./missing", arguments);
  printf("exec: %s\n", strerror(errno));
  served("failed exec");
}

static const struct {
  const char* name;
  void (*run)(void);
} cases[] = {{"registers", case_registers}, {"covered", case_covered}, {"covered_clone", case_covered_clone}, {"handler", case_handler},
             {"own_sigsys", case_own_sigsys}, {"fork", case_fork}, {"vfork", case_vfork}, {"thread", case_thread}, {"code", case_code},
             {"many", case_many}, {"old_interface", case_old_interface}, {"wait", case_blocked_wait}, {"killed", case_killed}, {"traced", case_traced}, {"pause", case_pause}, {"masks", case_masks},
             {"exec", case_exec}, {"failed_exec", case_failed_exec}};
enum { kCases = sizeof cases / sizeof cases[0] };

enum start { kPlain, kBlocked, kIgnored };
static void run(const char* name, enum start start) {
  fflush(stdout);
  int ends[2];
  pipe(ends);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[0], 0);
    close(ends[0]);
    close(ends[1]);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    if (start == kBlocked) sigprocmask(SIG_BLOCK, &set, NULL);
    if (start == kIgnored) signal(SIGSYS, SIG_IGN);
    execl("./program", "program", name, (char*)NULL);
    _exit(99);
  }
  close(ends[0]);
  if (strcmp(name, "pause") == 0) {
    usleep(200000);
    kill(pid, SIGSYS);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  close(ends[1]);
  printf("%s%s: %s %d\n", name, start == kPlain ? "" : start == kBlocked ? " blocked" : " ignored", WIFSIGNALED(status) ? "signal" : "status",
         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

int main(int count, char** arguments) {
  if (count > 1) {
    for (int i = 0; i < kCases; ++i)
      if (strcmp(cases[i].name, arguments[1]) == 0) cases[i].run();
    return 0;
  }
  static const char* const after[] = {"0", "1", "64", "1000000"};
  for (unsigned n = 0; n < sizeof after / sizeof after[0]; ++n) {
    setenv("PMEMFILE_PATCH_AFTER", after[n], 1);
    printf("after %s calls\n", after[n]);
    for (int i = 0; i < kCases; ++i) run(cases[i].name, kPlain);
    for (int i = 0; i < kCases && n == 2; ++i)
      if (strcmp(cases[i].name, "pause") != 0) run(cases[i].name, kBlocked), run(cases[i].name, kIgnored);
  }
  return 0;
}
