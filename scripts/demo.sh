#!/bin/bash
# The programs that ./quickstart shows: demo.sh NAME runs one in the current
# directory. Nothing in here knows where it runs; the same file runs on tmpfs.
set -eu

shell() {
  mkdir -p notes/old
  for i in $(seq 100); do echo "note $i" > "notes/$i.txt"; done
  cat notes/*.txt | sort -k2 -n > all.txt
  ls notes | wc -l
  { head -n 1 all.txt; tail -n 1 all.txt; } 2>&1 | tee ends.txt
  mv notes/1?.txt notes/old && ln -s notes/old link && cp -a link/. copy
  grep -r 'note 1[0-3]' notes | sort
  find . -type f | wc -l
}

git_() {
  export GIT_AUTHOR_NAME=Demo GIT_AUTHOR_EMAIL=demo@example.org GIT_COMMITTER_NAME=Demo GIT_COMMITTER_EMAIL=demo@example.org
  export GIT_AUTHOR_DATE='1600000000 +0000' GIT_COMMITTER_DATE='1600000000 +0000' GIT_CONFIG_NOSYSTEM=1 HOME=$PWD
  git -c init.defaultBranch=main init -q repo && cd repo
  for i in 1 2 3 4 5; do seq "$i" $((i * 100)) > "file$i"; git add . && git commit -qm "commit $i"; done
  git checkout -qb side HEAD~2 && echo side > s && git add s && git commit -qm side
  git checkout -q main && git merge -q --no-edit side && git gc -q && git fsck --full
  git clone -q . ../clone && git -C ../clone log --oneline | head -n 3
  git status --short
}

sqlite() {
  sqlite3 demo.db 'PRAGMA journal_mode=WAL' 'PRAGMA synchronous=FULL' 'CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)'
  for i in 1 2 3 4 5; do
    seq 200 | awk -v r="$i" '{ print "INSERT INTO t(b) VALUES(\047row " r "." $1 "\047);" }' | sqlite3 demo.db
  done
  sqlite3 demo.db 'SELECT count(*), max(a), min(b) FROM t' 'PRAGMA integrity_check'
}

python() {
  mkdir -p work/files && cd work/files
  python3 - <<'END'
import mmap, os, shutil, subprocess, tempfile
for i in range(2000):
    with open(f"f{i}", "w") as f: f.write(str(i))
print(sum(int(open(f"f{i}").read()) for i in range(2000)), len(os.listdir(".")))
with open("mapped", "wb+") as f:
    f.truncate(1 << 20)
    with mmap.mmap(f.fileno(), 0) as m: m[1000:1005] = b"hello"
    print(os.pread(f.fileno(), 5, 1000))
print(subprocess.check_output(["sort", "-n"], input=b"3\n1\n2\n").split(), len(os.listdir(shutil.copytree(".", tempfile.mkdtemp(dir="..") + "/c", ignore=lambda d, names: [n for n in names if n.endswith("7")]))))
END
}

build() {
  printf '#include <stdio.h>\nint twice(int);\nint main(void) { printf("twice 21 is %%d\\n", twice(21)); return 0; }\n' > main.c
  printf 'int twice(int x) { return 2 * x; }\n' > twice.c
  gcc -O2 -fPIC -shared -o libtwice.so twice.c
  gcc -O2 -o app main.c -L. -ltwice '-Wl,-rpath,$ORIGIN'
  ./app
}

case $1 in git) git_ ;; *) "$1" ;; esac
