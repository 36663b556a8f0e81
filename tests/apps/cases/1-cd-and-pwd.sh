# The working directory: relative walks, links, OLDPWD, removed directories.
mkdir -p a/b/c; ln -s a/b link
cd a/b/c; pwd; cd ../..; pwd; cd - > /dev/null; pwd; cd ../../..
cd link; pwd; pwd -P; cd ..; pwd; cd -P link; pwd; cd ..; pwd; cd ..
(cd a && cd b && echo x > here && cat ../b/here)
pushd a/b > /dev/null; dirs -l; popd > /dev/null
cd a/b/c; rmdir ../c; pwd; ls; echo "ls $?"; touch nothing; echo "touch $?"
cd ..; pwd
cd no-such; echo "cd $?"; : > file; cd file; echo "cd $?"
CDPATH=..; cd c 2>/dev/null; echo $?; /bin/pwd; readlink /proc/self/cwd
