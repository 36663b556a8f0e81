# xargs -P: many processes at once create, read and remove in one directory.
seq 300 | xargs -P 8 -n 3 touch; ls | wc -l
ls | xargs -P 4 -I{} sh -c 'echo {} > {}'; cat [0-9]* | sort -n | md5sum
ls | sort | xargs -n 50 echo | wc -l; seq 100 | xargs -P 4 -I{} mkdir d{}; ls -d d* | wc -l; ls -d d* | xargs -P 4 rmdir
seq 100 | xargs -P 8 -I{} sh -c 'echo line {} >> shared'; sort -o shared shared; md5sum < shared; wc -l < shared
find . -type f -print0 | xargs -0 -P 4 -n 20 rm; ls -A | wc -l; echo a b | xargs -t -n 1 echo
