// The C API of libcintercept.h: the general hook around the engine's fast one.
#include <stdarg.h>

#include "base/text.h"
#include "intercept/capi/log.h"
#include "intercept/engine.h"
#include "intercept/process_image.h"
#include "libcintercept.h"

#define EXPORT __attribute__((visibility("default")))

extern "C" {
EXPORT int (*intercept_hook_point)(long, long, long, long, long, long, long, long*) = nullptr;
EXPORT void (*intercept_hook_point_clone_child)(void) = nullptr;
EXPORT void (*intercept_hook_point_clone_parent)(long) = nullptr;

EXPORT long syscall_no_intercept(long nr, ...) {
  va_list list;
  va_start(list, nr);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  return pmemfile::raw_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

EXPORT int syscall_hook_in_process_allowed(void) { return pmemfile::intercept::active() ? 1 : 0; }
}

namespace pmemfile::intercept {

namespace {

struct HookCall {
  const Frame& frame;
  long result;
};

u64 call_hook(void* argument) {
  auto& call = *static_cast<HookCall*>(argument);
  const Frame& f = call.frame;
  auto arg = [](u64 value) { return static_cast<long>(value); };
  return static_cast<u64>(intercept_hook_point(f.nr(), arg(f.rdi), arg(f.rsi), arg(f.rdx), arg(f.r10), arg(f.r8),
                                               arg(f.r9), &call.result));
}

u64 call_clone_child(void*) {
  intercept_hook_point_clone_child();
  return 0;
}

u64 call_clone_parent(void* pid) {
  intercept_hook_point_clone_parent(*static_cast<long*>(pid));
  return 0;
}

// Calls whose way back the engine must see, or that do not come back.
bool must_pass(const Frame& f) {
  switch (f.nr()) {
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
    case SYS_rt_sigreturn:
    case SYS_execve:
    case SYS_execveat:
    case SYS_exit:
    case SYS_exit_group:
    case SYS_mmap: return true;
    default: return false;
  }
}

Verdict general_hook(Frame& frame) {
  if (intercept_hook_point != nullptr) {
    HookCall call{frame, 0};
    if (static_cast<int>(call_preserving_vectors(call_hook, &call)) == 0) {
      if (log_is_on()) log_call(frame, LogResult::Handled, call.result);
      frame.set_result(call.result);
      return Verdict::Done;
    }
  }
  if (!log_is_on()) return Verdict::Pass;
  if (must_pass(frame)) {
    log_call(frame, LogResult::Unknown, 0);
    return Verdict::Pass;
  }
  const Frame before = frame;
  const long result = passthrough(frame.nr(), static_cast<long>(frame.rdi), static_cast<long>(frame.rsi),
                                  static_cast<long>(frame.rdx), static_cast<long>(frame.r10),
                                  static_cast<long>(frame.r8), static_cast<long>(frame.r9));
  log_call(before, LogResult::Kernel, result);
  frame.set_result(result);
  return Verdict::Done;
}

void in_parent(Frame&, CloneKind, u64, long pid) {
  if (intercept_hook_point_clone_parent != nullptr) call_preserving_vectors(call_clone_parent, &pid);
}

void in_child(Frame&, CloneKind, u64) {
  if (intercept_hook_point_clone_child != nullptr) call_preserving_vectors(call_clone_child, nullptr);
}

void tell_standard_error(std::string_view line) {
  FixedText<320> text;
  text << "libcintercept: " << line << '\n';
  text.write_to(2);
}

void dump() {
  const Stats& s = stats();
  for (u32 i = 0; i < min_of(s.object_count, kMaxObjectStats); ++i) {
    const ObjectStats& o = s.objects[i];
    FixedText<320> line;
    line << "libcintercept: " << o.name << " at ";
    line.hex(o.base) << ": " << o.found << " sites, " << o.before << " before, " << o.over << " over, "
                     << o.short_jump << " short, errno " << o.error << '\n';
    line.write_to(2);
  }
}

bool filtered_out(const InitialStack& stack) {
  const char* filter = stack.variable("INTERCEPT_HOOK_CMDLINE_FILTER");
  if (filter == nullptr) return false;
  if (stack.argc == 0) return true;
  const char* name = stack.argv[0];
  for (const char* c = name; *c != '\0'; ++c)
    if (*c == '/') name = c + 1;
  while (*name != '\0' && *name == *filter) ++name, ++filter;
  return *name != *filter;
}

__attribute__((constructor)) void start_library() {
  const InitialStack stack = initial_stack();
  if (filtered_out(stack)) return;
  // A planner that is itself preloaded does its work unseen.
  if (stack.auxiliary(AT_SECURE) == 0) open_log(stack.variable("INTERCEPT_LOG"), stack.variable("INTERCEPT_LOG_TRUNC"));
  Options options;
  options.all_objects = stack.variable("INTERCEPT_ALL_OBJS") != nullptr;
  options.warn = tell_standard_error;
  const ChildEvents events{nullptr, in_parent, in_child};
  const Result<void> started = start(general_hook, &events, options);
  if (!started.ok() && started.error() != EALREADY) tell_standard_error("nothing is intercepted in this process");
  if (stack.variable("INTERCEPT_DEBUG_DUMP") != nullptr) dump();
}

} // namespace

} // namespace pmemfile::intercept
