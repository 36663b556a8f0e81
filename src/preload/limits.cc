#include "preload/limits.h"

#include <signal.h>
#include <sys/resource.h>

#include "preload/attach.h"
#include "preload/descriptors.h"
#include "preload/handlers.h"

namespace pmemfile::preload {

void read_file_size_limit(Process& process) {
  rlimit limit{};
  long error = raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, as_arg(&limit));
  store_relaxed(process.file_size_limit, error == 0 ? limit.rlim_cur : ~u64{0});
}

// To this very thread, as the kernel sends it. It reaches the program's handler at the end of the call (signals.h).
long end_of_growth(const vfs::Task& task, long result) {
  if (PMEMFILE_LIKELY(!task.over_limit)) return result;
  siginfo_t info{};
  info.si_signo = SIGXFSZ;
  info.si_code = SI_USER;
  info.si_pid = static_cast<pid_t>(raw_syscall(SYS_getpid));
  info.si_uid = task.credentials->uid;
  raw_syscall(SYS_rt_tgsigqueueinfo, info.si_pid, raw_syscall(SYS_gettid), SIGXFSZ, as_arg(&info));
  return result;
}

namespace {

// A new limit of descriptors: numbers beyond it must not come from the stash, and our own is taken while it can be high.
// `concerns_us`: it is this process's that changes.
long new_limit(Call& call, u64 resource, u64 limit, bool concerns_us) {
  if (limit == 0 || !concerns_us) return kPassOn;
  // With a lower one it might not be possible any more.
  if (resource == RLIMIT_NOFILE || resource == RLIMIT_AS || resource == RLIMIT_DATA) attach_all(call.process);
  if (resource == RLIMIT_NOFILE) {
    take_placeholder(call.process);
    empty_stash(call.process);
  }
  if (resource != RLIMIT_FSIZE) return kPassOn;
  long result = call.kernel();
  if (call.process.common_known) read_file_size_limit(call.process);
  return result;
}

} // namespace

long h_setrlimit(Call& call) { return new_limit(call, call.arg(0) & 0xffffffff, call.arg(1), true); }
long h_prlimit64(Call& call) {
  u64 pid = call.arg(0) & 0xffffffff;
  bool own = pid == 0 || pid == static_cast<u64>(raw_syscall(SYS_getpid));
  return new_limit(call, call.arg(1) & 0xffffffff, call.arg(2), own);
}

} // namespace pmemfile::preload
