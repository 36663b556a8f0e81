# Names of 255 bytes, too long ones, every printable byte, deep paths.
n=$(printf 'x%.0s' $(seq 255)); echo long > $n; cat $n; ls | wc -c
touch ${n}y 2>&1 | tail -c 20; mkdir "$(printf '\001\t')"; ls -b
for i in $(seq 33 126); do c=$(printf "\\$(printf %03o $i)"); [ "$c" = / ] || [ "$c" = . ] || : > "$c"; done; ls | wc -l; ls | md5sum
d=$(printf 'd%.0s' $(seq 50)); for i in $(seq 60); do mkdir $d; cd $d; done; pwd | wc -c; echo deep > f; cat f; cd /
