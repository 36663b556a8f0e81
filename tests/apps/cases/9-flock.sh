# needs: flock pkill
# flock(1): exclusive, shared, non-blocking, with timeout, on descriptors, through children, released by death.
flock l echo with; flock -s l flock -s l echo shared; flock l flock -n l echo no; echo $?; flock l sh -c 'flock -w 0.1 l echo no; echo $?'; flock -n -E 9 l true; echo $?; exec 9> l; flock 9; flock -n l true; echo $?; (flock -n 9; echo "inherited $?"); flock -u 9; flock -n l true; echo $?; exec 9>&-
echo 0 > n; for i in 1 2 3 4 5 6; do (for j in 1 2 3 4 5 6 7 8 9 10; do flock l sh -c 'v=$(cat n); echo $((v + 1)) > n'; done) & done; wait; cat n
exec 2> /dev/null
flock l sh -c ': > held; exec sleep 30' & p=$!; while [ ! -e held ]; do sleep 0.01; done; flock -n l true; echo "busy $?"; (flock l echo "got it after the kill" > got) & q=$!; sleep 0.1; pkill -9 -P $p; kill -9 $p; wait $p 2> /dev/null; wait $q; cat got; mkdir d; flock d echo directory; flock -o l sh -c 'flock -n l true; echo $?'; exec 8> l; flock -s 8; flock -n -s l echo two readers; flock -n -x l true; echo $?
