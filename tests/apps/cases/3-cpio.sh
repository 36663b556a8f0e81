# needs: cpio
# cpio out, in and pass-through, in the newc and tar formats.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
make_project t 20; mkdir t/docs; ln -s ../src/m1.c t/docs/link; ln t/src/m2.c t/docs/hard; mkdir t/empty; chmod 750 t/empty; chmod 600 t/src/m3.c; mkfifo t/fifo; find t -exec touch -h -d "2015-05-05 05:05:05.25" {} +
find t | sort | cpio --quiet -o -H newc --reproducible --renumber-inodes > a.cpio; cpio --quiet -t < a.cpio | wc -l; mkdir in; (cd in; cpio --quiet -idm < ../a.cpio; diff -r --no-dereference --exclude=fifo ../t t && echo same; find t -printf '%p %y %m %n %l\n' | sort | md5sum)
mkdir pass; find t -depth | sort | cpio --quiet -pdm pass; diff -r --exclude=fifo t pass/t && echo passed; find t/src -name 'm*' | sort | cpio --quiet -o -H ustar | tar -tf - | wc -l; stat -c %Y in/t/src/m1.c; rm a.cpio; find pass -links 2 -type f | sort
