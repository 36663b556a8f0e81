# needs: rsync
# rsync -aHA: a first copy, a changed second one, deletion, hard links, partial and in-place updates.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
make_project t 20; mkdir t/docs; ln -s ../src/m1.c t/docs/link; ln t/src/m2.c t/docs/hard; mkdir t/empty; chmod 750 t/empty; chmod 600 t/src/m3.c; mkfifo t/fifo; find t -exec touch -h -d "2015-05-05 05:05:05.25" {} +
rsync -aHA t/ u/; diff -r --exclude=fifo t u && echo same; find u -printf '%P %y %m %n %T@ %l\n' | sort | md5sum; rsync -aHAi t/ u/ | wc -l
echo change >> t/src/m4.c; rm t/src/m5.c; echo new > t/src/new.c; touch -d 2016-01-01 t/src/m4.c t/src/new.c t/src; rsync -aHAi --delete t/ u/ | sort; diff -r --exclude=fifo t u && echo same again
head -c 400000 /dev/zero | tr '\0' z > t/big; rsync -a t/big u/; printf 'PATCH' | dd of=t/big bs=1 seek=200000 conv=notrunc status=none; rsync -a --inplace --no-whole-file -c t/big u/; cmp t/big u/big && echo patched; rsync -a --no-whole-file --backup --suffix=.old t/src/m1.c u/src/m4.c; ls u/src/*.old
rsync -a --link-dest="$PWD/u" t/ v/; [ t/big -ef v/big ] || [ u/src/m8.c -ef v/src/m8.c ] && echo linked; rsync -a --exclude='*.c' --include='*/' t/ w/; find w -name '*.c' | wc -l; rsync -a --remove-source-files w/ x/; find w -type f; rsync -rlptD --files-from=<(echo src/m1.c) t y; find y -type f; rsync -a no-such z 2> /dev/null; echo $?
