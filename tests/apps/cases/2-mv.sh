# mv: within and across directories, over files and directories, from and to the kernel's tmpfs.
mkdir a b; echo 1 > a/f; mv a/f a/g; mv a/g b; ls a b; echo 2 > a/f; mv a/f b/g; cat b/g
mkdir -p a/x/y; mv a/x b; find . | sort; mv b/x b/x/y; echo $?
mkdir e; mv e b/x; ls b/x; mkdir c; mv -T c b/x/e; echo $?; mkdir c; touch b/x/e/file; mv -T c b/x/e; echo $?
echo keep > k; echo other > o; mv -n o k; cat k o; mv -f o k; cat k; mv -v k kk; mv --backup b/g kk; ls
o=$(mktemp -d /dev/shm/pm-outside-XXXXXX); echo outside > $o/f; chmod 604 $o/f; touch -d 2002-02-02 $o/f
mv $o/f in; stat -c '%a %s %Y' in; mkdir -p tree/t; echo t > tree/t/f; ln -s f tree/t/l
mv tree $o; ls; find $o -mindepth 1 -printf '%P %y\n' | sort; mv $o/tree back; cat back/t/l; rmdir $o
ln -s nowhere l; mv l l2; readlink l2; echo s > same; ln same same2; mv same same2; ls same*
