# needs: zip unzip
# zip and unzip: create, update, test, move into, symbolic links.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
make_project t 20; mkdir t/docs; ln -s ../src/m1.c t/docs/link; ln t/src/m2.c t/docs/hard; mkdir t/empty; chmod 750 t/empty; chmod 600 t/src/m3.c; mkfifo t/fifo; find t -exec touch -h -d "2015-05-05 05:05:05.25" {} +
rm t/fifo; zip -qr a.zip t; unzip -tq a.zip; mkdir o; unzip -q a.zip -d o; diff -r t o/t && echo same; zip -qry s.zip t; mkdir p; unzip -q s.zip -d p; readlink p/t/docs/link; unzip -Z1 a.zip | wc -l
echo more >> t/src/m1.c; zip -qu a.zip t/src/m1.c; unzip -p a.zip t/src/m1.c | tail -1; zip -qd a.zip 't/src/m2*'; unzip -Z1 a.zip | grep -c m2; echo x > moved; zip -qm a.zip moved; ls; unzip -qo a.zip -d o; cmp t/src/m1.c o/t/src/m1.c && echo updated; zip -q a.zip nofile; echo $?; rm ./*.zip
