# needs: tar gzip bzip2 xz zstd
# A source tree through tar with each compressor and back; owners, times, links and modes return.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
make_project t 20; mkdir t/docs; ln -s ../src/m1.c t/docs/link; ln t/src/m2.c t/docs/hard; mkdir t/empty; chmod 750 t/empty; chmod 600 t/src/m3.c; mkfifo t/fifo; find t -exec touch -h -d "2015-05-05 05:05:05.25" {} +
for z in gz bz2 xz zst; do
  tar --sort=name -caf a.tar.$z t; mkdir $z; tar -xpf a.tar.$z -C $z; diff -r --no-dereference --exclude=fifo t $z/t && echo $z same
  tar -tf a.tar.$z | wc -l
done
(cd gz; find t -printf '%p %y %m %n %T@ %l\n' | sort | md5sum); find t -printf '%p %y %m %n %T@ %l\n' | sort | md5sum
tar --sort=name -cf - t | tar -xf - --strip-components=1 -C "$(mkdir piped; echo piped)"; ls piped; zcat a.tar.gz | cmp - <(xz -dc a.tar.xz) && echo equal archives
tar -df a.tar.gz; echo "diff $?"; echo changed >> t/src/m5.c; tar -df a.tar.gz; echo "diff $?"; rm -rf gz bz2 xz zst a.tar.bz2
