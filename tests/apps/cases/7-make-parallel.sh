# needs: gcc make 
# timeout: 90
# contents-vary: *.o *.so *.a */app *.d *.gcno *.gch *.ninja* */CMakeFiles/* */CMakeCache.txt *.log */Testing/*
# make -j: a real project is built, rebuilt after changes, and its library, program and plug-in run from there.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
make_project p 30; cd p; make -s -j4; echo $?; ls bin obj | wc -l; ./bin/app; ./bin/app "$PWD/bin/plugin.so"; make -j4 | sed 's/make.*: //'
sleep 1.1; touch src/m3.c; make -j4 | grep -c -e '-c -o'; touch include/calc.h; make -j4 | grep -c -e '-c -o'; echo 'broken(' >> src/m4.c; make -s -j4 2> /dev/null; echo $?; sed -i '$d' src/m4.c; make -s -j2; ./bin/app x 2> /dev/null | head -1; make clean > /dev/null; ls; make -s -j8 all; cp bin/app elsewhere; ./elsewhere; LD_LIBRARY_PATH=bin ./elsewhere; (cd /; "$OLDPWD"/bin/app); make -q; echo $?; make -n clean; make -C . -s nothing 2>&1 | sed 's/make.*: //'
