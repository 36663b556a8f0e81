#include "intercept/dispatch.h"

#include <sys/mman.h>

namespace pmemfile::intercept {

namespace {

FastHook the_hook = nullptr;
ChildEvents the_events;

// ld.so maps an object's text here, before anything in it runs.
u64 map_executable(Frame& frame) {
  const long result = raw_syscall(SYS_mmap, static_cast<long>(frame.rdi), static_cast<long>(frame.rsi),
                                  static_cast<long>(frame.rdx), static_cast<long>(frame.r10),
                                  static_cast<long>(frame.r8), static_cast<long>(frame.r9));
  if (!is_syscall_error(result))
    object_mapped(reinterpret_cast<void*>(result), frame.rsi, frame.r9, static_cast<int>(frame.r8));
  frame.set_result(result);
  return stub_done(frame);
}

bool maps_executable_file(const Frame& frame) {
  return (frame.rdx & PROT_EXEC) != 0 && (frame.r10 & MAP_ANONYMOUS) == 0 && (frame.rdx & PROT_WRITE) == 0;
}

} // namespace

void set_hook(FastHook hook, const ChildEvents* events) {
  the_hook = hook;
  if (events != nullptr) the_events = *events;
}

Verdict ask_hook(Frame& frame) { return the_hook(frame); }

extern "C" __attribute__((visibility("hidden"))) u64 pmemfile_intercept_dispatch(Frame* frame) {
  const bool returning = frame->mode != 0;
  frame->mode = frame->rflags; // r11, as the kernel leaves it
  if (PMEMFILE_UNLIKELY(returning)) return clone_returns(*frame, the_events);
  // The kernel takes the frame of the signal from the stack pointer: nothing
  // may come between.
  if (PMEMFILE_UNLIKELY(frame->rax == SYS_rt_sigreturn)) return kStubPass;
  if (the_hook(*frame) == Verdict::Done) return stub_done(*frame);
  switch (frame->rax) {
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork: return clone_leaves(*frame, the_events);
    case SYS_mmap: return maps_executable_file(*frame) ? map_executable(*frame) : kStubPass;
    default: return kStubPass;
  }
}

} // namespace pmemfile::intercept
