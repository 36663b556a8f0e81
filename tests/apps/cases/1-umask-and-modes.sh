# umask across shells and children, and what mkdir -m and install make of it.
for m in 022 077 002 000 027; do (umask $m; : > f$m; mkdir d$m; sh -c ": > c$m"; umask); done
stat -c '%n %a' *
mkdir -m 700 m; mkdir -p -m 711 q/r; stat -c '%n %a' m q q/r
umask u=rwx,g=,o=; touch sym; stat -c %a sym; umask -S
