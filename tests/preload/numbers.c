// Random mixes of pool and kernel opens, dups, pipes and closes give the numbers of tmpfs. Seed: argv[1].
#include "common.h"

static unsigned next_state;
static unsigned draw(unsigned n) { return (next_state = next_state * 1103515245u + 12345u) / 65536 % n; }

int main(int argc, char **argv) {
  next_state = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
  printf("seed %u\n", next_state);
  put("f", "x");
  for (int step = 0; step < 3000; ++step) {
    int p[2] = {-1, -1}, r = -1, a = 3 + (int)draw(40), b = 3 + (int)draw(40);
    switch (draw(12)) {
      case 0: case 1: r = open("f", O_RDWR | (draw(2) ? O_CLOEXEC : 0)); break;
      case 2: r = open("/dev/null", O_RDONLY); break;
      case 3: r = pipe(p) == 0 ? p[0] * 1000 + p[1] : -1; break;
      case 4: r = dup(a); break;
      case 5: r = dup2(a, b); break;
      case 6: r = dup3(a, b, O_CLOEXEC); break;
      case 7: r = fcntl(a, F_DUPFD, b); break;
      case 8: r = fcntl(a, F_GETFD); break;
      case 9: r = open("none", O_RDONLY); break;
      default: r = close(a);
    }
    if (r > 45 && r < 1000) close(r);
    if (step % 50 == 49) {
      struct pollfd q[3] = {{a, POLLIN, 0}, {b, POLLOUT, 0}, {1, POLLOUT, 0}};
      SHOW(poll(q, 3, 0) >= 1);
      printf("%d %d", q[0].revents & POLLNVAL, q[1].revents & POLLNVAL);
    }
    printf("%d ", r);
  }
  SHOW(syscall(SYS_close_range, 3, ~0u, 0));
  SHOW(open("f", O_RDONLY));
  SHOW(open("/dev/null", O_RDONLY));
  SHOW(open("f", O_RDONLY));
  return 0;
}
