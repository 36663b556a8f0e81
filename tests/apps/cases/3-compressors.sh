# needs: gzip bzip2 xz zstd
# Compressors on single files: in place, keep, threads, times, integrity.
seq 60000 > n; touch -d 2012-02-02 n; m=$(md5sum < n)
gzip -k n; gunzip -c n.gz | cmp - n && echo gz; gzip -l n.gz | tail -1 | awk '{print $2}'; zgrep -c 59999 n.gz; rm n; gunzip n.gz; stat -c '%Y %s' n; bzip2 n; bunzip2 n.bz2; stat -c %Y n
xz -T2 -k n; xz -t n.xz; rm n; unxz n.xz; zstd -q -T2 -k n; zstd -q -t n.zst; zstd -q -d -f n.zst; stat -c %s n; rm n.zst; zstd -q --rm n; unzstd -q --rm n.zst; ls; [ "$m" = "$(md5sum < n)" ] && echo unchanged; echo junk > j.gz; gunzip j.gz; echo $?; ls; gzip n; gzip n 2>&1; ls
