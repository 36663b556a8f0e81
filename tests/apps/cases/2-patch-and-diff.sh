# needs: patch
# diff of files and trees; patch forward, backward, with fuzz, rejects and backups.
mkdir a; seq 30 > a/f; seq 5 > a/gone; mkdir a/d; echo x > a/d/x; cp -r a b; sed -i '10s/.*/ten/;20d' b/f; rm b/gone; echo new > b/new; echo y >> b/d/x
diff -ru a b | sed 's/\t.*//' > p; cat p; diff -rq a b; diff -rN a b | wc -l; cmp a/f b/f; echo $?; diff a/d b/d; sdiff -s a/f b/f | wc -l; diff3 a/f a/f b/f
cp -r a c; (cd c; patch -p1 < <(cd ..; diff -ruN a b)); diff -r b c && echo patched; (cd c; patch -R -p1 -b < <(cd ..; diff -ruN a b)); diff -r -x '*.orig' a c && echo reversed; find c | sort
cp -r a e; sed -i '9s/.*/nine/' e/f; (cd e; patch -p1 --no-backup-if-mismatch f < ../p); echo $?; find e -name '*.rej' -o -name '*.orig' | sort; patch --dry-run -d e -p1 < p > /dev/null; echo $?
