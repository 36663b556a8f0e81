# needs: gcc make cmake ninja
# timeout: 90
# contents-vary: *.o *.so *.a */app *.d *.gcno *.gch *.ninja* */CMakeFiles/* */CMakeCache.txt *.log */Testing/*
# cmake with Ninja: configure, build, test, install, reconfigure; the installed program runs.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
make_project p 15; cmake -G Ninja -S p -B b -DCMAKE_BUILD_TYPE=Release > /dev/null; echo $?; cmake --build b > /dev/null; echo $?; b/app; b/app "$PWD/b/plugin.so"; cmake --install b --prefix "$PWD/i" > /dev/null; find i -type f | sort; LD_LIBRARY_PATH=i/lib i/bin/app; cmake --build b | sed 's/.*: //'; sleep 1.1; touch p/src/m2.c; cmake --build b | grep -c Building; (cd b; ctest | grep 'tests passed'); echo 'int calc_99(int x) { return x; }' > p/src/m99.c; cmake b > /dev/null; cmake --build b > /dev/null; nm -D b/libcalc.so | grep -c calc_; cmake -E tar cf p.tar p; cmake -E sha1sum p/Makefile; cmake --build b --target clean > /dev/null; ls b/*.so 2>&1 | wc -l; cmake -G 'Unix Makefiles' -S p -B m > /dev/null; cmake --build m -j2 > /dev/null; m/app; rm -rf b m i p.tar
