# Hard and symbolic links, chains, loops, realpath in all its modes.
echo x > f; ln f g; ln -s f s; ln -s s s2; ln -s ../"${PWD##*/}"/f up; ln -s "$PWD/f" abs; stat -c '%n %h' f g
cat s2 up abs; readlink s2; readlink -f s2 up abs | sed "s|$PWD|.|"; realpath --relative-to=. s2 abs
ln -s loop1 loop2; ln -s loop2 loop1; cat loop1; stat loop1 -c %F; realpath loop1; echo $?
ln f g; echo $?; ln -f f g; ln no f2; echo $?; mkdir d; ln d e; echo $?; ln -s x d; readlink d/x
ln -sfn f s; ln -sr d/x r; readlink r; ln -P s hs; readlink hs; ln -L s hl; stat -c %F hl
p=.; for i in $(seq 41); do ln -s ${p##*/} c$i; p=c$i; done; cat c40/f 2>&1; cat c39/f 2>&1; realpath -m a/../b/./c | sed "s|$PWD|.|"; realpath -e nope; echo $?
long=$(printf 'y%.0s' $(seq 4000)); ln -s $long ll; readlink ll | wc -c; cat ll 2>&1 | tail -c 20
echo through > s; cat f; rm s; ls -F | tr '\n' ' '
