#include "preload/guests.h"

namespace pmemfile::preload {

u32 g_guest_count;

namespace {
constexpr unsigned kMaxGuests = 16;
i32 g_guests[kMaxGuests];

i32 own_tid() { return static_cast<i32>(raw_syscall(SYS_gettid)); }
} // namespace

void forget_guest(i32 tid) {
  if (load_relaxed(g_guest_count) == 0) return;
  for (i32& guest : g_guests) {
    i32 expected = tid;
    if (compare_exchange(guest, expected, i32{0})) fetch_add(g_guest_count, ~u32{0});
  }
}

void forget_all_guests() {
  for (i32& guest : g_guests) store_relaxed(guest, i32{0});
  store_release(g_guest_count, 0u);
}

bool may_have_guest() {
  if (load_relaxed(g_guest_count) < kMaxGuests) return true;
  for (i32& guest : g_guests)
    if (i32 tid = load_relaxed(guest); tid != 0 && raw_syscall(SYS_kill, tid, 0) == -ESRCH) forget_guest(tid);
  return load_relaxed(g_guest_count) < kMaxGuests;
}

void become_guest() {
  i32 tid = own_tid();
  for (i32& guest : g_guests) {
    i32 nobody = 0;
    if (!compare_exchange(guest, nobody, tid)) continue;
    fetch_add(g_guest_count, 1u);
    return;
  }
  for (;;) raw_syscall(SYS_exit, 127); // others were faster
}

bool is_listed_guest() {
  i32 tid = own_tid();
  for (const i32& guest : g_guests)
    if (load_relaxed(guest) == tid) return true;
  return false;
}

intercept::Verdict guest_call(intercept::Frame& frame) {
  switch (frame.nr()) {
    case SYS_exit: case SYS_exit_group:
      forget_guest(own_tid());
      return intercept::Verdict::Pass;
    case SYS_clone: case SYS_clone3: case SYS_fork: case SYS_vfork:
      frame.set_result(-ENOSYS);
      return intercept::Verdict::Done;
    default:
      return intercept::Verdict::Pass;
  }
}

} // namespace pmemfile::preload
