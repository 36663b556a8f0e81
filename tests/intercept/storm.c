// Forks, vforks and system() from several threads, with a timer signal all the
// time whose handler makes system calls; run alone and under a hook.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int n;
static void h(int s) {
  (void)s;
  n++;
  getppid();
}
static void* body(void* a) {
  for (int i = 0; i < 40; i++) {
    pid_t p = (i & 1) ? fork() : vfork();
    if (p == 0) _exit(i);
    int st = 0;
    while (waitpid(p, &st, 0) < 0)
      ;
    if (WEXITSTATUS(st) != i) {
      printf("bad %d %x\n", i, st);
      exit(1);
    }
    if (i % 10 == 0)
      if (system("exit 7") != 7 * 256) {
        printf("bad system\n");
        exit(1);
      }
  }
  return a;
}
int main() {
  struct sigaction sa = {.sa_handler = h, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &sa, 0);
  struct itimerval t = {{0, 500}, {0, 500}};
  setitimer(ITIMER_REAL, &t, 0);
  for (int r = 0; r < 10; r++) {
    pthread_t th[4];
    for (int i = 0; i < 4; i++) pthread_create(th + i, 0, body, 0);
    for (int i = 0; i < 4; i++) pthread_join(th[i], 0);
  }
  printf("ok %d\n", n > 10);
}
