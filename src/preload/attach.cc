#include "preload/attach.h"

#include <signal.h>
#include <sys/resource.h>

#include "preload/config.h"
#include "preload/descriptors.h"

namespace pmemfile::preload {
namespace {

u32 g_attaching; // lock of attach_now; a child in our memory is alone with its Process and does not take it

// Limits of the program that are not meant for us: while this lives, files may be large (a V that is made) and descriptors
// many. What cannot be raised ends in an error of the call, not in a signal.
class RaisedLimits {
 public:
  RaisedLimits() {
    raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, as_arg(&descriptors_));
    raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, as_arg(&file_size_));
    // All that the program may have may be in use.
    raise(RLIMIT_NOFILE, descriptors_, descriptors_.rlim_cur + kEnoughDescriptors);
    raise(RLIMIT_FSIZE, file_size_, RLIM_INFINITY);
    u64 ignore[4] = {1};
    if (is_small()) raw_syscall(SYS_rt_sigaction, SIGXFSZ, as_arg(ignore), as_arg(action_), 8);
  }
  ~RaisedLimits() {
    if (is_small()) raw_syscall(SYS_rt_sigaction, SIGXFSZ, as_arg(action_), 0, 8);
    if (is_small()) raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, as_arg(&file_size_), 0);
    raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, as_arg(&descriptors_), 0);
  }
  RaisedLimits(const RaisedLimits&) = delete;
  RaisedLimits& operator=(const RaisedLimits&) = delete;

 private:
  static constexpr u64 kEnoughDescriptors = 64;
  bool is_small() const { return file_size_.rlim_cur != RLIM_INFINITY; }
  static void raise(int resource, const struct rlimit& saved, u64 wanted) {
    if (saved.rlim_cur >= wanted) return;
    struct rlimit raised{wanted, max_of<u64>(wanted, saved.rlim_max)};
    if (raw_syscall(SYS_prlimit64, 0, resource, as_arg(&raised), 0) == 0) return;
    raised = {saved.rlim_max, saved.rlim_max}; // without privilege
    raw_syscall(SYS_prlimit64, 0, resource, as_arg(&raised), 0);
  }
  struct rlimit descriptors_, file_size_;
  u64 action_[4];
};

vfs::Pool* attach(u32 mount) {
  RaisedLimits raised;
  vfs::AttachFailure failure{};
  vfs::AttachOptions options;
  options.shm_dir = g_config.shm_dir;
  Result<vfs::Pool*> pool = vfs::Pool::attach(g_mounts[mount].pool_path, options, &failure);
  if (!pool.ok() && (pool.error() == EACCES || pool.error() == EROFS)) {
    options.read_only = true;
    vfs::AttachFailure second{};
    Result<vfs::Pool*> read_only = vfs::Pool::attach(g_mounts[mount].pool_path, options, &second);
    if (read_only.ok()) pool = read_only;
  }
  if (!pool.ok()) give_up("cannot mount a pool", g_mounts[mount].point, failure.text);
  return pool.value();
}

} // namespace

void configure_pool(Process& process, u32 mount) {
  vfs::Pool& pool = *process.pools[mount];
  pool.set_atomic_data(g_config.atomic_data);
  if (g_config.force_flush) pool.force_flush();
  for (int fd : {pool.pool_fd(), pool.segment_fd(), pool.token_fd()}) hide_descriptor(process, fd);
}

__attribute__((noinline, cold)) vfs::Pool& attach_now(Process& process, u32 mount) {
  bool alone = process.is_child_view;
  while (!alone && exchange(g_attaching, 1u) != 0) raw_syscall(SYS_sched_yield);
  if (process.pools[mount] == nullptr) {
    store_release(process.pools[mount], attach(mount));
    configure_pool(process, mount);
  }
  if (!alone) store_release(g_attaching, 0u);
  return *process.pools[mount];
}

void attach_all(Process& process) {
  for (u32 i = 0; i < g_mount_count; ++i) pool_of(process, i);
}

void start_pools() {
  for (u32 i = 0; i < g_mount_count; ++i) {
    if (g_process.pools[i] != nullptr) {
      configure_pool(g_process, i);
    } else if (g_config.report != nullptr || g_mounts[i].pool_path[0] != '/') {
      // The report tells how each pool is used; a relative path means something else after the next chdir.
      attach_now(g_process, i);
    } else {
      vfs::AttachFailure failure{};
      if (!vfs::Pool::check(g_mounts[i].pool_path, &failure).ok()) give_up("cannot mount a pool", g_mounts[i].point, failure.text);
    }
  }
}

} // namespace pmemfile::preload
