#!/usr/bin/env bash
# segment.sh BUILD_DIR: the shared segment (V) missing, removed, stale, foreign, squatted, of another version, in another container;
# copied pools; pools in the page cache after a crash; readers; rights that are dropped. Each ends in service or in one clear line.
set -u
bin=$1
work=$(mktemp -d /dev/shm/pmemfile-segment-XXXXXX)
disk=$(mktemp -d /var/tmp/pmemfile-segment-XXXXXX)
mnt=/mnt/pfiles-segment
trap 'rm -rf "$work" "$disk"' EXIT
cd "$work" || exit 1
chmod 755 . "$disk"
export PMEMFILE_SHM_DIR=$work/shm LD_LIBRARY_PATH=
mkdir -m 1777 shm
failed=0
fail() {
  printf 'FAILED: %s\n' "$*"
  failed=1
}
# on POOL COMMAND...: under the library, as ./app would be
on() {
  local pool=$1
  shift
  PMEMFILE_POOLS="$mnt:$pool" LD_PRELOAD="$bin/src/preload/libpmemfile.so" timeout 30 "$@"
}
segment_of() { printf '%s/pmemfile-%x-%x' "$PMEMFILE_SHM_DIR" "$(stat -c %d "$1")" "$(stat -c %i "$1")"; }
# serves WHAT OUTPUT COMMAND...
serves() {
  local what=$1 wanted=$2 got
  shift 2
  got=$("$@" 2>&1)
  [ "$got" = "$wanted" ] || fail "$what: expected '$wanted', got '$got'"
}
# refuses WHAT PATTERN COMMAND...: status 78, and one line that matches
refuses() {
  local what=$1 pattern=$2 got status
  shift 2
  got=$("$@" 2>&1 > /dev/null)
  status=$?
  [ $status = 78 ] && [ "$(wc -l <<< "$got")" = 1 ] && grep -q -e "$pattern" <<< "$got" || fail "$what: status $status, '$got', not '$pattern'"
}
# busy POOL: somebody uses it until `idle`
busy() {
  # One process: killing it is the end of it.
  PMEMFILE_POOLS="$mnt:$1" LD_PRELOAD="$bin/src/preload/libpmemfile.so" tail -f "$mnt/file" > /dev/null &
  user=$!
  for _ in $(seq 200); do
    "$bin/pmemfile" info "$1" | grep -q 'not in use' || return
    sleep 0.05
  done
}
idle() {
  kill "$user"
  wait "$user" 2> /dev/null
}
# patch FILE OFFSET BYTES(hex)
patch() { printf "$(sed 's/../\\x&/g' <<< "$3")" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

"$bin/mkfs.pmemfile" -q p 4M
chmod 644 p
v=$(segment_of "$work/p")
on p bash -c "echo kept > $mnt/file; chmod 755 $mnt"

# ---- Missing, stale, another version, damaged: nobody is there, so a new one is made. ----
rm "$v"
serves "missing" kept on p cat "$mnt/file"
cp "$v" old
rm "$v"
on p ls "$mnt" > /dev/null
cp old "$v"
serves "stale" kept on p cat "$mnt/file"
patch "$v" 8 63000000
serves "of another version, nobody there" kept on p cat "$mnt/file"
patch "$v" 64 ffffffffffff
serves "damaged" kept on p cat "$mnt/file"
truncate -s 100 "$v"
serves "cut short" kept on p cat "$mnt/file"

# ---- A backup is put in place of the contents: what V knows of the old ones serves nobody. ----
"$bin/mkfs.pmemfile" -q r 2M
on r bash -c "echo small > $mnt/small"
cp r backup
on r bash -c "cat /dev/zero > $mnt/big" 2> /dev/null
cat backup > r
serves "restored in place" "100000 small" on r bash -c "head -c 100000 /dev/zero > $mnt/again && stat -c %s $mnt/again | tr '\n' ' ' && cat $mnt/small"
"$bin/fsck.pmemfile" -n r > /dev/null || fail "restored in place: damaged"

# ---- Times that are only in V: of a directory in which a name was made, of a file that was read. ----
# times_of WHAT POOL COMMAND...: `COMMAND` makes a name in d, and the time of that is what the next one finds.
times_of() {
  local what=$1 pool=$2 got
  shift 2
  on "$pool" bash -c "mkdir -p $mnt/d && touch -d '2001-01-01' $mnt/d"
  { on "$pool" bash -c ": > $mnt/d/$RANDOM$RANDOM; $*"; } > /dev/null 2>&1
  got=$(on "$pool" stat -c %y "$mnt/d")
  [[ $got != 2001* && $got == 20* ]] || fail "$what: the directory's time is '$got'"
}
cp --sparse=never p "$disk/times"
times_of "on a disk" "$disk/times" true
times_of "on a disk, killed" "$disk/times" 'kill -9 $$'
times_of "killed" p 'kill -9 $$'
if [ -x /usr/bin/python3 ]; then
  # The program ends while another thread of it sleeps: it cannot leave, and the next one finds no V.
  on p bash -c "mkdir -p $mnt/d && touch -d '2001-01-01' $mnt/d"
  on p /usr/bin/python3 -c "
import os, threading, time
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
open('$mnt/d/by_thread', 'w').close()
os._exit(0)"
  rm "$v"
  [[ $(on p stat -c %y "$mnt/d") != 2001* ]] || fail "ended beside a thread: the directory has its old time"
fi
on p bash -c "mkdir -p $mnt/d && touch -d '2001-01-01' $mnt/d"
on p bash -c ": > $mnt/d/last"
rm "$v"
[[ $(on p stat -c %y "$mnt/d") != 2001* ]] || fail "without the segment of who changed it: the directory has its old time"
on p rm -r "$mnt/d"

# ---- The same while somebody is there. ----
busy p
version=$(od -An -tx1 -j8 -N4 "$v" | tr -d ' ')
patch "$v" 8 63000000
refuses "of another version, in use" 'another version of pmemfile' on p ls "$mnt"
patch "$v" 8 "$version"
serves "and of this one again" kept on p cat "$mnt/file"
mv "$v" away
refuses "removed while in use" 'in use under another shared segment' on p ls "$mnt"
cp away "$v"
refuses "a copy of it" 'in use under another shared segment' on p ls "$mnt"
mv -f away "$v"
serves "the right one again" kept on p cat "$mnt/file"
mkdir other
PMEMFILE_SHM_DIR=$work/other refuses "another directory" 'in use under another shared segment' on p ls "$mnt"
if unshare -m true 2> /dev/null; then # not as another user, nor in a chroot, whose root is no mount point
  got=$(unshare -m sh -c "mount -t tmpfs none /tmp && PMEMFILE_SHM_DIR=/tmp PMEMFILE_POOLS=$mnt:$work/p LD_PRELOAD=$bin/src/preload/libpmemfile.so exec ls $mnt" 2>&1)
  grep -q 'in use under another shared segment' <<< "$got" || fail "another container: '$got'"
fi
idle
serves "afterwards" kept on p cat "$mnt/file"

# ---- Squatted. ----
for kind in symlink directory fifo; do
  rm -rf "$v"
  case $kind in
    symlink) ln -s /etc/passwd "$v" ;;
    directory) mkdir "$v" ;;
    fifo) mkfifo "$v" ;;
  esac
  refuses "squatted by a $kind" 'something foreign has the name of its shared segment' on p ls "$mnt"
done
rm -rf "$v"
if [ "$(id -u)" = 0 ]; then
  cp p mine
  chown 65534:65534 mine
  chmod 600 mine
  squatted=$(segment_of "$work/mine")
  install -m 666 -o 12345 /dev/null "$squatted"
  as_user() { PMEMFILE_POOLS="$mnt:$work/mine" setpriv --reuid=65534 --regid=65534 --clear-groups env LD_PRELOAD="$bin/src/preload/libpmemfile.so" "$@"; }
  refuses "squatted by another user" 'something foreign has the name of its shared segment' as_user ls "$mnt"
  rm "$squatted"
  serves "the owner" kept as_user cat "$mnt/file"
fi
PMEMFILE_SHM_DIR=$work/nowhere refuses "no directory for it" 'no directory for its shared segment' on p ls "$mnt"

# ---- Copied pools: each has its own. ----
busy p
cp p copy
serves "a copy of a pool in use" kept on copy cat "$mnt/file"
on copy bash -c "echo changed > $mnt/file"
cp "$v" "$(segment_of "$work/copy")"
serves "the copy, under a copy of the segment" changed on copy cat "$mnt/file"
serves "the original" kept on p cat "$mnt/file"
idle
cp --sparse=never p "$disk/moved"
serves "a copy on another file system" kept on "$disk/moved" cat "$mnt/file"
"$bin/fsck.pmemfile" -n copy > /dev/null || fail "the copy is not sound"

# ---- Who may only read. ----
if [ "$(id -u)" = 0 ]; then
  reader() { PMEMFILE_POOLS="$mnt:$work/p" setpriv --reuid=65534 --regid=65534 --clear-groups env LD_PRELOAD="$bin/src/preload/libpmemfile.so" timeout 20 "$@"; }
  serves "a reader" kept reader cat "$mnt/file"
  rm "$v"
  serves "a reader alone, without a segment" kept reader cat "$mnt/file"
  serves "its children, and what they execute" "kept kept" reader bash -c "exec 3< $mnt/file; cat <&3 | tr '\n' ' '; exec cat $mnt/file"
  [ -e "$v" ] && fail "a reader made a segment"
  # What a killed writer left in the records is read, and not written.
  on p bash -c "for i in 1 2 3 4 5 6 7 8; do echo \$i > $mnt/\$i; done; rm $mnt/[2-8]; kill -9 \$\$"
  rm "$v"
  before=$(md5sum < p)
  serves "a reader after a death" "1 file" reader bash -c "ls $mnt | tr '\n' ' ' | sed 's/ $//'"
  [ "$before" = "$(md5sum < p)" ] || fail "a reader changed the pool"
  # Two at once; a writer begins when they are gone, and then nobody reads alone.
  reader tail -f "$mnt/file" > /dev/null &
  first=$!
  sleep 0.3
  serves "a second one beside it" kept reader cat "$mnt/file"
  (sleep 1; pkill -P $first; kill $first) 2> /dev/null &
  serves "a writer when they are gone" "" on p rm "$mnt/1"
  wait $first 2> /dev/null
  serves "and after somebody made one" kept reader cat "$mnt/file"
  chmod 600 p
  refuses "who may not read" 'permission' reader ls "$mnt"
  chmod 644 p
  # A file system that is mounted for reading only.
  mkdir media
  mount --bind . media && mount -o remount,ro,bind media || fail "no bind mount"
  serves "read-only media" kept on "$work/media/p" cat "$mnt/file"
  rm "$v"
  serves "read-only media that nobody has used since the start" kept on "$work/media/p" cat "$mnt/file"
  got=$(on "$work/media/p" touch "$mnt/file" 2>&1)
  grep -q 'Read-only file system' <<< "$got" || fail "writing on read-only media: '$got'"
  umount media
  # Rights that are dropped later: the next image goes on with what it has.
  chmod 600 p
  serves "rights dropped before exec" kept on p setpriv --reuid=65534 --regid=65534 --clear-groups cat "$mnt/file"
  serves "and in children" "kept" on p setpriv --reuid=65534 --regid=65534 --clear-groups bash -c "cat $mnt/file | cat; (exit 0)"
  chmod 644 p
fi

# ---- A pool in the page cache whose machine crashed. ----
cat > crash.py <<'P'
# Makes a pool look as after a crash of the operating system: its state names another boot.
import struct, sys
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc
layout = dict(kv.split("=") for kv in sys.argv[2:])
boot_at, crc_at = int(layout["boot"]), int(layout["crc"])
with open(sys.argv[1], "r+b") as f:
    for copy in (0, 1):
        f.seek(copy * 4096 + 2048)
        state = bytearray(f.read(128))
        if not any(state):
            continue
        state[boot_at:boot_at + 8] = struct.pack("<Q", 0x1234567)
        state[crc_at:crc_at + 4] = struct.pack("<I", crc32c(bytes(state[:crc_at]) + bytes(4)))
        f.seek(copy * 4096 + 2048)
        f.write(state)
P
pool=$disk/p
"$bin/mkfs.pmemfile" -q "$pool" 4M
{ on "$pool" bash -c "echo kept > $mnt/file; kill -9 \$\$"; } 2> /dev/null
serves "killed, but the machine went on" kept on "$pool" cat "$mnt/file"
{ on "$pool" bash -c "echo more > $mnt/more; kill -9 \$\$"; } 2> /dev/null
/usr/bin/python3 crash.py "$pool" boot=40 crc=124
rm -f "$(segment_of "$pool")"
refuses "the machine crashed" 'operating system crashed.*fsck.pmemfile -p' on "$pool" ls "$mnt"
"$bin/fsck.pmemfile" -n "$pool" > seen || fail "fsck -n: $(cat seen)"
refuses "only looked at" 'operating system crashed' on "$pool" ls "$mnt"
(cd "$disk" && "$bin/fsck.pmemfile" -p "$pool") > seen
[ $? -le 1 ] || fail "fsck -p: $(cat seen)"
serves "checked, and used again" "kept more" on "$pool" bash -c "echo \$(cat $mnt/file $mnt/more)"
exit $failed
