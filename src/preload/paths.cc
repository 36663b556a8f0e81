#include "preload/paths.h"

#include <fcntl.h>

namespace pmemfile::preload {
namespace {

constexpr unsigned kMaxSymlinks = 40;

bool equal(const char* a, std::string_view b, u64 a_bytes) {
  return a_bytes == b.size() && memcmp(a, b.data(), a_bytes) == 0;
}

bool starts_with(const char* text, std::string_view prefix) {
  return pmemfile_preload_match(text, prefix.data(), prefix.size()) == 1;
}

u64 hash_text(u64 seed, const char* text, u64 bytes) {
  u64 hash = seed * 0x9e3779b97f4a7c15 + bytes;
  while (bytes >= 8) {
    u64 word;
    __builtin_memcpy(&word, text, 8);
    hash = (hash ^ word) * 0xff51afd7ed558ccd;
    hash ^= hash >> 32;
    text += 8, bytes -= 8;
  }
  u64 word = 0;
  for (u64 i = 0; i < bytes; ++i) word |= u64{static_cast<u8>(text[i])} << (8 * i);
  hash = (hash ^ word) * 0xff51afd7ed558ccd;
  return hash ^ (hash >> 29);
}

// What is remembered of directories holds for a quarter of a second: another process may have put a symlink there.
u64 known_stamp(const Process& process) {
  return (static_cast<u64>(inode::now_ns()) >> 28) + (process.known_epoch << 40);
}

u64 path_bytes_without_last(const char* path, u64 bytes) {
  while (bytes != 0 && path[bytes - 1] != '/') --bytes;
  return bytes;
}

bool is_mount_name(const char* name, u64 bytes) {
  for (u32 i = 0; i < g_mount_count; ++i)
    if (equal(name, g_mounts[i].last, bytes)) return true;
  return false;
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
};

// Puts `target` (a symlink's) in front of what is left to do.
bool prepend(Walk& walk, const char* target, u64 bytes, const char* rest) {
  u64 rest_bytes = strlen(rest);
  if (bytes + 1 + rest_bytes + 1 > walk.todo_capacity) return false;
  memmove(walk.todo + bytes + 1, rest, rest_bytes + 1);
  memcpy(walk.todo, target, bytes);
  walk.todo[bytes] = '/';
  if (rest_bytes == 0) walk.todo[bytes] = '\0';
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
    u64 word = fd < 0 ? 0 : fd_word(walk.call.process, static_cast<u32>(fd));
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
  if (equal(part, "/cwd", strlen(part)) && walk.call.process.cwd.in_pool) {
    const Cwd& cwd = walk.call.process.cwd;
    if (last && !follow) place.special = Special::kProcCwd;
    set_ours(place, cwd.mount, cwd.ino, rest, last);
    place.magic = place.special == Special::kNone;
    return true;
  }
  if (!last) return false;
  if (equal(part, "/fd", strlen(part))) place.special = Special::kProcFdDir;
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

enum class Step { kGoOn, kFinished, kTooMany };

// One component, `bytes` long, at the start of `name`; `rest` behind it.
Step walk_component(Walk& walk, const char* name, u64 bytes, const char* rest, bool follow, Place& place) {
  if (bytes == 1 && name[0] == '.') return Step::kGoOn;
  if (bytes == 2 && name[0] == '.' && name[1] == '.') {
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
  if (*rest == '\0' && !follow) return Step::kFinished;
  if (place.special != Special::kNone) return Step::kFinished;
  char* link = walk.call.block.link;
  long size = raw_syscall(SYS_readlink, as_arg(walk.done), as_arg(link), kPathBytes - 1);
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

long walk_kernel_path(Call& call, int dirfd, const char* path, unsigned options, unsigned room, Place& place) {
  PathRoom& space = call.block.rooms[room];
  Walk walk{call, call.block.done, 0, space.todo, sizeof space.todo, 0, true, false, false};
  if (path[0] != '/') {
    long bytes = kernel_dir_path(call, dirfd, walk.done);
    if (bytes < 0) return 0; // EBADF, ENOENT: the kernel's business
    walk.done_bytes = bytes == 1 ? 0 : static_cast<u64>(bytes);
  }
  u64 path_bytes = strlen(path);
  memmove(walk.todo, path, path_bytes + 1);
  const char* at = walk.todo;
  for (unsigned bound = 0; bound < 10000; ++bound) {
    while (*at == '/') ++at;
    if (*at == '\0') break;
    u64 bytes = 0;
    while (at[bytes] != '/' && at[bytes] != '\0') ++bytes;
    unsigned symlinks = walk.symlinks;
    Step step = walk_component(walk, at, bytes, at + bytes, (options & kFollowLast) != 0, place);
    if (step == Step::kFinished) break;
    if (walk.symlinks != symlinks) {
      if (walk.symlinks > kMaxSymlinks) break;
      at = walk.todo;
      continue;
    }
    at += bytes;
  }
  place.plain_dir = walk.plain;
  place.through_link = walk.symlinks != 0;
  place.changing = walk.own_proc || walk.missing;
  return 0;
}

// A path that does not begin with a mount point and is not relative to a directory of ours.
long locate_kernel_path(Call& call, int dirfd, const char* path, u64 bytes, unsigned options, unsigned room, Place& place) {
  Process& process = call.process;
  u64 dir_bytes = path_bytes_without_last(path, bytes);
  const char* last = path + dir_bytes;
  u64 last_bytes = bytes - dir_bytes;
  bool walk_last = (options & kFollowLast) != 0 && (options & kLastIsChecked) == 0;
  bool odd_last = last_bytes <= 2 && last[0] == '.'; // ".", "..", also hidden names of one letter
  bool own = path[0] == '/' && starts_with(path, "/proc");
  u64 slot_hash = 0, stamp = 0;
  bool cacheable = !own && (options & kNeverKnown) == 0 && (path[0] == '/' || dirfd == AT_FDCWD);
  if (path[0] != '/' && dir_bytes == 0 && !odd_last && !walk_last && !is_mount_name(last, last_bytes)) {
    place.plain_dir = true; // one component: cannot lead in but as a symlink, which is not followed here
    return 0;
  }
  if (cacheable) {
    stamp = known_stamp(process);
    slot_hash = hash_text(path[0] == '/' ? 1 : process.cwd.generation + 1, path, dir_bytes);
    KnownDir& known = process.known[slot_hash % kKnownDirs];
    if (known.hash == slot_hash && known.stamp == stamp && !odd_last && !is_mount_name(last, last_bytes)) {
      char one[1];
      // What is followed is looked at alone; a symlink has to be walked.
      if (!walk_last || (last_bytes != 0 && raw_syscall(SYS_readlinkat, dirfd, as_arg(path), as_arg(one), 1) <= 0)) {
        place.plain_dir = known.plain;
        place.known = true;
        return 0;
      }
    }
  }
  long error = walk_kernel_path(call, dirfd, path, options, room, place);
  if (place.hidden) return -ENOENT;
  if (error == 0 && cacheable && !place.ours && !place.changing && place.special == Special::kNone && !odd_last && last_bytes != 0) {
    KnownDir& known = process.known[slot_hash % kKnownDirs];
    known.plain = place.plain_dir;
    known.stamp = stamp;
    known.hash = slot_hash;
  }
  return error;
}

long locate_by_descriptor(Call& call, int fd, Place& place) {
  u64 word = fd_word(call.process, static_cast<u32>(fd));
  if (word == 0) return 0;
  if (!is_file(word)) return -EBADF;
  place.descriptor = fd;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  set_ours(place, mount_of(word), info.ino, {}, true);
  return 0;
}

} // namespace

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
  } else if (u64 word = fd_word(call.process, static_cast<u32>(dirfd)); word != 0) {
    if (!is_file(word)) return -EBADF;
    vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
    if ((info.mode & S_IFMT) != S_IFDIR) return -ENOTDIR;
    set_ours(place, mount_of(word), info.ino, text, false);
    return 0;
  }
  return locate_kernel_path(call, dirfd, path, text.size(), options, room, place);
}

} // namespace pmemfile::preload
