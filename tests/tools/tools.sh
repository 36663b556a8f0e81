#!/usr/bin/env bash
# tools.sh BUILD_DIR: mkfs.pmemfile, fsck.pmemfile and pmemfile as users meet them.
set -u
bin=$1
work=$(mktemp -d /dev/shm/pmemfile-tools-XXXXXX)
export PMEMFILE_SHM_DIR=$work
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# expect STATUS WHAT COMMAND...: and the output, both streams, goes to ./out
expect() {
  local status=$1 what=$2
  shift 2
  "$@" > out 2>&1
  local got=$?
  [ "$got" = "$status" ] && return
  echo "FAILED: $what: exit $got, expected $status: $*"
  cat out
  failed=1
}
says() {
  grep -q -e "$1" out && return
  echo "FAILED: the output lacks '$1':"
  cat out
  failed=1
}

# mkfs
expect 0 "smallest pool" "$bin/mkfs.pmemfile" p 256K
says 'volatile medium'
expect 8 "a pool is not overwritten" "$bin/mkfs.pmemfile" p 1M
says 'already holds a pool'
expect 0 "unless forced" "$bin/mkfs.pmemfile" --force p 1M
[ "$(stat -c '%s %b' p)" = "1048576 2048" ] || { echo "FAILED: not every block is allocated"; failed=1; }
echo text > other
expect 8 "data is not overwritten" "$bin/mkfs.pmemfile" other 1M
grep -q text other || { echo "FAILED: data was overwritten"; failed=1; }
expect 16 "no size" "$bin/mkfs.pmemfile" missing
expect 16 "no number" "$bin/mkfs.pmemfile" missing 1X
expect 16 "too small" "$bin/mkfs.pmemfile" missing 100K
expect 16 "no path" "$bin/mkfs.pmemfile"
expect 8 "a directory" "$bin/mkfs.pmemfile" . 1M
expect 0 "dry run" "$bin/mkfs.pmemfile" --dry-run missing 1T
[ ! -e missing ] || { echo "FAILED: a dry run made a file"; failed=1; }
expect 0 "label and UUID" "$bin/mkfs.pmemfile" -f -L name -U 12345678-1234-4234-8234-123456789abc p 0
expect 0 "sparse" "$bin/mkfs.pmemfile" --sparse sparse 1G
[ "$(stat -c %b sparse)" -lt 10000 ] || { echo "FAILED: sparse pool is not sparse"; failed=1; }

# info
expect 0 "info" "$bin/pmemfile" info p
says 'name'
says '12345678-1234-4234-8234-123456789abc'
expect 0 "info as JSON" "$bin/pmemfile" info --json --live p
python3 -c 'import json; assert json.load(open("out"))["bytes"] == 1 << 20' || failed=1
expect 1 "info of no pool" "$bin/pmemfile" info other

# cp, ls, stat, df
mkdir -p tree/inner
seq 1 20000 > tree/inner/numbers
ln -s inner/numbers tree/link
expect 0 "copy in" "$bin/pmemfile" cp -r tree p:/
expect 0 "ls" "$bin/pmemfile" ls -l p:/tree
says 'link -> inner/numbers'
expect 0 "copy out" "$bin/pmemfile" cp -r p:/tree back
diff -r tree back || failed=1
expect 0 "stat" "$bin/pmemfile" stat p:/tree/inner/numbers
says "size $(stat -c %s tree/inner/numbers)"
expect 0 "df" "$bin/pmemfile" df p
expect 1 "copy of what is missing" "$bin/pmemfile" cp p:/none .
"$bin/mkfs.pmemfile" -q q 4M
expect 0 "a tree" "$bin/pmemfile" cp -r tree q:/
# Onto itself, by whatever name: nothing is lost.
echo kept > itself
expect 0 "one file" "$bin/pmemfile" cp itself q:/itself
ln -s q other-name
for same in q:/itself q:/tree/../itself other-name:/itself; do
  expect 1 "onto itself, as $same" "$bin/pmemfile" cp q:/itself "$same"
  says 'are the same file'
done
expect 0 "still there" "$bin/pmemfile" cp q:/itself back-itself
cmp itself back-itself || failed=1
# Onto the pool's own file: the pool is whole afterwards.
cp q q.before
mkdir own
ln q own/itself
ln -s q own-link
for own in q ./q own own-link; do
  expect 1 "a file of the pool onto the pool, as $own" "$bin/pmemfile" cp q:/itself "$own"
  says 'is the file of the pool'
done
expect 1 "the pool into itself" "$bin/pmemfile" cp q q:/image
says 'is the file of the pool'
[ "$(stat -c %s q)" = "$(stat -c %s q.before)" ] || { echo "FAILED: the pool was overwritten"; failed=1; cp q.before q; }
expect 0 "and is a pool" "$bin/fsck.pmemfile" -n q
# Pools are told apart by their files: the device numbers of these two are the same, and the inode numbers in them, too.
mkdir alike
python3 -c '
import os
seen = {}
for i in range(20000):
    name = f"alike/{i}"
    os.close(os.open(name, os.O_CREAT, 0o600))
    at = os.stat(name)
    value = ((at.st_ino ^ at.st_dev << 32) & (1 << 64) - 1) * 0x9e3779b97f4a7c15 & (1 << 64) - 1
    key = (value ^ value >> 32) & 0xfffff # vfs/pool.cc, device_number
    if key in seen:
        os.rename(seen[key], "alike/one")
        os.rename(name, "alike/two")
        break
    seen[key] = name
'
if [ -e alike/two ]; then
  for pool in one two; do "$bin/mkfs.pmemfile" -q "alike/$pool" 1M; done
  echo two > second
  expect 0 "one" "$bin/pmemfile" cp itself alike/one:/file
  expect 0 "two" "$bin/pmemfile" cp second alike/two:/file
  expect 0 "between pools that look alike" "$bin/pmemfile" cp alike/one:/file alike/two:/file
  expect 0 "and with directories" "$bin/pmemfile" cp -r alike/one:/ alike/two:/
  expect 0 "out again" "$bin/pmemfile" cp alike/two:/file back-alike
  cmp itself back-alike || failed=1
fi
rm -rf alike own own-link q.before
# Into itself.
expect 1 "a tree into itself" "$bin/pmemfile" cp -r q:/tree q:/tree/inner/again
says 'cannot copy a directory, /tree, into itself, /tree/inner/again'
expect 0 "once" "$bin/pmemfile" ls q:/tree/inner/again/inner
[ "$(grep -c again out)" = 0 ] || { echo "FAILED: copied into the copy"; failed=1; }
# What cannot be read is said, and the rest copied.
mkdir rest
expect 1 "one source that is missing, one that is no pool" "$bin/pmemfile" cp q:/none other:/none q:/itself rest
says '/none: No such file'
says 'other: '
cmp itself rest/itself || { echo "FAILED: cp ended at the first failure"; failed=1; }
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
  mkdir -p partly/closed partly/open
  echo in > partly/open/file
  chmod 700 partly/closed
  mkdir -m 1777 drop
  "$bin/pmemfile" cp -r drop q:/
  cp q theirs
  chmod 666 theirs
  chmod 755 .
  mkdir -m 1777 their-shm
  expect 1 "a directory that cannot be read" env PMEMFILE_SHM_DIR="$work/their-shm" setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$bin/pmemfile" cp -r partly theirs:/drop
  says 'closed: Permission denied'
  expect 0 "the rest" "$bin/pmemfile" ls theirs:/drop/partly/open
  says file
  # Names without what may be known of them: a directory that may be read, but not searched.
  mkdir names
  touch names/file
  chmod 744 names
  "$bin/pmemfile" cp -r names theirs:/
  expect 1 "names alone" env PMEMFILE_SHM_DIR="$work/their-shm" setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$bin/pmemfile" ls -l theirs:/names
  says 'file: Permission denied'
  # Mode and times of what is somebody else's cannot be set.
  echo theirs > partly/open/file
  "$bin/pmemfile" cp -r partly theirs:/drop
  PMEMFILE_POOLS="$work/mnt-theirs:$work/theirs" PMEMFILE_SHM_DIR="$work/their-shm" LD_PRELOAD="$bin/src/preload/libpmemfile.so" \
    sh -c "cd $work/mnt-theirs/drop/partly/open; chown 0 file; chmod 666 file"
  expect 1 "attributes that cannot be set" env PMEMFILE_SHM_DIR="$work/their-shm" setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$bin/pmemfile" cp itself theirs:/drop/partly/open/file
  says 'file: Operation not permitted'
fi

# fsck
expect 0 "a sound pool" "$bin/fsck.pmemfile" p
says clean
# Programs that come and go beside it: it keeps them waiting, or says that the pool is in use, and never takes what they are at for damage.
"$bin/mkfs.pmemfile" -q busy 64M
mkdir many
(cd many && seq -f f%g 3000 | xargs touch)
"$bin/pmemfile" cp -r many busy:/ # so that a check takes a while
touch going
while [ -e going ]; do
  PMEMFILE_POOLS="$PWD/mnt-busy:$PWD/busy" LD_PRELOAD="$bin/src/preload/libpmemfile.so" sh -c \
    "cd $PWD/mnt-busy; for i in 1 2 3 4; do echo text > \$i; mkdir d\$i; mv \$i d\$i; rm -r d\$i; done" > /dev/null 2>&1
done &
checked=0
for _ in $(seq 150); do
  "$bin/fsck.pmemfile" -n busy > out 2>&1
  status=$?
  case $status in
    0) checked=$((checked + 1)) ;;
    8) ;;
    *) echo "FAILED: fsck beside programs: status $status: $(head -3 out)"; failed=1; break ;;
  esac
done
# Who may only read keeps out those who write.
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
  chmod 755 .
  chmod 644 busy
  for _ in $(seq 50); do
    setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/fsck.pmemfile" -n busy > out 2>&1
    status=$?
    [ "$status" = 0 ] || [ "$status" = 8 ] || { echo "FAILED: fsck by a reader: status $status: $(head -3 out)"; failed=1; break; }
  done
fi
rm going
wait
[ "$checked" -gt 0 ] || { echo "FAILED: fsck beside programs never found the pool free"; failed=1; }
rm busy
# What is locked is what is checked, whatever its name leads to meanwhile.
"$bin/mkfs.pmemfile" -q idle 1M
"$bin/mkfs.pmemfile" -q used 1M
echo text > file
"$bin/pmemfile" cp file used:/file
python3 -c '
import fcntl, os, struct, subprocess, sys, threading
os.symlink("idle", "either")
user = os.open("used", os.O_RDWR) # as one who is attached: bytes 0 and 2 shared
for byte in (0, 2):
    fcntl.fcntl(user, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, byte, 1, 0))
going = True
def swap():
    while going:
        for name in ("used", "idle"):
            os.symlink(name, "next")
            os.rename("next", "either")
thread = threading.Thread(target=swap)
thread.start()
wrong = idle = busy = 0
for _ in range(100):
    run = subprocess.run([sys.argv[1], "-n", "either"], capture_output=True, text=True)
    wrong += run.returncode == 0 and "5 inodes" in run.stdout
    idle += run.returncode == 0
    busy += run.returncode == 8
going = False
thread.join()
if wrong or not idle or not busy:
    sys.exit(f"FAILED: fsck checked a pool in use under the lock of another one: {wrong} times, {idle} free, {busy} in use")
' "$bin/fsck.pmemfile" || failed=1
rm -f idle used either
expect 8 "no pool" "$bin/fsck.pmemfile" none
expect 16 "contradicting options" "$bin/fsck.pmemfile" -n -y p
printf '\377' | dd of=p bs=1 seek=50 conv=notrunc status=none
cp p damaged
expect 4 "damage is found" "$bin/fsck.pmemfile" -n p
says F0101
cmp -s p damaged || { echo "FAILED: -n changed the pool"; failed=1; }
expect 1 "and repaired" "$bin/fsck.pmemfile" -y --undo undo p
expect 0 "for good" "$bin/fsck.pmemfile" p
expect 0 "and undone" "$bin/fsck.pmemfile" --put-back undo p
cmp -s p damaged || { echo "FAILED: undo is not exact"; failed=1; }
"$bin/fsck.pmemfile" -y p > /dev/null
cp p broken
inodes=$(od -An -tu8 -j104 -N8 broken)
dd if=/dev/zero of=broken bs=1 seek=$((inodes * 4096 + 128)) count=64 conv=notrunc status=none # the root directory's trie
expect 4 "a lost tree is found" "$bin/fsck.pmemfile" -n broken
says F0408
expect 1 "and gets a name" "$bin/fsck.pmemfile" -y --undo undo2 broken
expect 0 "for good" "$bin/fsck.pmemfile" broken
expect 0 "in lost+found" "$bin/pmemfile" ls broken:/lost+found
says '#'
dd if=/dev/zero of=broken bs=1 seek=2048 count=128 conv=notrunc status=none
dd if=/dev/zero of=broken bs=1 seek=$((4096 + 2048)) count=128 conv=notrunc status=none
expect 4 "both states lost" "$bin/fsck.pmemfile" -n broken
says F0105
expect 1 "are made anew" "$bin/fsck.pmemfile" -y --undo undo3 broken
expect 0 "for good" "$bin/fsck.pmemfile" broken
rm -f broken undo2 undo3

# run
if [ -e "$bin/src/preload/libpmemfile.so" ] || [ -e "$bin/libpmemfile.so" ]; then
  expect 0 "run" "$bin/pmemfile" run -p p -m "$work/mnt" -- cat "$work/mnt/tree/inner/numbers"
  cmp -s out tree/inner/numbers || { echo "FAILED: contents differ under preload"; failed=1; }
  expect 3 "the command's status" "$bin/pmemfile" run -p p -m "$work/mnt" bash -c 'exit 3'
  expect 0 "a pool is made" "$bin/pmemfile" run -p new -s 1M -m "$work/mnt" -- true
  says 'made a pool of 1 MiB'
  expect 127 "not found" "$bin/pmemfile" run -p p -m "$work/mnt" -- no-such-program
  expect 126 "static" "$bin/pmemfile" run -p p -m "$work/mnt" -- /sbin/ldconfig
  says 'statically linked'
  expect 125 "no pool" "$bin/pmemfile" run -p other -m "$work/mnt" -- true
  "$bin/pmemfile" run -p p -m "$work/mnt" -- tail -f "$work/mnt/tree/inner/numbers" > /dev/null &
  sleeper=$!
  sleep 0.5
  expect 8 "fsck of a pool in use" "$bin/fsck.pmemfile" p
  says 'in use'
  expect 0 "who is at work" "$bin/pmemfile" info --live p
  says "pid $sleeper"
  kill "$sleeper"
  wait "$sleeper" 2> /dev/null
fi
expect 2 "wrong usage" "$bin/pmemfile" run
expect 2 "unknown command" "$bin/pmemfile" nonsense
expect 0 "help environment" "$bin/pmemfile" help environment
says PMEMFILE_POOLS
exit $failed
