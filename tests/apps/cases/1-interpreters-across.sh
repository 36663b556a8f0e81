# needs: python3
# Scripts outside whose interpreter lies in the directory, and the other way round; chains, long lines, argv[0].
out=$(mktemp -d /tmp/across-XXXXXX); trap 'rm -rf "$out"' EXIT; show() { sed "s|$out|OUT|g"; }
cp /bin/bash interp; cp /usr/bin/python3 py
printf '#!%s/interp\necho outside $0 "$@"; cat /proc/$$/comm\n' "$PWD" > "$out/ks"; printf '#!%s/ks extra  arg  \n' "$out" > "$out/ks2"
printf '#!%s/interp -u\necho inside $0 "$@"; cat /proc/$$/comm\n' "$PWD" > ps; printf '#!%s/ks in\n' "$out" > ps2
printf '#!%s/py\nimport os, sys\nprint(os.readlink("/proc/self/exe"), sys.argv, open("/proc/self/comm").read())\n' "$PWD" > "$out/pyk"
printf '#!/usr/bin/env -S bash -u\necho env $0 "$@"\n' > pe; chmod +x ps ps2 pe "$out"/*
{ "$out/ks" a 'b c'; "$out/ks2" x; ./ps 1 2; ./ps2 y; ./pe r; (cd "$out"; ./ks rel; PATH=. ks path); "$out/pyk" B
(exec -a zeroth "$out/pyk" C); ln -s "$out/pyk" lnk; ./lnk D; python3 -c 'import os; os.execv("./ps", ["zero", "one"])'; } 2>&1 | show
printf '#!/bin/sh %0300d\necho long\n' 7 > long; printf '#!/%0300d\necho never\n' 7 > long2; chmod +x long long2
sh -c './long; exit' 2>&1 | tail -c 20; ./long2 2>/dev/null; echo $?
chmod -x "$out/ks"; "$out/ks" 2>/dev/null; echo $?; rm py lnk interp ps2
