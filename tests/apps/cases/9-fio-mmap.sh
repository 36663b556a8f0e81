# needs: fio
# timeout: 90
# fio through mappings, alone and mixed with several processes.
run() { fio --output=report --minimal --thread=0 --size=8m --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=7 --fallocate=none --directory=. "$@" 2>&1; echo "$1 $?"; rm -f ./*.0 report ./*.state; }
run --name=seq --ioengine=mmap --rw=write --bs=4k; run --name=rand --ioengine=mmap --rw=randwrite --bs=4k; run --name=rw --ioengine=mmap --rw=randrw --bs=2k; run --name=msync --ioengine=mmap --rw=randwrite --bs=4k --fsync=32; run --name=jobs --ioengine=mmap --rw=randwrite --bs=4k --numjobs=3 --group_reporting; ls
