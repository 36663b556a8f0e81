# rm and rmdir: recursive, by prompt, errors, a large directory.
mkdir -p a/b/c; touch a/f a/b/g; rm a; echo $?; rmdir a; echo $?; rm -rfv a/b | sort; rmdir -p a; ls -A
mkdir big; (cd big; seq 3000 | xargs touch); ls big | wc -l; rm big/1*; ls big | wc -l; rm -r big; ls
mkdir d; echo x > d/f; exec 3< d/f; rm -r d; cat <&3; readlink /proc/self/fd/3 | grep -o 'deleted'; exec 3<&-
ln -s target l; mkdir target; touch target/keep; rm l; ls target; ln -s target l; rm -r l/ 2>&1; ls target 2>&1; rm -f none; echo $?; rm none; echo $?
echo y | rm -i target/keep 2> /dev/null; ls -A; rm -- -dash 2>/dev/null; : > ./-dash; rm -- -dash; unlink none; echo $?; rm -rf . ; echo $?
