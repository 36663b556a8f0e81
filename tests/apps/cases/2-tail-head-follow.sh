# head and tail by lines and bytes, from the end, of several files; tail -f sees what others append.
seq 20000 > n; tail -n 2 n; tail -c 12 n; tail -n +19999 n; head -c 8 n; head -n -19998 n; tail -n 1 n n; head -qn 1 n n; wc -c n; tail -c +108890 n
: > log; timeout 10 tail -f --pid=$$ log > seen & t=$!
for i in 1 2 3 4 5; do echo "line $i" >> log; sleep 0.05; done
for i in $(seq 100); do [ "$(wc -l < seen)" = 5 ] && break; sleep 0.05; done; kill $t; wait $t 2> /dev/null; cat seen
(sleep 0.2; echo late > new) & timeout 10 tail -F -s 0.1 -n +1 new 2> /dev/null | head -1; wait
