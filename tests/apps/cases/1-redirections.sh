# Every redirection of bash, onto files of the directory.
echo one > a; echo two >> a; cat < a
{ echo out; echo err >&2; } > both 2>&1; cat both
echo clobber >| a; cat a
set -o noclobber; echo no > a; echo "status $?"; set +o noclobber
exec 3<> rw; echo first >&3; echo second >&3; exec 3>&-; cat rw
exec 4< rw; read -r x <&4; read -r y <&4; echo "$x/$y"; exec 4<&-
exec 5> out5 6>&5; echo five >&5; echo six >&6; exec 5>&- 6>&-; cat out5
echo moved 7> seven >&7 7>&-; cat seven
printf 'abcdef' > w; exec 8<> w; read -r -n 3 -u 8 p; echo -n XY >&8; exec 8>&-; cat w; echo " $p"
cat no-such-file 2> error; cat error
: > empty; wc -c < empty
cat <<< "here string" > hs; cat hs
echo appended &>> both; wc -l < both
