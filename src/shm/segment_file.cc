#include "shm/segment_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mapping.h"
#include "base/syscall.h"
#include "base/text.h"

namespace pmemfile::shm {
namespace {

using Name = FixedText<64>;

Error error_of(long result) { return Error(static_cast<int>(-result)); }
void close_fd(int fd) { raw_syscall(SYS_close, fd); }

void put_hex(Text& text, u64 value) {
  for (int shift = 60; shift >= 0; shift -= 4)
    if (shift == 0 || value >> shift != 0) text << "0123456789abcdef"[(value >> shift) & 15];
}

void put_name(Text& name, const PoolIdentity& pool) {
  name << "pmemfile-";
  put_hex(name, pool.dev);
  name << '-';
  put_hex(name, pool.ino);
}

Result<int> open_dir(const char* shm_dir) {
  const char* path = shm_dir != nullptr ? shm_dir : kDefaultShmDir;
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (is_syscall_error(fd)) return error_of(fd);
  return static_cast<int>(fd);
}

Result<struct stat> stat_fd(int fd) {
  struct stat st;
  long result = raw_syscall(SYS_fstat, fd, as_arg(&st));
  if (is_syscall_error(result)) return error_of(result);
  return st;
}

// What stands at the name must be absent, or a file that an earlier V of this pool can be.
Result<void> check_place(int dir_fd, const Name& name, const PoolIdentity& pool) {
  struct stat st;
  long result = raw_syscall(SYS_newfstatat, dir_fd, as_arg(name.c_str()), as_arg(&st), AT_SYMLINK_NOFOLLOW);
  if (result == -ENOENT) return {};
  if (is_syscall_error(result)) return error_of(result);
  u32 self = static_cast<u32>(raw_syscall(SYS_geteuid));
  bool plausible_owner = st.st_uid == pool.uid || st.st_uid == self || st.st_uid == 0 || self == 0;
  if (!S_ISREG(st.st_mode) || !plausible_owner) return Error(EPERM);
  return {};
}

const u8 kZeros[64 * 1024] = {};

// Every page is there before anybody stores into it.
Result<void> allocate(int fd, u64 bytes) {
  if (raw_syscall(SYS_ftruncate, fd, static_cast<long>(bytes)) == 0) gather_in_huge_pages(fd, bytes);
  long result = raw_syscall(SYS_fallocate, fd, 0, 0, static_cast<long>(bytes));
  if (result != -EOPNOTSUPP) return is_syscall_error(result) ? Result<void>(error_of(result)) : Result<void>();
  for (u64 offset = 0; offset < bytes;) {
    u64 size = min_of<u64>(sizeof kZeros, bytes - offset);
    result = raw_syscall(SYS_pwrite64, fd, as_arg(kZeros), static_cast<long>(size), static_cast<long>(offset));
    if (result == -EINTR) continue;
    if (is_syscall_error(result)) return error_of(result);
    offset += static_cast<u64>(result);
  }
  return {};
}

Result<void> give_to_pool_owner(int fd, const PoolIdentity& pool) {
  // Who may write the pool without owning it can only pass on the group.
  if (raw_syscall(SYS_fchown, fd, pool.uid, pool.gid) != 0) raw_syscall(SYS_fchown, fd, -1, pool.gid);
  long result = raw_syscall(SYS_fchmod, fd, pool.mode & 0777);
  if (is_syscall_error(result)) return error_of(result);
  return {};
}

Result<Segment> map_segment(int fd, u64 bytes, bool writable) {
  // Below the library, above the pool.
  constexpr u64 kRoomBehind = 32 * 1024 * 1024;
  long base = map_aligned(fd, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, below_library(bytes, kRoomBehind));
  if (is_syscall_error(base)) return error_of(base);
  raw_syscall(SYS_madvise, base, static_cast<long>(bytes), MADV_DONTDUMP);
  Segment v;
  v.base = reinterpret_cast<u8*>(base);
  v.bytes = bytes;
  v.header = reinterpret_cast<SegmentHeader*>(base);
  v.fd = fd;
  return v;
}

void point_tables(Segment& v) {
  v.slots = v.at<Slot>(v.header->slots_offset);
  v.stripes = v.at<Stripe>(v.header->stripes_offset);
}

// The planned fields of a header, everything else 0.
SegmentHeader plan_of(const SegmentHeader& header) {
  SegmentHeader plan = header;
  plan.magic = 0;
  plan.ready = 0;
  plan.segment_id = plan.pool_dev = plan.pool_ino = plan.record_epoch = 0;
  for (u8& byte : plan.pool_uuid) byte = 0;
  for (char& byte : plan.pool_path) byte = '\0';
  plan.version = 0;
  plan.slots_waited = 0;
  plan.relinks = plan.topology_sequence = plan.used_blocks_delta = 0;
  plan.pool_changed_ns = 0;
  for (u64& word : plan.times_left) word = 0;
  return plan;
}

Result<void> check_header(const SegmentHeader& header, const PoolIdentity& pool, u64 id, const SegmentHeader& plan) {
  if (header.magic != kSegmentMagic) return Error(EUCLEAN);
  if (header.version != kSegmentVersion) return Error(EPROTONOSUPPORT);
  if (header.segment_id != id || header.pool_dev != pool.dev || header.pool_ino != pool.ino ||
      __builtin_memcmp(header.pool_uuid, pool.uuid, sizeof pool.uuid) != 0)
    return Error(ESTALE);
  // The layout has only one right answer, so nothing of the file's own is believed.
  SegmentHeader found = plan_of(header), wanted = plan_of(plan);
  if (load_acquire(header.ready) != 1 || __builtin_memcmp(&found, &wanted, sizeof found) != 0) return Error(EUCLEAN);
  return {};
}

Result<u64> random_id() {
  u64 id = 0;
  while (id == 0) {
    long result = raw_syscall(SYS_getrandom, as_arg(&id), sizeof id, 0);
    if (is_syscall_error(result) && result != -EINTR) return error_of(result);
  }
  return id;
}

Result<Segment> map_new(int fd, const PoolIdentity& pool, const SegmentHeader& plan, u64 record_epoch, u64 id) {
  Segment v = TRY(map_segment(fd, plan.bytes, true));
  // Zeros are the right start of every table; only the header says something.
  *v.header = plan;
  v.header->magic = kSegmentMagic;
  v.header->version = kSegmentVersion;
  v.header->segment_id = id;
  v.header->pool_dev = pool.dev;
  v.header->pool_ino = pool.ino;
  __builtin_memcpy(v.header->pool_uuid, pool.uuid, sizeof pool.uuid);
  __builtin_memcpy(v.header->pool_path, pool.path, sizeof pool.path);
  v.header->record_epoch = record_epoch;
  store_release(v.header->ready, 1u);
  point_tables(v);
  return v;
}

Result<Segment> fill_new(int fd, const PoolIdentity& pool, const SegmentHeader& plan, u64 record_epoch, u64 id) {
  TRY(give_to_pool_owner(fd, pool));
  TRY(allocate(fd, plan.bytes));
  return map_new(fd, pool, plan, record_epoch, id);
}

} // namespace

Result<Segment> create_segment(const char* shm_dir, const PoolIdentity& pool, const SegmentHeader& plan, u64 record_epoch) {
  int dir_fd = TRY(open_dir(shm_dir));
  auto result = [&]() -> Result<Segment> {
    Name name, temporary;
    put_name(name, pool);
    TRY(check_place(dir_fd, name, pool));
    put_name(temporary, pool);
    temporary << ".";
    // Who began one was killed: this process has the pool's exclusive lock.
    remove_stale_segments(dir_fd, temporary.c_str());
    temporary << "new-";
    u64 id = TRY(random_id());
    put_hex(temporary, id);
    long fd = raw_syscall(SYS_openat, dir_fd, as_arg(temporary.c_str()), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (is_syscall_error(fd)) return error_of(fd);
    auto made = fill_new(static_cast<int>(fd), pool, plan, record_epoch, id);
    if (made.ok()) {
      long renamed = raw_syscall(SYS_renameat, dir_fd, as_arg(temporary.c_str()), dir_fd, as_arg(name.c_str()));
      if (renamed == 0) return made;
      raw_syscall(SYS_munmap, as_arg(made.value().base), static_cast<long>(made.value().bytes));
      made = error_of(renamed);
    }
    raw_syscall(SYS_unlinkat, dir_fd, as_arg(temporary.c_str()), 0);
    close_fd(static_cast<int>(fd));
    return made;
  }();
  close_fd(dir_fd);
  return result;
}

Result<Segment> create_own_segment(const PoolIdentity& pool, const SegmentHeader& plan, u64 record_epoch) {
  u64 id = TRY(random_id());
  long fd = raw_syscall(SYS_memfd_create, as_arg("pmemfile-segment"), 1 /* MFD_CLOEXEC */);
  if (is_syscall_error(fd)) return error_of(fd);
  long sized = raw_syscall(SYS_ftruncate, fd, static_cast<long>(plan.bytes));
  auto made = is_syscall_error(sized) ? Result<Segment>(error_of(sized)) : map_new(static_cast<int>(fd), pool, plan, record_epoch, id);
  if (!made.ok()) close_fd(static_cast<int>(fd));
  return made;
}

Result<Segment> adopt_own_segment(int fd, const PoolIdentity& pool, const SegmentHeader& plan) {
  struct stat st = TRY(stat_fd(fd));
  SegmentIdentity own{st.st_dev, st.st_ino, 0};
  if (raw_syscall(SYS_pread64, fd, as_arg(&own.id), sizeof own.id, __builtin_offsetof(SegmentHeader, segment_id)) != sizeof own.id)
    return Error(EUCLEAN);
  return adopt_segment(fd, pool, own, plan);
}

Result<Segment> adopt_segment(int fd, const PoolIdentity& pool, const SegmentIdentity& named, const SegmentHeader& plan,
                              bool writable) {
  struct stat st = TRY(stat_fd(fd));
  if (!S_ISREG(st.st_mode)) return Error(EPERM);
  if (st.st_dev != named.dev || st.st_ino != named.ino) return Error(ESTALE);
  if (static_cast<u64>(st.st_size) != plan.bytes) return Error(EUCLEAN);
  Segment v = TRY(map_segment(fd, plan.bytes, writable));
  auto checked = check_header(*v.header, pool, named.id, plan);
  if (!checked.ok()) {
    raw_syscall(SYS_munmap, as_arg(v.base), static_cast<long>(v.bytes));
    return Error(checked.error());
  }
  point_tables(v);
  // The pool's owner or mode may have changed since V was made: who may read the pool has to be able to read V.
  bool same_rights = (st.st_mode & 0777) == (pool.mode & 0777) && st.st_uid == pool.uid && st.st_gid == pool.gid;
  if (PMEMFILE_UNLIKELY(writable && !same_rights)) (void)give_to_pool_owner(fd, pool);
  return v;
}

Result<Segment> open_segment(const char* shm_dir, const PoolIdentity& pool, const SegmentIdentity& named,
                             const SegmentHeader& plan, bool writable) {
  int dir_fd = TRY(open_dir(shm_dir));
  Name name;
  put_name(name, pool);
  // O_NONBLOCK: a FIFO squatting on the name must not hang us.
  long fd = raw_syscall(SYS_openat, dir_fd, as_arg(name.c_str()), (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  close_fd(dir_fd);
  if (fd == -ELOOP || fd == -EISDIR || fd == -ENXIO) return Error(EPERM);
  if (is_syscall_error(fd)) return error_of(fd);
  auto result = adopt_segment(static_cast<int>(fd), pool, named, plan, writable);
  if (!result.ok()) close_fd(static_cast<int>(fd));
  return result;
}

Result<SegmentIdentity> identity_of(const Segment& v) {
  struct stat st = TRY(stat_fd(v.fd));
  return SegmentIdentity{st.st_dev, st.st_ino, v.header->segment_id};
}

Result<void> make_private(const Segment& v) {
  long result = raw_syscall(SYS_mmap, as_arg(v.base), static_cast<long>(v.bytes), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, v.fd, 0);
  if (is_syscall_error(result)) return error_of(result);
  return {};
}

void unmap_segment(Segment& v) {
  if (v.base != nullptr) raw_syscall(SYS_munmap, as_arg(v.base), static_cast<long>(v.bytes));
  if (v.fd >= 0) close_fd(v.fd);
  v = Segment{};
}

void put_names_dir(Text& path, const char* shm_dir, const Segment& v) {
  PoolIdentity pool;
  pool.dev = v.header->pool_dev;
  pool.ino = v.header->pool_ino;
  Name name;
  put_name(name, pool);
  path << (shm_dir != nullptr ? shm_dir : kDefaultShmDir) << "/" << name.view() << kNamesInfix;
  put_hex(path, mix(v.header->segment_id ^ 0x6e616d6573));
}

void unlink_segment(const char* shm_dir, const PoolIdentity& pool, const Segment& v) {
  auto dir_fd = open_dir(shm_dir);
  auto mine = identity_of(v);
  if (!dir_fd.ok()) return;
  Name name;
  put_name(name, pool);
  struct stat st;
  if (mine.ok() && raw_syscall(SYS_newfstatat, dir_fd.value(), as_arg(name.c_str()), as_arg(&st), AT_SYMLINK_NOFOLLOW) == 0 &&
      st.st_dev == mine.value().dev && st.st_ino == mine.value().ino)
    raw_syscall(SYS_unlinkat, dir_fd.value(), as_arg(name.c_str()), 0);
  close_fd(dir_fd.value());
}

} // namespace pmemfile::shm
