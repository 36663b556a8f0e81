#include "preload/cwd.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "preload/descriptors.h"
#include "preload/handlers.h"
#include "preload/names_of.h"
#include "preload/paths.h"

namespace pmemfile::preload {
namespace {

// Sends the kernel's working directory to an empty directory that is removed at once.
Result<void> hide_kernel_cwd() {
  const char* const bases[] = {"/dev/shm", "/tmp", "/var/tmp", "/run"};
  u64 random[1] = {};
  raw_syscall(SYS_getrandom, as_arg(random), sizeof random, 1 /* GRND_NONBLOCK */);
  int last_error = ENOENT;
  for (const char* base : bases) {
    FixedText<96> name;
    name << base << "/.pmemfile-cwd-";
    name.hex(random[0] ^ static_cast<u64>(raw_syscall(SYS_gettid)));
    long made = raw_syscall(SYS_mkdir, as_arg(name.c_str()), 0700);
    if (made < 0) {
      last_error = static_cast<int>(-made);
      continue;
    }
    long entered = raw_syscall(SYS_chdir, as_arg(name.c_str()));
    raw_syscall(SYS_rmdir, as_arg(name.c_str()));
    if (entered == 0) return {};
    last_error = static_cast<int>(-entered);
  }
  return Error(last_error);
}

} // namespace

// Other threads look without a lock: from one directory of a pool to the next there is no moment without one.
Result<void> enter_pool_dir(Call& call, u32 mount, Ino dir) {
  Process& process = call.process;
  Locked locked(process);
  Cwd before = process.cwd;
  if (!before.in_pool) TRY(hide_kernel_cwd());
  u32 turn = before.in_pool ? 1 - before.turn : 0;
  Result<void> held = vfs::hold_dir(call.pool(mount), dir, kCwdHandle + turn);
  if (!held.ok()) {
    if (!before.in_pool) raw_syscall(SYS_chdir, as_arg("/")); // never a hidden directory without ours in front of it
    return held;
  }
  if (before.mount != mount) store_release(process.cwd.in_pool, false); // of another pool, the number would be another directory
  process.cwd.mount = mount;
  process.cwd.turn = turn;
  store_release(process.cwd.ino, dir);
  ++process.cwd.generation;
  store_release(process.cwd.in_pool, true);
  if (before.in_pool) (void)vfs::close_handle(call.pool(before.mount), before.handle());
  return {};
}

void leave_pool_dir(Process& process) {
  Locked locked(process);
  ++process.cwd.generation;
  if (!process.cwd.in_pool) return;
  process.cwd.in_pool = false;
  (void)vfs::close_handle(*process.pools[process.cwd.mount], process.cwd.handle());
}

bool evade_number(Process& process, u32 fd) {
  if (process.placeholder != static_cast<int>(fd)) return false;
  int moved = static_cast<int>(raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 901));
  if (moved < 0) return false;
  process.placeholder = moved;
  unhide_descriptor(process, static_cast<int>(fd));
  hide_descriptor(process, moved);
  return true;
}

long h_chdir(Call& call) {
  bool in_kernel = true;
  long result = at_path(call, AT_FDCWD, 0, kFollowLast | kNeverKnown, [&](vfs::Task& task, Place& place) -> Result<void> {
    inode::Attr attr = TRY(vfs::resolve(task, place.at, vfs::Follow::kYes, place.itself));
    if (!S_ISDIR(attr.mode)) return Error(ENOTDIR);
    if (!vfs::may_access(*task.credentials, attr, X_OK)) return Error(EACCES);
    TRY(enter_pool_dir(call, place.mount, attr.ino));
    in_kernel = false;
    return {};
  });
  if (result == kPassOn) result = call.kernel();
  if (result == 0 && in_kernel) leave_pool_dir(call.process);
  return result;
}

long h_fchdir(Call& call) {
  FdWord word = call.file(0);
  if (word == 0) {
    long result = call.kernel();
    if (result == 0) leave_pool_dir(call.process);
    return result;
  }
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  if (!S_ISDIR(info.mode)) return -ENOTDIR;
  Result<inode::Attr> attr = vfs::resolve(task, vfs::At{info.ino, {}}, vfs::Follow::kNo, true);
  if (!attr.ok()) return -attr.error();
  if (!vfs::may_access(*task.credentials, attr.value(), X_OK)) return -EACCES;
  return to_long(enter_pool_dir(call, mount_of(word), info.ino));
}

long h_getcwd(Call& call) {
  const Cwd& cwd = call.process.cwd;
  if (!cwd.in_pool) return kPassOn;
  char* text = call.block.link;
  Result<u64> bytes = path_of_dir(call, cwd.mount, cwd.ino, text, kPathBytes);
  if (!bytes.ok()) return -bytes.error();
  u64 size = bytes.value() + 1;
  if (call.arg(1) < size) return -ERANGE;
  if (pmem::copy_guarded(call.pointer<void>(0), text, size) != 0) return -EFAULT;
  return static_cast<long>(size);
}

// A root inside a pool would leave the program without its kernel files.
long h_chroot(Call& call) {
  Place place;
  long error = locate(call, AT_FDCWD, call.pointer<const char>(0), kFollowLast | kNeverKnown, 0, place);
  if (error != 0) return error;
  if (place.ours) return refuse(call, EPERM);
  forget_known_dirs(call.process); // the same names mean something else
  return kPassOn;
}

} // namespace pmemfile::preload
