# tail -f of a log that several processes append to; nothing is lost or torn.
: > log; tail -n +1 -f -s 0.05 --pid=$$ log > seen & t=$!
for w in 1 2 3 4; do (for i in $(seq 100); do echo "writer $w line $i of a log that is being followed" >> log; done) & pids="$pids $!"; done; wait $pids
for i in $(seq 200); do [ "$(wc -l < seen)" = 400 ] && break; sleep 0.05; done; kill $t; wait $t 2> /dev/null; cmp log seen && echo followed; sort -k2,2n -k4,4n log | md5sum; cut -d' ' -f1-2 log | sort | uniq -c
sort -k2,2n -k4,4n -o log log; cp log seen; (exec 3>> log; for i in 1 2 3; do echo more $i >&3; done); tail -c +1 -f --pid=$$ log > s2 & t=$!; for i in $(seq 100); do [ -s s2 ] && break; sleep 0.05; done; : > log; echo truncated >> log; for i in $(seq 100); do grep -q '^truncated' s2 && break; sleep 0.05; done; kill $t; wait $t 2> /dev/null; tail -1 s2
