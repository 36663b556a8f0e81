#!/bin/bash
# same_output.sh HOOK COMMAND...: COMMAND gives the same output and status with
# HOOK preloaded.
hook=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir plain hooked
(cd plain && "$@" >../plain.out 2>&1 </dev/null); plain=$?
(cd hooked && INTERCEPT_ALL_OBJS=1 LD_PRELOAD=$hook "$@" >../hooked.out 2>&1 </dev/null); hooked=$?
if [ $plain != $hooked ]; then echo "status $plain, under the hook $hooked"; tail -5 hooked.out; exit 1; fi
diff plain.out hooked.out && diff -r plain hooked && echo "same output ($(wc -l <plain.out) lines), status $plain"
