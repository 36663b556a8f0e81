# Jobs in the background write files while the shell goes on; wait gives their status.
for i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i; echo "job $i" > out.$i; exit $i) & pids[i]=$!; done
for i in 1 2 3 4 5 6 7 8; do wait ${pids[i]}; echo "status $?"; done
cat out.*
for i in 1 2 3 4; do (for j in $(seq 50); do echo "$i $j"; done >> shared) & done; wait
wc -l < shared; sort -n -o shared shared; md5sum < shared
sleep 30 & kill $!; wait $!; echo "killed $?"
(trap 'echo caught > trapped; exit 5' TERM; : > ready; while :; do sleep 0.01; done) & p=$!
while [ ! -e ready ]; do sleep 0.01; done; kill -TERM $p; wait $p; echo $?; cat trapped
