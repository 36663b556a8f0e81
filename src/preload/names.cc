// Names: making, removing, linking, moving, reading links.

#include <fcntl.h>
#include <stdio.h> // RENAME_*
#include <sys/stat.h>
#include <unistd.h>

#include "preload/handlers.h"
#include "preload/names_of.h"
#include "preload/paths.h"
#include "preload/procfs.h"
#include "preload/stand_ins.h"

namespace pmemfile::preload {
namespace {

// The verb by a path whose last component is not followed. On success of the kernel's call nothing of ours changes.
template <class Body>
long name_call(Call& call, int dirfd, unsigned path_index, Body&& body) {
  return at_path(call, dirfd, path_index, kNeverKnown | kIsName, [&](vfs::Task& task, Place& place) -> Result<void> {
    if (place.itself) return Error(EPERM); // an entry of /proc: nobody may change those
    return body(task, place);
  });
}

long mkdir_path(Call& call, int dirfd, unsigned index, u32 mode) {
  return name_call(call, dirfd, index, [&](vfs::Task& task, Place& place) { return vfs::mkdir_at(task, place.at, mode & 07777); });
}
long mknod_path(Call& call, int dirfd, unsigned index, u32 mode, u64 device) {
  return name_call(call, dirfd, index, [&](vfs::Task& task, Place& place) { return vfs::mknod_at(task, place.at, mode, device); });
}
// The mount point itself is busy, as every mount point.
bool is_mount_root(const vfs::Task& task, const Place& place) {
  if (place.at.path.empty() || place.at.path[0] != '/') return false;
  (void)task;
  for (char c : place.at.path)
    if (c != '/') return false;
  return true;
}
long unlink_path(Call& call, int dirfd, unsigned index, int flags) {
  return name_call(call, dirfd, index, [&](vfs::Task& task, Place& place) -> Result<void> {
    if ((flags & ~AT_REMOVEDIR) != 0) return Error(EINVAL);
    if (is_mount_root(task, place)) return Error((flags & AT_REMOVEDIR) != 0 ? EBUSY : EISDIR);
    if ((flags & AT_REMOVEDIR) != 0) return vfs::rmdir_at(task, place.at);
    TRY(vfs::unlink_at(task, place.at));
    if (PMEMFILE_UNLIKELY(task.gone.mode != 0)) remove_stand_in(*task.pool, task.gone);
    return {};
  });
}

} // namespace

long h_mkdir(Call& call) { return mkdir_path(call, AT_FDCWD, 0, static_cast<u32>(call.arg(1))); }
long h_mkdirat(Call& call) { return mkdir_path(call, call.fd(0), 1, static_cast<u32>(call.arg(2))); }
long h_mknod(Call& call) { return mknod_path(call, AT_FDCWD, 0, static_cast<u32>(call.arg(1)), call.arg(2)); }
long h_mknodat(Call& call) { return mknod_path(call, call.fd(0), 1, static_cast<u32>(call.arg(2)), call.arg(3)); }
long h_rmdir(Call& call) { return unlink_path(call, AT_FDCWD, 0, AT_REMOVEDIR); }
long h_unlink(Call& call) { return unlink_path(call, AT_FDCWD, 0, 0); }
long h_unlinkat(Call& call) { return unlink_path(call, call.fd(0), 1, call.fd(2)); }

// ---- Links ------------------------------------------------------------------------------------------------------

namespace {

// The target is text, wherever it leads.
long symlink_path(Call& call, int dirfd, unsigned index) {
  auto* target = call.pointer<const char>(0);
  long bytes = pmemfile_preload_strnlen(target, kPathBytes);
  if (bytes < 0) return bytes;
  forget_known_dirs(call.process);
  return name_call(call, dirfd, index, [&](vfs::Task& task, Place& place) -> Result<void> {
    if (bytes == 0) return Error(ENOENT);
    if (bytes == static_cast<long>(kPathBytes)) return Error(ENAMETOOLONG);
    return vfs::symlink_at(task, std::string_view(target, static_cast<u64>(bytes)), place.at);
  });
}

// readlink of what stands in /proc/self and leads to us: the path that the program knows it by.
Result<u64> read_proc_link(Call& call, const Place& place, char* user_buffer, u64 size) {
  char* text = call.block.link;
  u64 bytes = place.special == Special::kProcFdLink
                  ? TRY(path_of_descriptor(call, static_cast<u32>(place.descriptor), text, kPathBytes))
                  : TRY(path_of_dir(call, place.mount, call.process.cwd.ino, text, kPathBytes));
  bytes = min_of(bytes, size);
  if (pmem::copy_guarded(user_buffer, text, bytes) != 0) return Error(EFAULT);
  return bytes;
}

long readlink_path(Call& call, int dirfd, unsigned index, char* buffer, i64 size) {
  if ((size & 0xffffffff) == 0 || static_cast<i32>(size) < 0) return -EINVAL;
  Place probe;
  auto* path = call.pointer<const char>(index);
  long exe = read_own_exe(call, dirfd, path, buffer, static_cast<u64>(static_cast<i32>(size)));
  if (exe != kPassOn) return exe;
  return at_path(call, dirfd, index, kAllowEmpty | kTakesProcLinks, [&](vfs::Task& task, Place& place) -> Result<u64> {
    if (is_proc_link(place))
      return read_proc_link(call, place, buffer, static_cast<u64>(static_cast<i32>(size)));
    return vfs::readlink_at(task, place.at, place.itself, buffer, static_cast<u64>(static_cast<i32>(size)));
  });
}

} // namespace

long h_symlink(Call& call) { return symlink_path(call, AT_FDCWD, 1); }
long h_symlinkat(Call& call) { return symlink_path(call, call.fd(1), 2); }
long h_readlink(Call& call) {
  return readlink_path(call, AT_FDCWD, 0, call.pointer<char>(1), static_cast<i64>(call.arg(2)));
}
long h_readlinkat(Call& call) {
  return readlink_path(call, call.fd(0), 1, call.pointer<char>(2), static_cast<i64>(call.arg(3)));
}

// ---- Two paths ----------------------------------------------------------------------------------------------------

namespace {

struct PathArgument {
  int dirfd;
  unsigned index;
  unsigned options;
  const char* path; // as it stands now
  bool rewritten;
};

bool is_rename(const Call& call) { return call.nr == SYS_rename || call.nr == SYS_renameat || call.nr == SYS_renameat2; }

// What the kernel finds wrong with its side of a call between two mounts, by a call that cannot succeed: the other side is
// in /proc. EXDEV if nothing; a source of link is looked at before the target, which is there already.
int kernel_side_error(const Call& call, const PathArgument& kernels, bool is_target) {
  constexpr const char* kThere = "/proc/self/stat";
  if (raw_syscall(SYS_access, as_arg(kThere), F_OK) != 0) return EXDEV; // no /proc to try it with
  int flags = call.nr == SYS_linkat ? call.fd(4) : 0;
  long nr = is_rename(call) ? SYS_renameat : SYS_linkat;
  long result = is_target ? raw_syscall(nr, AT_FDCWD, as_arg(kThere), kernels.dirfd, as_arg(kernels.path), 0)
                          : raw_syscall(nr, kernels.dirfd, as_arg(kernels.path), AT_FDCWD, as_arg(kThere), flags);
  bool fine = !is_syscall_error(result) || result == -EPERM || (!is_target && result == -EEXIST);
  return fine ? EXDEV : static_cast<int>(-result);
}

// The same of our side: for rename its directory counts, for link the source itself, or that the new name is not there.
int our_side_error(Call& call, vfs::Task& task, const Place& place, const Result<inode::Attr>& found, bool is_target) {
  char buffer[256];
  if (is_rename(call)) {
    if (is_mount_root(task, place)) return EBUSY; // EXDEV would make mv copy the pool out and empty it
    return place.itself ? EXDEV : vfs::resolve_parent(task, place.at, buffer).error();
  }
  if (!is_target) return found.error();
  if (found.ok()) return EEXIST;
  return found.error() == ENOENT ? vfs::resolve_parent(task, place.at, buffer).error() : found.error();
}

// From one mount to another: EXDEV, unless something else is found before. The source is looked at first.
long between_mounts(Call& call, vfs::Task& task, const Place& place, const Result<inode::Attr>& found, const PathArgument* const (&both)[2],
                    unsigned ours) {
  for (unsigned i = 0; i < 2; ++i) {
    int error = i == ours ? our_side_error(call, task, place, found, i == 1) : kernel_side_error(call, *both[i], i == 1);
    if (error != 0 && error != EXDEV) return -error;
  }
  return -EXDEV;
}

// Runs `body(Task&, Place& from, Place& to)` if both lead into one pool, the kernel's call if none does.
template <class Body>
long two_paths(Call& call, PathArgument from, PathArgument to, Body&& body) {
  PathArgument* both[2] = {&from, &to};
  for (PathArgument* argument : both) argument->path = call.pointer<const char>(argument->index);
  for (unsigned round = 0; round < 40; ++round) {
    Place places[2];
    for (unsigned i = 0; i < 2; ++i) {
      long error = locate(call, both[i]->dirfd, both[i]->path, both[i]->options | kNeverKnown, i, places[i]);
      if (error != 0) return error;
    }
    if (!places[0].ours && !places[1].ours) {
      if (!from.rewritten && !to.rewritten) return kPassOn;
      long args[6];
      for (unsigned i = 0; i < 6; ++i) args[i] = static_cast<long>(call.arg(i));
      for (PathArgument* argument : both) args[argument->index] = as_arg(argument->path);
      return raw_syscall(call.nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    }
    if (!places[0].ours || !places[1].ours || places[0].mount != places[1].mount) {
      // The pool's side may still lead out of it; that shows when it is resolved.
      unsigned ours = places[0].ours ? 0 : 1;
      vfs::Task task = make_task(call, places[ours].mount);
      vfs::Follow follow = (both[ours]->options & kFollowLast) != 0 ? vfs::Follow::kYes : vfs::Follow::kNo;
      Result<inode::Attr> found = vfs::resolve(task, places[ours].at, follow, places[ours].itself);
      if (found.error() != vfs::kEscaped) {
        if (places[1 - ours].ours) return is_rename(call) || found.ok() ? -EXDEV : -found.error(); // two pools
        return between_mounts(call, task, places[ours], found, {both[0], both[1]}, ours);
      }
      memcpy(call.block.rooms[ours].path, call.block.escape, kPathBytes);
      both[ours]->path = call.block.rooms[ours].path;
      both[ours]->rewritten = true;
      both[ours]->dirfd = AT_FDCWD;
      continue;
    }
    vfs::Task task = make_task(call, places[0].mount);
    Result<void> done = body(task, places[0], places[1]);
    if (done.error() != vfs::kEscaped) return to_long(done);
    PathArgument& left = *both[task.escaped_argument & 1];
    char* copy = call.block.rooms[task.escaped_argument & 1].path;
    memcpy(copy, call.block.escape, kPathBytes);
    left.path = copy;
    left.rewritten = true;
    left.dirfd = AT_FDCWD;
  }
  return -ELOOP;
}

long rename_paths(Call& call, PathArgument from, PathArgument to, unsigned flags) {
  if ((flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT}) != 0) return -EINVAL;
  if ((flags & RENAME_EXCHANGE) != 0 && flags != RENAME_EXCHANGE) return -EINVAL;
  forget_known_dirs(call.process); // what is moved may be a symlink
  return two_paths(call, from, to, [&](vfs::Task& task, Place& source, Place& target) -> Result<void> {
    if (source.itself || target.itself) return Error(EPERM);
    if (is_mount_root(task, source) || is_mount_root(task, target)) return Error(EBUSY);
    TRY(vfs::rename_at(task, source.at, target.at, flags));
    if (PMEMFILE_UNLIKELY(task.gone.mode != 0)) remove_stand_in(*task.pool, task.gone);
    return {};
  });
}

long link_paths(Call& call, PathArgument from, PathArgument to, int flags) {
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) return -EINVAL;
  from.options = ((flags & AT_SYMLINK_FOLLOW) != 0 ? kFollowLast : 0) | ((flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
  return two_paths(call, from, to, [&](vfs::Task& task, Place& source, Place& target) -> Result<void> {
    if (target.itself) return Error(EEXIST);
    if (source.special != Special::kNone) return Error(EXDEV); // the symlink in /proc itself
    return vfs::link_at(task, source.at, target.at, (flags & AT_SYMLINK_FOLLOW) != 0 ? vfs::Follow::kYes : vfs::Follow::kNo,
                        source.itself);
  });
}

} // namespace

long h_rename(Call& call) {
  return rename_paths(call, {AT_FDCWD, 0, kIsName, nullptr, false}, {AT_FDCWD, 1, kIsName, nullptr, false}, 0);
}
long h_renameat(Call& call) {
  return rename_paths(call, {call.fd(0), 1, kIsName, nullptr, false}, {call.fd(2), 3, kIsName, nullptr, false}, 0);
}
long h_renameat2(Call& call) {
  return rename_paths(call, {call.fd(0), 1, kIsName, nullptr, false}, {call.fd(2), 3, kIsName, nullptr, false}, static_cast<unsigned>(call.arg(4)));
}
long h_link(Call& call) {
  return link_paths(call, {AT_FDCWD, 0, 0, nullptr, false}, {AT_FDCWD, 1, kIsName, nullptr, false}, 0);
}
long h_linkat(Call& call) {
  return link_paths(call, {call.fd(0), 1, 0, nullptr, false}, {call.fd(2), 3, kIsName, nullptr, false}, call.fd(4));
}

} // namespace pmemfile::preload
