# The filters, from and into files: tac, shuf, tee, join, comm, paste, fold, nl, pr, uniq, cut, tr, expand, od.
seq 1000 > n; tac n > r; head -2 r; shuf --random-source=n -n 5 n; seq 5 | tee a b > c; cmp a b && cmp b c && echo tee; echo x | tee -a a > /dev/null; wc a
sort n > sn; sort -r n | sort > sr; comm -3 sn sr | wc -l; join sn sr | wc -l; paste -d, a b | tail -1; fold -w 3 n | md5sum; nl a; tac a | nl -ba | tail -1
sort n n | uniq -c | sort -rn | head -1; cut -c2 n | sort | uniq -c; tr 0-9 a-j < n | md5sum; expand -t4 <<< $'a\tb' | unexpand -a -t4 | od -c
od -A x -t x1z n | tail -2; sum n; cksum n; b2sum n | cut -c1-16; sha1sum n > s; sha1sum -c s; echo bad >> n; sha1sum -c s; echo $?
base64 n | base64 -d | cmp - n && echo b64; tsort <<< 'a b b c c d'; ptx <<< 'one two' | head -1; factor 360; numfmt --to=iec 123456; pr -t -3 a | cat -A; fmt -w 20 <<< 'some words to be filled into lines'
