#!/bin/sh
# Searches slots.pml, replay.pml and ends.pml whole for some sizes, and finds each mistake that can be planted in them.
#   check.sh FOLDER_OF_MODELS WORK_FOLDER [long]
set -eu
models=$1
long=${3:-}
mkdir -p "$2"
cd "$2"

# search EXPECTED FLAG...: 0 errors or 1.
search() {
  expected=$1
  shift
  spin -a "$@" "$models/$model.pml" > spin.log 2>&1 || { cat spin.log; exit 1; }
  ${CC:-cc} -O1 -w -DSAFETY -DCOLLAPSE -DMEMLIM=3000 -o pan pan.c
  ./pan -m100000 -n > pan.log 2>&1 || true
  found=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log)
  states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)
  echo "$model $*: errors ${found:-?}, states ${states:-?}"
  if [ "$found" != "$expected" ] || { [ "$expected" = 0 ] && grep -q "Search not completed" pan.log; }; then
    cat pan.log
    exit 1
  fi
}

model=slots
search 0 -DWRITERS=2 -DSLOTS=2 -DDEATHS=2
search 0 -DWRITERS=3 -DSLOTS=1 -DDEATHS=1
search 0 -DWRITERS=1 -DSLOTS=1 -DDEATHS=1 -DREADER=0
search 0 -DWRITERS=1 -DSLOTS=1 -DDEATHS=1 -DREADER=1
[ -z "$long" ] || search 0 -DWRITERS=2 -DSLOTS=1 -DDEATHS=1 -DREADER=0

search 1 -DWRITERS=3 -DSLOTS=2 -DDEATHS=1 -DEARLY_RELEASE
search 1 -DWRITERS=2 -DSLOTS=2 -DDEATHS=2 -DNO_VOID
search 1 -DWRITERS=2 -DSLOTS=2 -DDEATHS=2 -DNO_TAKEOVER
search 1 -DWRITERS=2 -DSLOTS=1 -DDEATHS=0 -DREADER=0 -DPHASE_LAST
search 1 -DWRITERS=2 -DSLOTS=1 -DDEATHS=0 -DREADER=0 -DSEQUENCE_LATE

model=replay
search 0 -DOPS=2 -DCRASHES=1
search 0 -DOPS=1 -DCRASHES=2
[ -z "$long" ] || search 0 -DOPS=3 -DCRASHES=1
search 1 -DOPS=3 -DCRASHES=1 -DONE_AREA
search 1 -DOPS=3 -DCRASHES=1 -DNO_REFLUSH
search 1 -DOPS=1 -DCRASHES=2 -DEARLY_EPOCH

model=ends
search 0 -DUSERS=1 -DDEATHS=1
[ -z "$long" ] || search 0 -DUSERS=1 -DDEATHS=0 -DSTOPS=1
[ -z "$long" ] || search 0 -DUSERS=1 -DDEATHS=2 -DUNDERTAKER
[ -z "$long" ] || search 0 -DUSERS=2 -DDEATHS=0 -DSTOPS=1
[ -z "$long" ] || search 0 -DUSERS=2 -DDEATHS=1
search 1 -DUSERS=1 -DDEATHS=0 -DNO_DENIAL
search 1 -DUSERS=1 -DDEATHS=0 -DONE_LOOK_OF_REMOVER
[ -z "$long" ] || search 1 -DUSERS=1 -DDEATHS=0 -DONE_LOOK_OF_CLOSER
[ -z "$long" ] || search 1 -DUSERS=1 -DDEATHS=0 -DONE_LOOK_OF_OPENER
search 1 -DUSERS=1 -DDEATHS=1 -DUNDERTAKER -DNO_GENERATION
[ -z "$long" ] || search 1 -DUSERS=1 -DDEATHS=0 -DUSE_FIRST
[ -z "$long" ] || search 1 -DUSERS=1 -DDEATHS=1 -DNOTE_LATE
