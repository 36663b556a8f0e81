# needs: gcc
# contents-vary: g g2 libl.so
# The dynamic loader run as a program, and ldd, on programs and libraries that lie there.
printf '#include <stdio.h>\nint f(void);\nint main(int c, char **v) { printf("%%s %%d %%d\\n", v[0], c, f()); return 3; }\n' > g.c
echo 'int f(void) { return 42; }' > l.c
gcc -shared -fPIC l.c -o libl.so && gcc g.c -o g -L. -ll -Wl,-rpath,'$ORIGIN' && gcc g.c l.c -o g2
loader=$(readelf -lW g2 | sed -n 's/.*interpreter: \(.*\)]/\1/p')
# What is preloaded is listed, too, and copies of libraries have other directories.
list() { ldd "$@" 2>&1 | grep -v libpmemfile | sed 's/(0x.*//; s/=> .*lib/=> lib/'; echo "${PIPESTATUS[0]}"; }
list ./g2; list ./g; list ./libl.so; list ./g.c; list ./missing
"$loader" ./g a b; echo $?
"$loader" --argv0 hello ./g2 a; echo $?
"$loader" --inhibit-cache --library-path /nowhere:. ./g; echo $?
"$loader" --verify ./g; echo $?
"$loader" --verify ./g.c; echo $?
"$loader" ./missing 2>&1; echo $?
"$loader" --no-such-option ./g > /dev/null 2>&1; echo $?
chmod 644 g2; "$loader" ./g2; ./g2 2>&1 | sed 's/.*: //'
"$loader" "$PWD/g" && (exec "$loader" ./g one)
rm -f g g2
