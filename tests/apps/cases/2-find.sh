# find: tests, actions, -exec in both forms, -delete, -execdir, printf.
mkdir -p a/b/c x/y; touch a/1.c a/b/2.c a/b/c/3.h x/y/4.c; ln -s ../a x/a; ln a/1.c x/hard; chmod 600 a/b/2.c; head -c 5000 /dev/zero > x/y/big; touch -d 2000-01-01 a/b/c/3.h
find . | sort; find . -name '*.c' -type f | sort; find . -type l -printf '%p -> %l\n'; find . -size +1k -type f; find . -perm 600; find . -links 2 -type f | sort; find . -samefile a/1.c | sort
find . -empty -type f | sort; find -L x | sort; find . -mtime +1000; find . -newer a/b/c/3.h -name '*.h'; find . -maxdepth 1 -mindepth 1 | sort; find . -regex '.*/[0-9]\.c' | sort; find . -path ./a -prune -o -print | sort
find . -name '*.c' -exec sh -c 'echo "got $(basename $1)"' _ {} \; | sort; find . -type f -exec ls {} + | sort; find . -name '*.c' -execdir pwd \; | sort | sed "s|$PWD|.|"; find . -depth | tail -1
find a -name '*.c' -delete; find . | sort; find . -type d -empty | sort; find none; echo $?; find . -printf '%y %d %f\n' | sort; find . -print0 | tr '\0' '\n' | sort | md5sum
