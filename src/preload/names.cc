// Names: making, removing, linking, moving, reading links.

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h> // RENAME_*
#include <sys/stat.h>
#include <unistd.h>

#include "preload/handlers.h"
#include "preload/known.h"
#include "preload/names_of.h"
#include "preload/paths.h"
#include "preload/procfs.h"
#include "preload/stand_ins.h"

namespace pmemfile::preload {
namespace {

// ---- On the kernel's side ------------------------------------------------------------------------------------------

// The directory of a name of the kernel's: somebody may turn it into a way into a pool at any moment, so it is opened, without symlinks, and the
// name is made or removed in what was opened: never in a hidden directory (foundations H9).
class KernelDir {
 public:
  KernelDir(int dirfd, const char* path) : fd_(dirfd), name_(path) {
    u64 bytes = strlen(path), last = bytes;
    while (last != 0 && path[last - 1] == '/') --last;
    last = path_bytes_without_last(path, last);
    char text[kPathBytes];
    if (last == 0) return; // in the directory where the path begins
    memcpy(text, path, last);
    text[last] = '\0';
    open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_NO_SYMLINKS;
    long opened = raw_syscall(SYS_openat2, dirfd, as_arg(text), as_arg(&how), sizeof how);
    error_ = opened < 0 ? opened : 0;
    opened_ = opened >= 0;
    fd_ = opened_ ? static_cast<int>(opened) : dirfd;
    name_ += last;
  }
  ~KernelDir() {
    if (opened_) raw_syscall(SYS_close, fd_);
  }
  KernelDir(const KernelDir&) = delete;
  KernelDir& operator=(const KernelDir&) = delete;
  int fd() const { return fd_; }
  const char* name() const { return name_; }
  bool has_moved() const { return error_ == -ELOOP; }
  // kPassOn: it cannot be had, but perhaps by who does without.
  long error() const {
    bool certain = error_ == 0 || error_ == -ENOENT || error_ == -ENOTDIR || error_ == -EACCES;
    return certain ? error_ : kPassOn;
  }

 private:
  int fd_;
  const char* name_;
  long error_ = 0;
  bool opened_ = false;
};

constexpr unsigned kMaxRounds = 40;
constexpr long kMoved = -1000002; // internal
constexpr unsigned kOfNames = kNeverKnown | kIsName;

// The verb by a path whose last component is not followed: in a pool, or `in_kernel(directory, name)`.
template <class Kernel, class Body>
long name_call(Call& call, int dirfd, unsigned path_index, Kernel&& in_kernel, Body&& body) {
  auto* path = call.pointer<const char>(path_index);
  bool rewritten = false;
  unsigned asks = kCallerAsks;
  for (unsigned round = 0; round < kMaxRounds; ++round) {
    Place place;
    long error = locate(call, dirfd, path, kOfNames | asks, 0, place);
    if (error != 0) return error;
    if (!place.ours) {
      long done = place.resolved == nullptr ? kPassOn : kMoved;
      if (done == kMoved) {
        KernelDir dir(dirfd, place.resolved);
        done = dir.has_moved() ? kMoved : dir.error() != 0 ? dir.error() : in_kernel(dir.fd(), dir.name());
      }
      bool asked = asks == 0 || place.resolved == nullptr;
      asks = 0;
      if (done == kMoved || (done == kPassOn && !asked)) continue;
      return done == kPassOn && rewritten ? kernel_call_with_path(call, path_index, path) : done;
    }
    if (is_proc_link(place)) return rewritten ? -EPERM : kPassOn;
    if (place.itself) return -EPERM; // an entry of /proc: nobody may change those
    vfs::Task task = make_task(call, place.mount);
    Result<void> result = body(task, place);
    if (result.error() != vfs::kEscaped) return to_long(result);
    memcpy(call.block.rooms[0].path, call.block.escape, kPathBytes);
    path = call.block.rooms[0].path;
    dirfd = AT_FDCWD;
    rewritten = true;
  }
  return -ELOOP;
}

long mkdir_path(Call& call, int dirfd, unsigned index, u32 mode) {
  return name_call(
      call, dirfd, index, [&](int dir, const char* name) { return raw_syscall(SYS_mkdirat, dir, as_arg(name), mode); },
      [&](vfs::Task& task, Place& place) { return vfs::mkdir_at(task, place.at, mode & 07777); });
}
long mknod_path(Call& call, int dirfd, unsigned index, u32 mode, u64 device) {
  return name_call(
      call, dirfd, index, [&](int dir, const char* name) { return raw_syscall(SYS_mknodat, dir, as_arg(name), mode, static_cast<long>(device)); },
      [&](vfs::Task& task, Place& place) { return vfs::mknod_at(task, place.at, mode, device); });
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
  auto in_kernel = [&](int dir, const char* name) { return raw_syscall(SYS_unlinkat, dir, as_arg(name), flags); };
  return name_call(call, dirfd, index, in_kernel, [&](vfs::Task& task, Place& place) -> Result<void> {
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
  auto in_kernel = [&](int dir, const char* name) { return raw_syscall(SYS_symlinkat, as_arg(target), dir, as_arg(name)); };
  return name_call(call, dirfd, index, in_kernel, [&](vfs::Task& task, Place& place) -> Result<void> {
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

bool ends_with_slash(const char* path) { return path[0] != '\0' && path[strlen(path) - 1] == '/'; }
bool same_text(const char* a, const char* b, u64 bytes) { return strlen(a) >= bytes && memcmp(a, b, bytes) == 0; }

// Both names are the kernel's.
long two_names_in_kernel(Call& call, const PathArgument& from, const PathArgument& to, const Place (&places)[2]) {
  if (places[0].resolved == nullptr || places[1].resolved == nullptr) return kPassOn;
  KernelDir source(from.dirfd, places[0].resolved);
  u64 dir_bytes = static_cast<u64>(source.name() - places[0].resolved);
  // Mostly it is one directory.
  bool same = from.dirfd == to.dirfd && dir_bytes != 0 && same_text(places[1].resolved, places[0].resolved, dir_bytes) &&
              path_bytes_without_last(places[1].resolved, strlen(places[1].resolved)) == dir_bytes;
  KernelDir target(same ? source.fd() : to.dirfd, same ? places[1].resolved + dir_bytes : places[1].resolved);
  if (source.has_moved() || target.has_moved()) return kMoved;
  if (source.error() != 0) return source.error();
  if (target.error() != 0) return target.error();
  if (!is_rename(call)) return raw_syscall(SYS_linkat, source.fd(), as_arg(source.name()), target.fd(), as_arg(target.name()), 0);
  long flags = call.nr == SYS_renameat2 ? static_cast<long>(call.arg(4)) : 0;
  return raw_syscall(SYS_renameat2, source.fd(), as_arg(source.name()), target.fd(), as_arg(target.name()), flags);
}

// Runs `body(Task&, Place& from, Place& to)` if both lead into one pool, the kernel's call if none does.
template <class Body>
long two_paths(Call& call, PathArgument from, PathArgument to, Body&& body) {
  PathArgument* both[2] = {&from, &to};
  for (PathArgument* argument : both) argument->path = call.pointer<const char>(argument->index);
  char* const resolved[2] = {call.block.rooms[0].todo + kPathBytes, call.block.rooms[1].todo + kPathBytes};
  unsigned asks = kCallerAsks;
  for (unsigned round = 0; round < kMaxRounds; ++round) {
    Place places[2];
    for (unsigned i = 0; i < 2; ++i) {
      unsigned options = both[i]->options | kNeverKnown | ((both[i]->options & kFollowLast) != 0 ? 0 : asks);
      long error = locate(call, both[i]->dirfd, both[i]->path, options, i, places[i]);
      if (error != 0) return error;
      if (places[i].resolved != nullptr && places[i].resolved != both[i]->path) { // the next walk needs the room
        memcpy(resolved[i], places[i].resolved, strlen(places[i].resolved) + 1);
        places[i].resolved = resolved[i];
      }
    }
    if (!places[0].ours && !places[1].ours) {
      // A source that is more than a name: "link/", or what a symlink leads to.
      bool follows_source = (from.options & (kFollowLast | kAllowEmpty)) != 0 || (!is_rename(call) && ends_with_slash(from.path));
      long done = follows_source ? kPassOn : two_names_in_kernel(call, from, to, places);
      bool asked = asks == 0;
      asks = 0;
      if (done == kMoved || (done == kPassOn && !asked)) continue;
      if (done != kPassOn) return done;
      if (!from.rewritten && !to.rewritten) return kPassOn;
      long args[6];
      for (unsigned i = 0; i < 6; ++i) args[i] = static_cast<long>(call.arg(i));
      for (PathArgument* argument : both) args[argument->index] = as_arg(argument->path);
      return raw_syscall(call.nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    }
    if (asks != 0 && !(places[0].ours && places[1].ours)) { // the kernel's is not certain yet
      asks = 0;
      continue;
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
