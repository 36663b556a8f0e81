// Changing attributes: chmod, chown, utimensat, truncate.
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "vfs/change.h"
#include "vfs/open_files.h"

namespace pmemfile::vfs {
namespace {

// One operation on the inode that `at` names: `body(tx, attr)` checks, changes and stages; the inode is locked and still
// the one that the path led to.
template <class Body>
Result<void> change_inode(Task& task, At at, Follow follow, bool allow_empty, Body&& body) {
  Store& store = task.pool->store();
  for (unsigned i = 0; i < kMaxRestarts; ++i) {
    inode::Attr seen = TRY(resolve(task, at, follow, allow_empty));
    TRY(check_writable(store));
    Result<void> result = journal::run_tx(store, Opcode::kSetAttr, [&](Tx& tx) -> Result<void> {
      TRY(tx.lock(shm::inode_key(store.segment, seen.ino)));
      Result<inode::Attr> loaded = inode::load(tx.view(), seen.ino);
      if (loaded.error() == ESTALE || (loaded.ok() && loaded.value().generation != seen.generation)) return Error(kChanged);
      inode::Attr attr = TRY(std::move(loaded));
      TRY(body(tx, attr));
      attr.ctime_ns = inode::now_ns();
      inode::store_times(tx, attr);
      return tx.commit();
    });
    if (result.error() != kChanged) return result;
  }
  return Error(ESTALE);
}

bool in_group_or_fsetid(const Task& task, u32 gid) {
  return in_group(*task.credentials, gid) || (task.credentials->capabilities & kCapFsetid) != 0;
}

// The bits that a change of owner or size takes away from a file (setattr_should_drop_suidgid() in Linux).
u32 dropped_bits(const Task& task, const inode::Attr& attr) {
  u32 bits = attr.mode & kSetUid;
  if ((attr.mode & kSetGid) != 0 && ((attr.mode & 010) != 0 || !in_group_or_fsetid(task, attr.gid))) bits |= kSetGid;
  return bits;
}

Result<void> check_chown(const Task& task, const inode::Attr& attr, u32 uid, u32 gid) {
  const Credentials& who = *task.credentials;
  if ((who.capabilities & kCapChown) != 0) return {};
  bool owner = who.fsuid == attr.uid;
  if (uid != ~0u && !(owner && uid == attr.uid)) return Error(EPERM);
  if (gid != ~0u && !(owner && (gid == attr.gid || in_group(who, gid)))) return Error(EPERM);
  return {};
}

constexpr i64 kSecond = 1'000'000'000;

// Far times are held at the ends of what 64 bits of nanoseconds can say (the years 1677 to 2262).
i64 clamped_ns(const timespec& time) {
  constexpr i64 kMost = 9223372035;
  i64 seconds = time.tv_sec > kMost ? kMost : time.tv_sec < -kMost ? -kMost : time.tv_sec;
  return seconds * kSecond + time.tv_nsec;
}

struct NewTimes {
  i64 atime_ns = 0, mtime_ns = 0;
  bool set_atime = true, set_mtime = true;
  bool both_now = true, valid = true;
};

bool valid_nanoseconds(long value) { return (value >= 0 && value < kSecond) || value == UTIME_NOW || value == UTIME_OMIT; }

Result<NewTimes> decode_times(const timespec* user_times) {
  NewTimes out;
  out.atime_ns = out.mtime_ns = inode::now_ns();
  if (user_times == nullptr) return out;
  timespec times[2];
  if (pmem::copy_guarded(times, user_times, sizeof times) != 0) return Error(EFAULT);
  out.valid = valid_nanoseconds(times[0].tv_nsec) && valid_nanoseconds(times[1].tv_nsec);
  if (!out.valid) return out;
  out.both_now = times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW;
  out.set_atime = times[0].tv_nsec != UTIME_OMIT;
  out.set_mtime = times[1].tv_nsec != UTIME_OMIT;
  if (times[0].tv_nsec != UTIME_NOW) out.atime_ns = clamped_ns(times[0]);
  if (times[1].tv_nsec != UTIME_NOW) out.mtime_ns = clamped_ns(times[1]);
  return out;
}

} // namespace

Result<void> chmod_at(Task& task, At at, Follow follow, bool allow_empty, u32 mode) {
  return change_inode(task, at, follow, allow_empty, [&](Tx& tx, inode::Attr& attr) -> Result<void> {
    if (is_link(attr.mode)) return Error(EOPNOTSUPP);
    if (!owns(task, attr)) return Error(EPERM);
    u32 bits = mode & kPermissionBits;
    if (!in_group_or_fsetid(task, attr.gid)) bits &= ~kSetGid;
    attr.mode = (attr.mode & kTypeMask) | bits;
    inode::store_mode(tx, attr);
    if (is_dir(attr.mode)) forget_cached_paths(tx.store());
    return {};
  });
}

Result<void> chown_at(Task& task, At at, Follow follow, bool allow_empty, u32 uid, u32 gid) {
  return change_inode(task, at, follow, allow_empty, [&](Tx& tx, inode::Attr& attr) -> Result<void> {
    TRY(check_chown(task, attr, uid, gid));
    u32 dropped = is_dir(attr.mode) ? 0 : dropped_bits(task, attr);
    if (dropped != 0 && !owns(task, attr)) return Error(EPERM); // chown(-1, -1) by somebody else
    if (uid != ~0u) attr.uid = uid;
    if (gid != ~0u) attr.gid = gid;
    attr.mode &= ~dropped;
    if (dropped != 0) inode::store_mode(tx, attr);
    inode::store_owner(tx, attr);
    if (is_dir(attr.mode)) forget_cached_paths(tx.store());
    return {};
  });
}

Result<void> utimens_at(Task& task, At at, Follow follow, bool allow_empty, const timespec* times) {
  NewTimes wanted = TRY(decode_times(times));
  if (!wanted.set_atime && !wanted.set_mtime) return {}; // the kernel does not even look at the path
  return change_inode(task, at, follow, allow_empty, [&](Tx&, inode::Attr& attr) -> Result<void> {
    if (!wanted.valid) return Error(EINVAL); // after the path, as in the kernel
    if (!owns(task, attr)) {
      if (!wanted.both_now) return Error(EPERM);
      if (!may_access(*task.credentials, attr, kWrite)) return Error(EACCES);
    }
    if (wanted.set_atime) attr.atime_ns = wanted.atime_ns;
    if (wanted.set_mtime) attr.mtime_ns = wanted.mtime_ns;
    return {};
  });
}

namespace {

// Opens `attr` under a handle nobody uses; whoever finds the first taken takes the next.
Result<u32> open_in_passing(Task& task, const inode::Attr& attr, u32& handle) {
  for (u32 i = 0; i < kPassingHandles * 1000; ++i) {
    handle = kFirstPassingHandle + i % kPassingHandles;
    Result<u32> opened = with_room(*task.pool, [&] { return make_description(*task.pool, attr, O_WRONLY | kOpenedInPassing, handle); });
    if (opened.error() != EBUSY) return opened;
  }
  return Error(ENFILE);
}

} // namespace

// Opens the file in passing, so that it is this file and no later user of its inode number that is cut.
Result<void> truncate_at(Task& task, At at, u64 size, bool itself) {
  for (unsigned i = 0; i < kMaxRestarts; ++i) {
    inode::Attr attr = TRY(resolve(task, at, Follow::kYes, itself));
    if (is_dir(attr.mode)) return Error(EISDIR);
    if (!is_regular(attr.mode)) return Error(EINVAL);
    TRY(check_writable(task.pool->store()));
    if (!may_access(*task.credentials, attr, kWrite)) return Error(EACCES);
    u32 handle = 0;
    Result<u32> opened = open_in_passing(task, attr, handle);
    if (opened.error() == ESTALE) continue;
    Result<void> result = truncate_open(task, Description{TRY(opened)}, size);
    (void)close_handle(*task.pool, handle);
    return result;
  }
  return Error(ENOENT);
}

} // namespace pmemfile::vfs
