# guest.sh VERB MEDIUM [...]: one boot of the guest. Fd 3 leads to the host: OK and FAIL lines, reports of the workload.
#   make MEDIUM            makes the namespace, the file system if any, and the pool
#   programs MEDIUM        real programs in the pool and on tmpfs, media facts, the checker
#   work MEDIUM ROUND SEED WORKERS CHECK_ROUND COUNTS   checks the round before, then works until the power fails
# MEDIUM: ext4, xfs (a pool in a file of a DAX file system), devdax, devdax4k (the pool is the device).
set -u
verb=$1 medium=$2
shift 2
mnt=/mnt/pfiles
ok() { echo "OK $*" >&3; }
bad() { echo "FAIL $*" >&3; }
# want WHAT COMMAND...: succeeds
want() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then ok "$what"; else bad "$what: exit $?: $(tail -n 5 <<< "$output" | tr '\n' '|')"; fi
}
in_pool() { timeout 1200 pmemfile run -p "$pool" -m "$mnt" -- "$@"; }
device() { ls /dev/pmem0 /dev/dax0.0 2> /dev/null | head -n 1; }
case $medium in
  ext4 | xfs) pool=/mnt/dax/pool ;;
  *) pool=/dev/dax0.0 ;;
esac

make_namespace() {
  case $medium in
    ext4 | xfs) want "fsdax namespace" ndctl create-namespace -f -e namespace0.0 -m fsdax --align=2M ;;
    devdax) want "devdax namespace" ndctl create-namespace -f -e namespace0.0 -m devdax --align=2M ;;
    devdax4k) want "devdax namespace of 4 KiB pages" ndctl create-namespace -f -e namespace0.0 -m devdax --align=4K ;;
  esac
}

make_file_system() {
  case $medium in
    ext4) want "mkfs.ext4" mkfs.ext4 -q -F -b 4096 /dev/pmem0 ;;
    xfs) want "mkfs.xfs" mkfs.xfs -q -f -m reflink=0 /dev/pmem0 ;;
  esac
}

mount_it() {
  mkdir -p /mnt/dax
  case $medium in
    ext4 | xfs) want "mount -o dax" mount -t "$medium" -o dax /dev/pmem0 /mnt/dax ;;
  esac
}

fsck_clean() { want "fsck.pmemfile: $1" fsck.pmemfile -n "$pool"; }

facts() {
  local level
  level=$(pmemfile info "$pool" 2>&1 | grep persistence)
  case $level in *"power-fail safe"*) ok "level:$level" ;; *) bad "level: '$level'" ;; esac
  # A process maps the pool when it first uses it. The kernel's word for MAP_SYNC is sf; a device needs none.
  in_pool cat "$mnt/kept" /proc/self/smaps > /tmp/smaps
  case $medium in
    ext4 | xfs)
      want "the pool is mapped with MAP_SYNC" awk -v pool="$pool" \
        '$6 == pool { ours = 1 } /^VmFlags/ { if (ours && / sf/) found = 1; ours = 0 } END { exit !found }' /tmp/smaps ;;
    *) want "the device is mapped" grep -q dax0.0 /tmp/smaps ;;
  esac
}

# Where the files below a directory are, what they hold, and what programs say of them: the same on both sides.
programs() {
  local dir=$1 side=$2
  cd /
  {
    "$side" bash /programs.sh "$dir"
    echo "exit $?"
  } 2>&1
}
here() { timeout 1200 "$@"; }

compare_programs() {
  mkdir -p /tmp/tmpfs
  programs /tmp/tmpfs here > /tmp/seen.tmpfs
  programs "$mnt" in_pool > /tmp/seen.pool
  if sed "s|$mnt|DIR|g" /tmp/seen.pool | diff <(sed 's|/tmp/tmpfs|DIR|g' /tmp/seen.tmpfs) - > /tmp/difference 2>&1; then
    ok "programs print the same as on tmpfs ($(wc -l < /tmp/seen.pool) lines)"
  else
    bad "programs: $(head -n 20 /tmp/difference | tr '\n' '|')"
  fi
}

# A reader that may only read the device or file. Alone it can read a file by itself; a device it cannot begin to use
# (docs/limits.md), so there it is refused by name, and reads beside somebody who may write.
read_only() {
  setpriv --reuid=65534 --regid=65534 --clear-groups timeout 600 pmemfile run -p "$pool" -m "$mnt" -- cat "$mnt/kept"
}
reader() {
  case $medium in
    devdax*)
      read_only > /tmp/refused 2>&1 && bad "a reader begins to use a device"
      want "a reader alone is told why not" grep -q 'nobody uses it' /tmp/refused
      rm -f /tmp/holds
      in_pool bash -c "exec 3< $mnt/kept; echo \$\$ > /tmp/holds; exec sleep 600" > /dev/null 2>&1 &
      for _ in $(seq 600); do [ -s /tmp/holds ] && break; sleep 0.1; done
      want "a reader without rights to write, beside a writer" read_only
      kill "$(cat /tmp/holds)"
      wait ;;
    *) want "a reader without rights to write" read_only ;;
  esac
}

# Liveness is the kernel's word and no clock's: while the time jumps, processes of which one is killed go on.
clock_jumps() {
  in_pool bash -c "mkdir $mnt/clock; for i in 1 2 3; do (while :; do echo \$i >> $mnt/clock/log; done) & done; sleep 1; kill -9 %1; sleep 1; kill %2 %3" \
    > /dev/null 2>&1 &
  local now
  now=$(date +%s)
  for jump in 1000000 2000000000 0 1700000000; do
    date -s "@$jump" > /dev/null
    sleep 0.5
  done
  wait
  date -s "@$now" > /dev/null
  want "clocks that jump" in_pool bash -c "[ -s $mnt/clock/log ] && touch $mnt/clock/after && rm -r $mnt/clock"
}

case $verb in
  make)
    make_namespace
    make_file_system
    mount_it
    case $medium in
      ext4 | xfs) want "mkfs.pmemfile in a file" mkfs.pmemfile "$pool" "$1" ;;
      *)
        # A pool that is no multiple of the device's alignment, then the whole device.
        want "mkfs.pmemfile of a part of the device" mkfs.pmemfile /dev/dax0.0 5000K
        fsck_clean "a part of the device"
        want "a file in it" in_pool bash -c "echo part > $mnt/part; cat $mnt/part"
        mkfs.pmemfile /dev/dax0.0 > /tmp/refused 2>&1 && bad "mkfs overwrites a pool"
        want "and says why not" grep -q 'already holds a pool' /tmp/refused
        want "mkfs.pmemfile of the device" mkfs.pmemfile -f /dev/dax0.0 ;;
    esac
    want "a file for later" in_pool bash -c "chmod 755 $mnt; echo kept > $mnt/kept"
    fsck_clean "new"
    facts
    ;;
  programs)
    mount_it
    compare_programs
    chmod 644 "$pool"
    reader
    chmod 600 "$pool"
    clock_jumps
    fsck_clean "after programs"
    in_pool rm -rf "$mnt/programs"
    fsck_clean "emptied"
    facts
    pmemfile info "$pool" > /tmp/info
    ok "space:$(grep space /tmp/info)"
    ;;
  work)
    round=$1 seed=$2 workers=$3 before=$4 counts=$5
    mount_it
    if [ "$before" != none ]; then
      fsck_clean "after the power failed"
      in_pool python3 /workload.py check "$mnt/r$before" "$seed-$before" "$counts"
      want "what was there before" in_pool grep -q kept "$mnt/kept"
      want "the last round goes" in_pool rm -rf "$mnt/r$before"
      fsck_clean "recovered and emptied"
    fi
    if [ "$workers" != 0 ]; then
      in_pool mkdir "$mnt/r$round"
      echo GO >&3
      in_pool python3 /workload.py run "$mnt/r$round" "$seed-$round" "$workers"
      bad "the workload ended"
    else
      pmemfile info "$pool" > /tmp/info
      ok "space:$(grep space /tmp/info)"
    fi
    ;;
esac
