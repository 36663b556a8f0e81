// Calls every pattern and prints what it returns, process ids by name.
#include <stdio.h>
#include <unistd.h>

#define EACH(X) X(p_mov_before) X(p_endbr) X(p_several_before) X(p_rip_relative) \
  X(p_target_is_site) X(p_no_room) X(p_target_in_neighbour) X(p_two) X(p_switch)
#define DECLARE(name) long name(long);
EACH(DECLARE)
long p_after(void);
long p_rip_relative_after(void);
long call_with_number(long (*function)(void), long nr);
__asm__(".text\ncall_with_number: push %rbx\nmov %rsi,%rax\nmov %rdi,%rcx\ncall *%rcx\npop %rbx\nret\n");

static void print(const char *name, long argument, long value) {
  if (value == getpid()) printf("%s(%ld): own pid\n", name, argument);
  else if (value == getppid()) printf("%s(%ld): parent's pid\n", name, argument);
  else if (value == (long)getuid()) printf("%s(%ld): uid\n", name, argument);
  else printf("%s(%ld): %ld\n", name, argument, value);
}

int main(void) {
#define RUN(name) print(#name, 0, name(0)); print(#name, 1, name(1));
  EACH(RUN)
  print("p_after", 0, call_with_number(p_after, 39));
  print("p_rip_relative_after", 0, call_with_number(p_rip_relative_after, 39) - 39);
  return 0;
}
