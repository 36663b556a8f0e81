# timeout: 60
# sort with temporary files in the directory, in parallel, merging, in place.
mkdir tmp; awk 'BEGIN { s = 42; for (i = 0; i < 200000; i++) { s = (s * 1103515245 + 12345) % 2147483648; print s } }' > n
sort -n -T tmp -S 1M n > a; sort -n -T tmp -S 1M --parallel=4 n > b; cmp a b && md5sum a; ls -A tmp
sort -n --compress-program=gzip -T tmp -S 2M n -o n2; cmp a n2 && echo compressed; sort -n -o n n; cmp n a && echo in place; sort -c -n a && sort -C n2; echo $?
split -n l/5 n part; for p in part*; do sort -n -o $p $p; done; sort -m -n part* | cmp - a && echo merged; sort -u -k1.1,1.3 n | wc -l; sort -R n | wc -l; TMPDIR=tmp sort -S 500k n | md5sum
