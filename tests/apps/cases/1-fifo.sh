# A named pipe between processes.
mkfifo p; stat -c '%F %a' p
cat p > got & echo through > p; wait; cat got
(for i in 1 2 3; do echo $i; done > p) & while read -r x; do echo "read $x"; done < p; wait
exec 3<> p; echo held >&3; read -r y <&3; echo $y; exec 3>&-
(seq 30000 > p) & md5sum < p; wait
rm p; ls
