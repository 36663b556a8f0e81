# cp: attributes, links, sparse files, updates, backups, errors.
mkdir s; echo a > s/a; ln s/a s/hard; ln -s a s/sym; mkdir s/d; echo b > s/d/b; mkfifo s/p
touch -d '2011-11-11 11:11:11.123456789' s/a s/d/b s/d; chmod 640 s/a; chmod 2750 s/d
cp -a s t; diff -r --exclude=p s t && echo same; stat -c '%n %a %h %y' t/a t/d t/d/b t/sym | sed 's/ 202[0-9].*//'
cp -r s u; cp -rL s/d v; cp s/sym w; cp -P s/sym x; cp -l s/a y; cp -s s/a z; stat -c '%n %F %h' u v w x y z
truncate -s 1M sparse; echo end >> sparse; cp --sparse=always sparse sp2; cmp sparse sp2 && stat -c %s sp2
cp -v --backup=numbered s/a w; cp -v --backup=numbered s/a w; ls w*
cp s t 2>&1; cp no-such t; echo $?; cp s/a s/a; echo $?; cp -n s/d/b w; cat w
cp --reflink=auto s/a r; cat r
head -c 3000000 /dev/zero | tr '\0' k > big; cp big big2; cmp big big2 && md5sum < big2
cp -p --parents s/d/b u; cat u/s/d/b; cp -u s/a w; cp -t t w x; ls t
