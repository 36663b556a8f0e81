#!/bin/bash
# cases.sh CASE BIN LIB: black-box tests of libcintercept; see each function.
# BIN: where the test programs are; LIB: where libcintercept.so and the planner are.
bin=$2 lib=$3/libcintercept.so plan=$3/pmemfile-plan
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
dump() { INTERCEPT_DEBUG_DUMP=1 INTERCEPT_ALL_OBJS=1 LD_PRELOAD=$lib "$@" 2>&1 >/dev/null | grep "^libcintercept: $object"; }

nearly_all_sites_of_libc_are_patched() {
  object=libc.so
  line=$(dump /bin/true)
  [[ $line =~ :\ ([0-9]+)\ sites,\ ([0-9]+)\ before,\ ([0-9]+)\ over,\ ([0-9]+)\ short,\ errno\ 0 ]] || fail "$line"
  found=${BASH_REMATCH[1]} patched=$((BASH_REMATCH[2] + BASH_REMATCH[3] + BASH_REMATCH[4]))
  (( found >= 300 && found - patched <= 6 )) || fail "$patched of $found"
  echo "$patched of $found"
}

state_is_kept() {
  [ "$("$bin"/intercept_state_kept)" = "kept, result from the kernel" ] || fail "without a hook"
  for answers in "" 1; do
    out=$(env ${answers:+TRASH_ANSWERS=1} INTERCEPT_ALL_OBJS=1 LD_PRELOAD="$bin"/libintercept_trashing_hook.so "$bin"/intercept_state_kept)
    [ "$out" = "kept, result from the ${answers:+hook}${answers:-kernel}" ] || [ "$out" = "kept, result from the hook" -a -n "$answers" ] || fail "$out"
  done
}

log_has_the_calls() {
  INTERCEPT_LOG=$work/log- LD_PRELOAD=$lib /bin/cat /etc/hostname >/dev/null || fail status
  log=$(echo "$work"/log-[0-9]*)
  grep -q -- '-- openat(0xffffff9c' "$log" && grep -q -- '-- exit_group(0x0' "$log" || fail "$(cat "$log")"
  lines=$(wc -l <"$log")
  INTERCEPT_LOG=$log LD_PRELOAD=$lib /bin/true
  (( $(wc -l <"$log") > lines )) || fail "appends"
  INTERCEPT_LOG=$log INTERCEPT_LOG_TRUNC=1 LD_PRELOAD=$lib /bin/true
  (( $(wc -l <"$log") < lines )) || fail "truncates"
}

filter_chooses_the_program() {
  INTERCEPT_LOG=$work/log INTERCEPT_HOOK_CMDLINE_FILTER=cat LD_PRELOAD=$lib /bin/true
  [ -e "$work/log" ] && fail "true is logged"
  INTERCEPT_LOG=$work/log INTERCEPT_HOOK_CMDLINE_FILTER=cat LD_PRELOAD=$lib /bin/cat /dev/null
  [ -s "$work/log" ] || fail "cat is not logged"
}

two_copies_do_not_patch_twice() {
  out=$(LD_PRELOAD="$lib $bin/intercept_copy/libcintercept.so" /bin/echo fine 2>&1)
  [ "$out" = fine ] || fail "$out"
}

a_plan_that_others_may_write_is_not_used() {
  export XDG_CACHE_HOME=$work
  LD_PRELOAD=$lib /bin/true || fail "first start"
  ls "$work"/pmemfile/[!f]* >/dev/null || fail "no plan was made"
  chmod o+w "$work"/pmemfile/[!f]*
  printf 'rubbish' | dd of="$(ls -S "$work"/pmemfile/[!f]* | head -1)" bs=1 seek=100000 conv=notrunc status=none
  [ "$(LD_PRELOAD=$lib /bin/echo fine 2>&1)" = fine ] || fail "start"
  # It was made again: nobody else may write the new one.
  [ -z "$(find "$work/pmemfile" -type f -perm /o+w)" ] || fail "still there"
}

damaged_plans_are_made_again() {
  export XDG_CACHE_HOME=$work
  LD_PRELOAD=$lib /bin/true
  for plan_file in "$work"/pmemfile/[!f]*; do printf 'rubbish rubbish rubbish' | dd of="$plan_file" bs=1 seek=64 conv=notrunc status=none; done
  out=$(LD_PRELOAD=$lib /bin/echo fine 2>&1)
  [ "$out" = fine ] || fail "$out"
  for plan_file in "$work"/pmemfile/[!f]*; do cmp -s -n 7 -i 64 "$plan_file" <(printf '%64srubbish') && fail "still damaged"; done
  return 0
}

stubs_go_elsewhere_if_their_place_is_taken() {
  export INTERCEPT_ALL_OBJS=1
  out=$(LD_PRELOAD="$bin/libintercept_trashing_hook.so $bin/libintercept_blocker.so" "$bin"/intercept_state_kept)
  [ "$out" = "kept, result from the kernel" ] || fail "$out"
  # Nothing of libc is mapped from a plan then.
  maps=$(LD_PRELOAD="$lib $bin/libintercept_blocker.so" cat /proc/self/maps)
  grep -q 'r-xp.*libc\.so' <<<"$maps" || fail "$maps"
  LD_PRELOAD="$bin/libintercept_trashing_hook.so $bin/libintercept_blocker.so" "$bin"/intercept_processes >"$work/blocked" || fail "processes"
  "$bin"/intercept_processes | diff - "$work/blocked" || fail "other output"
}

objects_loaded_later_are_patched() {
  out=$(INTERCEPT_ALL_OBJS=1 LD_LIBRARY_PATH=$3 "$bin"/intercept_dlopen "$bin"/libintercept_late.so) || fail "$out"
  [ "$out" = ok ] || fail "$out"
}

planner_survives_rubbish() {
  head -c 5000 /dev/urandom >"$work/random"
  "$plan" --output "$work/out" "$work/random" 2>/dev/null && fail "random bytes planned"
  libc=$(ldd /bin/true | awk '/libc.so/ {print $3}')
  for i in $(seq 20); do
    cp "$libc" "$work/libc"
    for j in 1 2 3 4; do
      head -c 8 /dev/urandom | dd of="$work/libc" bs=1 seek=$((RANDOM % 4096 + (j % 2) * 64)) conv=notrunc status=none
    done
    timeout 20 "$plan" --output "$work/out" "$work/libc" 2>/dev/null
    (( $? < 2 )) || fail "round $i: status $?"
  done
}

no_terminal_output_and_only_libc_needed() {
  needed=$(readelf -d "$lib" | grep -c NEEDED)
  [ "$needed" = 1 ] || fail "$(readelf -d "$lib" | grep NEEDED)"
  exported=$(nm -D --defined-only "$lib" | awk '{print $3}' | sort | tr '\n' ' ')
  want="intercept_hook_point intercept_hook_point_clone_child intercept_hook_point_clone_parent syscall_hook_in_process_allowed syscall_no_intercept "
  [ "$exported" = "$want" ] || fail "$exported"
  objdump -d "$lib" | awk '/^[0-9a-f]+ </ {name = $2} /xmm|ymm|zmm/ {print name}' | sort -u | grep . && fail "vector registers in hookable code"
  return 0
}

"$@"
