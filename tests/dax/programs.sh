# programs.sh DIR: ordinary programs at work in DIR/programs; what they print does not depend on the file system.
cd "$1" && mkdir programs && cd programs || exit 1
umask 022
mkdir -p a/b/c
seq 20000 > a/numbers
sort -rn a/numbers > a/b/reversed
tac a/numbers | cmp - a/b/reversed && echo reversed
cp -a a copy
diff -r a copy && echo copied
dd if=/dev/zero of=a/zeros bs=64k count=40 status=none
dd if=a/numbers of=a/zeros bs=1000 seek=7 conv=notrunc status=none
sha256sum a/zeros a/b/reversed
truncate -s 3000000 a/zeros
fallocate -p -o 4096 -l 100000 a/zeros
sync a/zeros
sha256sum a/zeros
ln -s numbers a/link
ln a/numbers a/hard
mv a/b/reversed a/b/c/moved
ls -l a | awk 'NR > 1 { print $1, $2, /^d/ ? "" : $5, $NF }' # directories have other sizes (tests/apps/tree.py)
tar cf all.tar a
mkdir out
tar xf all.tar -C out
diff -r a out/a && echo unpacked
sqlite3 data.db 'create table t(i integer primary key, s text);
  with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) insert into t select i, hex(i * 7) from n;
  select count(*), sum(length(s)) from t;'
sqlite3 data.db 'pragma journal_mode = delete; begin; delete from t where i % 3 = 0; commit; select count(*) from t; pragma integrity_check;'
git init -q repository
cd repository
git config user.email a@b.c
git config user.name n
for i in 1 2 3; do
  seq $((i * 1000)) > file$i
  git add file$i
  GIT_AUTHOR_DATE="2001-01-01T00:00:0$i" GIT_COMMITTER_DATE="2001-01-01T00:00:0$i" git commit -q -m "commit $i"
done
git gc -q
git fsck --strict
git log --format=%H
git status --short
cd ..
python3 - <<'P'
import mmap, os
with open("mapped", "w+b") as f:
    f.truncate(3 << 20)
    try:
        m = mmap.mmap(f.fileno(), 0)
        m[5:10] = b"hello"
        m[2 << 20:(2 << 20) + 5] = b"there"
        m.flush()
        m.close()
    except OSError:  # a device of 2 MiB pages has no shared mappings of files (docs/limits.md)
        os.pwrite(f.fileno(), b"hello", 5)
        os.pwrite(f.fileno(), b"there", 2 << 20)
    f.seek(0)
    data = f.read()
    print(data[5:10], data[2 << 20:(2 << 20) + 5], len(data))
    p = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    p[5:10] = b"HELLO"
    print(p[5:10], os.pread(f.fileno(), 5, 5))
P
cp "$(command -v seq)" program
./program 3
find . -type f | grep -v '/.git/' | LC_ALL=C sort | tail -n 12
