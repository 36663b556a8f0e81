# needs: gcc make 
# timeout: 90
# contents-vary: *.o *.so *.a */app *.d *.gcno *.gch *.ninja* */CMakeFiles/* */CMakeCache.txt *.log */Testing/*
# A program run from the directory: /proc/self/exe, argv, dlopen by several names, RUNPATH, constructors.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
cat > w.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
int lib(void); static int c; __attribute__((constructor)) static void k(void) { c = 7; }
int main(int argc, char** argv) { char b[4096]; ssize_t n = readlink("/proc/self/exe", b, 4095); b[n > 0 ? n : 0] = 0;
  printf("%s %d %d %s %s\n", strrchr(b, '/'), c, lib(), argv[0], strrchr((char*)getauxval(AT_EXECFN), '/')); printf("%s %s\n", program_invocation_short_name, argc > 1 ? argv[1] : "");
  FILE* f = fopen("/proc/self/comm", "r"); fgets(b, 99, f); fputs(b, stdout); fclose(f);
  void* h = dlopen("./liblib.so", RTLD_NOW); Dl_info i; printf("%d ", h != 0); printf("%d\n", h ? dladdr(dlsym(h, "lib"), &i) && strstr(i.dli_fname, "liblib") != 0 : 0); h = dlopen("none.so", RTLD_NOW); printf("%d\n", h == 0); return 0; }
END
echo 'int lib(void) { return 11; }' > l.c; gcc -shared -fPIC l.c -o liblib.so; gcc w.c -L. -llib -ldl '-Wl,-rpath,$ORIGIN' -o w; ./w one; mkdir d; ln -s ../w d/link; d/link two; cp w liblib.so d; (cd d; PATH=. w three); sh -c 'exec ./w four'; gcc w.c -L. -llib -ldl -o v; LD_LIBRARY_PATH=. ./v five; (cd /; env LD_LIBRARY_PATH="$OLDPWD" "$OLDPWD/v" six); ./v 2>&1 | tail -1; echo ${PIPESTATUS[0]}; gcc w.c -L. -llib -ldl "-Wl,-rpath,$PWD/d" -o u; ./u seven; rm -f u v; chmod -x w; ./w 2> /dev/null; echo $?; for i in $(seq 50); do d/w $i; done | grep -c w; cp /bin/ls myls; ./myls d; mv liblib.so hidden.so; LD_BIND_NOW=1 d/w eight | tail -1; mv hidden.so liblib.so; head -c 500 d/w > cut; chmod +x cut; ./cut 2> /dev/null; echo $?
