# needs: fio
# timeout: 90
# Many fio processes on one file, each in its own region, then whole files written by one engine and verified by another.
run() { fio --output=report --minimal --thread=0 --size=8m --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=7 --fallocate=none --directory=. "$@" 2>&1; echo "$1 $?"; rm -f ./*.0 report ./*.state; }
part() { fio --output=report.$1 --name=w$1 --filename=shared --ioengine=$2 --rw=randwrite --bs=4k --offset=$1m --size=2m --verify=crc32c --randseed=7 --fallocate=none --verify_fatal=1 --thread "${@:3}"; echo "$2 at $1m $?" >> status; }
for e in psync pvsync2; do
  truncate -s 8m shared
  for o in 0 2 4 6; do part $o $e --do_verify=0 & done; wait
  for o in 0 2 4 6; do part $o psync --verify_only & done; wait
  sort status; stat -c %s shared; rm -f shared status report.* ./*.state
done
# The mmap engine of fio takes no offset: whole files, written one way and verified the other.
for e in "psync mmap" "mmap psync"; do
  part 0 ${e% *} --do_verify=0; part 0 ${e#* } --verify_only; cat status; rm -f shared status report.* ./*.state
done
