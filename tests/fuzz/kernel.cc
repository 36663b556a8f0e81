#include "fuzz/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/syscall.h"
#include "layout/layout.h"

namespace pmemfile::fuzz::kernel {
namespace {

[[noreturn]] void give_up(const char* what, long number) {
  std::fprintf(stderr, "fuzz: %s: %ld\n", what, number);
  std::abort();
}

// ---- Memory -------------------------------------------------------------------------------------------------------

constexpr u64 kGuardBytes = 1 << 20;

// Mapped once, between pages that nobody may touch. While it is in use its first bytes may be touched; AddressSanitizer sees what
// touches the rest, or any of it at another time.
class Room {
 public:
  std::byte* base() const { return base_; }
  u64 capacity() const { return capacity_; }
  bool used() const { return used_; }

  void reserve(u64 bytes) {
    capacity_ = align_up(bytes, 4096);
    void* memory = mmap(nullptr, capacity_ + 2 * kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) give_up("no memory", static_cast<long>(bytes));
    base_ = static_cast<std::byte*>(memory) + kGuardBytes;
    if (mprotect(base_, capacity_, PROT_READ | PROT_WRITE) != 0) give_up("no memory", errno);
    close();
  }
  void open(u64 bytes) {
    if (bytes > capacity_) give_up("more is mapped than there is", static_cast<long>(bytes));
    used_ = true;
    ASAN_UNPOISON_MEMORY_REGION(base_, bytes);
  }
  void close() {
    used_ = false;
    ASAN_POISON_MEMORY_REGION(base_, capacity_);
  }
  // What the kernel itself does with it, mapped or not.
  template <class Do>
  void touch(Do&& what) {
    if (!used_) ASAN_UNPOISON_MEMORY_REGION(base_, capacity_);
    what(base_);
    if (!used_) ASAN_POISON_MEMORY_REGION(base_, capacity_);
  }
  void zero(u64 bytes) {
    touch([&](std::byte* at) { std::memset(at, 0, bytes); });
  }

 private:
  std::byte* base_ = nullptr;
  u64 capacity_ = 0;
  bool used_ = false;
};

// ---- Files and descriptors ----------------------------------------------------------------------------------------

enum class File : u8 { kNone, kPool, kSegment, kDirectory, kBootId };

struct Lock {
  unsigned owner; // a descriptor: none is ever duplicated
  File file;
  short type;
  i64 first, last;
};

constexpr unsigned kFirstFd = 900; // where the vfs room would move them
constexpr unsigned kFds = 16, kMostLocks = 32, kMostPieces = 16;
constexpr u64 kSegmentRoom = 1 << 20;
constexpr u64 kFirstSegmentIno = 1000, kPoolIno = 7, kDevice = 26;

struct State {
  Room pool_room, segment_room;
  Room pieces[kMostPieces]; // anonymous memory
  u64 pool_bytes = 0, segment_bytes = 0, segment_ino = 0; // 0: there is no V
  bool was_mapped = false;
  u64 randoms = 0;
  File fds[kFds] = {};
  Lock locks[kMostLocks];
  unsigned lock_count = 0;
};

State& state() {
  static State made;
  if (made.pool_room.capacity() == 0) {
    made.pool_room.reserve(layout::kMinPoolBytes);
    made.segment_room.reserve(kSegmentRoom);
  }
  return made;
}

File& file_of(long fd) {
  u64 index = static_cast<u64>(fd) - kFirstFd;
  if (index >= kFds || state().fds[index] == File::kNone) give_up("not a descriptor", fd);
  return state().fds[index];
}

long open_file(File file) {
  for (unsigned i = 0; i < kFds; ++i)
    if (state().fds[i] == File::kNone) {
      state().fds[i] = file;
      return kFirstFd + i;
    }
  return -EMFILE;
}

// V's file when it is found by a name, temporary or not.
long open_segment(int flags) {
  State& s = state();
  if ((flags & O_CREAT) != 0) {
    s.segment_ino = kFirstSegmentIno + s.randoms;
    s.segment_bytes = 0;
  }
  return s.segment_ino == 0 ? -ENOENT : open_file(File::kSegment);
}

long open_path(long dir, std::string_view path, int flags) {
  constexpr std::string_view kProcFd = "/proc/self/fd/";
  if (path == kPoolPath) return open_file(File::kPool);
  if (path == kShmDir) return open_file(File::kDirectory);
  if (path == "/proc/sys/kernel/random/boot_id") return open_file(File::kBootId);
  if (path.starts_with(kProcFd)) return open_file(file_of(std::atol(path.data() + kProcFd.size())));
  if (dir != AT_FDCWD && file_of(dir) == File::kDirectory) return open_segment(flags);
  give_up("an unknown path is opened", 0);
}

void drop_locks(unsigned fd, i64 first, i64 last) {
  State& s = state();
  for (unsigned i = 0; i < s.lock_count;)
    if (s.locks[i].owner == fd && s.locks[i].first >= first && s.locks[i].last <= last) s.locks[i] = s.locks[--s.lock_count];
    else ++i;
}

long close_fd(long fd) {
  file_of(fd) = File::kNone;
  drop_locks(static_cast<unsigned>(fd), 0, INT64_MAX);
  return 0;
}

// Locks of open file descriptions.
long control_lock(unsigned fd, long command, struct flock& wanted) {
  State& s = state();
  File file = file_of(fd);
  i64 first = wanted.l_start, last = wanted.l_len == 0 ? INT64_MAX : first + wanted.l_len - 1;
  const Lock* in_the_way = nullptr;
  for (unsigned i = 0; i < s.lock_count; ++i) {
    const Lock& lock = s.locks[i];
    bool conflicts = lock.owner != fd && lock.file == file && lock.first <= last && lock.last >= first &&
                     (lock.type == F_WRLCK || wanted.l_type == F_WRLCK);
    if (conflicts) in_the_way = &lock;
  }
  if (command == F_OFD_GETLK) {
    wanted.l_type = in_the_way != nullptr ? in_the_way->type : static_cast<short>(F_UNLCK);
    return 0;
  }
  if (wanted.l_type != F_UNLCK && in_the_way != nullptr) {
    if (command == F_OFD_SETLKW) give_up("waits for a lock that nobody will give up", first);
    return -EAGAIN;
  }
  drop_locks(fd, first, last);
  if (wanted.l_type == F_UNLCK) return 0;
  if (s.lock_count == kMostLocks) give_up("too many locks", kMostLocks);
  s.locks[s.lock_count++] = Lock{fd, file, wanted.l_type, first, last};
  return 0;
}

long control(long fd, long command, long argument) {
  if (command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW)
    return control_lock(static_cast<unsigned>(fd), command, *reinterpret_cast<struct flock*>(argument));
  if (command == F_SETFD) return 0;
  give_up("an unknown fcntl", command);
}

long describe(File file, struct stat& status) {
  State& s = state();
  status = {};
  status.st_dev = kDevice;
  status.st_mode = S_IFREG | 0600;
  if (file == File::kPool) status.st_ino = kPoolIno, status.st_size = static_cast<off_t>(s.pool_bytes);
  if (file == File::kSegment) status.st_ino = s.segment_ino, status.st_size = static_cast<off_t>(s.segment_bytes);
  return 0;
}

long describe_path(long dir, std::string_view path, struct stat& status) {
  if (path == kPoolPath) return describe(File::kPool, status);
  if (dir == AT_FDCWD) give_up("an unknown path is asked about", 0);
  return state().segment_ino == 0 ? -ENOENT : describe(File::kSegment, status);
}

long describe_file_system(struct statfs& status) {
  status = {};
  status.f_type = TMPFS_MAGIC;
  return 0;
}

long set_size(long fd, u64 bytes) {
  State& s = state();
  bool pool = file_of(fd) == File::kPool;
  Room& room = pool ? s.pool_room : s.segment_room;
  if (bytes > room.capacity()) give_up("a file becomes too large", static_cast<long>(bytes));
  if (!pool || bytes == 0) room.zero(pool ? room.capacity() : bytes); // a new file
  (pool ? s.pool_bytes : s.segment_bytes) = bytes;
  return 0;
}

long read_file(long fd, void* to, u64 size, u64 offset) {
  State& s = state();
  constexpr std::string_view kBootId = "11111111-2222-3333-4444-555555555555\n";
  File file = file_of(fd);
  Room& room = file == File::kPool ? s.pool_room : s.segment_room;
  u64 bytes = file == File::kBootId ? kBootId.size() : file == File::kPool ? s.pool_bytes : s.segment_bytes;
  if (offset >= bytes) return 0;
  size = min_of(size, bytes - offset);
  if (file == File::kBootId) std::memcpy(to, kBootId.data() + offset, size);
  else room.touch([&](const std::byte* from) { std::memcpy(to, from + offset, size); });
  return static_cast<long>(size);
}

// The smallest free room that is large enough, or a new one.
long map_memory(u64 bytes) {
  Room* best = nullptr;
  for (Room& room : state().pieces) {
    if (room.capacity() == 0 && best == nullptr) room.reserve(bytes);
    bool fits = !room.used() && room.capacity() >= bytes;
    if (fits && (best == nullptr || room.capacity() < best->capacity())) best = &room;
  }
  if (best == nullptr) give_up("too many pieces of memory", static_cast<long>(bytes));
  best->zero(bytes);
  best->open(bytes);
  return as_arg(best->base());
}

// Who may only read makes its mapping of the pool a copy; here the next input brings the pool's bytes back.
bool copies_the_pool(long address, long flags, long fd) {
  Room& room = state().pool_room;
  return (flags & MAP_PRIVATE) != 0 && file_of(fd) == File::kPool && room.used() && as_arg(room.base()) == address;
}

long map(long address, u64 bytes, long flags, long fd) {
  if ((flags & MAP_FIXED) != 0 && copies_the_pool(address, flags, fd)) return address;
  if ((flags & MAP_FIXED) != 0) give_up("a mapping at a place of its own", flags);
  if ((flags & MAP_ANONYMOUS) != 0) return map_memory(bytes);
  State& s = state();
  bool pool = file_of(fd) == File::kPool;
  Room& room = pool ? s.pool_room : s.segment_room;
  if (room.used() || bytes != (pool ? s.pool_bytes : s.segment_bytes)) give_up("maps other than the whole file once", fd);
  room.open(bytes);
  s.was_mapped |= pool;
  return as_arg(room.base());
}

long unmap(long address) {
  State& s = state();
  auto drop = [&](Room& room) {
    bool mine = room.used() && as_arg(room.base()) == address;
    if (mine) room.close();
    return mine;
  };
  if (drop(s.pool_room) || drop(s.segment_room)) return 0;
  for (Room& room : s.pieces)
    if (drop(room)) return 0;
  give_up("unmaps what is not mapped", address);
}

long draw(u64* to, u64 size) {
  for (u64 at = 0; at < size; at += 8) {
    u64 value = ++state().randoms * 0x9e3779b97f4a7c15;
    std::memcpy(reinterpret_cast<std::byte*>(to) + at, &value, min_of<u64>(8, size - at));
  }
  return static_cast<long>(size);
}

long call(long nr, const long (&a)[6]) {
  auto text = [&](unsigned i) { return std::string_view(reinterpret_cast<const char*>(a[i])); };
  switch (nr) {
    case SYS_openat: return open_path(a[0], text(1), static_cast<int>(a[2]));
    case SYS_close: return close_fd(a[0]);
    case SYS_fcntl: return control(a[0], a[1], a[2]);
    case SYS_fstat: return describe(file_of(a[0]), *reinterpret_cast<struct stat*>(a[1]));
    case SYS_newfstatat: return describe_path(a[0], text(1), *reinterpret_cast<struct stat*>(a[2]));
    case SYS_fstatfs: return describe_file_system(*reinterpret_cast<struct statfs*>(a[1]));
    case SYS_ftruncate: return set_size(a[0], static_cast<u64>(a[1]));
    case SYS_read: return read_file(a[0], reinterpret_cast<void*>(a[1]), static_cast<u64>(a[2]), 0);
    case SYS_pread64: return read_file(a[0], reinterpret_cast<void*>(a[1]), static_cast<u64>(a[2]), static_cast<u64>(a[3]));
    case SYS_mmap: return map(a[0], static_cast<u64>(a[1]), a[3], a[4]);
    case SYS_memfd_create: return -ENOSYS; // so a reader without a segment ends behind its replay
    case SYS_munmap: return unmap(a[0]);
    case SYS_getrandom: return draw(reinterpret_cast<u64*>(a[0]), static_cast<u64>(a[1]));
    case SYS_readlink: std::memcpy(reinterpret_cast<char*>(a[1]), kPoolPath, sizeof kPoolPath - 1); return sizeof kPoolPath - 1;
    case SYS_unlinkat: state().segment_ino = 0; return 0;
    case SYS_getpid: return 1000;
    case SYS_geteuid: return 0;
    // Permissions, names, advice: nothing depends on them here. The directory is never listed: it would be empty.
    case SYS_fchown: case SYS_fchmod: case SYS_fallocate: case SYS_renameat: case SYS_madvise: case SYS_getdents64: return 0;
    case SYS_futex: if (a[1] == 1 /* FUTEX_WAKE */) return 0; break;
    case SYS_clock_gettime: return clock_gettime(static_cast<clockid_t>(a[0]), reinterpret_cast<timespec*>(a[1]));
  }
  give_up("a system call that is not known or would wait", nr);
}

} // namespace

void start(std::span<const std::byte> pool) {
  State& s = state();
  must_be_at_rest();
  s.pool_bytes = pool.size();
  s.segment_ino = s.segment_bytes = 0;
  s.was_mapped = false;
  s.pool_room.touch([&](std::byte* to) { std::memcpy(to, pool.data(), pool.size()); });
}

void read_pool(std::vector<std::byte>& to) {
  State& s = state();
  to.resize(s.pool_bytes);
  s.pool_room.touch([&](const std::byte* from) { std::memcpy(to.data(), from, to.size()); });
}

bool was_mapped() { return state().was_mapped; }

void must_be_at_rest() {
  State& s = state();
  bool busy = s.pool_room.used() || s.segment_room.used() || s.lock_count != 0;
  for (const Room& room : s.pieces) busy |= room.used();
  for (File file : s.fds) busy |= file != File::kNone;
  if (busy) give_up("something is left open, mapped or locked", 0);
}

} // namespace pmemfile::fuzz::kernel

namespace pmemfile {

long raw_syscall(long nr, long a0, long a1, long a2, long a3, long a4, long a5) {
  return fuzz::kernel::call(nr, {a0, a1, a2, a3, a4, a5});
}

} // namespace pmemfile
