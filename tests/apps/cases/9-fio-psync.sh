# needs: fio
# timeout: 90
# fio writes, rewrites and verifies through read and write: psync, pvsync2, sync, at odd block sizes.
run() { fio --output=report --minimal --thread=0 --size=8m --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=7 --fallocate=none --directory=. "$@" 2>&1; echo "$1 $?"; rm -f ./*.0 report ./*.state; }
run --name=seq --ioengine=psync --rw=write --bs=4k; run --name=rand --ioengine=psync --rw=randwrite --bs=4k --fsync=16; run --name=odd --ioengine=psync --rw=randwrite --bsrange=512-8192; run --name=vec --ioengine=pvsync2 --rw=randrw --bs=4k; run --name=vsync --ioengine=vsync --rw=write --bs=16k; run --name=sync --ioengine=sync --rw=rw --bs=1k --end_fsync=1
run --name=jobs --ioengine=psync --rw=randwrite --bs=4k --numjobs=4 --group_reporting; run --name=trunc --ioengine=psync --rw=write --bs=64k --overwrite=1 --fdatasync=4; run --name=verify --ioengine=pvsync --rw=randwrite --bs=4k --verify=sha1 --verify_backlog=32; run --name=direct --ioengine=psync --rw=readwrite --bs=4k --verify=meta; ls
