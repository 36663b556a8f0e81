# Pipes, subshells, command and process substitution, groups.
seq 100 > n
grep 7 n | tee sevens | wc -l
(cd /; pwd); (mkdir sub; cd sub; pwd; echo in-sub > f); cat sub/f
x=$(< n); echo ${#x}
diff <(sort n) <(sort -r n | sort) && echo same
paste <(head -3 n) <(tail -3 n)
seq 5 > >(cat > from-substitution; echo done > mark)
while [ ! -s mark ]; do sleep 0.01; done; cat from-substitution
{ echo a; (echo b; { echo c; } | cat); } | sort -r
false | true; echo "${PIPESTATUS[@]}"
set -o pipefail; false | cat n > /dev/null; echo $?
cat n | while read -r i; do echo $((i * 2)); done | tail -1
