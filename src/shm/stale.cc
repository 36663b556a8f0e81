// Vs whose pools are gone.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/syscall.h"
#include "shm/segment_file.h"

namespace pmemfile::shm {
namespace {

// A directory with more Vs than this is cleared in several turns.
constexpr unsigned kMaxLookedAt = 64;
constexpr char kPrefix[] = "pmemfile-";

bool has_prefix(const char* name, const char* prefix) {
  for (const char* c = prefix; *c != 0; ++c, ++name)
    if (*name != *c) return false;
  return true;
}

struct DirectoryEntry { // linux_dirent64
  u64 ino;
  i64 offset;
  u16 bytes;
  u8 type;
  char name[];
};

bool pool_is_gone(const SegmentHeader& header) {
  if (header.pool_path[0] != '/' || header.pool_path[sizeof header.pool_path - 1] != '\0') return false;
  struct stat st;
  long result = raw_syscall(SYS_newfstatat, AT_FDCWD, as_arg(header.pool_path), as_arg(&st), 0);
  if (result == -ENOENT || result == -ENOTDIR) return true;
  return result == 0 && (st.st_dev != header.pool_dev || st.st_ino != header.pool_ino);
}

// Nobody attached: then the lock that all tokens are parts of can be had, and while it is held nobody can join.
bool lock_all_tokens(int fd) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return raw_syscall(SYS_fcntl, fd, F_OFD_SETLK, as_arg(&lock)) == 0;
}

// With whatever is in it, as far as the rights go.
void remove_dir(int dir_fd, const char* name) {
  long fd = raw_syscall(SYS_openat, dir_fd, as_arg(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (is_syscall_error(fd)) return;
  alignas(8) char buffer[1024];
  for (bool removed = true; removed;) {
    removed = false;
    raw_syscall(SYS_lseek, fd, 0, SEEK_SET);
    long bytes;
    while ((bytes = raw_syscall(SYS_getdents64, fd, as_arg(buffer), sizeof buffer)) > 0)
      for (long at = 0; at < bytes;) {
        auto* entry = reinterpret_cast<DirectoryEntry*>(buffer + at);
        at += entry->bytes;
        if (raw_syscall(SYS_unlinkat, fd, as_arg(entry->name), 0) == 0) removed = true;
      }
  }
  raw_syscall(SYS_close, fd);
  raw_syscall(SYS_unlinkat, dir_fd, as_arg(name), AT_REMOVEDIR);
}

// What stood for names of a pool, when the V that it belongs to is not there any more.
bool is_names_dir(const char* name) {
  for (; *name != '\0'; ++name)
    if (has_prefix(name, kNamesInfix)) return true;
  return false;
}
void remove_names_dir_without_segment(int dir_fd, const char* name) {
  FixedText<64> segment;
  for (const char* c = name; !has_prefix(c, kNamesInfix); ++c) segment << *c;
  struct stat st;
  if (raw_syscall(SYS_newfstatat, dir_fd, as_arg(segment.c_str()), as_arg(&st), AT_SYMLINK_NOFOLLOW) == -ENOENT) remove_dir(dir_fd, name);
}

void remove_if_stale(int dir_fd, const char* name) {
  long fd = raw_syscall(SYS_openat, dir_fd, as_arg(name), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (is_syscall_error(fd)) return;
  SegmentHeader header{};
  struct stat st{};
  u32 self = static_cast<u32>(raw_syscall(SYS_geteuid));
  bool ours = raw_syscall(SYS_fstat, fd, as_arg(&st)) == 0 && S_ISREG(st.st_mode) && (st.st_uid == self || self == 0) &&
              raw_syscall(SYS_pread64, fd, as_arg(&header), sizeof header, 0) == static_cast<long>(sizeof header) &&
              header.magic == kSegmentMagic && header.version == kSegmentVersion;
  if (ours && pool_is_gone(header) && lock_all_tokens(static_cast<int>(fd))) raw_syscall(SYS_unlinkat, dir_fd, as_arg(name), 0);
  raw_syscall(SYS_close, fd);
}

} // namespace

void remove_stale_segments(int dir_fd, const char* own_prefix) {
  alignas(8) char buffer[1024];
  unsigned looked_at = 0;
  for (;;) {
    long bytes = raw_syscall(SYS_getdents64, dir_fd, as_arg(buffer), sizeof buffer);
    if (bytes <= 0) return;
    for (long at = 0; at < bytes;) {
      auto* entry = reinterpret_cast<DirectoryEntry*>(buffer + at);
      at += entry->bytes;
      if (!has_prefix(entry->name, kPrefix)) continue;
      if (has_prefix(entry->name, own_prefix)) {
        if (raw_syscall(SYS_unlinkat, dir_fd, as_arg(entry->name), 0) != 0) remove_dir(dir_fd, entry->name);
        continue;
      }
      if (++looked_at > kMaxLookedAt) return;
      if (is_names_dir(entry->name))
        remove_names_dir_without_segment(dir_fd, entry->name);
      else
        remove_if_stale(dir_fd, entry->name);
    }
  }
}

} // namespace pmemfile::shm
