# Children that get a new or an empty environment still see the directory.
echo content > f
env -i /bin/cat f
env -i /bin/sh -c '/bin/cat f; echo $((1+1)) > g; /usr/bin/env | /bin/grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD='
cat g
(unset LD_PRELOAD PMEMFILE_POOLS; cat f; sh -c 'cat f')
env -u LD_PRELOAD cat f
python3 -c 'import os; os.execve("/bin/cat", ["cat", "f"], {})'
python3 -c 'import os; os.posix_spawn("/bin/cat", ["cat", "f"], {}); os.wait()'
env -i bash --norc -c 'bash --norc -c "cat f"'
