# Times to the nanosecond, all of stat's fields that are the same everywhere.
touch -d '1999-12-31 23:59:59.987654321' a; stat -c '%n %x %y %s %F %a %A %u %g %h' a
touch -a -d @1 a; touch -m -d @2.5 a; stat -c '%X %Y %y' a; touch -r a b; stat -c '%X %Y' b
touch -c none; ls none; touch -h -d @77 b; ln -s a l; touch -h -d @88 l; stat -c '%n %Y' a l; touch -d @99 l; stat -c '%n %Y' a l
touch -d '2200-01-01' far; stat -c %Y far; touch -d '1900-01-01' old; stat -c %Y old; touch -d @0 zero; stat -c %y zero
mkdir d; touch -d @5 d; touch d/x; [ "$(stat -c %Y d)" -gt 1000000 ] && echo moved; touch -d @5 d; echo y > d/x; stat -c %Y d
chmod 600 a; stat -c %Y a; echo more >> a; [ a -nt zero ] && echo newer; stat -c '%o %t %T' a; stat -f -c '%l' . 
stat none; echo $?; stat -L -c %n,%F l; date -r zero +%s; chmod -v 4711 a; stat -c '%A %a' a
cat a > /dev/null; ls -l --time-style=+%s zero far | cut -d' ' -f1-6
