// The way of every system call: filter, and for those that may be ours the
// handler, on the thread's hook stack.

#include <sys/mman.h>

#include "preload/attach.h"
#include "preload/children.h"
#include "preload/config.h"
#include "preload/credentials.h"
#include "preload/descriptors.h"
#include "preload/failed.h"
#include "preload/guests.h"
#include "preload/handlers.h"
#include "preload/inflight.h"
#include "preload/maps.h"
#include "preload/quick.h"
#include "preload/report.h"
#include "preload/signals.h"
#include "preload/start.h"

namespace pmemfile::preload {

__thread ThreadWords t_thread __attribute__((tls_model("initial-exec")));
PMEMFILE_TOUCHED_HEAD Process g_process;

namespace {

enum Filter : u8 { Pass, Fd0, Fd3, Fd01, Fd02, Makes, MakesName1, Name4, Close, Maps, Mmap, Clone, Dents, Mask, Mask0, Mask4, Rights, Exit, Path, Always };

constexpr struct Filters {
  u8 of[kCalls] = {};
  constexpr Filters() {
#define CALL(number, name, filter, handler, state, note) of[number] = filter;
#include "preload/syscalls.def"
#undef CALL
  }
} kFilters;

long none(Call&) { return kPassOn; }

long dispatch(Call& call) {
  switch (call.nr) {
#define CALL(number, name, filter, handler, state, note) \
  case number:                                            \
    if (filter == Rights) attach_all(call.process);       \
    return handler(call);
#include "preload/syscalls.def"
#undef CALL
    default:
      return kPassOn;
  }
}

long dispatch_on_stack(void* call) { return dispatch(*static_cast<Call*>(call)); }

bool any_attached(const Process& process) {
  for (u32 i = 0; i < g_mount_count; ++i)
    if (process.pools[i] != nullptr) return true;
  return false;
}

bool concerns_us(const intercept::Frame& frame, Process& process, u8 filter) {
  switch (filter) {
    case Fd0:
      return fd_word(process, frame.rdi & 0xffffffff) != 0;
    case Fd3:
      return fd_word(process, frame.r10 & 0xffffffff) != 0;
    case Fd01:
      return (fd_word(process, frame.rdi & 0xffffffff) | fd_word(process, frame.rsi & 0xffffffff)) != 0;
    case Fd02:
      return (fd_word(process, frame.rdi & 0xffffffff) | fd_word(process, frame.rdx & 0xffffffff)) != 0;
    case Makes:
      return load_relaxed(process.stash_count) != 0;
    case MakesName1:
      return load_relaxed(process.stash_count) != 0 || frame.rsi != 0 || fd_word(process, frame.rdi & 0xffffffff) != 0;
    case Name4:
      return frame.r8 != 0 || fd_word(process, frame.rdi & 0xffffffff) != 0;
    case Close:
      if (fd_word(process, frame.rdi & 0xffffffff) != 0 || load_relaxed(process.listing_count) != 0) return true;
      note_kernel_close(process, frame.rdi & 0xffffffff);
      return false;
    case Dents:
      return fd_word(process, frame.rdi & 0xffffffff) != 0 || load_relaxed(process.listing_count) != 0;
    case Maps:
      return load_relaxed(g_mapping_count) != 0;
    case Mmap:
      return fd_word(process, frame.r8 & 0xffffffff) != 0 || ((frame.r10 & MAP_FIXED) != 0 && load_relaxed(g_mapping_count) != 0);
    case Mask:
      return mask_concerns_us(frame.rsi);
    case Mask0:
      note_waiting_mask(frame, frame.rdi);
      return false;
    case Mask4:
      note_waiting_mask(frame, frame.r8);
      return fd_word(process, frame.rdi & 0xffffffff) != 0;
    case Exit:
      return g_config.report != nullptr || g_log_fd >= 0 || any_attached(process);
    default:
      return true;
  }
}

// Bits of the arguments that may be descriptors whose files the call uses. What dup2 replaces it does not use.
unsigned numbers_among(long nr) {
  switch (nr) {
    case SYS_dup: case SYS_dup2: case SYS_dup3: case SYS_fcntl: case SYS_sendmsg: case SYS_recvmsg: case SYS_getdents64:
      return 1;
    default:
      break;
  }
  switch (nr >= 0 && static_cast<u64>(nr) < kCalls ? kFilters.of[nr] : u8{Always}) {
    case Fd0: case Dents: case Mask4: case Name4: case MakesName1:
      return 1;
    case Fd01:
      return 1 | 2;
    case Fd02:
      return 1 | 4;
    case Mmap:
      return 16;
    default:
      return 1 | 2 | 4 | 16;
  }
}

intercept::Verdict serve(intercept::Frame& frame, Process& process) {
  ThreadBlock* block = thread_block();
  if (PMEMFILE_UNLIKELY(block == nullptr)) {
    frame.set_result(-ENOMEM);
    return intercept::Verdict::Done;
  }
  Call call{frame, process, *block, frame.nr()};
  u32 outer = t_thread.in_call;
  for (;;) {
    t_thread.in_call = outer + 1;
    compiler_fence();
    bool published = is_multi_threaded() && !process.is_child_view && outer == 0 && may_name_numbers(call);
    if (published) publish_numbers(call, numbers_among(call.nr));
    // The kernel's answer to sigaltstack depends on where the thread stands.
    long result = outer != 0 || call.nr == SYS_sigaltstack ? dispatch(call)
                                                           : run_on_hook_stack(*block, frame.rsp(), dispatch_on_stack, &call);
    if (PMEMFILE_UNLIKELY(published)) withdraw_numbers(call);
    compiler_fence();
    t_thread.in_call = outer;
    if (PMEMFILE_UNLIKELY(load_relaxed(g_failed_mounts) != 0)) result = answer_of_failed_pool(call, result);
    if (PMEMFILE_UNLIKELY(outer == 0 && block->pending_count != 0)) {
      if (raise_pending(*block, call.nr, call.fd(0), result)) continue;
    }
    if (result == kPassOn) {
      // A child in our memory uses its parent's.
      if (call.nr == SYS_exit && !process.is_child_view && !load_relaxed(g_sandboxed)) free_thread_block();
      return intercept::Verdict::Pass;
    }
    count_served(call.nr);
    if (PMEMFILE_UNLIKELY(g_log_fd >= 0)) log_call(call, result);
    frame.set_result(result);
    return intercept::Verdict::Done;
  }
}

} // namespace

intercept::Verdict hook(intercept::Frame& frame) {
  u64 nr = frame.rax;
  if (nr >= kCalls) return intercept::Verdict::Pass;
  u8 filter = kFilters.of[nr];
  if (filter == Pass) return intercept::Verdict::Pass;
  if (is_guest()) return guest_call(frame);
  Process& process = current_process();
  if (filter == Path && answer_quickly(frame, process)) return intercept::Verdict::Done;
  if (!concerns_us(frame, process, filter)) return intercept::Verdict::Pass;
  return serve(frame, process);
}

ThreadBlock* thread_block() {
  ThreadBlock* block = t_thread.block;
  if (PMEMFILE_LIKELY(block != nullptr)) return block;
  // Mapped, not a part of our data: leak checkers read the data of all libraries, guard pages included.
  long room = raw_syscall(SYS_mmap, 0, sizeof(ThreadBlock), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_syscall_error(room)) return nullptr;
  block = reinterpret_cast<ThreadBlock*>(room);
  raw_syscall(SYS_mprotect, room, sizeof block->guard, PROT_NONE);
  block->in_flight = claim_in_flight();
  if (block->in_flight == nullptr) {
    raw_syscall(SYS_munmap, room, sizeof(ThreadBlock));
    return nullptr;
  }
  t_thread.block = block;
  return block;
}

void free_thread_block() {
  ThreadBlock* block = t_thread.block;
  if (block == nullptr) return;
  release_in_flight(*block->in_flight);
  free_groups(block->identity);
  t_thread.block = nullptr;
  raw_syscall(SYS_munmap, as_arg(block), sizeof(ThreadBlock));
}

void lock_briefly(u32& lock) {
  constexpr unsigned kSpins = 100; // less than the system call takes
  for (unsigned spin = 0; exchange(lock, 1u) != 0;) {
    while (load_relaxed(lock) != 0) {
      if (++spin % kSpins == 0)
        raw_syscall(SYS_sched_yield);
      else
        cpu_relax();
    }
  }
}

void lock_process(Process& process) {
  if (t_thread.forks_locked == 0) lock_briefly(process.lock); // not in a handler that came between the preparation of a fork and the fork
}
void unlock_process(Process& process) {
  if (t_thread.forks_locked == 0) unlock_briefly(process.lock);
}

vfs::Task make_task(Call& call, u32 mount) {
  vfs::Task task;
  task.pool = &call.pool(mount);
  call.block.task_mounts |= 1u << mount;
  task.credentials = &credentials_of(call.process, call.block);
  task.umask = call.process.umask;
  task.file_size_limit = load_relaxed(call.process.file_size_limit);
  task.root = Ino{task.pool->store().geometry.root_ino[0]};
  task.mount_point = g_mounts[mount].point;
  task.escape = call.block.escape;
  task.interrupted = &call.block.pending_count;
  return task;
}

} // namespace pmemfile::preload
