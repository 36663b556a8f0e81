# needs: gcc make 
# timeout: 90
# contents-vary: *.o *.so *.a */app *.d *.gcno *.gch *.ninja* */CMakeFiles/* */CMakeCache.txt *.log */Testing/*
# autoconf-like configure: hundreds of tiny compilations and shell commands, as configure scripts do.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
cat > configure <<'END'
#!/bin/sh
exec 5> config.log
for f in printf malloc strlcpy fork no_such_fn getpid mmap qsort nothing_here readv; do
  cat > conftest.c <<EOT
char $f(); int main() { return (int)(long)&$f == 1; }
EOT
  if gcc -w -fno-builtin conftest.c -o conftest >&5 2>&1 && ./conftest; then r=yes; else r=no; fi
  echo "checking for $f... $r"; echo "s/@HAVE_$f@/$r/" >> conf.sed; rm -f conftest*
done
for h in stdio.h none.h unistd.h; do echo "#include <$h>" | gcc -E - > /dev/null 2>&5 && echo "#define HAVE_$(echo $h | tr a-z. A-Z_) 1" >> confdefs.h; done
sed -f conf.sed Makefile.in > Makefile && cat confdefs.h && echo configured >> config.status
END
printf 'fork = @HAVE_fork@\nnone = @HAVE_no_such_fn@\nall:\n\t@echo $(fork) $(none)\n' > Makefile.in; chmod +x configure; ./configure; make -s; mkdir build; cd build; sed 's/Makefile.in/..\/Makefile.in/' ../configure > c; sh c > /dev/null; make -s; cd ..; rm config.log build/config.log; ls . build
