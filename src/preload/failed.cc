#include "preload/failed.h"

#include <fcntl.h>
#include <signal.h>

#include "preload/config.h"
#include "preload/descriptors.h"
#include "preload/maps.h"

namespace pmemfile::preload {

u32 g_failed_mounts;

namespace {

enum State : u32 { kSound, kCutting, kCut };
u32 g_states[kMaxMounts];

void tell(u32 mount) {
  if (g_config.report == nullptr) return; // otherwise standard error is the program's
  FixedText<512> text;
  text << "pmemfile: " << g_mounts[mount].point << ": the medium of " << g_mounts[mount].pool_path
       << " failed: calls on it end with EIO in this process\n";
  text.write_to(2);
}

bool cut_off(u32 mount) {
  // Before others may give the blocks to somebody else.
  detach_mappings(mount);
  if (!current_process().pools[mount]->cut_off()) return false;
  fetch_or(g_failed_mounts, 1u << mount);
  tell(mount);
  return true;
}

bool keeps_its_result(const Call& call) {
  switch (call.nr) {
    case SYS_close:
    case SYS_close_range:
    case SYS_dup:
    case SYS_dup2:
    case SYS_dup3:
    case SYS_munmap:
    case SYS_exit:
    case SYS_exit_group:
    case SYS_fork:
    case SYS_vfork:
    case SYS_clone:
    case SYS_clone3:
    case SYS_execve:
    case SYS_execveat:
    case SYS_rt_sigaction:
    case SYS_rt_sigprocmask:
    case SYS_sigaltstack:
      return true;
    case SYS_fcntl: {
      int command = call.fd(1);
      return command <= F_SETFL || command == F_DUPFD_CLOEXEC;
    }
    default:
      return false;
  }
}

bool concerns_failed_pool(const Call& call) {
  u32 failed = load_relaxed(g_failed_mounts);
  if ((call.block.task_mounts & failed) != 0) return true;
  FdWord word = call.file(0);
  return is_file(word) && (failed >> mount_of(word) & 1) != 0;
}

} // namespace

bool survive_pool_fault(int signal, u64 address) {
  if (t_thread.in_call == 0) return false;
  for (u32 i = 0; i < g_mount_count; ++i) {
    vfs::Pool* pool = current_process().pools[i];
    if (pool == nullptr || !pool->maps(address)) continue;
    u32 state = kSound;
    if (signal == SIGBUS && compare_exchange(g_states[i], state, static_cast<u32>(kCutting))) {
      bool cut = cut_off(i);
      store_release(g_states[i], static_cast<u32>(cut ? kCut : kSound));
      return cut;
    }
    if (state == kSound) return false;
    // Another thread is at it, or has done it: the page is there now. V may have been cut short: what is missing is zeros.
    bool was_cut = state == kCut;
    while (load_acquire(g_states[i]) == kCutting) raw_syscall(SYS_sched_yield);
    if (signal == SIGBUS && was_cut) (void)pool->mend_segment_page(address);
    return load_acquire(g_states[i]) == kCut;
  }
  return false;
}

long answer_of_failed_pool(Call& call, long result) {
  bool concerned = concerns_failed_pool(call);
  call.block.task_mounts = 0;
  if (!concerned || result == kPassOn || keeps_its_result(call)) return result;
  bool made_a_number = call.nr == SYS_open || call.nr == SYS_openat || call.nr == SYS_creat || call.nr == SYS_openat2;
  FdWord word = made_a_number && result >= 0 ? fd_word(call.process, static_cast<u64>(result)) : 0;
  if (is_file(word)) (void)close_file(call, static_cast<u32>(result), word);
  return -EIO;
}

} // namespace pmemfile::preload
