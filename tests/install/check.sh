#!/usr/bin/env bash
# check.sh BUILD LIBDIR: installs BUILD under a prefix, moves the prefix, and
# builds and runs programs against it as a stranger would.
set -euo pipefail
build=$1 libdir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$work/first" > "$work/log" || fail "cmake --install"
mv "$work/first" "$work/moved"
p=$work/moved
lib=$p/$libdir

for file in bin/mkfs.pmemfile bin/fsck.pmemfile bin/pmemfile include/libpmemfile-core.h include/libpmemfile-posix.h \
  include/libcintercept.h include/libsyscall_intercept_hook_point.h "$libdir"/libpmemfile.so "$libdir"/libpmemfile-core.so \
  "$libdir"/libpmemfile-core.a "$libdir"/libpmemfile-posix.so "$libdir"/libcintercept.so "$libdir"/libcintercept.a \
  "$libdir"/libsyscall_intercept.so "$libdir"/pkgconfig/libpmemfile-core.pc "$libdir"/pkgconfig/libpmemfile-posix.pc \
  "$libdir"/pkgconfig/libcintercept.pc "$libdir"/pkgconfig/libsyscall_intercept.pc; do
  [ -e "$p/$file" ] || fail "$file is not installed"
done
grep -rlI -e "$work/first" -e "$build" "$p" && fail "an installed text names the place it was built or installed at"

# Programs of users: a C and a C++ one, by each of the names.
cat > "$work/core.c" <<'END'
#include HEADER
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
int main(int argc, char** argv) {
  if (pmemfile_pool_open("/nothing/here") || !strlen(pmemfile_errormsg())) return 1;
  PMEMfilepool* pool = pmemfile_pool_create(argv[argc - 1], 8 << 20, 0600);
  if (!pool) { puts(pmemfile_errormsg()); return 2; }
  PMEMfile* file = pmemfile_open(pool, "/greeting", PMEMFILE_O_CREAT | PMEMFILE_O_RDWR, 0644);
  char text[6] = "";
  if (!file || pmemfile_write(pool, file, "hello", 5) != 5 || pmemfile_pread(pool, file, text, 5, 0) != 5) return 3;
  pmemfile_close(pool, file);
  pmemfile_pool_close(pool);
  return strcmp(text, "hello") == 0 ? 0 : 4;
}
END
cat > "$work/intercept.c" <<'END'
#include HEADER
#include <sys/syscall.h>
#include <stddef.h>
#include <unistd.h>
static int hook(long nr, long a, long b, long c, long d, long e, long f, long* result) {
  (void)a; (void)b; (void)c; (void)d; (void)e; (void)f;
  if (nr != SYS_getppid) return 1;
  *result = 4711;
  return 0;
}
int main(void) {
  intercept_hook_point = hook;
  return getppid() == 4711 && syscall_no_intercept(SYS_getpid) == getpid() ? 0 : 1;
}
END
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
try() { # try PACKAGE HEADER SOURCE
  local compiler
  for compiler in "gcc -x c" "g++ -x c++"; do
    $compiler -Wall -Werror "-DHEADER=<$2>" "$work/$3" -x none -o "$work/a" $(pkg-config --cflags --libs "$1") || fail "$compiler with $1"
    rm -f "$work/pool"
    "$work/a" "$work/pool" || fail "the program built by $compiler with $1 ended with $?"
  done
}
try libpmemfile-core libpmemfile-core.h core.c
try libpmemfile-posix libpmemfile-posix.h core.c
try libcintercept libcintercept.h intercept.c
try libsyscall_intercept libsyscall_intercept_hook_point.h intercept.c

# find_package.
mkdir "$work/consumer"
cat > "$work/consumer/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.20)
project(consumer C)
find_package(pmemfile 1.0 REQUIRED)
if(NOT EXISTS "${pmemfile_PRELOAD_LIBRARY}")
  message(FATAL_ERROR "no preload library: ${pmemfile_PRELOAD_LIBRARY}")
endif()
foreach(kind core core_static)
  add_executable(${kind} ../core.c)
  target_compile_definitions(${kind} PRIVATE "HEADER=<libpmemfile-core.h>")
  target_link_libraries(${kind} pmemfile::${kind})
endforeach()
END
cmake -S "$work/consumer" -B "$work/consumer/b" -DCMAKE_PREFIX_PATH="$p" > "$work/log" 2>&1 || { cat "$work/log"; fail "find_package"; }
cmake --build "$work/consumer/b" > "$work/log" 2>&1 || { cat "$work/log"; fail "building with find_package"; }
for kind in core core_static; do
  rm -f "$work/pool"
  "$work/consumer/b/$kind" "$work/pool" || fail "$kind through find_package ended with $?"
done

# The installed commands, from the moved prefix.
unset LD_LIBRARY_PATH
rm -f "$work/pool"
"$p/bin/mkfs.pmemfile" "$work/pool" 16M > "$work/log" 2>&1 || { cat "$work/log"; fail "mkfs.pmemfile"; }
out=$("$p/bin/pmemfile" run --mount "$work/mnt" --pool "$work/pool" -- sh -c "echo inside > $work/mnt/f && cat $work/mnt/f") || fail "pmemfile run"
[ "$out" = inside ] || fail "pmemfile run printed: $out"
[ ! -e "$work/mnt/f" ] || fail "the file is in the kernel's directory"
"$p/bin/fsck.pmemfile" -n "$work/pool" > "$work/log" 2>&1 || { cat "$work/log"; fail "fsck.pmemfile"; }
echo ok
