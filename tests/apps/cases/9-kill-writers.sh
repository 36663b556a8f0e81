# timeout: 60
# Writers, copiers and removers killed by kill -9 at many moments: what is left is a prefix, what others do goes on.
exec 2> /dev/null
seq 200000 > src; mkdir tree; for i in $(seq 200); do echo "file $i" > tree/f$i; done; bad=0
# A group of its own, so that no child of what is killed goes on while its traces are looked at.
hit() {
  setsid "$@" & p=$!; sleep 0.0$((RANDOM % 3))$((RANDOM % 10)); kill -9 -- -$p || kill -9 $p; wait $p
  for k in $(seq 20); do kill -0 -- -$p || break; sleep 0.001; done
}
for i in $(seq 12); do
  hit cp src copy; n=$(stat -c %s copy || echo 0); head -c "$n" src | cmp -s - <(head -c "$n" copy) || [ "$n" = 0 ] || bad=$((bad + 1)); rm -f copy
  hit cp -a tree t2; for f in t2/*; do [ ! -s $f ] || { read -r l < $f; [ "$l" = "file ${f##*/f}" ]; } || bad=$((bad + 1)); done; hit rm -rf t2; rm -rf t2; [ ! -e t2 ] || bad=$((bad + 1))
  hit bash -c 'for i in $(seq 1000); do echo $i > a; mv a b; done'; case $(cat b) in '' | *[!0-9]*) [ -s b ] && bad=$((bad + 1)) ;; esac; rm -f a b
  hit bash -c 'while :; do echo "a line of the log" >> log; done'; [ "$(sort -u log | wc -l)" -le 1 ] || [ "$(sort -u log | sed 's/a line of the log//;/^$/d' | wc -l)" -le 1 ] || bad=$((bad + 1))
  hit tar -cf a.tar tree; hit dd if=/dev/zero of=z bs=1k count=100000; hit sort -o sorted src; rm -f a.tar z sorted
done
rm -f log sort*; ls tree | wc -l; cat tree/* | sort | md5sum; echo "bad $bad"; ls; echo usable > after; cat after
