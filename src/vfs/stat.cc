// Asking about objects: stat, statx, access, readlink, the path of a directory, statfs.
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>

#include "alloc/alloc.h"
#include "vfs/change.h"

namespace pmemfile::vfs {
namespace {

// What df shows, and what coreutils, glib and others decide by: the pool is a file system in user space, and the same
// pool mounted by mount.pmemfile must look the same. (With tmpfs's number, tail -f would trust inotify.)
constexpr long kFuseSuperMagic = 0x65735546;
constexpr long kPreferredBytes = 4096;
// A directory has no size of its own; this is what most file systems show for a small one.
constexpr u64 kDirectoryBytes = 4096;
constexpr i64 kSecond = 1'000'000'000;
constexpr u32 kStatxMountId = 0x1000, kStatxUniqueMountId = 0x4000; // newer than the headers of Debian 11

struct Seconds {
  i64 whole;
  u32 nanoseconds;
};
Seconds split(i64 ns) {
  i64 whole = ns / kSecond, rest = ns % kSecond;
  if (rest < 0) --whole, rest += kSecond;
  return Seconds{whole, static_cast<u32>(rest)};
}
// What stat_at() builds, as Linux defines it for x86-64.
static_assert(sizeof(struct stat) == 144 && offsetof(struct stat, st_nlink) == 16 && offsetof(struct stat, st_mode) == 24 &&
              offsetof(struct stat, st_uid) == 28 && offsetof(struct stat, st_gid) == 32 && offsetof(struct stat, st_rdev) == 40 &&
              offsetof(struct stat, st_blocks) == 64 && offsetof(struct stat, st_ctim) == 104);

u64 shown_size(const inode::Attr& attr) { return is_dir(attr.mode) ? kDirectoryBytes : attr.size; }

// dev_t as the kernel and glibc encode it.
u32 major_of(u64 dev) { return static_cast<u32>((dev >> 8 & 0xfff) | (dev >> 32 & 0xfffff000)); }
u32 minor_of(u64 dev) { return static_cast<u32>((dev & 0xff) | (dev >> 12 & 0xffffff00)); }

Result<void> give(void* user, const void* value, u64 size) {
  if (pmem::copy_guarded(user, value, size) != 0) return Error(EFAULT);
  return {};
}

} // namespace

Result<void> stat_at(Task& task, At at, Follow follow, bool allow_empty, struct stat* user_out) {
  inode::Attr attr;
  TRY(resolve_into(task, at, follow, allow_empty, attr));
  Seconds access = split(attr.atime_ns), modification = split(attr.mtime_ns), change = split(attr.ctime_ns);
  // Word by word: halves that are stored and then copied as a whole would wait for the store buffer.
  const u64 out[sizeof(struct stat) / 8] = {
      task.pool->device(),
      raw(attr.ino),
      attr.nlink,
      attr.mode | u64{attr.uid} << 32,
      attr.gid,
      attr.rdev,
      shown_size(attr),
      kPreferredBytes,
      attr.blocks * (layout::kBlockBytes / 512),
      static_cast<u64>(access.whole),
      access.nanoseconds,
      static_cast<u64>(modification.whole),
      modification.nanoseconds,
      static_cast<u64>(change.whole),
      change.nanoseconds,
  };
  return give(user_out, out, sizeof out);
}

Result<void> statx_at(Task& task, At at, Follow follow, bool allow_empty, unsigned mask, struct statx* user_out) {
  if ((mask & STATX__RESERVED) != 0) return Error(EINVAL);
  inode::Attr attr;
  TRY(resolve_into(task, at, follow, allow_empty, attr));
  struct statx out {};
  auto put_time = [](statx_timestamp& to, i64 ns) {
    Seconds time = split(ns);
    to.tv_sec = time.whole;
    to.tv_nsec = time.nanoseconds;
  };
  // All of it costs nothing, so all of it is given, as the kernel may.
  out.stx_mask = STATX_BASIC_STATS | STATX_BTIME;
  if (task.mount_id != 0) {
    bool unique = (mask & kStatxUniqueMountId) != 0;
    out.stx_mask |= unique ? kStatxUniqueMountId : kStatxMountId;
    out.stx_mnt_id = task.mount_id;
    out.stx_attributes_mask = STATX_ATTR_MOUNT_ROOT;
    if (attr.ino == task.root) out.stx_attributes = STATX_ATTR_MOUNT_ROOT;
  }
  out.stx_blksize = kPreferredBytes;
  out.stx_nlink = attr.nlink;
  out.stx_uid = attr.uid;
  out.stx_gid = attr.gid;
  out.stx_mode = static_cast<u16>(attr.mode);
  out.stx_ino = raw(attr.ino);
  out.stx_size = shown_size(attr);
  out.stx_blocks = attr.blocks * (layout::kBlockBytes / 512);
  put_time(out.stx_atime, attr.atime_ns);
  put_time(out.stx_btime, attr.btime_ns);
  put_time(out.stx_ctime, attr.ctime_ns);
  put_time(out.stx_mtime, attr.mtime_ns);
  out.stx_rdev_major = major_of(attr.rdev);
  out.stx_rdev_minor = minor_of(attr.rdev);
  out.stx_dev_major = major_of(task.pool->device());
  out.stx_dev_minor = minor_of(task.pool->device());
  return give(user_out, &out, sizeof out);
}

namespace {

// The credentials of access(2): the real ids, and the capabilities that a process with them would have.
Credentials real_credentials(const Credentials& who) {
  Credentials real = who;
  real.fsuid = who.uid;
  real.fsgid = who.gid;
  if (who.uid != 0)
    real.capabilities = 0;
  else if (who.euid != 0)
    real.capabilities = ~u64{0}; // root that has put its effective id aside
  return real;
}

Result<void> check_access(const Store& store, const Credentials& who, const inode::Attr& attr, int mode) {
  bool guarded = is_regular(attr.mode) || is_dir(attr.mode) || is_link(attr.mode);
  if ((mode & kWrite) != 0 && guarded) TRY(check_writable(store));
  if (mode != 0 && !may_access(who, attr, mode)) return Error(EACCES);
  return {};
}

} // namespace

Result<void> access_at(Task& task, At at, Follow follow, bool allow_empty, int mode, bool effective) {
  if ((mode & ~7) != 0) return Error(EINVAL);
  const Credentials* own = task.credentials;
  Credentials real;
  if (!effective && (own->uid != own->fsuid || own->gid != own->fsgid)) {
    real = real_credentials(*own);
    task.credentials = &real;
  }
  inode::Attr attr;
  Result<void> found = resolve_into(task, at, follow, allow_empty, attr);
  const Credentials* who = task.credentials;
  task.credentials = own;
  TRY(found);
  return check_access(task.pool->store(), *who, attr, mode);
}

Result<u64> readlink_at(Task& task, At at, bool allow_empty, char* user_buffer, u64 size) {
  Store& store = task.pool->store();
  for (unsigned i = 0; i < kMaxRestarts; ++i) {
    bool itself = allow_empty && at.path.empty();
    inode::Attr attr = TRY(resolve(task, at, Follow::kNo, allow_empty));
    if (!is_link(attr.mode)) return Error(itself ? ENOENT : EINVAL);
    if (attr.size == 0 || attr.size >= kPathMax) return Error(kErrnoCorrupt);
    u64 wanted = min_of(size, attr.size), done = 0;
    char piece[128];
    Result<void> read;
    while (done < wanted && read.ok()) {
      u32 part = static_cast<u32>(min_of<u64>(wanted - done, sizeof piece));
      read = read_target(store, attr.ino, identity_of(attr), static_cast<u32>(done), piece, part);
      if (read.ok()) TRY(give(user_buffer + done, piece, part));
      done += part;
    }
    if (read.ok()) return wanted;
    if (read.error() != ESTALE || itself) return Error(read.error());
  }
  return Error(kErrnoCorrupt);
}

// ---- Where a directory is ---------------------------------------------------------------------------------------

namespace {

// One step up: the directory's name, put in front of what stands at buffer + start; returns its parent, itself at a root.
Result<Ino> prepend_name(Store& store, Ino dir, char* buffer, u64& start) {
  struct Up {
    u64 parent, key;
  };
  auto read_up = [&](const journal::View& view) -> Result<Up> {
    PoolOff inode = layout::inode_offset(dir);
    u64 mode_word = view.load(inode + layout::kInodeModeWord);
    if (!is_dir(mode_word & 0xffff) || mode_word >> 32 == 0) return Error(ENOENT); // removed
    return Up{view.load(inode + layout::kInodeParent), view.load(inode + layout::kInodeParentKey)};
  };
  if (!store.inode_in_range(dir)) return Error(kErrnoCorrupt);
  Up up = TRY(journal::read_consistent(store, shm::inode_key(store.segment, dir), read_up));
  if (up.parent == 0 || Ino{up.parent} == dir) return dir;
  char name[256];
  u32 length = TRY(dir::name_of_key(store, Ino{up.parent}, up.key, name));
  if (start < length + u64{1}) return Error(ERANGE);
  start -= length;
  memcpy(buffer + start, name, length);
  buffer[--start] = '/';
  return Ino{up.parent};
}

// Fills the end of the buffer; returns where the path begins.
Result<u64> climb(Task& task, Ino dir, char* buffer, u64 size) {
  Store& store = task.pool->store();
  if (size < 2) return Error(ERANGE);
  u64 start = size - 1;
  buffer[start] = '\0';
  Node node = TRY(read_node(store, dir));
  if (!is_dir(node.mode)) return Error(ENOTDIR);
  if (node.nlink == 0) return Error(ENOENT);
  while (dir != task.root) { // each step takes a byte of the buffer at least
    Ino parent = TRY(prepend_name(store, dir, buffer, start));
    if (parent == dir) break;
    dir = parent;
  }
  if (start == size - 1) buffer[--start] = '/';
  return start;
}

} // namespace

Result<u64> dir_path(Task& task, Ino dir, char* buffer, u64 size) {
  const u64& moves = task.pool->store().segment.header->topology_sequence;
  for (unsigned i = 0;; ++i) {
    u64 before = load_acquire(moves);
    Result<u64> start = climb(task, dir, buffer, size);
    acquire_fence();
    // A path that was put together while directories moved may never have existed. Under a storm of moves any will do
    // whose steps were right one by one.
    if (load_relaxed(moves) != before && i < 1000) continue;
    if (start.error() == ESTALE) return Error(ENOENT);
    u64 begin = TRY(start);
    memmove(buffer, buffer + begin, size - begin);
    return size - begin;
  }
}

Result<void> statfs_pool(Task& task, struct statfs* user_out) {
  const Store& store = task.pool->store();
  struct statfs out {};
  out.f_type = kFuseSuperMagic;
  out.f_bsize = out.f_frsize = layout::kBlockBytes;
  out.f_blocks = store.geometry.block_count - store.geometry.data_start_block;
  out.f_bfree = out.f_bavail = alloc::free_blocks(store);
  // Inodes are made of free blocks, sixteen of each.
  out.f_ffree = out.f_bfree * layout::kInodesPerBlock;
  out.f_files = out.f_blocks * layout::kInodesPerBlock;
  out.f_namelen = layout::kMaxNameBytes;
  u64 id[2];
  memcpy(id, store.geometry.uuid, sizeof id);
  u64 folded = id[0] ^ id[1];
  memcpy(&out.f_fsid, &folded, sizeof out.f_fsid);
  out.f_flags = 0x20 /* ST_VALID */ | (store.medium.writable ? 0 : 1 /* ST_RDONLY */);
  return give(user_out, &out, sizeof out);
}

} // namespace pmemfile::vfs
