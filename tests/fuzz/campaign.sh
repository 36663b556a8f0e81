#!/usr/bin/env bash
# The long form: each libFuzzer target with so many executions, one after the other (docs/fuzzing.md).
#
#   tests/fuzz/campaign.sh BUILD [RUNS [CORPUS [TARGET...]]]
#
# The corpus is kept and grows; an input that fails is in CORPUS/found. One line for each target at the end, from its own log.
set -uo pipefail
build=$(cd "$1" && pwd) runs=${2:-1000000} corpus=${3:-$1/corpus}
shift $(($# < 3 ? $# : 3))
[ $# -ne 0 ] || set -- attach operations fsck_check fsck_repair
mkdir -p "$corpus/found" && corpus=$(cd "$corpus" && pwd)
status=0
TIMEFORMAT='%U %S'
for target; do
  mkdir -p "$corpus/$target"
  log=$corpus/$target.log
  { time "$build/tests/fuzz/fuzz_$target" -len_control=0 -max_len=1024 -timeout=20 -detect_leaks=0 -reload=0 -verbosity=1 \
      -print_final_stats=1 -artifact_prefix="$corpus/found/$target-" -runs="$runs" "$corpus/$target" > "$log" 2>&1 || status=1; } 2> "$log.time"
  grep -q DONE "$log" || tail -n 40 "$log"
  awk -v target="$target" -v cpu="$(awk '{print $1 + $2}' "$log.time")" '
    /number_of_executed_units/ { n = $2 }
    / cov: / { for (i = 1; i < NF; ++i) if ($i == "cov:") cov = $(i + 1) }
    /inline 8-bit counters/ { sub(/^\(/, "", $5); all = $5 }
    /past validation/ { share = $0; sub(/.*\(/, "", share); sub(/ %.*/, "", share) }
    END { printf "%-12s %9d executions, %7.0f a second of processor time, %d of %d counters, %s %% past validation\n",
                 target, n, (cpu > 0 ? n / cpu : 0), cov, all, share }' "$log"
done
exit $status
