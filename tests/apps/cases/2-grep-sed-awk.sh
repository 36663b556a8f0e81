# needs: gawk
# grep -r over a tree, sed -i with and without backup, awk reading and writing files and pipes.
mkdir -p t/u; for i in 1 2 3 4; do seq $i 400 > t/f$i; seq $i 7 900 > t/u/g$i; done; ln -s ../f1 t/u/l; ln -s nowhere t/u/dead
grep -r 399 t | sort; grep -rc 7 t | sort; grep -rl '^77$' t | sort; grep -R 400 t | sort; grep -rn --include='g*' '^50' t | sort; grep -q x t/f1; echo $?; grep x none; echo $?; grep -r x t/u/dead; grep pattern t; head -c 3000 /dev/zero > bin; echo hit >> bin; grep hit bin; grep -f t/f4 t/f1 | wc -l
sed -i 's/^1/X/' t/f1; sed -i.bak -e '2,5d' -e '$a end' t/f2; ls t; md5sum t/f*; sed -n '3w out' t/f3; cat out; sed -i '1r out' t/f4; head -3 t/f4; sed -s -n '$=' t/f*; sed --follow-symlinks -i 1d t/u/l; ls -l t/u/l | cut -c1; sed -i 1d t/u/l; ls -l t/u/l | cut -c1
awk '{ s += $1; print $1 * 2 > "double"; print $1 | "sort -rn > sorted" } END { close("sort -rn > sorted"); print s, NR }' t/f3; md5sum double sorted; awk 'FNR==1 { print FILENAME, NR }' t/f*; awk 'BEGIN { while ((getline l < "double") > 0) n++; print n; print "x" >> "double"; system("wc -l < double") }'; gawk -i inplace '{ print $1 + 1 }' t/f3; head -1 t/f3
