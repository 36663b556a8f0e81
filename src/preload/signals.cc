#include "preload/signals.h"

#include <signal.h>
#include <sys/socket.h>
#include <ucontext.h>

#include "preload/failed.h"
#include "preload/guests.h"
#include "preload/handlers.h"
#include "preload/maps.h"

extern "C" {
extern const char pmemfile_preload_guard_begin[], pmemfile_preload_guard_end[], pmemfile_preload_guard_fault[];
extern const char pmemfile_preload_wait_call[], pmemfile_preload_wait_interrupted[];
extern const char pmemfile_preload_restore[];
}

namespace pmemfile::preload {
namespace {

constexpr u64 kRestorer = 0x04000000; // SA_RESTORER
constexpr u32 kAutoDisarm = u32{1} << 31; // SS_AUTODISARM
constexpr u64 kNoHandler = 1;         // SIG_DFL 0, SIG_IGN 1

constexpr u64 bit(int signal) { return u64{1} << (signal - 1); }
constexpr u64 kFaults = bit(SIGSEGV) | bit(SIGBUS);
constexpr u64 kNeverBlocked = bit(SIGKILL) | bit(SIGSTOP);
// The mask of a thread that holds signals back.
constexpr u64 kHeldBack = ~(kFaults | kNeverBlocked);
// SA_... that the kernel keeps; it clears others.
constexpr u64 kKnownFlags = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | u64{SA_RESETHAND} | kRestorer | 0x800;

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

long change_mask(int how, u64 set) { return raw_syscall(SYS_rt_sigprocmask, how, as_arg(&set), 0, 8); }

// Notes a signal that came inside a served call.
void defer(int signal, siginfo_t* info, ucontext_t& context, const KernelAction& action) {
  ThreadBlock& block = *t_thread.block;
  u64& mask = signal_mask(context);
  // Frames of several signals may lie on each other: the last to come here is the outermost, whose mask counts. Only faults
  // come when the mask is ours already.
  if (block.pending_count == 0 || mask != kHeldBack) block.saved_mask = mask;
  if (block.pending_count == 0) block.pending_restart = true;
  if (block.pending_count < kMaxPending) {
    PendingSignal& pending = block.pending[block.pending_count];
    pending.signal = signal;
    memcpy(pending.info, info, sizeof pending.info);
    compiler_fence();
    store_release(block.pending_count, block.pending_count + 1);
  }
  if ((action.flags & SA_RESTART) == 0) block.pending_restart = false;
  // From here to the end of the call nothing more comes.
  mask = kHeldBack;
  // A wait that the kernel was about to restart, or that was about to begin, ends instead.
  u64 at = instruction(context);
  if (at >= reinterpret_cast<u64>(&pmemfile_preload_wait) && at <= reinterpret_cast<u64>(pmemfile_preload_wait_call))
    set_instruction(context, pmemfile_preload_wait_interrupted);
}

bool is_suspended(const ucontext_t& context) {
  return t_thread.suspended_at != 0 && t_thread.suspended_at == static_cast<u64>(context.uc_mcontext.gregs[REG_RSP]);
}

// Calls the handler of the program, which sees and sets the mask that it believes in.
void deliver(int signal, siginfo_t* info, ucontext_t& context) {
  KernelAction& entry = current_process().actions[signal].action;
  KernelAction action = entry;
  if (action.handler <= kNoHandler) return;
  if ((action.flags & SA_RESETHAND) != 0) {
    entry.handler = 0;
    if (!is_fault(signal)) set_kernel_action(signal, entry, nullptr);
  }
  u64 outside = t_thread.blocked_faults, inside = outside;
  if (is_suspended(context)) { // the call's own mask is in force
    inside = t_thread.suspended_faults;
    t_thread.suspended_at = 0;
    change_mask(SIG_UNBLOCK, kFaults);
  }
  inside |= action.mask & kFaults;
  if ((action.flags & SA_NODEFER) == 0) inside |= bit(signal) & kFaults;
  if (is_fault(signal)) change_mask(SIG_SETMASK, (signal_mask(context) | action.mask) & ~kFaults);
  signal_mask(context) |= outside;
  t_thread.blocked_faults = inside;
  call_program(signal, action, info, &context);
  t_thread.blocked_faults = signal_mask(context) & kFaults;
  signal_mask(context) &= ~kFaults;
}

// A guest has the dispositions of its parent, or has set its own past us.
void signal_of_guest(int signal, siginfo_t* info, void* context) {
  const KernelAction action = g_process.actions[signal].action;
  if (action.handler > kNoHandler) return call_program(signal, action, info, context);
  KernelAction fresh{};
  set_kernel_action(signal, fresh, nullptr);
  if (info->si_code <= 0) raw_syscall(SYS_rt_tgsigqueueinfo, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), signal, as_arg(info));
}

extern "C" void pmemfile_preload_signal(int signal, siginfo_t* info, void* opaque) {
  auto& context = *static_cast<ucontext_t*>(opaque);
  if (is_guest()) return signal_of_guest(signal, info, opaque);
  if (t_thread.in_call != 0 && t_thread.block != nullptr)
    defer(signal, info, context, current_process().actions[signal].action);
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
  if (block->pending_count != 0) raise_pending(*block, -1, -1, 0);
  return request.result;
}

void send_to_self(int signal, siginfo_t* info) {
  raw_syscall(SYS_rt_tgsigqueueinfo, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), signal, as_arg(info));
}

// A signal that the program blocks, sent by somebody: from now on the kernel blocks it for this thread, too, and keeps it,
// for signalfd, sigwait, sigpending and other threads. The next change of the mask ends that.
void keep_in_kernel(int signal, siginfo_t* info, ucontext_t& context) {
  signal_mask(context) |= bit(signal);
  change_mask(SIG_BLOCK, bit(signal));
  if (info->si_code == SI_TKILL) return send_to_self(signal, info);
  long pid = raw_syscall(SYS_getpid);
  if (raw_syscall(SYS_rt_sigqueueinfo, pid, signal, as_arg(info)) == 0) return;
  info->si_code = SI_QUEUE; // only a first thread may send on what kill(2) sent
  raw_syscall(SYS_rt_sigqueueinfo, pid, signal, as_arg(info));
}

// Death with the right core: the instruction faults again, or the signal comes again.
void die_of(int signal, siginfo_t* info, bool comes_again) {
  KernelAction fresh{};
  set_kernel_action(signal, fresh, nullptr);
  change_mask(SIG_UNBLOCK, bit(signal));
  if (!comes_again) send_to_self(signal, info);
}

// Nothing of ours. As in the kernel, a fault kills if its signal is blocked or ignored. `comes_again`: the kernel's own
// signal, at an instruction that will fault again.
void leave_to_program(int signal, siginfo_t* info, ucontext_t& context, bool is_sent, bool comes_again) {
  const KernelAction action = current_process().actions[signal].action;
  u64 blocked = is_suspended(context) ? t_thread.suspended_faults : t_thread.blocked_faults;
  bool is_blocked = (blocked & bit(signal)) != 0;
  if (is_sent && is_blocked) return keep_in_kernel(signal, info, context);
  if (is_sent && action.handler == 1) return; // ignored
  if (action.handler <= kNoHandler || is_blocked) return die_of(signal, info, comes_again);
  if (is_sent && t_thread.in_call != 0 && t_thread.block != nullptr)
    defer(signal, info, context, action);
  else
    deliver(signal, info, context);
}

extern "C" void pmemfile_preload_fault(int signal, siginfo_t* info, void* opaque) {
  auto& context = *static_cast<ucontext_t*>(opaque);
  if (is_guest()) return signal_of_guest(signal, info, opaque);
  bool is_sent = info->si_code <= 0, comes_again = !is_sent;
  if (!is_sent) {
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
    if (survive_pool_fault(signal, reinterpret_cast<u64>(info->si_addr))) return;
    // A fault that filling does not cure is the program's. Once is not enough: another thread may have filled it.
    u64 address = reinterpret_cast<u64>(info->si_addr), changes = load_relaxed(g_mapping_changes);
    bool again = address == t_thread.fault_address && changes == t_thread.fault_changes;
    t_thread.fault_repeats = again ? t_thread.fault_repeats + 1 : 0;
    t_thread.fault_address = address;
    t_thread.fault_changes = changes;
    if (signal == SIGSEGV && t_thread.fault_repeats >= 3) t_thread.fault_address = 0;
    else if (signal == SIGSEGV) {
      Fill fill = try_fill(address);
      if (fill != Fill::kFilled) t_thread.fault_address = 0;
      if (fill == Fill::kFilled) return;
      if (fill == Fill::kBeyondEnd || fill == Fill::kFailed) {
        info->si_signo = signal = SIGBUS;
        info->si_code = BUS_ADRERR;
        comes_again = false;
      }
    }
  }
  leave_to_program(signal, info, context, is_sent, comes_again);
}

KernelAction for_kernel(int signal, const KernelAction& wanted) {
  KernelAction action = wanted;
  action.mask &= ~kFaults;
  if (is_fault(signal)) {
    action.handler = reinterpret_cast<u64>(pmemfile_preload_fault);
    if (wanted.handler <= kNoHandler) action.flags = SA_RESTART;
    // Other signals wait until we know whose fault it is; a handler of the program may fault itself.
    action.flags |= SA_NODEFER;
    action.mask = kHeldBack;
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
  u64 faults = kFaults, mask = 0; // the mask survives exec
  raw_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, as_arg(&faults), as_arg(&mask), 8);
  t_thread.blocked_faults = mask & kFaults;
}

bool on_alternate_stack(u64 stack_pointer) {
  return stack_pointer - t_thread.altstack_base < t_thread.altstack_bytes;
}

namespace {

struct DisarmedRun {
  long (*fn)(void*);
  void* argument;
  u64 mask;
};

u64 block_all() {
  u64 all = kHeldBack, old = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, as_arg(&all), as_arg(&old), 8);
  return old;
}

long run_disarmed(void* opaque) {
  auto& run = *static_cast<DisarmedRun*>(opaque);
  stack_t off{}, armed{};
  off.ss_flags = SS_DISABLE;
  raw_syscall(SYS_sigaltstack, as_arg(&off), as_arg(&armed));
  change_mask(SIG_SETMASK, run.mask);
  long result = run.fn(run.argument);
  run.mask = block_all();
  raw_syscall(SYS_sigaltstack, as_arg(&armed), 0);
  return result;
}

} // namespace

// Alternate stacks are small. While a thread of which the kernel does not see that it stands on one runs, none may be armed:
// the frame of the next signal would be laid over the handler that is under way.
long run_on_hook_stack(ThreadBlock& block, u64 stack_pointer, long (*fn)(void*), void* argument) {
  char* top = block.stack + sizeof block.stack;
  if (PMEMFILE_LIKELY(!on_alternate_stack(stack_pointer))) return pmemfile_preload_on_stack(fn, argument, top);
  DisarmedRun run{fn, argument, block_all()};
  long result = pmemfile_preload_on_stack(run_disarmed, &run, top);
  change_mask(SIG_SETMASK, run.mask);
  return result;
}

namespace {
// May the kernel end this call with EINTR? Others are made again: nobody would expect it of them.
bool may_end_with_eintr(long nr) {
  switch (nr) {
    case SYS_open: case SYS_openat: case SYS_openat2: case SYS_creat:
    case SYS_flock: case SYS_fcntl:
    case SYS_sendfile: case SYS_splice: case SYS_copy_file_range:
    case SYS_poll: case SYS_ppoll: case SYS_select: case SYS_pselect6:
    case SYS_connect: case SYS_accept: case SYS_accept4:
    case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
      return true;
    default:
      return false;
  }
}
// What waits for some time: begun anew it would wait for all of it again (signal(7)). `fd`: its socket, if it has one.
bool is_never_restarted(long nr, int fd) {
  int option = 0;
  switch (nr) {
    case SYS_poll: case SYS_ppoll: case SYS_select: case SYS_pselect6:
      return true;
    case SYS_accept: case SYS_accept4: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
      option = SO_RCVTIMEO;
      break;
    case SYS_connect: case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg:
      option = SO_SNDTIMEO;
      break;
    default:
      return false;
  }
  long limit[2] = {};
  u32 bytes = sizeof limit;
  return raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, option, as_arg(limit), as_arg(&bytes)) == 0 && (limit[0] | limit[1]) != 0;
}
} // namespace

bool raise_pending(ThreadBlock& block, long nr, int fd, long result) {
  u32 count = block.pending_count;
  bool restart = result == -EINTR && (!may_end_with_eintr(nr) || (block.pending_restart && !is_never_restarted(nr, fd)));
  u64 mask = block.saved_mask;
  // All signals are blocked: they queue up and are delivered when the mask is set back.
  for (u32 i = 0; i < count; ++i)
    if (is_fault(block.pending[i].signal)) change_mask(SIG_BLOCK, kFaults);
  for (u32 i = 0; i < count; ++i) send_to_self(block.pending[i].signal, reinterpret_cast<siginfo_t*>(block.pending[i].info));
  block.pending_count = 0;
  change_mask(SIG_SETMASK, mask);
  return restart;
}

void signals_before_exec(const Process& process) {
  for (int signal : {SIGSEGV, SIGBUS})
    if (process.actions[signal].action.handler == 1) set_kernel_action(signal, process.actions[signal].action, nullptr);
  if (t_thread.blocked_faults != 0) change_mask(SIG_BLOCK, t_thread.blocked_faults);
}

void signals_after_failed_exec(const Process& process) {
  if (t_thread.blocked_faults != 0) change_mask(SIG_UNBLOCK, t_thread.blocked_faults);
  for (int signal : {SIGSEGV, SIGBUS})
    if (process.actions[signal].action.handler == 1)
      set_kernel_action(signal, for_kernel(signal, process.actions[signal].action), nullptr);
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
    wanted.mask &= ~kNeverBlocked;
    wanted.flags &= kKnownFlags;
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

// ---- Masks ------------------------------------------------------------------------------------------------------

bool mask_concerns_us(u64 set) {
  u64 mask = 0;
  return t_thread.blocked_faults != 0 || (set != 0 && pmem::copy_guarded(&mask, reinterpret_cast<void*>(set), sizeof mask) == 0 && (mask & kFaults) != 0);
}

namespace {
u64 changed_mask(u64 old, long how, u64 set) {
  return how == SIG_BLOCK ? old | set : how == SIG_UNBLOCK ? old & ~set : set;
}
} // namespace

long h_rt_sigprocmask(Call& call) {
  if (call.arg(3) != 8) return -EINVAL;
  long how = call.fd(0);
  u64 set = 0, old = 0;
  if (call.arg(1) != 0) {
    if (pmem::copy_guarded(&set, call.pointer<void>(1), sizeof set) != 0) return -EFAULT;
    if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK) return -EINVAL;
  } else {
    how = SIG_BLOCK;
  }
  // Ours first: what the kernel lets through comes at once.
  u64 faults = t_thread.blocked_faults;
  t_thread.blocked_faults = changed_mask(faults, how, set) & kFaults;
  u64 kernel_set = how == SIG_UNBLOCK ? set : set & ~kFaults;
  if (wait_in_kernel(SYS_rt_sigprocmask, how, as_arg(&kernel_set), as_arg(&old), 8) == -EINTR) {
    // A signal came before: the mask that counts is the one set back at the end of this call.
    old = call.block.saved_mask;
    call.block.saved_mask = changed_mask(old, how, kernel_set) & ~kNeverBlocked;
  }
  old = (old & ~kFaults) | faults;
  return call.arg(2) != 0 && pmem::copy_guarded(call.pointer<void>(2), &old, sizeof old) != 0 ? -EFAULT : 0;
}

// A call that waits with a mask of its own. What that does to faults has to be known to handlers that run meanwhile.
void note_waiting_mask(const intercept::Frame& frame, u64 set) {
  u64 mask = 0;
  t_thread.suspended_at = 0;
  if (set == 0 || pmem::copy_guarded(&mask, reinterpret_cast<void*>(set), sizeof mask) != 0) return;
  t_thread.suspended_faults = mask & kFaults;
  if (((mask & kFaults) | t_thread.blocked_faults) != 0) t_thread.suspended_at = frame.rsp();
}

long h_sigaltstack(Call& call) {
  stack_t wanted{};
  if (call.arg(0) != 0 && pmem::copy_guarded(&wanted, call.pointer<void>(0), sizeof wanted) != 0) return -EFAULT;
  // Whether the thread stands on it the kernel sees by the stack pointer: the hook stack must not be in use.
  long result = kPassOn;
  if (call.arg(0) != 0) {
    bool off = (wanted.ss_flags & SS_DISABLE) != 0;
    // One that disarms itself may be replaced by the handler that stands on it.
    if (on_alternate_stack(call.frame.rsp()) && !t_thread.altstack_disarms) return -EPERM;
    result = call.kernel();
    if (result == 0 && !on_alternate_stack(call.frame.rsp())) { // else the kernel puts the one before back behind the handler
      t_thread.altstack_base = off ? 0 : reinterpret_cast<u64>(wanted.ss_sp);
      t_thread.altstack_bytes = off ? 0 : wanted.ss_size;
      t_thread.altstack_disarms = (static_cast<u32>(wanted.ss_flags) & kAutoDisarm) != 0;
    }
  }
  return result;
}

} // namespace pmemfile::preload
