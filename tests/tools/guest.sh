#!/usr/bin/env bash
# guest.sh BUILD_DIR: where a pool's users find themselves: at odd mount points, without rights, in a sandbox, beside a
# pool or a shared segment that somebody takes away.
set -u
bin=$1
work=$(mktemp -d /dev/shm/pmemfile-guest-XXXXXX)
export PMEMFILE_SHM_DIR=$work
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
chmod 755 .
failed=0

# expect OUTPUT WHAT COMMAND...: both streams together
expect() {
  local wanted=$1 what=$2 got
  shift 2
  got=$("$@" 2>&1)
  [ "$got" = "$wanted" ] && return
  printf 'FAILED: %s: expected\n%s\nbut got\n%s\n' "$what" "$wanted" "$got"
  failed=1
}
# wants PATTERN WHAT COMMAND...: one line of the output matches
wants() {
  local pattern=$1 what=$2 got
  shift 2
  got=$("$@" 2>&1)
  grep -q -e "$pattern" <<< "$got" && return
  printf 'FAILED: %s: no "%s" in\n%s\n' "$what" "$pattern" "$got"
  failed=1
}
run() { timeout 20 "$bin/pmemfile" run -p "$work/p" -m "$work/mnt" -- "$@"; }
"$bin/mkfs.pmemfile" -q p 4M

# A mount point over a directory with files in it, and one that is reached through a symlink.
mkdir mnt
echo kernel > mnt/below
expect "" "what lies below is hidden" run ls "$work/mnt"
run bash -c "rm -f $work/mnt/below; echo pool > $work/mnt/above"
expect "below" "and untouched" ls mnt
mkdir real
ln -s real link
mkdir real/mnt
through() { timeout 20 "$bin/pmemfile" run -p "$work/p" -m "$work/link/mnt" -- "$@"; }
expect "above
above
above
$work/real/mnt" "both names of the mount point lead to the pool" through bash -c \
  "ls $work/link/mnt; ls $work/real/mnt; cd $work/link; ls mnt; cd mnt; touch new; rm new; pwd -P"
expect "" "nothing went to the hidden directory" ls -A real/mnt

# Only for reading: descriptors and the working directory go through exec.
if [ "$(id -u)" = 0 ]; then
  chmod 444 p
  reader() { setpriv --reuid=65534 --regid=65534 --clear-groups timeout 20 "$bin/pmemfile" run -p "$work/p" -m "$work/mnt" -- "$@"; }
  run bash -c "printf 'one\ntwo\n' > $work/mnt/lines; chmod 755 $work/mnt"
  expect "above
lines
one
two
one
end" "a reader lists, reads, and hands on its descriptors and directory" reader bash -c \
    "ls $work/mnt; exec 5< $work/mnt/lines; read -u 5 line; echo \$line; cat <&5; cd $work/mnt; head -n 1 lines; exec echo end"
  wants 'Read-only file system' "and writes nothing" reader touch "$work/mnt/above"
  chmod 600 p
  wants 'Permission denied' "who may not read the pool is told so" reader true
fi

# A sandbox that refuses what ordinary programs do not call (mincore: ENOSYS), around the start of a program.
cat > sandbox.py <<'P'
import ctypes, os, struct, sys
def step(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)
code = step(0x20, 0, 0, 0) + step(0x15, 0, 1, 27) + step(0x06, 0, 0, 0x00050026) + step(0x06, 0, 0, 0x7FFF0000)
text = ctypes.create_string_buffer(code, len(code))
program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(text))
libc = ctypes.CDLL(None)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
    sys.exit("no seccomp here")
os.execvp(sys.argv[1], sys.argv[1:])
P
expect "pool" "programs start in a sandbox" run python3 sandbox.py cat "$work/mnt/above"

# The shared segment is removed while in use: those at work go on, new ones are refused; afterwards all is there.
run bash -c "echo a > $work/mnt/a; sleep 2; echo b >> $work/mnt/a; bash -c 'cat $work/mnt/a'" > seen &
sleep 0.7
rm -f pmemfile-*-*
wants 'another shared segment' "nobody makes a second segment" run cat "$work/mnt/a"
wait
expect "a
b" "who had it goes on" cat seen
expect "a
b" "and nothing is lost" run cat "$work/mnt/a"

# A pool on a disk: a child that ends is not the last one, although it shares its parent's open file with it.
disk=$(mktemp -d /var/tmp/pmemfile-guest-XXXXXX)
trap 'rm -rf "$work" "$disk"' EXIT
"$bin/mkfs.pmemfile" -q "$disk/p" 4M
expect "1
2
a
clean" "several programs, one after the other, on a disk" bash -c "
  timeout 20 $bin/pmemfile run -p $disk/p -m $work/mnt -- bash -c '
    cd $work/mnt; echo 1 > a; cat a; sync a; echo 2 > a; cat a; (ls)'
  $bin/fsck.pmemfile -n $disk/p | grep -o 'clean\$'"

# A sparse pool on a full disk: the medium fails, not the program's memory.
mkdir full
if mount -t tmpfs -o size=2M none full 2> /dev/null; then
  "$bin/mkfs.pmemfile" -q --sparse full/p 16M
  wants 'Input/output error' "no room for a block is EIO" timeout 20 "$bin/pmemfile" run -p "$work/full/p" -m "$work/mnt" -- \
    dd if=/dev/zero of="$work/mnt/file" bs=64k count=100
  wants 'clean$' "and the pool is sound" "$bin/fsck.pmemfile" -n full/p
  umount full
fi

# A mount point is busy: with any other answer mv would copy the pool out and empty it.
wants 'busy' "the mount point cannot be moved" run mv "$work/mnt" "$work/mnt2"
expect "a
b" "and everything is still there" run cat "$work/mnt/a"

# The pool itself is removed while in use.
run bash -c "read -r line < $work/mnt/a; sleep 1; echo c >> $work/mnt/a; bash -c 'cat $work/mnt/a'" > seen &
sleep 0.5
mv p gone
wait
expect "a
b
c" "a pool without a name is as good to those at work" cat seen
mv gone p
wants 'clean$' "and sound" "$bin/fsck.pmemfile" -n p
exit $failed
