# needs: gcc
# timeout: 120
# contents-vary: */plain */addresses */undefined
# Programs with the runtimes of sanitizers: they start, find their own symbols, look for leaks at the end, and report.
mkdir -p s && cd s
cat > p.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void *lost;
int main(int argc, char **argv) {
  FILE *f = fopen("out", "a+");
  fprintf(f, "%d\n", argc);
  fclose(f);
  char *room = malloc(10);
  if (argc > 1 && !strcmp(argv[1], "beyond")) room[9 + argc - 1] = 1;
  if (argc > 1 && !strcmp(argv[1], "leak")) lost = malloc(100), lost = NULL;
  if (argc > 1 && !strcmp(argv[1], "null")) *(volatile int *)(argc - 2L) = 1;
  int big = 2147483647;
  if (argc > 1 && !strcmp(argv[1], "overflow")) printf("%d\n", big + argc);
  free(room);
  return 0;
}
END
gcc -g p.c -o plain && gcc -g -fsanitize=address p.c -o addresses && gcc -g -fsanitize=undefined p.c -o undefined
report() { grep -E '^(==.*ERROR|SUMMARY|    #0)|runtime error' | sed -e 's/0x[0-9a-f]*//g' -e 's/==[0-9]*==//' -e "s,$PWD,HERE,g" -e 's/ pc .*//' -e 's/[^ ]*libsanitizer[^ ]*//'; }
for program in ./plain ./addresses ./undefined; do $program; echo $?; done
for what in beyond leak null; do ./addresses $what 2>&1 | report; echo ${PIPESTATUS[0]}; done
./undefined overflow 2>&1 | report
cat out
