#include "preload/known.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "preload/paths.h"
#include "preload/report.h"

namespace pmemfile::preload {
namespace {

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

constexpr u64 kOfLeaf = u64{1} << 62;
// Texts of relative paths mean something else after each chdir.
u64 seed_of(const Process& process, const char* path) { return path[0] == '/' ? 1 : process.cwd.generation + 1; }
u64 hash_of_dir(const Process& process, const char* path, u64 bytes) { return hash_text(seed_of(process, path), path, bytes); }
u64 hash_of_leaf(const Process& process, const char* path, u64 bytes) { return hash_text(seed_of(process, path) + kOfLeaf, path, bytes); }

u64 identity_of(const struct stat& status) { return status.st_ino ^ status.st_dev << 44 ^ 1; }

void learn(Process& process, u64 hash, u64 stamp, bool plain, u64 identity) {
  u64 index = hash % kKnownDirs;
  KnownDir& entry = process.known[index];
  // Other threads look at it: the text it is for comes last.
  store_release(entry.hash, u64{0});
  store_release(entry.identity, identity);
  store_release(entry.stamp_and_plain, stamp << 1 | (plain ? 1 : 0));
  store_release(entry.hash, hash);
}

// 0 if it is not known under this stamp; else bit 0 and, if the way is plain, bit 1.
unsigned look_up(const Process& process, u64 hash, u64 stamp) {
  const KnownDir& entry = process.known[hash % kKnownDirs];
  if (load_acquire(entry.hash) != hash) return 0;
  u64 found = load_acquire(entry.stamp_and_plain);
  return found >> 1 == (stamp & ~u64{0} >> 1) ? 1 | static_cast<unsigned>(found & 1) << 1 : 0;
}

Hidden what_is_hidden(const Mount& mount, u64& identity) {
  struct stat status {};
  identity = 0;
  long result = raw_syscall(SYS_newfstatat, AT_FDCWD, as_arg(mount.point.data()), as_arg(&status), AT_SYMLINK_NOFOLLOW);
  if (result == -ENOENT) return Hidden::kNothing;
  if (result != 0 || !S_ISDIR(status.st_mode)) return Hidden::kSomething;
  identity = identity_of(status);
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(mount.point.data()), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return Hidden::kSomething;
  alignas(8) char entries[96]; // "." and "..", and room to see that there is more
  long bytes = 0, got;
  while ((got = raw_syscall(SYS_getdents64, fd, as_arg(entries), sizeof entries)) > 0) bytes += got;
  raw_syscall(SYS_close, fd);
  constexpr long kDotAndDotDot = 24 + 24;
  return got == 0 && bytes <= kDotAndDotDot ? Hidden::kEmptyDirectory : Hidden::kSomething;
}

// A name that, below /proc, may be a link to something of ours.
bool is_name_in_proc(const char* name, u64 bytes) {
  bool digits = true;
  for (u64 i = 0; i < bytes; ++i) digits = digits && name[i] >= '0' && name[i] <= '9';
  if (digits) return true;
  for (std::string_view one : {"cwd", "exe", "fd", "fdinfo", "mounts", "mountinfo"})
    if (bytes == one.size() && memcmp(name, one.data(), bytes) == 0) return true;
  return false;
}

// Of the working directory it is remembered until the next chdir.
bool may_begin_in_proc(Process& process, int dirfd) {
  if (dirfd != AT_FDCWD) return true;
  u64 now = process.cwd.generation;
  u64 looked = load_relaxed(process.cwd_looked_at);
  if (looked >> 1 == now) return (looked & 1) != 0;
  char text[256]; // a longer one is ERANGE
  long bytes = raw_syscall(SYS_getcwd, as_arg(text), sizeof text);
  bool in_proc = bytes == -ERANGE ? false : bytes < 0 || pmemfile_preload_match(text, "/proc", 5) == 1 || text[0] != '/';
  store_relaxed(process.cwd_looked_at, now << 1 | (in_proc ? 1 : 0));
  return in_proc;
}

} // namespace

bool is_mount_name(const char* name, u64 bytes) {
  for (u32 i = 0; i < g_mount_count; ++i)
    if (bytes == g_mounts[i].last.size() && memcmp(name, g_mounts[i].last.data(), bytes) == 0) return true;
  return false;
}

u64 path_bytes_without_last(const char* path, u64 bytes) {
  while (bytes != 0 && path[bytes - 1] != '/') --bytes;
  return bytes;
}

void look_at_hidden(Process& process, u64 stamp) {
  if (load_relaxed(process.hidden_stamp) == stamp) return;
  // Who wants a log wants all calls in it.
  Hidden hidden = g_log_fd >= 0 ? Hidden::kSomething : Hidden::kNothing;
  for (u32 i = 0; i < g_mount_count; ++i) {
    Hidden here = what_is_hidden(g_mounts[i], process.hidden_identities[i]);
    if (here > hidden) hidden = here;
  }
  process.hidden = hidden;
  store_release(process.hidden_stamp, stamp);
}

bool is_ordinary(Process& process, int dirfd, const char* path, u64 bytes) {
  bool relative = path[0] != '/';
  for (u64 at = 0; at < bytes;) {
    u64 end = at;
    while (end < bytes && path[end] != '/') ++end;
    const char* name = path + at;
    if (is_mount_name(name, end - at) || (end - at == 4 && memcmp(name, "proc", 4) == 0)) return false;
    if (relative && end != at && is_name_in_proc(name, end - at) && may_begin_in_proc(process, dirfd)) return false;
    at = end + 1;
  }
  return true;
}

bool find_known(Process& process, int dirfd, const char* path, u64 bytes, u64& dir_bytes, Known& known) {
  dir_bytes = path_bytes_without_last(path, bytes);
  const char* last = path + dir_bytes;
  u64 last_bytes = bytes - dir_bytes;
  if (last_bytes == 0 || (last_bytes <= 2 && last[0] == '.') || is_mount_name(last, last_bytes)) return false;
  if (path[0] != '/') {
    if (!begins_in_kernel(process, dirfd, path)) return false;
    if (dir_bytes == 0) return known.plain = !is_name_in_proc(last, last_bytes) || !may_begin_in_proc(process, dirfd);
    if (dirfd != AT_FDCWD) return false;
  } else if (pmemfile_preload_match(path, "/proc", 5) == 1 || mount_of_path(path) >= 0) {
    return false;
  }
  u64 stamp = known_stamp(process);
  if (load_acquire(process.hidden_stamp) != stamp || process.hidden == Hidden::kSomething) return false;
  u64 hash = hash_of_dir(process, path, dir_bytes);
  unsigned found = look_up(process, hash, stamp);
  known.plain = (found & 2) != 0;
  known.listed = true;
  known.index = hash % kKnownDirs;
  return found != 0;
}

void learn_dir(Process& process, u64 stamp, const char* path, u64 dir_bytes, bool plain, char* room) {
  look_at_hidden(process, stamp);
  if (dir_bytes == 0 || process.hidden == Hidden::kSomething) return;
  u64 identity = 0;
  if (!plain) {
    memcpy(room, path, dir_bytes);
    room[dir_bytes] = '\0';
    struct stat status {};
    if (raw_syscall(SYS_stat, as_arg(room), as_arg(&status)) == 0) identity = identity_of(status);
    // Somebody has just made it a way in.
    for (u32 i = 0; i < g_mount_count; ++i)
      if (identity == process.hidden_identities[i]) identity = 0;
    if (identity == 0) return;
  }
  learn(process, hash_of_dir(process, path, dir_bytes), stamp, plain, identity);
}

long ask_what_is_there(int dirfd, char* path, u64 bytes) {
  path[bytes] = '/';
  path[bytes + 1] = '\0';
  open_how how{};
  how.flags = O_WRONLY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  return raw_syscall(SYS_openat2, dirfd, as_arg(path), as_arg(&how), sizeof how);
}

long ask_whether_missing(int dirfd, const char* path, u64 bytes) {
  char text[256];
  if (bytes + 2 > sizeof text) return -ENAMETOOLONG;
  memcpy(text, path, bytes);
  return ask_what_is_there(dirfd, text, bytes);
}

bool is_right(Process& process, int dirfd, const char* path, u64 dir_bytes, const Known& known, long result, char* room) {
  if (result != -ENOENT && result != -EACCES) return true;
  if (!known.listed) return true; // there is no directory but the one that the call begins at
  if (known.plain) return ask_whether_missing(dirfd, path, strlen(path)) == result;
  // By way of symlinks: does the directory lead where it led?
  if (room == nullptr) return false;
  memcpy(room, path, dir_bytes);
  room[dir_bytes] = '\0';
  struct stat status {};
  return raw_syscall(SYS_newfstatat, dirfd, as_arg(room), as_arg(&status), 0) == 0 &&
         identity_of(status) == load_acquire(process.known[known.index].identity);
}

constexpr u8 kMissesInARow = 2;
bool is_miss_expected(const Process& process, const Known& known) {
  return known.listed && known.plain && load_relaxed(process.known[known.index].misses) >= kMissesInARow;
}
void note_outcome(Process& process, const Known& known, bool missing) {
  if (!known.listed) return;
  u8& misses = process.known[known.index].misses;
  u8 before = load_relaxed(misses), after = !missing ? 0 : before < kMissesInARow ? static_cast<u8>(before + 1) : before;
  if (after != before) store_relaxed(misses, after);
}

namespace {
bool may_know_leaf(const Process& process, int dirfd, const char* path, u64 stamp) {
  return load_acquire(process.hidden_stamp) == stamp && process.hidden == Hidden::kNothing && (path[0] == '/' || dirfd == AT_FDCWD);
}
} // namespace

bool is_known_leaf(Process& process, int dirfd, const char* path, u64 bytes) {
  u64 stamp = known_stamp(process);
  if (!may_know_leaf(process, dirfd, path, stamp)) return false;
  return look_up(process, hash_of_leaf(process, path, bytes), stamp) != 0;
}

void learn_leaf(Process& process, int dirfd, u64 stamp, const char* path, u64 bytes) {
  if (!may_know_leaf(process, dirfd, path, stamp)) return;
  learn(process, hash_of_leaf(process, path, bytes), stamp, false, 0);
}

} // namespace pmemfile::preload
