#include "preload/stand_ins.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/siphash.h"
#include "preload/config.h"
#include "preload/descriptors.h"

namespace pmemfile::preload {
namespace {

using DirPath = FixedText<kPathBytes>;
using Name = FixedText<64>;

Error error_of(long result) { return Error(static_cast<int>(-result)); }

// Written to be told apart from each other, and neither from the other's.
constexpr u64 kSecret = 1, kId = 2;
u64 number_of(const vfs::Pool& pool, Object object, u64 use) {
  const u64 words[3] = {object.ino, object.generation, use};
  const u64* key = pool.store().geometry.hash_key;
  return siphash13(SipKey{key[0], key[1]}, reinterpret_cast<const char*>(words), sizeof words);
}

void put_dir(Text& path, const vfs::Pool& pool) { pool.put_names_dir(path, g_config.shm_dir); }

void put_hex16(Text& text, u64 value) {
  for (int shift = 60; shift >= 0; shift -= 4) text << "0123456789abcdef"[(value >> shift) & 15];
}

void put_path(Text& path, const vfs::Pool& pool, char kind, u64 number) {
  put_dir(path, pool);
  path << "/" << kind;
  put_hex16(path, number);
}

// Somebody else's directory under this name would lead our programs to his sockets.
Result<void> check_dir(const char* path, const vfs::Pool& pool) {
  struct stat found {}, segment {};
  long error = raw_syscall(SYS_newfstatat, AT_FDCWD, as_arg(path), as_arg(&found), AT_SYMLINK_NOFOLLOW);
  if (error != 0) return error_of(error);
  raw_syscall(SYS_fstat, pool.segment_fd(), as_arg(&segment));
  u32 self = static_cast<u32>(raw_syscall(SYS_geteuid));
  bool trusted = found.st_uid == 0 || found.st_uid == self || found.st_uid == segment.st_uid;
  return S_ISDIR(found.st_mode) && trusted ? Result<void>() : Error(EPERM);
}

Result<void> make_dir(const vfs::Pool& pool) {
  DirPath path;
  put_dir(path, pool);
  if (path.truncated()) return Error(ENAMETOOLONG);
  long made = raw_syscall(SYS_mkdir, as_arg(path.c_str()), 01733);
  if (made == 0) raw_syscall(SYS_chmod, as_arg(path.c_str()), 01733); // whatever the umask is
  if (made != 0 && made != -EEXIST) return error_of(made);
  return check_dir(path.c_str(), pool);
}

// Is there a socket, living, behind the address? A connect of another type disturbs nobody and tells (EPROTOTYPE).
bool is_bound(const StandInAddress& address) {
  long probe = raw_syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return true;
  long result = raw_syscall(SYS_connect, probe, as_arg(address.get()), address.bytes());
  raw_syscall(SYS_close, probe);
  return result != -ECONNREFUSED && result != -ENOENT;
}

void unlink_entry(const vfs::Pool& pool, char kind, u64 number) {
  DirPath path;
  put_path(path, pool, kind, number);
  raw_syscall(SYS_unlink, as_arg(path.c_str()));
}

// A socket without a name in the pool keeps its address as long as it lives.
bool clear_if_dead(const vfs::Pool& pool, char kind, u64 number, u64 id) {
  StandInAddress address;
  if (!address.set(pool, kind, number).ok() || is_bound(address)) return false;
  unlink_entry(pool, kind, number);
  unlink_entry(pool, 'a', id);
  return true;
}

u64 parse_hex16(const char* text) {
  u64 value = 0;
  for (unsigned i = 0; i < 16; ++i) {
    char c = text[i];
    u64 digit = c >= '0' && c <= '9' ? static_cast<u64>(c - '0') : c >= 'a' && c <= 'f' ? static_cast<u64>(c - 'a' + 10) : 16;
    if (digit == 16) return 0;
    value = value << 4 | digit;
  }
  return value;
}

// Those that have died since. Who may not list the directory leaves it to others, and to who makes the next V.
void clear_gone(const vfs::Pool& pool) {
  constexpr unsigned kMost = 16; // a turn
  DirPath path;
  put_dir(path, pool);
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(path.c_str()), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  alignas(8) char buffer[2048];
  unsigned looked_at = 0;
  long bytes;
  while (looked_at < kMost && (bytes = raw_syscall(SYS_getdents64, fd, as_arg(buffer), sizeof buffer)) > 0)
    for (long at = 0; at + 20 < bytes;) {
      u16 entry_bytes;
      memcpy(&entry_bytes, buffer + at + 16, 2);
      const char* name = buffer + at + 19;
      if (name[0] == 'g' && strlen(name) == 17) {
        ++looked_at;
        u64 id = parse_hex16(name + 1);
        (void)clear_if_dead(pool, 'g', id, id);
      }
      at += entry_bytes;
    }
  raw_syscall(SYS_close, fd);
}

} // namespace

StandInAddress::~StandInAddress() {
  if (dir_fd_ >= 0) raw_syscall(SYS_close, dir_fd_);
}

Result<void> StandInAddress::set(const vfs::Pool& pool, char kind, u64 number) {
  DirPath dir;
  put_dir(dir, pool);
  Name name;
  name << "/";
  if (kind == 'b')
    name << kBoundPrefix;
  else
    name << kind;
  put_hex16(name, number);
  FixedText<sizeof address_.sun_path> path;
  path << dir.view() << name.view();
  if (path.truncated()) {
    long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(dir.c_str()), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_of(fd);
    dir_fd_ = move_high(static_cast<int>(fd));
    FixedText<sizeof address_.sun_path> shorter;
    shorter << "/proc/self/fd/" << dir_fd_ << name.view();
    memcpy(address_.sun_path, shorter.c_str(), shorter.size() + 1);
    bytes_ = static_cast<u32>(__builtin_offsetof(sockaddr_un, sun_path) + shorter.size() + 1);
  } else {
    memcpy(address_.sun_path, path.c_str(), path.size() + 1);
    bytes_ = static_cast<u32>(__builtin_offsetof(sockaddr_un, sun_path) + path.size() + 1);
  }
  address_.sun_family = AF_UNIX;
  return {};
}

Result<u64> open_fifo_of(const vfs::Pool& pool, Object fifo, int flags) {
  TRY(make_dir(pool));
  DirPath path;
  put_path(path, pool, 'f', number_of(pool, fifo, kSecret));
  long made = raw_syscall(SYS_mknod, as_arg(path.c_str()), S_IFIFO | 0600, 0);
  if (made == 0) raw_syscall(SYS_chmod, as_arg(path.c_str()), 0666);
  if (made != 0 && made != -EEXIST) return error_of(made);
  long fd = wait_in_kernel(SYS_openat, AT_FDCWD, as_arg(path.c_str()), (flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_NOFOLLOW, 0, 0, 0);
  if (fd < 0) return error_of(fd);
  return static_cast<u64>(fd);
}

// The kernel's address is what the socket shows for ever, so it has the id only; then it moves to where nobody finds it who
// may not read the pool.
Result<void> bind_stand_in(const vfs::Pool& pool, Object object, int socket, std::string_view address) {
  TRY(make_dir(pool));
  clear_gone(pool);
  u64 id = number_of(pool, object, kId);
  StandInAddress bound;
  TRY(bound.set(pool, 'b', id));
  long error = raw_syscall(SYS_bind, socket, as_arg(bound.get()), bound.bytes());
  if (error != 0) return error_of(error);
  raw_syscall(SYS_chmod, as_arg(bound.path()), 0666); // who may connect is decided by the pool's inode
  DirPath text, place;
  FixedText<sizeof(sockaddr_un::sun_path) + 1> target;
  target << address;
  put_path(text, pool, 'a', id);
  raw_syscall(SYS_symlink, as_arg(target.c_str()), as_arg(text.c_str()));
  put_path(place, pool, 's', number_of(pool, object, kSecret));
  error = raw_syscall(SYS_rename, as_arg(bound.path()), as_arg(place.c_str()));
  return error == 0 ? Result<void>() : error_of(error);
}

Result<void> find_stand_in(const vfs::Pool& pool, Object object, StandInAddress& address) {
  DirPath dir;
  put_dir(dir, pool);
  Result<void> trusted = check_dir(dir.c_str(), pool);
  if (!trusted.ok()) return Error(ECONNREFUSED); // nobody has bound anything
  return address.set(pool, 's', number_of(pool, object, kSecret));
}

void remove_stand_in(const vfs::Pool& pool, const vfs::Task::Gone& gone) {
  Object object{raw(gone.ino), gone.generation};
  u64 secret = number_of(pool, object, kSecret), id = number_of(pool, object, kId);
  if (S_ISFIFO(gone.mode)) return unlink_entry(pool, 'f', secret);
  if (clear_if_dead(pool, 's', secret, id)) return;
  DirPath from, to;
  put_path(from, pool, 's', secret);
  put_path(to, pool, 'g', id);
  raw_syscall(SYS_rename, as_arg(from.c_str()), as_arg(to.c_str()));
}

u64 bound_as(Process& process, const sockaddr_un& address, u64 bytes, char (&text)[sizeof(sockaddr_un::sun_path) + 1]) {
  constexpr u64 kHead = __builtin_offsetof(sockaddr_un, sun_path), kPrefix = sizeof kBoundPrefix - 1;
  if (bytes <= kHead + kPrefix + 16 || address.sun_family != AF_UNIX || address.sun_path[0] != '/') return 0;
  u64 path_bytes = 0;
  while (path_bytes < min_of<u64>(bytes - kHead, sizeof address.sun_path) && address.sun_path[path_bytes] != '\0') ++path_bytes;
  if (path_bytes < kPrefix + 17) return 0;
  const char* last = address.sun_path + path_bytes - 16;
  if (last[-static_cast<i64>(kPrefix) - 1] != '/' || memcmp(last - kPrefix, kBoundPrefix, kPrefix) != 0) return 0;
  u64 id = parse_hex16(last);
  for (u32 i = 0; i < g_mount_count; ++i) {
    DirPath path;
    put_path(path, pool_of(process, i), 'a', id);
    long size = raw_syscall(SYS_readlink, as_arg(path.c_str()), as_arg(text), sizeof text - 1);
    if (size > 0) return static_cast<u64>(size);
  }
  return 0;
}

} // namespace pmemfile::preload
