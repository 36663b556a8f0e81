# `#!` with an argument, an interpreter in the directory itself, errors of exec.
printf '#!/bin/sh -e\necho "args: $@"; false; echo no\n' > e; chmod +x e; ./e x 'y z'; echo $?
cp /bin/cat mycat; printf '#!%s/mycat\ntext of the file\n' "$PWD" > c; chmod +x c; ./c
printf '#!/no/such/interpreter\n' > bad; chmod +x bad; ./bad; echo $?
echo 'echo plain' > plain; chmod +x plain; ./plain
./no-such; echo $?; echo x > noexec; ./noexec; echo $?; mkdir dir; ./dir; echo $?
PATH=$PWD:$PATH; printf '#!/usr/bin/env bash\necho found $(basename $0)\n' > viapath; chmod +x viapath; viapath
hash -r; type -t viapath; ( exec -a othername ./mycat /proc/self/comm )
printf '\177ELF' > broken; chmod +x broken; ./broken 2> /dev/null; echo $?
