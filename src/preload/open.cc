// open, close, dup and fcntl.

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/children.h"
#include "preload/cwd.h"
#include "preload/descriptors.h"
#include "preload/handlers.h"
#include "preload/inflight.h"
#include "preload/names_of.h"
#include "preload/paths.h"
#include "preload/procfs.h"
#include "preload/stand_ins.h"

namespace pmemfile::preload {
namespace {

// A FIFO of a pool is a name for a kernel's FIFO that no path of the program leads to (stand_ins.h). ENXIO for sockets and
// devices.
Result<u64> open_fifo(Call& call, vfs::Task& task, const Place& place, int flags) {
  inode::Attr attr = TRY(vfs::resolve(task, place.at, vfs::Follow::kYes, place.itself));
  if (!S_ISFIFO(attr.mode)) return Error(ENXIO);
  int access = flags & O_ACCMODE;
  int wanted = access == O_RDONLY ? R_OK : access == O_WRONLY ? W_OK : R_OK | W_OK;
  if (!vfs::may_access(*task.credentials, attr, wanted)) return Error(EACCES);
  empty_stash(call.process);
  return open_fifo_of(*task.pool, Object{raw(attr.ino), attr.generation}, flags);
}

// open(2) on a pool: claims the number first, so that a failure needs nothing undone but the claim.
Result<u64> open_in_pool(Call& call, vfs::Task& task, const Place& place, int flags, u32 mode) {
  Process& process = call.process;
  u32 fd = TRY(claim_number(process, 0));
  Result<vfs::OpenResult> opened = vfs::open_at(task, place.at, flags, mode, fd);
  if (!opened.ok()) {
    give_back_number(process, fd);
    if (opened.error() == ENXIO) return open_fifo(call, task, place, flags);
    return Error(opened.error());
  }
  FdWord kernel_flag = load_relaxed(fd_entry(process, fd)) & kFdKernelCloexec;
  remember_name(process, fd, place.mount, place.at);
  set_fd_word(process, fd,
              file_word(place.mount, opened.value().description, kernel_flag | ((flags & O_CLOEXEC) != 0 ? kFdCloexec : 0)));
  return u64{fd};
}

constexpr long kLookAgain = -1000001; // internal

// The kernel's open of a path that leads into no pool. Somebody may have put a symlink there since that was found, so it is the kernel that sees to
// it: never in a hidden directory, not even for a moment (foundations H9). kPassOn: it is to do it as it stands.
long open_kernel_path(Call& call, int dirfd, const char* path, int flags, u64 mode, const Place& place) {
  empty_stash(call.process);
  if ((flags & O_PATH) != 0 && (flags & O_NOFOLLOW) != 0) return kPassOn;
  bool changes = (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) != O_RDONLY;
  if (place.resolved == nullptr) {
    if (!place.known) return kPassOn;
    if (changes) return kLookAgain;
    bool follows = (flags & O_NOFOLLOW) == 0;
    char one[1];
    long link = raw_syscall(SYS_readlinkat, dirfd, as_arg(path), as_arg(one), 1);
    return (link > 0 && follows) || (link < 0 && link != -EINVAL && !was_right(call, dirfd, path, link)) ? kLookAgain : kPassOn;
  }
  constexpr int kKnown = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC |
                         O_ASYNC | O_DIRECT | 0100000 /* O_LARGEFILE */ | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
  bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  open_how how{};
  how.flags = static_cast<u64>(flags & kKnown) | 0100000;
  if ((flags & O_PATH) != 0) how.flags = static_cast<u64>(flags & (O_PATH | O_DIRECTORY | O_CLOEXEC));
  how.mode = makes ? mode & 07777 : 0;
  how.resolve = RESOLVE_NO_SYMLINKS;
  long fd = wait_in_kernel(SYS_openat2, dirfd, as_arg(place.resolved), as_arg(&how), sizeof how, 0, 0);
  if (fd == -EINVAL || fd == -ENOSYS || fd == -EPERM) // an old kernel, a filter: as it stands
    return place.known && changes ? kLookAgain : kPassOn;
  if (fd != -ELOOP) return fd;
  char one[1];
  bool is_link = (flags & O_NOFOLLOW) != 0 && raw_syscall(SYS_readlinkat, dirfd, as_arg(place.resolved), as_arg(one), 1) > 0;
  return is_link ? -ELOOP : kLookAgain;
}

// What every flavour of open comes to.
long open_any(Call& call, int dirfd, const char* path, int flags, u64 mode, unsigned path_index) {
  unsigned options = (flags & O_NOFOLLOW) != 0 || ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) ? 0 : kFollowLast;
  options |= kLastIsChecked;
  bool rewritten = false;
  if ((flags & (O_CREAT | O_DIRECTORY | O_PATH)) == (O_CREAT | O_DIRECTORY)) return -EINVAL; // whatever the path is
  for (unsigned round = 0; round < 40; ++round) {
    Place place;
    long error = locate(call, dirfd, path, options, 0, place);
    if (error != 0) return error;
    if (place.special == Special::kProcMounts || place.special == Special::kProcMountinfo)
      return open_mount_list(call, place.special, flags);
    if (place.special == Special::kProcFdInfo) return open_fdinfo(call, place.descriptor, flags);
    if (!place.ours) {
      long fd = open_kernel_path(call, dirfd, path, flags, mode, place);
      if (fd == kPassOn && rewritten) fd = kernel_call_with_path(call, path_index, path);
      if (place.special == Special::kProcFdDir && !load_relaxed(g_sandboxed)) {
        if (fd == kPassOn) fd = call.kernel();
        if (fd >= 0) note_fd_directory(call.process, static_cast<int>(fd));
      }
      if (fd != kLookAgain) return fd;
      options = (options & ~kLastIsChecked) | kNeverKnown;
      continue;
    }
    bool makes = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    if (place.special == Special::kProcFdLink || place.special == Special::kProcCwd) return makes ? -EEXIST : -ELOOP;
    vfs::Task task = make_task(call, place.mount);
    Result<u64> opened = open_in_pool(call, task, place, flags, static_cast<u32>(mode & 07777));
    if (opened.error() != vfs::kEscaped) return to_long(opened);
    memcpy(call.block.rooms[0].path, call.block.escape, kPathBytes);
    path = call.block.rooms[0].path;
    dirfd = AT_FDCWD;
    rewritten = true;
    options &= ~kLastIsChecked;
  }
  return -ELOOP;
}

} // namespace

long h_open(Call& call) {
  return open_any(call, AT_FDCWD, call.pointer<const char>(0), call.fd(1), call.arg(2), 0);
}
long h_creat(Call& call) {
  return open_any(call, AT_FDCWD, call.pointer<const char>(0), O_CREAT | O_WRONLY | O_TRUNC, call.arg(1), 0);
}
long h_openat(Call& call) {
  return open_any(call, call.fd(0), call.pointer<const char>(1), call.fd(2), call.arg(3), 1);
}

// ---- openat2 ------------------------------------------------------------------------------------------------------

namespace {

bool has_dot_dot(const char* path) {
  for (const char* at = path; *at != '\0';) {
    if (at[0] == '.' && at[1] == '.' && (at[2] == '/' || at[2] == '\0')) return true;
    while (*at != '/' && *at != '\0') ++at;
    while (*at == '/') ++at;
  }
  return false;
}

// The argument as copy_struct_from_user() in Linux takes it: what a newer kernel may know has to be zero.
long take_how(Call& call, open_how& how) {
  u64 size = call.arg(3);
  if (size < sizeof how) return -EINVAL;
  if (size > 4096) return -E2BIG;
  auto* given = call.pointer<u8>(2);
  for (u64 at = sizeof how; at < size; ++at) {
    u8 more = 0;
    if (pmem::copy_guarded(&more, given + at, 1) != 0) return -EFAULT;
    if (more != 0) return -E2BIG;
  }
  return pmem::copy_guarded(&how, given, sizeof how) != 0 ? -EFAULT : 0;
}

// Is the directory that a relative path starts at one of ours?
bool starts_with_us(Call& call, int dirfd, const char* path) {
  if (path[0] == '/') return false;
  return dirfd == AT_FDCWD ? call.process.cwd.in_pool : is_file(fd_word(call.process, static_cast<u32>(dirfd)));
}

// RESOLVE_BENEATH and RESOLVE_IN_ROOT: the directory is all that the path may see.
long open_inside(Call& call, const open_how& how) {
  auto* path = call.pointer<const char>(1);
  Place base, place;
  long bytes = pmemfile_preload_strnlen(path, kPathBytes);
  if (bytes < 0) return bytes;
  if (bytes == 0) return -ENOENT;
  if (bytes == static_cast<long>(kPathBytes)) return -ENAMETOOLONG;
  long error = locate(call, call.fd(0), "", kAllowEmpty, 0, base);
  if (error != 0) return error;
  if (base.ours) {
    vfs::Task task = make_task(call, base.mount);
    place = base;
    place.itself = false;
    place.at.path = std::string_view(path, static_cast<u64>(bytes));
    task.root = place.at.dir;
    task.mount_point = {};
    task.resolve = how.resolve;
    return to_long(open_in_pool(call, task, place, static_cast<int>(how.flags), static_cast<u32>(how.mode)));
  }
  // From a directory of the kernel into a pool: as long as nothing on the way, or in the pool, points out of it again.
  const char* inside = path;
  if ((how.resolve & RESOLVE_IN_ROOT) != 0)
    while (*inside == '/') ++inside;
  if (inside[0] == '/' || inside[0] == '\0') return kPassOn;
  error = locate(call, call.fd(0), inside, kFollowLast | kNeverKnown, 0, place);
  if (error != 0) return error;
  if (!place.ours) return kPassOn;
  if ((how.resolve & RESOLVE_NO_XDEV) != 0) return -EXDEV;
  if (place.through_link || place.magic || has_dot_dot(inside)) return refuse(call, ENOSYS);
  vfs::Task task = make_task(call, place.mount);
  task.mount_point = "/\1"; // that no path names: every absolute symlink leaves
  task.resolve = how.resolve & ~u64{RESOLVE_BENEATH | RESOLVE_IN_ROOT};
  Result<u64> opened = open_in_pool(call, task, place, static_cast<int>(how.flags), static_cast<u32>(how.mode));
  return opened.error() == vfs::kEscaped ? refuse(call, ENOSYS) : to_long(opened);
}

// The other ways of resolving: what they forbid on the kernel's part of the path, then the pool's.
long open_restricted(Call& call, const open_how& how) {
  auto* path = call.pointer<const char>(1);
  int dirfd = call.fd(0);
  bool follows = (how.flags & O_NOFOLLOW) == 0 && (how.flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  for (unsigned round = 0; round < 40; ++round) {
    Place place;
    long error = locate(call, dirfd, path, (follows ? kFollowLast : 0) | kNeverKnown, 0, place);
    if (error != 0) return error;
    if (!place.ours) return round == 0 ? kPassOn : kernel_call_with_path(call, 1, path);
    if (place.special != Special::kNone) return -ELOOP;
    if (place.magic && (how.resolve & (RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)) != 0) return -ELOOP;
    if (place.through_link && (how.resolve & RESOLVE_NO_SYMLINKS) != 0) return -ELOOP;
    if (!starts_with_us(call, dirfd, path) && (how.resolve & RESOLVE_NO_XDEV) != 0) return -EXDEV;
    vfs::Task task = make_task(call, place.mount);
    task.resolve = how.resolve;
    Result<u64> opened = open_in_pool(call, task, place, static_cast<int>(how.flags), static_cast<u32>(how.mode));
    if (opened.error() != vfs::kEscaped) return to_long(opened);
    memcpy(call.block.rooms[0].path, call.block.escape, kPathBytes);
    path = call.block.rooms[0].path;
    dirfd = AT_FDCWD;
  }
  return -ELOOP;
}

} // namespace

long h_openat2(Call& call) {
  open_how how{};
  long error = take_how(call, how);
  if (error != 0) return error;
  Result<void> checked = vfs::check_open_how(how);
  if (!checked.ok()) return -checked.error();
  if (how.resolve == 0) return open_any(call, call.fd(0), call.pointer<const char>(1), static_cast<int>(how.flags), how.mode, 1);
  long fd = (how.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0 ? open_inside(call, how) : open_restricted(call, how);
  if (fd == kPassOn) empty_stash(call.process);
  return fd;
}

// The mount's descriptor tells the pool; the handle is what name_to_handle_at gave (attrs.cc).
namespace {
long open_handle(Call& call, const Place& mount) {
  struct {
    u32 bytes;
    i32 type;
    u64 ino, generation;
  } handle{};
  vfs::Task task = make_task(call, mount.mount);
  if ((task.credentials->capabilities & vfs::kCapDacReadSearch) == 0) return -EPERM;
  if (pmem::copy_guarded(&handle, call.pointer<void>(1), 8) != 0) return -EFAULT;
  if (handle.bytes == 0 || handle.bytes > 128) return -EINVAL;
  if (handle.type != 0x504d || handle.bytes != 16) return -ESTALE;
  if (pmem::copy_guarded(&handle, call.pointer<void>(1), sizeof handle) != 0) return -EFAULT;
  Place place;
  place.ours = place.itself = true;
  place.mount = mount.mount;
  place.at.dir = Ino{handle.ino};
  if (!task.pool->store().inode_in_range(place.at.dir)) return -ESTALE;
  Result<inode::Attr> attr = vfs::resolve(task, place.at, vfs::Follow::kNo, true);
  if (!attr.ok() || attr.value().generation != handle.generation) return -ESTALE;
  int flags = call.fd(2) & ~(O_CREAT | O_EXCL);
  Result<u64> fd = open_in_pool(call, task, place, flags, 0);
  return to_long(fd);
}
} // namespace

long h_open_by_handle_at(Call& call) {
  Place place;
  long error = locate(call, call.fd(0), "", kAllowEmpty, 0, place);
  if (error != 0) return error;
  if (place.ours) return open_handle(call, place);
  empty_stash(call.process);
  return kPassOn;
}

long h_close(Call& call) {
  u32 fd = static_cast<u32>(call.arg(0));
  FdWord word = settled_word(call.process, fd);
  if (word == 0) {
    forget_listings(call.process, fd, fd);
    note_kernel_close(call.process, fd);
    return kPassOn;
  }
  if (!is_file(word)) return -EBADF;
  return close_file(call, fd, word);
}

long h_close_range(Call& call) {
  u64 first = call.arg(0) & 0xffffffff, last = call.arg(1) & 0xffffffff;
  unsigned flags = static_cast<unsigned>(call.arg(2));
  constexpr unsigned kUnshare = 2, kSetCloexec = 4;
  if (first > last || (flags & ~(kUnshare | kSetCloexec)) != 0) return -EINVAL;
  // A table of one thread alone: as with unshare(2), ours has one for all of them.
  if ((flags & kUnshare) != 0 && is_multi_threaded()) return refuse(call, EINVAL);
  Process& process = call.process;
  u64 end = fd_words_end(process);
  u64 run = first; // start of a stretch without anything of ours
  for (u64 fd = first; fd <= last && fd < end; ++fd) {
    FdWord word = settled_word(process, fd);
    if (word == 0) continue;
    if (run < fd) raw_syscall(SYS_close_range, static_cast<long>(run), static_cast<long>(fd - 1), flags);
    run = fd + 1;
    if (!is_file(word)) continue;
    if ((flags & kSetCloexec) != 0)
      change_cloexec(process, static_cast<u32>(fd), true);
    else
      close_file(call, static_cast<u32>(fd), word);
  }
  if (run <= last) raw_syscall(SYS_close_range, static_cast<long>(run), static_cast<long>(last), flags);
  if ((flags & kSetCloexec) == 0) forget_listings(process, static_cast<u32>(first), static_cast<u32>(last));
  note_kernel_close(process, first);
  return 0;
}

namespace {

// A second descriptor of a file of ours, on the claimed or placed number `fd`.
long share_file(Call& call, FdWord word, u32 old_fd, u32 fd, bool cloexec) {
  Result<void> added = vfs::add_handle(call.pool(mount_of(word)), fd, description_of(word));
  if (!added.ok()) {
    give_back_number(call.process, fd);
    return -added.error();
  }
  copy_name(call.process, old_fd, fd);
  FdWord kernel_flag = load_relaxed(fd_entry(call.process, fd)) & kFdKernelCloexec;
  set_fd_word(call.process, fd, file_word(mount_of(word), description_of(word), kernel_flag | (cloexec ? kFdCloexec : 0)));
  return fd;
}

long duplicate(Call& call, FdWord word, u32 minimum, bool cloexec) {
  Result<u32> fd = claim_number(call.process, minimum);
  if (!fd.ok()) return -fd.error();
  return share_file(call, word, static_cast<u32>(call.arg(0)), fd.value(), cloexec);
}

// Takes the file's number, to make something else of it; `vacated`: what close_vacated is to be told. False: look again.
bool take_number(Call& call, u32 fd, FdWord word, bool insist, u32& vacated) {
  if (!change_fd_word(call.process, fd, word, kFdStashed | kFdClosing | kFdReplaced | (word & kFdKernelCloexec))) return false;
  Result<u32> handle = vacate_handle(call, fd, mount_of(word), insist);
  vacated = handle.ok() ? handle.value() : 0;
  if (PMEMFILE_LIKELY(handle.error() != ENFILE)) return true;
  // So many calls that use what the number was are under way: they go on now.
  store_full(fd_entry(call.process, fd), word);
  raw_syscall(SYS_sched_yield);
  return false;
}

// The kernel's descriptor onto the number of a file of ours.
long duplicate_from_kernel(Call& call, u32 from, u32 to, FdWord to_word, int flags, bool insist) {
  Process& process = call.process;
  if (long bad = raw_syscall(SYS_fcntl, from, F_GETFD); bad < 0) return bad;
  u32 vacated = 0;
  if (!take_number(call, to, to_word, insist, vacated)) return kLookAgain;
  long made = raw_syscall(SYS_dup3, from, to, flags);
  if (made >= 0) store_full(fd_entry(process, to), FdWord{0});
  else give_back_number(process, to); // another thread closed `from`
  close_vacated(call, to, mount_of(to_word), vacated);
  return made;
}

long duplicate_onto(Call& call, u32 from, u32 to, int flags, bool same_is_error, bool insist) {
  Process& process = call.process;
  FdWord from_word = settled_word(process, from), to_word = fd_word(process, to);
  for (unsigned tries = 0; (to_word & kFdClosing) != 0; ++tries) { // by another thread
    if (tries == 10000) return -EBUSY;
    raw_syscall(SYS_sched_yield);
    to_word = fd_word(process, to);
  }
  if ((flags & ~O_CLOEXEC) != 0) return -EINVAL;
  if (from == to) {
    if (same_is_error) return -EINVAL;
    if (from_word == 0) return kPassOn;
    return is_file(from_word) ? static_cast<long>(to) : -EBADF;
  }
  if (from_word != 0 && !is_file(from_word)) return -EBADF;
  if (from_word == 0 && to_word == 0) return kPassOn;
  if (to_word != 0 && (to_word & kFdInternal) != 0) {
    if (!evade_number(process, to)) return -EBUSY;
    to_word = 0;
  }
  if (from_word == 0) { // the kernel's onto ours
    if (is_file(to_word)) return duplicate_from_kernel(call, from, to, to_word, flags, insist);
    if ((to_word & kFdStashed) != 0) empty_stash(process);
    long made = raw_syscall(SYS_dup3, from, to, flags);
    return made == -EINVAL ? kPassOn : made;
  }
  if (is_file(to_word)) {
    u32 vacated = 0;
    if (!take_number(call, to, to_word, insist, vacated)) return kLookAgain;
    long shared = share_file(call, from_word, from, to, (flags & O_CLOEXEC) != 0);
    close_vacated(call, to, mount_of(to_word), vacated);
    return shared;
  }
  Result<void> placed = place_at(process, to);
  if (placed.error() == EAGAIN) return kLookAgain;
  if (!placed.ok()) return -placed.error();
  return share_file(call, from_word, from, to, (flags & O_CLOEXEC) != 0);
}

// What is remembered of a directory's listing goes along.
long duplicate_in_kernel(Call& call) {
  if (load_relaxed(call.process.listing_count) == 0) return kPassOn;
  long made = call.kernel();
  if (made >= 0) copy_listing(call.process, call.fd(0), static_cast<int>(made));
  return made;
}

} // namespace

long h_dup(Call& call) {
  FdWord word = call.file(0);
  if (word == 0) {
    empty_stash(call.process);
    return duplicate_in_kernel(call);
  }
  return is_file(word) ? duplicate(call, word, 0, false) : -EBADF;
}
namespace {
long duplicate_onto_argument(Call& call, int flags, bool same_is_error) {
  constexpr unsigned kTries = 10000;
  for (unsigned tries = 0;; ++tries) {
    long result = duplicate_onto(call, static_cast<u32>(call.arg(0)), static_cast<u32>(call.arg(1)), flags, same_is_error, tries >= kTries);
    if (result == kPassOn) return duplicate_in_kernel(call);
    if (result >= 0) copy_listing(call.process, call.fd(0), call.fd(1));
    if (result != kLookAgain) return result;
  }
}
} // namespace
long h_dup2(Call& call) { return duplicate_onto_argument(call, 0, false); }
long h_dup3(Call& call) { return duplicate_onto_argument(call, call.fd(2), true); }

// Calls of the kernel that make descriptors take the lowest numbers: the stash must not stand in their way.
long h_makes_descriptor(Call& call) {
  if (load_relaxed(call.process.stash_count) != 0) empty_stash(call.process);
  return kPassOn;
}

long h_fcntl(Call& call) {
  FdWord word = call.file(0);
  u32 fd = static_cast<u32>(call.arg(0));
  int command = call.fd(1);
  Process& process = call.process;
  if (word == 0) {
    if (command != F_DUPFD && command != F_DUPFD_CLOEXEC) return kPassOn;
    empty_stash(process);
    return duplicate_in_kernel(call);
  }
  if (!is_file(word)) return -EBADF;
  vfs::Pool& pool = call.pool(mount_of(word));
  constexpr int kGetWriteHint = 1035, kSetWriteHint = 1036; // F_GET_RW_HINT, F_SET_RW_HINT
  int flags = vfs::info(pool, description_of(word)).flags;
  // Of one that only names a file nothing else is to be had.
  if ((flags & O_PATH) != 0 && command != F_DUPFD && command != F_DUPFD_CLOEXEC && command != F_GETFD && command != F_SETFD && command != F_GETFL)
    return -EBADF;
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      if (call.arg(2) >= kMaxDescriptors) return -EINVAL;
      return duplicate(call, word, static_cast<u32>(call.arg(2)), command == F_DUPFD_CLOEXEC);
    case F_GETFD:
      return (word & kFdCloexec) != 0 ? FD_CLOEXEC : 0;
    case F_SETFD:
      return change_cloexec(process, fd, (call.arg(2) & FD_CLOEXEC) != 0) ? 0 : -EBADF;
    case F_GETFL:
      return (flags & O_PATH) != 0 ? flags : flags | 0100000; // O_LARGEFILE, as a 64-bit kernel has it
    case F_SETFL:
      return to_long(vfs::set_status_flags(pool, description_of(word), call.fd(2)));
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return record_lock(call, word, command);
    case F_GETOWN:
    case F_GETSIG:
    case F_SETOWN: // only of use with O_ASYNC, which regular files do not have
    case F_SETSIG:
    case F_SETOWN_EX:
      return 0;
    case F_GETOWN_EX: {
      const f_owner_ex nobody{F_OWNER_PID, 0};
      return pmem::copy_guarded(call.pointer<void>(2), &nobody, sizeof nobody) != 0 ? -EFAULT : 0;
    }
    case kGetWriteHint:
    case kSetWriteHint: { // advice; none is kept
      u64 hint = 0;
      if (command == kGetWriteHint) return pmem::copy_guarded(call.pointer<void>(2), &hint, sizeof hint) != 0 ? -EFAULT : 0;
      if (pmem::copy_guarded(&hint, call.pointer<void>(2), sizeof hint) != 0) return -EFAULT;
      return hint > 5 ? -EINVAL : 0;
    }
    case F_GETLEASE:
      return F_UNLCK;
    case F_SETLEASE:
      return refuse(call, EAGAIN);
    case F_NOTIFY:
      return refuse(call, EINVAL);
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
      return -EBADF;
    default:
      return refuse(call, EINVAL);
  }
}

} // namespace pmemfile::preload
