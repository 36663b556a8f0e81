#!/bin/bash
# programs.sh NAME: something real for that program to do; run by same_output.sh
# in an empty folder, with and without a hook.
set -e
case $1 in
bash)
  for i in 1 2 3; do (echo "$i" | tr 1 x) & wait; done
  seq 5 | while read -r n; do echo $((n * 2)) >>out; done
  cat out
  cat <<<here
  for i in $(seq 30); do /bin/echo "$i" | cat; done
  ls
  trap 'echo trapped' USR1
  kill -USR1 $$
  ;;
sort) seq 100000 -1 1 | sort -n --parallel=4 -S 1M | md5sum ;;
git)
  export GIT_AUTHOR_DATE=@1700000000 GIT_COMMITTER_DATE=@1700000000 HOME=$PWD
  git init -q r
  cd r
  git config user.email a@b
  git config user.name n
  seq 1000 >f
  git add f
  git commit -q -m m
  git log --stat
  git gc -q
  git fsck
  git grep -c 1
  cd ..
  rm -rf r
  ;;
python)
  python3 - <<'PYTHON'
import ctypes, math, mmap, multiprocessing, os, signal, sqlite3, subprocess, tempfile, threading
print(subprocess.run(["echo", "x"], capture_output=True).stdout)
threads = [threading.Thread(target=os.getpid) for i in range(20)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(math.sqrt(x) for x in range(1000)))
print(multiprocessing.Pool(2).map(abs, range(-5, 5)))
print(sqlite3.connect(":memory:").execute("select 6 * 7").fetchone())
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.02)
signal.pause()
PYTHON
  ;;
perl) perl -e '$SIG{ALRM} = sub { print qq(alarm\n) }; print `echo hi`; system("exit 3"); print $? >> 8; alarm 1; sleep 3; print sqrt(2)' ;;
*) exit 99 ;;
esac
