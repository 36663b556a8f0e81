# install, mkdir -p, mktemp, mknod, and what they print.
echo x > f; install -m 751 f g; install -D f a/b/c; install -d -m 700 p/q r; stat -c '%n %a %s' g a/b/c; stat -c "%n %a" p p/q r
install -b f g; ls; install -C f h; i=$(stat -c %i h); install -C f h; [ $i = $(stat -c %i h) ] && echo unchanged
mkdir -pv x/y/z; mkdir x; echo $?; mkdir -p x/y; echo $?; mkdir no/such; echo $?
t=$(mktemp -p . XXXX.tmp); [ -f $t ] && stat -c '%a %s' $t; d=$(mktemp -d -p "$PWD" XXXXXX); stat -c '%a %F' $d; rmdir $d; rm $t
mkfifo -m 640 pipe; stat -c '%F %a' pipe; mknod n p; stat -c %F n; mkdir "a b"; ls -Q
