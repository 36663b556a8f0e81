# needs: tar
# tar: append, update, delete, incremental, sparse files, long names, exclusions, overwriting.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
make_project t 20; mkdir t/docs; ln -s ../src/m1.c t/docs/link; ln t/src/m2.c t/docs/hard; mkdir t/empty; chmod 750 t/empty; chmod 600 t/src/m3.c; mkfifo t/fifo; find t -exec touch -h -d "2015-05-05 05:05:05.25" {} +
tar --sort=name -cf a.tar t/src; tar -rf a.tar t/docs; tar --delete -f a.tar t/src/m7.c; tar -tf a.tar | wc -l; tar -xOf a.tar t/docs/hard | md5sum
truncate -s 3M sparse; echo tail >> sparse; tar -Scf s.tar sparse; [ "$(stat -c %s s.tar)" -lt 200000 ] && echo small; mkdir o; tar -xf s.tar -C o; cmp sparse o/sparse && echo same
n=$(printf 'n%.0s' $(seq 200)); mkdir -p $n/$n; echo deep > $n/$n/$n; tar -cf l.tar $n; tar -xf l.tar -C o; cat o/$n/$n/$n; tar -cf e.tar --exclude='*.c' t; tar -tf e.tar | grep -c '\.c$'
mkdir x; tar -xf a.tar -C x; echo local > x/t/src/m1.c; tar -xkf a.tar -C x 2> /dev/null; head -c 5 x/t/src/m1.c; tar -xf a.tar -C x --overwrite; cmp x/t/src/m1.c t/src/m1.c && echo overwritten; rm -rf o x ./*.tar $n
