#include "preload/signals.h"

#include <signal.h>
#include <ucontext.h>

#include "preload/handlers.h"
#include "preload/maps.h"

extern "C" {
extern const char pmemfile_preload_guard_begin[], pmemfile_preload_guard_end[], pmemfile_preload_guard_fault[];
extern const char pmemfile_preload_wait_call[], pmemfile_preload_wait_return[];
extern const char pmemfile_preload_restore[];
}

namespace pmemfile::preload {
namespace {

constexpr u64 kRestorer = 0x04000000; // SA_RESTORER
constexpr u64 kNoHandler = 1;         // SIG_DFL 0, SIG_IGN 1

bool is_fault(int signal) { return signal == SIGSEGV || signal == SIGBUS; }

u64& signal_mask(ucontext_t& context) { return *reinterpret_cast<u64*>(&context.uc_sigmask); }
u64 instruction(const ucontext_t& context) { return static_cast<u64>(context.uc_mcontext.gregs[REG_RIP]); }
void set_instruction(ucontext_t& context, const void* address) {
  context.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(reinterpret_cast<u64>(address));
}

long set_kernel_action(int signal, const KernelAction& action, KernelAction* old) {
  return raw_syscall(SYS_rt_sigaction, signal, as_arg(&action), as_arg(old), 8);
}

void call_program(int signal, const KernelAction& action, void* info, void* context) {
  reinterpret_cast<void (*)(int, void*, void*)>(action.handler)(signal, info, context);
}

// Notes a signal that came inside a served call.
void defer(int signal, siginfo_t* info, ucontext_t& context, const KernelAction& action) {
  ThreadBlock& block = *t_thread.block;
  if (block.pending_count == 0) {
    block.saved_mask = signal_mask(context);
    block.pending_restart = true;
  }
  if (block.pending_count < kMaxPending) {
    PendingSignal& pending = block.pending[block.pending_count++];
    pending.signal = signal;
    memcpy(pending.info, info, sizeof pending.info);
  }
  if ((action.flags & SA_RESTART) == 0) block.pending_restart = false;
  // From here to the end of the call nothing more comes.
  signal_mask(context) = ~u64{0};
  store_release(block.interrupted, 1u);
  // A wait that the kernel was about to restart, or that was about to begin, ends instead.
  if (instruction(context) == reinterpret_cast<u64>(pmemfile_preload_wait_call)) {
    set_instruction(context, pmemfile_preload_wait_return);
    context.uc_mcontext.gregs[REG_RAX] = -EINTR;
  }
}

void deliver(int signal, siginfo_t* info, void* context) {
  SignalAction& entry = current_process().actions[signal];
  KernelAction action = entry.action;
  if (action.handler <= kNoHandler) return;
  if ((action.flags & SA_RESETHAND) != 0) {
    KernelAction fresh{};
    entry.action = fresh;
    if (!is_fault(signal)) set_kernel_action(signal, fresh, nullptr);
  }
  call_program(signal, action, info, context);
}

extern "C" void pmemfile_preload_signal(int signal, siginfo_t* info, void* context) {
  if (t_thread.in_call != 0 && t_thread.block != nullptr)
    defer(signal, info, *static_cast<ucontext_t*>(context), current_process().actions[signal].action);
  else
    deliver(signal, info, context);
}

// ---- Faults -----------------------------------------------------------------------------------------------------

struct FillRequest {
  u64 address;
  Fill result;
};
long fill_on_stack(void* argument) {
  auto* request = static_cast<FillRequest*>(argument);
  request->result = fill_mapping(request->address);
  return 0;
}

// A touch of a page that has no block yet. Inside a served call the pool may be locked: then the copy's fixup answers.
Fill try_fill(u64 address) {
  if (load_relaxed(g_mapping_count) == 0 || t_thread.in_call != 0) return Fill::kNotOurs;
  ThreadBlock* block = thread_block();
  if (block == nullptr) return Fill::kFailed;
  FillRequest request{address, Fill::kNotOurs};
  t_thread.in_call = 1;
  pmemfile_preload_on_stack(fill_on_stack, &request, block->stack + sizeof block->stack);
  t_thread.in_call = 0;
  if (block->pending_count != 0) raise_pending(*block, -1, 0);
  return request.result;
}

// Nothing of ours: the program's handler, or death with the right core.
void leave_to_program(int signal, siginfo_t* info, void* context, bool synchronous) {
  SignalAction& entry = current_process().actions[signal];
  if (entry.action.handler > kNoHandler) {
    if (t_thread.in_call != 0 && !synchronous)
      defer(signal, info, *static_cast<ucontext_t*>(context), entry.action);
    else
      deliver(signal, info, context);
    return;
  }
  if (entry.action.handler == 1 && !synchronous) return; // ignored
  KernelAction fresh{};
  set_kernel_action(signal, fresh, nullptr);
  if (!synchronous)
    raw_syscall(SYS_rt_tgsigqueueinfo, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), signal, as_arg(info));
  // Otherwise the instruction faults again.
}

extern "C" void pmemfile_preload_fault(int signal, siginfo_t* info, void* opaque) {
  auto& context = *static_cast<ucontext_t*>(opaque);
  bool synchronous = info->si_code > 0;
  if (synchronous) {
    u64 at = instruction(context);
    if (at >= reinterpret_cast<u64>(pmemfile_preload_guard_begin) && at < reinterpret_cast<u64>(pmemfile_preload_guard_end)) {
      set_instruction(context, pmemfile_preload_guard_fault);
      return;
    }
    u64 fixup = pmem::fault_fixup(at);
    if (fixup != 0) {
      set_instruction(context, reinterpret_cast<void*>(fixup));
      return;
    }
    // A fault that filling does not cure is the program's. Once is not enough: another thread may have filled it.
    u64 address = reinterpret_cast<u64>(info->si_addr);
    t_thread.fault_repeats = address == t_thread.fault_address ? t_thread.fault_repeats + 1 : 0;
    t_thread.fault_address = address;
    if (signal == SIGSEGV && t_thread.fault_repeats < 3) {
      Fill fill = try_fill(address);
      if (fill != Fill::kFilled) t_thread.fault_address = 0;
      if (fill == Fill::kFilled) return;
      if (fill == Fill::kBeyondEnd || fill == Fill::kFailed) {
        info->si_signo = signal = SIGBUS;
        info->si_code = BUS_ADRERR;
      }
    }
  }
  leave_to_program(signal, info, opaque, synchronous);
}

KernelAction for_kernel(int signal, const KernelAction& wanted) {
  KernelAction action = wanted;
  if (is_fault(signal)) {
    action.handler = reinterpret_cast<u64>(pmemfile_preload_fault);
    if (wanted.handler <= kNoHandler) action.flags = 0, action.mask = 0;
  } else if (wanted.handler > kNoHandler) {
    action.handler = reinterpret_cast<u64>(pmemfile_preload_signal);
  } else {
    return action;
  }
  action.flags = (action.flags | SA_SIGINFO | kRestorer) & ~static_cast<u64>(SA_RESETHAND);
  if ((wanted.flags & kRestorer) == 0) action.restorer = reinterpret_cast<u64>(pmemfile_preload_restore);
  return action;
}

} // namespace

void start_signals(Process& process) {
  for (int signal : {SIGSEGV, SIGBUS}) {
    KernelAction wanted{}, old{};
    KernelAction action = for_kernel(signal, wanted);
    if (set_kernel_action(signal, action, &old) != 0) continue;
    process.actions[signal] = SignalAction{old, true};
    if (old.handler > kNoHandler) set_kernel_action(signal, for_kernel(signal, old), nullptr);
  }
}

bool on_alternate_stack(u64 stack_pointer) {
  return stack_pointer - t_thread.altstack_base < t_thread.altstack_bytes;
}

bool raise_pending(ThreadBlock& block, long nr, long result) {
  u32 count = block.pending_count;
  long pid = raw_syscall(SYS_getpid), tid = raw_syscall(SYS_gettid);
  // All signals are blocked: they queue up and are delivered when the mask is set back.
  for (u32 i = 0; i < count; ++i)
    raw_syscall(SYS_rt_tgsigqueueinfo, pid, tid, block.pending[i].signal, as_arg(block.pending[i].info));
  bool restart = block.pending_restart && result == -EINTR && nr != SYS_poll && nr != SYS_ppoll && nr != SYS_select && nr != SYS_pselect6;
  block.pending_count = 0;
  u64 mask = block.saved_mask;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, as_arg(&mask), 0, 8);
  return restart;
}

long h_rt_sigaction(Call& call) {
  int signal = call.fd(0);
  if (signal < 1 || signal > 64 || call.arg(3) != 8 || signal == SIGKILL || signal == SIGSTOP) return kPassOn;
  SignalAction& entry = call.process.actions[signal];
  SignalAction before = entry;
  KernelAction old{};
  if (call.arg(1) != 0) {
    KernelAction wanted;
    if (pmem::copy_guarded(&wanted, call.pointer<void>(1), sizeof wanted) != 0) return -EFAULT;
    KernelAction action = for_kernel(signal, wanted);
    entry = SignalAction{wanted, true}; // first: the signal may come at once
    long result = set_kernel_action(signal, action, &old);
    if (result != 0) {
      entry = before;
      return result;
    }
  } else if (!before.known) {
    return kPassOn;
  }
  if (before.known) old = before.action;
  if (call.arg(2) != 0 && pmem::copy_guarded(call.pointer<void>(2), &old, sizeof old) != 0) return -EFAULT;
  return 0;
}

// Blocking faults is left to the kernel: the program dies of one inside our copies as it would anywhere.
long h_rt_sigprocmask(Call&) { return kPassOn; }

long h_sigaltstack(Call& call) {
  stack_t wanted{};
  if (call.arg(0) != 0 && pmem::copy_guarded(&wanted, call.pointer<void>(0), sizeof wanted) != 0) return -EFAULT;
  // Whether the thread stands on it the kernel sees by the stack pointer: the hook stack must not be in use.
  long result = kPassOn;
  if (call.arg(0) != 0) {
    bool off = (wanted.ss_flags & SS_DISABLE) != 0;
    bool busy = on_alternate_stack(call.frame.rsp());
    if (busy) return -EPERM;
    result = call.kernel();
    if (result == 0) {
      t_thread.altstack_base = off ? 0 : reinterpret_cast<u64>(wanted.ss_sp);
      t_thread.altstack_bytes = off ? 0 : wanted.ss_size;
    }
  }
  return result;
}

} // namespace pmemfile::preload
