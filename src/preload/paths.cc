#include "preload/paths.h"

#include <fcntl.h>

#include "preload/known.h"
#include "preload/procfs.h"

namespace pmemfile::preload {
namespace {

constexpr unsigned kMaxSymlinks = 40;

bool equal(const char* a, std::string_view b, u64 a_bytes) {
  return a_bytes == b.size() && memcmp(a, b.data(), a_bytes) == 0;
}

bool starts_with(const char* text, std::string_view prefix) {
  return pmemfile_preload_match(text, prefix.data(), prefix.size()) == 1;
}

u32 own_pid() { return static_cast<u32>(raw_syscall(SYS_getpid)); }

// ---- Walking a kernel path by components ---------------------------------------------------------------------

struct Walk {
  Call& call;
  char* done;       // absolute, canonical, without trailing '/'; "" is the root
  u64 done_bytes;
  char* todo;       // the rest of the path
  u64 todo_capacity;
  unsigned symlinks;
  bool plain;
  bool missing;  // a directory on the way was not to be had
  bool own_proc; // came through /proc/<this process>
  bool slash;    // the path ends with '/'
};

// Puts `target` (a symlink's) in front of what is left to do.
bool prepend(Walk& walk, const char* target, u64 bytes, const char* rest) {
  u64 rest_bytes = strlen(rest);
  if (bytes + 1 + rest_bytes + 1 > walk.todo_capacity) return false;
  memmove(walk.todo + bytes + 1, rest, rest_bytes + 1);
  memcpy(walk.todo, target, bytes);
  walk.todo[bytes] = '/';
  if (rest_bytes == 0) {
    walk.todo[bytes] = '\0';
    walk.slash |= target[bytes - 1] == '/';
  }
  if (target[0] == '/') walk.done_bytes = 0;
  return true;
}

// The number that a path component is, or -1.
i32 parse_number(const char* text, u64 bytes) {
  if (bytes == 0 || bytes > 9) return -1;
  i32 value = 0;
  for (u64 i = 0; i < bytes; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

// If `done` is /proc/<this process>[/task/N], what follows it; else null.
const char* own_proc_part(const char* done) {
  if (!starts_with(done, "/proc/")) return nullptr;
  const char* at = done + 6;
  u64 digits = 0;
  while (at[digits] >= '0' && at[digits] <= '9') ++digits;
  if (digits == 0 || static_cast<u32>(parse_number(at, digits)) != own_pid()) return nullptr;
  at += digits;
  if (starts_with(at, "/task/")) {
    at += 6;
    while (*at >= '0' && *at <= '9') ++at;
  }
  return at;
}

void set_ours(Place& place, u32 mount, Ino dir, std::string_view path, bool itself) {
  place.ours = true;
  place.mount = mount;
  place.at = vfs::At{dir, path};
  place.itself = itself;
}

Ino root_of(Call& call, u32 mount) {
  return Ino{call.pool(mount).store().geometry.root_ino[0]};
}

// The magic links of /proc/self that lead to something of ours. `rest` begins behind the component.
bool take_own_proc(Walk& walk, const char* rest, bool follow, Place& place) {
  walk.done[walk.done_bytes] = '\0';
  const char* part = own_proc_part(walk.done);
  if (part == nullptr) return false;
  walk.own_proc = true;
  while (*rest == '/') ++rest;
  bool last = *rest == '\0';
  if (starts_with(part, "/fd/")) {
    i32 fd = parse_number(part + 4, strlen(part + 4));
    FdWord word = fd < 0 ? 0 : fd_word(walk.call.process, static_cast<u32>(fd));
    if (!is_file(word)) {
      place.hidden = word != 0; // a number that looks closed to the program
      return place.hidden;
    }
    place.descriptor = fd;
    if (last && !follow) {
      place.special = Special::kProcFdLink;
      set_ours(place, mount_of(word), Ino{}, {}, true);
      return true;
    }
    vfs::DescriptionInfo info = vfs::info(walk.call.pool(mount_of(word)), description_of(word));
    set_ours(place, mount_of(word), info.ino, rest, last);
    place.magic = true;
    return true;
  }
  if (starts_with(part, "/fdinfo/") && last) {
    i32 fd = parse_number(part + 8, strlen(part + 8));
    FdWord word = fd < 0 ? 0 : fd_word(walk.call.process, static_cast<u32>(fd));
    place.hidden = word != 0 && !is_file(word);
    if (is_file(word)) place.special = Special::kProcFdInfo, place.descriptor = fd;
    return place.hidden;
  }
  if (equal(part, "/cwd", strlen(part)) && walk.call.process.cwd.in_pool) {
    const Cwd& cwd = walk.call.process.cwd;
    if (last && !follow) place.special = Special::kProcCwd;
    set_ours(place, cwd.mount, cwd.ino, rest, last);
    place.magic = place.special == Special::kNone;
    return true;
  }
  if (!last) return false;
  if (equal(part, "/fd", strlen(part)) || equal(part, "/fdinfo", strlen(part))) place.special = Special::kProcFdDir;
  if (equal(part, "/exe", strlen(part))) place.special = Special::kProcExe;
  if (equal(part, "/mounts", strlen(part))) place.special = Special::kProcMounts;
  if (equal(part, "/mountinfo", strlen(part))) place.special = Special::kProcMountinfo;
  return false;
}

// In which mount point does `done` stand exactly?
int mount_at(const Walk& walk) {
  for (u32 i = 0; i < g_mount_count; ++i)
    if (equal(walk.done, g_mounts[i].point, walk.done_bytes)) return static_cast<int>(i);
  return -1;
}

// Of what /proc has for this process: a directory for certain.
bool is_dir_in_proc(const char* name, u64 bytes) { return equal(name, "fd", bytes) || equal(name, "fdinfo", bytes) || equal(name, "task", bytes); }

enum class Step { kGoOn, kFinished, kTooMany };

// One component, `bytes` long, at the start of `name`; `rest` behind it.
Step walk_component(Walk& walk, const char* name, u64 bytes, const char* rest, unsigned options, Place& place) {
  bool follow = (options & kFollowLast) != 0;
  if (bytes == 1 && name[0] == '.') return Step::kGoOn;
  if (bytes == 2 && name[0] == '.' && name[1] == '.') {
    // Out of what is no directory there is no way: the kernel will say so.
    bool may_ask = walk.done_bytes != 0 && walk.done_bytes + 2 < kPathBytes && !load_relaxed(g_sandboxed);
    if (may_ask && ask_what_is_there(AT_FDCWD, walk.done, walk.done_bytes) == -ENOTDIR) {
      walk.missing = true;
      return Step::kFinished;
    }
    while (walk.done_bytes != 0 && walk.done[--walk.done_bytes] != '/') {}
    return Step::kGoOn;
  }
  if (walk.done_bytes + 1 + bytes + 1 > kPathBytes) return Step::kFinished;
  u64 parent_bytes = walk.done_bytes;
  walk.done[walk.done_bytes++] = '/';
  memcpy(walk.done + walk.done_bytes, name, bytes);
  walk.done_bytes += bytes;
  walk.done[walk.done_bytes] = '\0';
  int mount = mount_at(walk);
  if (mount >= 0) {
    set_ours(place, static_cast<u32>(mount), root_of(walk.call, static_cast<u32>(mount)), *rest == '\0' ? "/" : rest, false);
    return Step::kFinished;
  }
  if (take_own_proc(walk, rest, follow, place)) return Step::kFinished;
  const char* behind = rest;
  while (*behind == '/') ++behind;
  // "link/" follows like "link/."
  if ((*rest == '\0' || ((options & kIsName) != 0 && *behind == '\0')) && !follow) return Step::kFinished;
  if (place.special != Special::kNone) return Step::kFinished;
  if (walk.own_proc && is_dir_in_proc(name, bytes)) return Step::kGoOn;
  char* link = walk.call.block.link;
  long size = load_relaxed(g_sandboxed) ? -EINVAL : raw_syscall(SYS_readlink, as_arg(walk.done), as_arg(link), kPathBytes - 1);
  if (size == -EINVAL) return Step::kGoOn;
  if (size <= 0) { // ENOENT, EACCES, ...: the kernel will say the same
    walk.missing = *rest != '\0';
    return Step::kFinished;
  }
  if (*behind != '\0' || *rest != '\0') walk.plain = false;
  if (++walk.symlinks > kMaxSymlinks) return Step::kTooMany;
  link[size] = '\0';
  walk.done_bytes = parent_bytes;
  // Magic links of /proc to what has no name ("pipe:[1]", "/x (deleted)") end the walk.
  if (starts_with(walk.done, "/proc/") && (link[0] != '/' && parse_number(link, static_cast<u64>(size)) < 0 &&
                                           own_proc_part(walk.done) != nullptr))
    return Step::kFinished;
  if (!prepend(walk, link, static_cast<u64>(size), behind)) return Step::kFinished;
  return Step::kTooMany; // replaced below by the caller: start over with todo
}

// Is there certainly no symlink in the path of `bytes` in `text`, which has room for two more?
bool is_plain(int dirfd, char* text, u64 bytes) {
  long found = ask_what_is_there(dirfd, text, bytes);
  // With EACCES, too, it ended before a symlink came, as will what the program asked for.
  return found == -EISDIR || found == -ENOTDIR || found == -ENOENT || found == -EACCES;
}

// What was done of a path and what is left; null if it is too long. Valid until the next walk.
char* join(Walk& walk, const char* left) {
  char* text = walk.call.block.link;
  while (*left == '/') ++left;
  u64 left_bytes = strlen(left);
  if (walk.done_bytes + left_bytes + 3 > kPathBytes) return nullptr; // room for is_plain
  memcpy(text, walk.done, walk.done_bytes);
  text[walk.done_bytes] = '/';
  memcpy(text + walk.done_bytes + 1, left, left_bytes + 1);
  if (left_bytes == 0 && walk.done_bytes != 0 && !walk.slash) text[walk.done_bytes] = '\0';
  return text;
}

// After a symlink: is the rest of the way without any?
bool rest_is_plain(Walk& walk, bool follow) {
  char* text = join(walk, walk.todo);
  if (text == nullptr) return false;
  u64 bytes = strlen(text);
  if (!is_ordinary(walk.call.process, AT_FDCWD, text, bytes)) return false;
  u64 dir_bytes = path_bytes_without_last(text, bytes);
  return is_plain(AT_FDCWD, text, follow || dir_bytes == bytes ? bytes : dir_bytes); // `text` is made again afterwards
}

bool has_odd_component(const char* path, u64 bytes) { // "", "." or ".."
  for (u64 i = 0; i + 1 < bytes; ++i)
    if (path[i] == '/' && (path[i + 1] == '/' || path[i + 1] == '.')) return true;
  return false;
}

// `plain_bytes` of an absolute path are known to be without symlinks.
long walk_kernel_path(Call& call, int dirfd, const char* path, u64 plain_bytes, unsigned options, unsigned room, Place& place) {
  PathRoom& space = call.block.rooms[room];
  u64 path_bytes = strlen(path);
  Walk walk{call, call.block.done, 0, space.todo, sizeof space.todo, 0, true, false, false, path[path_bytes - 1] == '/'};
  if (path[0] != '/') {
    long bytes = kernel_dir_path(call, dirfd, walk.done);
    if (bytes < 0) return 0; // EBADF, ENOENT: the kernel's business
    walk.done_bytes = bytes == 1 ? 0 : static_cast<u64>(bytes);
  } else if (plain_bytes > 1 && !has_odd_component(path, plain_bytes)) {
    walk.done_bytes = plain_bytes - 1; // the last is a '/'
    memcpy(walk.done, path, walk.done_bytes);
    path += plain_bytes;
    path_bytes -= plain_bytes;
  }
  memmove(walk.todo, path, path_bytes + 1);
  const char* at = walk.todo;
  for (unsigned bound = 0; bound < 10000; ++bound) {
    while (*at == '/') ++at;
    if (*at == '\0') break;
    u64 bytes = 0;
    while (at[bytes] != '/' && at[bytes] != '\0') ++bytes;
    unsigned symlinks = walk.symlinks;
    Step step = walk_component(walk, at, bytes, at + bytes, options, place);
    if (step == Step::kFinished) {
      at += bytes;
      break;
    }
    if (walk.symlinks != symlinks) {
      if (walk.symlinks > kMaxSymlinks) break;
      at = walk.todo;
      if (rest_is_plain(walk, (options & kFollowLast) != 0)) break;
      continue;
    }
    at += bytes;
  }
  if (!walk.own_proc && !place.ours && walk.symlinks <= kMaxSymlinks) place.resolved = join(walk, at);
  place.plain_dir = walk.plain;
  place.through_link = walk.symlinks != 0;
  place.changing = walk.own_proc || walk.missing;
  return 0;
}

// How much of a path is certainly without symlinks: `wanted`, or at least all but the last component of an absolute path, or 0.
u64 find_plain_part(Call& call, int dirfd, const char* path, u64 bytes, u64 wanted, u64 dir_bytes, unsigned options, unsigned room) {
  if (wanted == 0 || !is_ordinary(call.process, dirfd, path, bytes)) return 0;
  if ((options & kCallerAsks) != 0) return wanted;
  char* text = call.block.rooms[room].todo;
  memcpy(text, path, wanted);
  if (is_plain(dirfd, text, wanted)) return wanted;
  if (wanted == dir_bytes || dir_bytes <= 1 || path[0] != '/') return 0;
  memcpy(text, path, dir_bytes);
  return is_plain(dirfd, text, dir_bytes) ? dir_bytes : 0;
}

// The last component is to be followed: is it no symlink?
bool is_leaf(Process& process, int dirfd, const char* path, u64 bytes, u64 stamp) {
  if (is_known_leaf(process, dirfd, path, bytes)) return true;
  char one[1];
  long link = raw_syscall(SYS_readlinkat, dirfd, as_arg(path), as_arg(one), 1);
  if (link == -EINVAL) learn_leaf(process, dirfd, stamp, path, bytes);
  return link <= 0;
}

// What runs is a copy; /proc/self/exe leads to what was copied, as long as that is there.
void lead_to_own_exe(Call& call, unsigned options, Place& place) {
  if (place.special != Special::kProcExe || (options & kFollowLast) == 0 || g_exe_path[0] == '\0') return;
  int mount = mount_of_path(g_exe_path);
  if (mount < 0) return;
  std::string_view text(g_exe_path, strlen(g_exe_path));
  text.remove_prefix(g_mounts[mount].point.size());
  vfs::At at{root_of(call, static_cast<u32>(mount)), text};
  vfs::Task task = make_task(call, static_cast<u32>(mount));
  if (!vfs::resolve(task, at, vfs::Follow::kYes).ok()) return;
  set_ours(place, static_cast<u32>(mount), at.dir, at.path, false);
  place.special = Special::kNone;
  place.own_exe = true;
}

// A path that does not begin with a mount point and is not relative to a directory of ours.
long locate_kernel_path(Call& call, int dirfd, const char* path, u64 bytes, unsigned options, unsigned room, Place& place) {
  Process& process = call.process;
  if (PMEMFILE_UNLIKELY(load_relaxed(g_sandboxed))) {
    if (path[0] != '/') return 0;
    long by_text = walk_kernel_path(call, dirfd, path, 0, options, room, place); // names of /proc/self, and ways down and up again
    place.resolved = nullptr;
    lead_to_own_exe(call, options, place);
    return place.hidden ? -ENOENT : by_text;
  }
  bool walk_last = (options & kFollowLast) != 0 && (options & kLastIsChecked) == 0;
  u64 dir_bytes = path_bytes_without_last(path, bytes);
  bool alone = path[0] != '/' && dir_bytes == 0;
  // A child that goes on to exec has not touched the clock's pages yet.
  bool may_know = (options & kNeverKnown) == 0 || alone;
  u64 stamp = may_know ? known_stamp(process) : 0;
  Known dir;
  bool known = may_know && find_known(process, dirfd, path, bytes, dir_bytes, dir);
  if (known && alone && !walk_last) {
    place.plain_dir = true; // one component: cannot lead in but as a symlink, which is not followed here
    place.resolved = path;
    return 0;
  }
  if (known && !alone && (options & kNeverKnown) == 0 && (!walk_last || is_leaf(process, dirfd, path, bytes, stamp))) {
    place.plain_dir = dir.plain;
    place.resolved = dir.plain ? path : nullptr;
    place.known = true;
    return 0;
  }
  long error = 0;
  u64 wanted = walk_last || dir_bytes == bytes || dir_bytes == 0 ? bytes : dir_bytes;
  u64 plain_bytes = find_plain_part(call, dirfd, path, bytes, wanted, dir_bytes, options, room);
  if (plain_bytes != 0 && plain_bytes == wanted)
    place.plain_dir = true, place.resolved = path;
  else
    error = walk_kernel_path(call, dirfd, path, plain_bytes, options, room, place);
  if (place.hidden) return -ENOENT;
  if (PMEMFILE_UNLIKELY(place.special == Special::kProcExe)) lead_to_own_exe(call, options, place);
  // Under a name like ".." the text before it is no directory that anything else would ask for.
  bool odd_last = bytes - dir_bytes <= 2 && path[dir_bytes] == '.';
  bool cacheable = (options & kNeverKnown) == 0 && (path[0] == '/' ? !starts_with(path, "/proc") : dirfd == AT_FDCWD) && dir_bytes != bytes && !odd_last;
  if (error == 0 && cacheable && !place.ours && !place.changing && place.special == Special::kNone)
    learn_dir(process, stamp, path, dir_bytes, place.plain_dir, call.block.rooms[room].todo);
  return error;
}

long locate_by_descriptor(Call& call, int fd, Place& place) {
  FdWord word = fd_word(call.process, static_cast<u32>(fd));
  if (word == 0) return 0;
  if (!is_file(word)) return -EBADF;
  place.descriptor = fd;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  set_ours(place, mount_of(word), info.ino, {}, true);
  return 0;
}

} // namespace

bool was_right(Call& call, int dirfd, const char* path, long result) {
  if (result != -ENOENT && result != -EACCES) return true;
  u64 dir_bytes = 0;
  Known dir;
  long bytes = pmemfile_preload_strnlen(path, kPathBytes);
  if (bytes <= 0 || !find_known(call.process, dirfd, path, static_cast<u64>(bytes), dir_bytes, dir)) return false;
  return is_right(call.process, dirfd, path, dir_bytes, dir, result, call.block.rooms[0].todo);
}

void forget_known_dirs(Process& process) { fetch_add(process.known_epoch, u64{1}); }

long kernel_dir_path(Call& call, int dirfd, char* buffer) {
  if (dirfd == AT_FDCWD) {
    if (call.process.cwd.in_pool) return -ENOENT;
    long bytes = raw_syscall(SYS_getcwd, as_arg(buffer), kPathBytes);
    if (bytes < 0) return bytes;
    return buffer[0] == '/' ? bytes - 1 : -ENOENT;
  }
  FixedText<40> name;
  name << "/proc/self/fd/" << dirfd;
  long bytes = raw_syscall(SYS_readlink, as_arg(name.c_str()), as_arg(buffer), kPathBytes - 1);
  if (bytes < 0) return bytes;
  buffer[bytes] = '\0';
  return buffer[0] == '/' ? bytes : -ENOENT;
}

u64 normalise(char* path) {
  char* to = path;
  const char* from = path;
  while (*from != '\0') {
    while (*from == '/') ++from;
    u64 bytes = 0;
    while (from[bytes] != '/' && from[bytes] != '\0') ++bytes;
    if (bytes == 0) break;
    if (bytes == 2 && from[0] == '.' && from[1] == '.') {
      while (to != path && *--to != '/') {}
    } else if (!(bytes == 1 && from[0] == '.')) {
      *to++ = '/';
      memmove(to, from, bytes);
      to += bytes;
    }
    from += bytes;
  }
  if (to == path) *to++ = '/';
  *to = '\0';
  return static_cast<u64>(to - path);
}

int mount_of_path(const char* path) {
  for (u32 i = 0; i < g_mount_count; ++i) {
    std::string_view point = g_mounts[i].point;
    long match = pmemfile_preload_match(path, point.data(), point.size());
    if (match < 0) return -1;
    if (match == 1 && (path[point.size()] == '/' || path[point.size()] == '\0')) return static_cast<int>(i);
  }
  return -1;
}

long kernel_call_with_path(Call& call, unsigned path_index, const char* path) {
  long args[6];
  for (unsigned i = 0; i < 6; ++i) args[i] = static_cast<long>(call.arg(i));
  args[path_index] = as_arg(path);
  return wait_in_kernel(call.nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

long locate(Call& call, int dirfd, const char* path, unsigned options, unsigned room, Place& place) {
  if (path == nullptr) {
    if ((options & kAllowEmpty) == 0) return -EFAULT;
    return dirfd == AT_FDCWD ? -EFAULT : locate_by_descriptor(call, dirfd, place);
  }
  long bytes = pmemfile_preload_strnlen(path, kPathBytes);
  if (bytes < 0) return bytes;
  if (bytes == static_cast<long>(kPathBytes)) return -ENAMETOOLONG;
  const Cwd& cwd = call.process.cwd;
  if (bytes == 0) {
    if ((options & kAllowEmpty) == 0) return -ENOENT;
    if (dirfd != AT_FDCWD) return locate_by_descriptor(call, dirfd, place);
    if (cwd.in_pool) set_ours(place, cwd.mount, cwd.ino, {}, true);
    return 0;
  }
  std::string_view text(path, static_cast<u64>(bytes));
  if (path[0] == '/') {
    int mount = mount_of_path(path);
    if (mount < 0) return locate_kernel_path(call, dirfd, path, text.size(), options, room, place);
    text.remove_prefix(g_mounts[mount].point.size());
    set_ours(place, static_cast<u32>(mount), root_of(call, static_cast<u32>(mount)), text.empty() ? "/" : text, false);
    return 0;
  }
  if (dirfd == AT_FDCWD) {
    if (cwd.in_pool) {
      set_ours(place, cwd.mount, cwd.ino, text, false);
      return 0;
    }
  } else if (FdWord word = fd_word(call.process, static_cast<u32>(dirfd)); word != 0) {
    if (!is_file(word)) return -EBADF;
    vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
    if ((info.mode & S_IFMT) != S_IFDIR) return -ENOTDIR;
    set_ours(place, mount_of(word), info.ino, text, false);
    return 0;
  }
  return locate_kernel_path(call, dirfd, path, text.size(), options, room, place);
}

} // namespace pmemfile::preload
