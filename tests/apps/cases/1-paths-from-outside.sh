# Paths into the directory and out of it: links in both directions, `..` across its top, /proc/self, absolute and relative.
o=$(mktemp -d /dev/shm/pm-outside-XXXXXX); top=${PWD%/*}; echo inside > f; echo outside > $o/g; mkdir -p d/e
ln -s "$PWD" $o/in; ln -s $o out; cat $o/in/f out/g; echo new > $o/in/made; echo new > out/made; ls $o; ls; cat $o/in/out/in/f
cd d/e; cat ../../f ../../../"${OLDPWD##*/}"/f; cd ../..; (cd out; pwd -P | sed "s|$o|O|"; cat in/f; cd in/d; pwd -P | sed "s|$top|M|"; cat ../f; cd ../..; pwd | sed "s|$o|O|")
cat "$top/../${top##*/}/${PWD##*/}/f"; (cd "$top/.."; cat "${top##*/}/${OLDPWD##*/}/f"; [ -d "${top##*/}" ] && echo the top is a directory)
cat /proc/self/cwd/f; cat < f /proc/self/fd/0; exec 7< d; ls /proc/self/fd/7; cat /proc/self/fd/7/../f; (cd /proc/self/fd/7 && pwd -P | sed "s|$top|M|"); exec 7<&-; echo x > "$o/in/../${PWD##*/}/d/y"; cat d/y
cp f out/copy; cp out/g d; mv d/g out/back; cat $o/copy $o/back; rm -rf d; ls $o; (cd $o && find . in/ | sort); realpath $o/in/f | sed "s|$top|M|"; find -L out -maxdepth 1 -name made; mv out/made moved; ls; rm $o/in; ls f; : > "$top/at-the-top" && ls "$top" | grep at-the-top; rm "$top/at-the-top"; rm -r $o; ls out > /dev/null 2>&1; echo $?; rm out
