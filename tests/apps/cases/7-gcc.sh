# needs: gcc make file strip
# timeout: 90
# contents-vary: *.o *.so *.a */app *.d *.gcno *.gch *.ninja* */CMakeFiles/* */CMakeCache.txt *.log */Testing/*
# gcc itself: one step, separate steps, temporaries, precompiled header, static library, debug, -pipe, dependency output, LTO.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
echo '#include <stdio.h>
#include "h.h"
int main(void) { printf("%d\n", VALUE); return 0; }' > a.c; echo '#define VALUE 42' > h.h
gcc a.c; ./a.out; gcc -E a.c -o a.i; gcc -S a.i -o a.s; gcc -c a.s -o a.o; gcc a.o -o a; ./a; gcc -save-temps -pipe -g -O2 a.c -o b; ./b; ls; gcc -M a.c | grep -c h.h; cp h.h pch.h; gcc pch.h; ls pch*; gcc -include pch.h a.c -o c && ./c; TMPDIR=. gcc a.c -o d && ./d; ls -A
echo 'int f(void) { return 5; }' > f.c; echo 'int f(void); int main(void) { return f(); }' > g.c; gcc -flto -c f.c g.c; gcc -flto f.o g.o -o l; ./l; echo $?; gcc -static g.c f.c -o st; file -b st | cut -d, -f1; strip -o sl l; ./sl; echo $?; objcopy --only-keep-debug b b.debug; ar rc libf.a f.o; ranlib libf.a; ar t libf.a; gcc g.o -L. -lf -flto -o m; ./m; echo $?; gcc nofile.c; echo $?; gcc -x c - -o stdin <<< 'int main(void) { return 3; }'; ./stdin; echo $?; readelf -h l | grep -c ELF64; size l | wc -l; cp l l2; cp /bin/true l 2>&1; ./l; echo $?; rm -f a.o b.o c d l2
