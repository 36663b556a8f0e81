#!/bin/sh
# run_beside_kernel.sh PROGRAM [ARGUMENT...]: runs PROGRAM POOL DIRECTORY [ARGUMENT...] with a pool to be and an empty
# directory on the same tmpfs, and removes both afterwards. A fixed seed first, then one of the day.
set -eu
program=$1
shift
place=$(mktemp -d "${TMPDIR_POSIX:-/dev/shm}/pmemfile-posix-XXXXXX")
trap 'rm -rf "$place"' EXIT
run() {
  rm -rf "$place/pool" "$place/kernel"
  mkdir "$place/kernel"
  "$program" "$place/pool" "$place/kernel" "$@"
}
if [ $# -gt 0 ]; then
  run "$@"
else
  run 1 60000
  run "$(date +%j)" 60000
fi
