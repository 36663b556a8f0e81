# make_project DIR [FILES]: writes a small real C project: a shared library of
# FILES modules (default 12), a program that links it, a plug-in loaded by
# dlopen, headers, a Makefile with dependency files and a CMakeLists.txt.
make_project() {
  local dir=$1 files=${2:-12} i
  mkdir -p "$dir/src" "$dir/include"
  echo '#pragma once' > "$dir/include/calc.h"
  for i in $(seq "$files"); do
    echo "int calc_$i(int);" >> "$dir/include/calc.h"
    cat > "$dir/src/m$i.c" <<END
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "calc.h"
static int table_$i[64];
int calc_$i(int x) {
  for (int k = 0; k < 64; k++) table_$i[k] = k * $i + x;
  int sum = 0;
  for (int k = 0; k < 64; k++) sum += table_$i[k];
  return sum;
}
END
  done
  {
    echo '#include <dlfcn.h>'; echo '#include <stdio.h>'; echo '#include "calc.h"'
    echo 'int main(int argc, char** argv) { long sum = 0;'
    for i in $(seq "$files"); do echo "  sum += calc_$i(argc);"; done
    echo '  printf("sum %ld\n", sum);'
    echo '  if (argc > 1) { void* h = dlopen(argv[1], RTLD_NOW); if (!h) { puts(dlerror()); return 1; }'
    echo '    printf("plugin %s\n", ((const char* (*)(void))dlsym(h, "name"))()); }'
    echo '  return 0; }'
  } > "$dir/src/main.c"
  echo 'const char* name(void) { return "from the plugin"; }' > "$dir/src/plugin.c"
  cat > "$dir/Makefile" <<'END'
CFLAGS = -O1 -fPIC -Iinclude -MMD
MODULES = $(patsubst src/%.c,obj/%.o,$(wildcard src/m[0-9]*.c))
all: bin/app bin/plugin.so bin/libcalc.a
bin/app: obj/main.o bin/libcalc.so
	$(CC) -o $@ obj/main.o -Lbin -lcalc -ldl '-Wl,-rpath,$$ORIGIN'
bin/libcalc.so: $(MODULES) | bin
	$(CC) -shared -o $@ $^
bin/libcalc.a: $(MODULES) | bin
	rm -f $@; ar rcD $@ $^
bin/plugin.so: obj/plugin.o | bin
	$(CC) -shared -o $@ $<
obj/%.o: src/%.c | obj
	$(CC) $(CFLAGS) -c -o $@ $<
obj bin:
	mkdir -p $@
clean:
	rm -rf obj bin
-include $(wildcard obj/*.d)
END
  cat > "$dir/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.20)
project(calc C)
include_directories(include)
file(GLOB modules src/m[0-9]*.c)
add_library(calc SHARED ${modules})
add_library(plugin MODULE src/plugin.c)
set_target_properties(plugin PROPERTIES PREFIX "")
add_executable(app src/main.c)
target_link_libraries(app calc dl)
enable_testing()
add_test(NAME runs COMMAND app)
install(TARGETS calc plugin app RUNTIME DESTINATION bin LIBRARY DESTINATION lib)
END
}
