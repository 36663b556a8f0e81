# Every file test of bash, true and false.
: > empty; echo x > full; mkdir dir; ln -s full link; ln -s none dangling; mkfifo fifo; ln full hard
chmod 4755 full; chmod g+s dir; chmod +t dir
for op in -b -c -d -e -f -g -h -k -p -r -s -u -w -x -O -G -L -S; do
  printf '%s' "$op"
  for f in empty full dir link dangling fifo hard none; do
    if test $op $f; then printf ' %s' $f; fi
  done; echo
done
[ full -ef hard ] && echo same; [ full -ef link ] && echo same-through-link; [ full -ef empty ] || echo not
touch -d '2001-01-01' old; [ full -nt old ] && [ old -ot full ] && echo times
