# Offsets: dd with seek and skip, notrunc, append, sparse; truncate, split, csplit, fallocate.
seq 1 50000 > n; dd if=n of=a bs=1000 skip=3 count=7 status=none; dd if=n of=a bs=100 seek=50 count=2 conv=notrunc status=none; md5sum < a
dd if=/dev/zero of=h bs=1 count=1 seek=1000000 status=none; stat -c %s h; cmp -n 1000 h /dev/zero && echo zeros
dd if=n of=app oflag=append conv=notrunc status=none; dd if=n of=app oflag=append conv=notrunc bs=4k status=none; md5sum < app
dd if=n of=s bs=4k conv=fsync,sync status=none; stat -c %s s; dd if=n of=d bs=4096 oflag=dsync status=none; cmp n d && echo dsync
truncate -s 10 a; truncate -s +5 a; od -c a | head -3; truncate -s %4096 a; stat -c %s a; truncate -r n t; stat -c %s t; truncate -s 1T huge; stat -c %s huge; rm huge
split -b 60000 n part.; ls part.*; cat part.* | cmp - n && echo joined; split -l 7000 -d --additional-suffix=.txt n L; ls L*; split -n l/3 n K; md5sum K*
csplit -s n 100 200 '{2}'; wc -l xx*; fallocate -l 100000 fa; stat -c %s fa; fallocate -p -o 4096 -l 8192 n; md5sum < n
fallocate -n -l 200000 fa; stat -c %s fa
