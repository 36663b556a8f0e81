// Reading, writing and seeking in open files; sizes and space; fsync.
#include "vfs/open_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pmem/map.h"
#include "vfs/walk.h"

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

namespace pmemfile::vfs {
namespace {

using shm::OpenDescription;

constexpr u64 kMaxOffset = ~u64{0} >> 1;
// Linux moves at most this many bytes in one call.
constexpr u64 kMaxTransfer = 0x7ffff000;

bool readable(u32 flags) { return (flags & O_ACCMODE) == O_RDONLY || (flags & O_ACCMODE) == O_RDWR; }
bool writable(u32 flags) { return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR; }

// EBADF unless it is an open description and not a mere O_PATH.
Result<OpenDescription*> opened(const Pool& pool, Description description) {
  OpenDescription* found = find_description(pool, description);
  if (PMEMFILE_UNLIKELY(found == nullptr || (found->flags & O_PATH) != 0)) return Error(EBADF);
  return found;
}

// Holds the description's lock, under which its offset moves.
class OffsetLock {
 public:
  OffsetLock(Pool& pool, OpenDescription& description) : description_(description) {
    shm::Segment& v = open_tables(pool);
    shm::lock_owned(v, description.lock, v.fd);
  }
  ~OffsetLock() { shm::unlock_owned(description_.lock); }
  OffsetLock(const OffsetLock&) = delete;
  OffsetLock& operator=(const OffsetLock&) = delete;

 private:
  OpenDescription& description_;
};

// Keeps the call within what one transfer may move; `single` is room for a vector that had to be cut.
struct Transfer {
  const data::IoVec* vectors;
  u32 count;
  u64 bytes = 0;
  data::IoVec single{};
  data::IoVec tail{}; // of the last vector, what is left of it after a cut

  Transfer(const data::IoVec* all, u32 all_count) : vectors(all), count(all_count) {
    for (u32 i = 0; i < all_count; ++i) {
      if (PMEMFILE_LIKELY(all[i].bytes <= kMaxTransfer - bytes)) {
        bytes += all[i].bytes;
        continue;
      }
      count = i;
      if (i != 0) return;
      single = data::IoVec{all[0].base, kMaxTransfer};
      vectors = &single;
      count = 1;
      bytes = kMaxTransfer;
      return;
    }
  }
  // Ends the transfer after `limit` bytes.
  void cut(u64 limit) {
    u64 sum = 0;
    for (u32 i = 0; i < count; ++i) {
      if (vectors[i].bytes <= limit - sum) {
        sum += vectors[i].bytes;
        continue;
      }
      if (i == 0) {
        single = data::IoVec{vectors[0].base, limit};
        vectors = &single;
        sum = limit;
        i = 1;
      } else {
        tail = data::IoVec{vectors[i].base, limit - sum};
      }
      count = i;
      break;
    }
    bytes = sum;
  }
};

// As vfs_write: who writes without CAP_FSETID takes set-user-id and set-group-id off the file.
Result<void> drop_set_ids(Task& task, Ino ino) {
  Store& store = task.pool->store();
  u64 word = load_relaxed(store.medium.word(layout::inode_offset(ino) + layout::kInodeModeWord));
  if (PMEMFILE_LIKELY((word & (kSetUid | kSetGid)) == 0) || (task.credentials->capabilities & kCapFsetid) != 0) return {};
  return journal::run_tx(store, journal::Opcode::kSetAttr, [&](journal::Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    inode::Attr attr = TRY(inode::load(tx.view(), ino));
    u32 mode = attr.mode & ~kSetUid;
    // Without the group's x bit a member of the group keeps set-group-id (setattr_should_drop_sgid() in Linux).
    if ((mode & 010) != 0 || !in_group(*task.credentials, attr.gid)) mode &= ~kSetGid;
    if (mode == attr.mode) return {};
    attr.mode = mode;
    attr.ctime_ns = inode::now_ns();
    inode::store_mode(tx, attr);
    inode::store_times(tx, attr);
    return tx.commit();
  });
}

Error beyond_limit(Task& task) {
  task.over_limit = true;
  return Error(EFBIG);
}

// May the file grow to `size`? What is no growth is never too much (inode_newsize_ok() in Linux).
Result<void> check_growth(Task& task, Ino ino, u64 size) {
  if (size > layout::kMaxFileBytes) return Error(EFBIG);
  if (PMEMFILE_LIKELY(size <= task.file_size_limit)) return {};
  return size > TRY(inode::read(task.pool->store(), ino)).size ? Result<void>(beyond_limit(task)) : Result<void>();
}

Result<data::Written> write_vectors(Task& task, OpenDescription& description, u64 offset, const data::IoVec* vectors, u32 count, bool append) {
  Store& store = task.pool->store();
  Ino ino{description.ino};
  data::WriteFlags flags{.append = append, .atomic = store.atomic_data};
  return with_space(store, [&] { return data::write(store, ino, offset, vectors, count, flags); });
}

Result<data::Written> write_at(Task& task, OpenDescription& description, u64 offset, Transfer& transfer, bool append) {
  Store& store = task.pool->store();
  Ino ino{description.ino};
  if (PMEMFILE_UNLIKELY(transfer.bytes == 0)) return data::Written{0, offset};
  u64 start = offset;
  if (PMEMFILE_UNLIKELY(append && task.file_size_limit != ~u64{0})) start = TRY(inode::read(store, ino)).size;
  u64 limit = min_of(task.file_size_limit, layout::kMaxFileBytes);
  if (!append || task.file_size_limit != ~u64{0}) {
    if (PMEMFILE_UNLIKELY(start >= limit)) return start >= task.file_size_limit ? beyond_limit(task) : Error(EFBIG);
    if (PMEMFILE_UNLIKELY(transfer.bytes > limit - start)) transfer.cut(limit - start);
  }
  TRY(drop_set_ids(task, ino));
  if (PMEMFILE_LIKELY(transfer.tail.bytes == 0))
    return write_vectors(task, description, offset, transfer.vectors, transfer.count, append);
  data::Written first = TRY(write_vectors(task, description, offset, transfer.vectors, transfer.count, append));
  if (first.bytes < transfer.bytes) return first;
  Result<data::Written> last = write_vectors(task, description, first.offset + first.bytes, &transfer.tail, 1, append);
  if (last.ok()) first.bytes += last.value().bytes;
  return first;
}

Result<u64> seek_target(Store& store, const OpenDescription& description, i64 offset, int whence) {
  bool directory = is_dir(description.mode);
  i64 base = 0;
  switch (whence) {
    case SEEK_SET: break;
    case SEEK_CUR: base = static_cast<i64>(load_relaxed(description.offset)); break;
    case SEEK_END:
      if (directory) return Error(EINVAL);
      base = static_cast<i64>(TRY(inode::read(store, Ino{description.ino})).size);
      break;
    case SEEK_DATA:
    case SEEK_HOLE: {
      if (directory) return Error(EINVAL);
      if (offset < 0) return Error(ENXIO);
      Ino ino{description.ino};
      return whence == SEEK_DATA ? data::seek_data(store, ino, static_cast<u64>(offset))
                                 : data::seek_hole(store, ino, static_cast<u64>(offset));
    }
    default: return Error(EINVAL);
  }
  i64 target;
  if (__builtin_add_overflow(base, offset, &target) || target < 0) return Error(EINVAL);
  return static_cast<u64>(target);
}

} // namespace

namespace {

// kiocb_set_rw_flags() in Linux, for what tmpfs or ext4 serve of it. No read waits for a device; writes may wait.
Result<void> check_rwf_flags(int flags, bool write) {
  constexpr int kNoSignal = 0x100; // concerns pipes
  constexpr int kServed = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND | RWF_NOAPPEND | kNoSignal;
  if ((flags & ~(write ? kServed : kServed | RWF_NOWAIT)) != 0) return Error(EOPNOTSUPP);
  return (flags & RWF_APPEND) != 0 && (flags & RWF_NOAPPEND) != 0 ? Result<void>(Error(EINVAL)) : Result<void>();
}

// An end that no offset can name.
bool passes_the_end(u64 offset, u64 bytes) { return offset > kMaxOffset || bytes > kMaxOffset - offset; }

} // namespace

Result<u64> read_file(Task& task, Description number, i64 offset, const data::IoVec* vectors, u32 count, int rwf_flags) {
  Pool& pool = *task.pool;
  OpenDescription& description = *TRY(opened(pool, number));
  if (PMEMFILE_UNLIKELY(!readable(description.flags))) return Error(EBADF);
  if (PMEMFILE_UNLIKELY(is_dir(description.mode))) return Error(EISDIR);
  Transfer transfer(vectors, count);
  Ino ino{description.ino};
  if (PMEMFILE_UNLIKELY(rwf_flags != 0 && transfer.bytes != 0)) TRY(check_rwf_flags(rwf_flags, false));
  if (offset >= 0 && PMEMFILE_UNLIKELY(passes_the_end(static_cast<u64>(offset), transfer.bytes))) return Error(EINVAL);
  if (offset >= 0) return data::read(pool.store(), ino, static_cast<u64>(offset), transfer.vectors, transfer.count);
  OffsetLock lock(pool, description);
  u64 at = load_relaxed(description.offset);
  if (PMEMFILE_UNLIKELY(passes_the_end(at, transfer.bytes))) return Error(EINVAL);
  u64 bytes = TRY(data::read(pool.store(), ino, at, transfer.vectors, transfer.count));
  store_relaxed(description.offset, at + bytes);
  return bytes;
}

Result<u64> write_file(Task& task, Description number, i64 offset, const data::IoVec* vectors, u32 count, int rwf_flags) {
  Pool& pool = *task.pool;
  OpenDescription& description = *TRY(opened(pool, number));
  if (PMEMFILE_UNLIKELY(!writable(description.flags))) return Error(EBADF);
  u32 flags = load_relaxed(description.flags);
  bool append = ((flags & O_APPEND) != 0 && (rwf_flags & RWF_NOAPPEND) == 0) || (rwf_flags & RWF_APPEND) != 0;
  bool synchronous = (flags & O_DSYNC) != 0 || (rwf_flags & (RWF_DSYNC | RWF_SYNC)) != 0;
  Transfer transfer(vectors, count);
  data::Written written;
  if (PMEMFILE_UNLIKELY(rwf_flags != 0 && transfer.bytes != 0)) TRY(check_rwf_flags(rwf_flags, true));
  if (offset >= 0) {
    if (PMEMFILE_UNLIKELY(passes_the_end(static_cast<u64>(offset), transfer.bytes))) return Error(EINVAL);
    written = TRY(write_at(task, description, static_cast<u64>(offset), transfer, append));
  } else {
    OffsetLock lock(pool, description);
    u64 at = load_relaxed(description.offset);
    if (PMEMFILE_UNLIKELY(passes_the_end(at, transfer.bytes))) return Error(EINVAL);
    written = TRY(write_at(task, description, at, transfer, append));
    if (written.bytes != 0) store_relaxed(description.offset, written.offset + written.bytes);
  }
  // On every other medium what was written is durable already.
  if (PMEMFILE_UNLIKELY(synchronous)) TRY(sync_file(task, number, (flags & O_SYNC) != O_SYNC));
  return written.bytes;
}

Result<u64> seek_file(Task& task, Description number, i64 offset, int whence) {
  OpenDescription& description = *TRY(opened(*task.pool, number));
  OffsetLock lock(*task.pool, description);
  u64 target = TRY(seek_target(task.pool->store(), description, offset, whence));
  store_relaxed(description.offset, target);
  return target;
}

Result<void> truncate_open(Task& task, Description number, u64 size) {
  OpenDescription& description = *TRY(opened(*task.pool, number));
  Ino ino{description.ino};
  TRY(check_growth(task, ino, size));
  TRY(drop_set_ids(task, ino));
  Store& store = task.pool->store();
  return with_space(store, [&] { return data::truncate(store, ino, size); });
}

Result<void> truncate_file(Task& task, Description number, u64 size) {
  OpenDescription& description = *TRY(opened(*task.pool, number));
  if (!is_regular(description.mode) || !writable(description.flags)) return Error(EINVAL);
  if (size > kMaxOffset) return Error(EINVAL);
  return truncate_open(task, number, size);
}

Result<void> fallocate_file(Task& task, Description number, int mode, u64 offset, u64 bytes) {
  OpenDescription& description = *TRY(opened(*task.pool, number));
  if (offset > kMaxOffset || bytes > kMaxOffset || bytes == 0) return Error(EINVAL);
  if (!writable(description.flags)) return Error(EBADF);
  if (is_dir(description.mode)) return Error(EISDIR);
  if (!is_regular(description.mode)) return Error(ENODEV);
  if (offset + bytes > layout::kMaxFileBytes) return Error(EFBIG);
  Ino ino{description.ino};
  constexpr int kElsewhere = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
  if ((mode & kElsewhere) == 0) TRY(check_growth(task, ino, offset + bytes));
  TRY(drop_set_ids(task, ino));
  Store& store = task.pool->store();
  TRY(with_space(store, [&] { return data::fallocate(store, ino, mode, offset, bytes); }));
  return {};
}

Result<void> sync_file(Task& task, Description number, bool data_only) {
  OpenDescription& description = *TRY(opened(*task.pool, number));
  Store& store = task.pool->store();
  if (!data_only && store.medium.writable) TRY(inode::flush_times(store, Ino{description.ino}));
  if (PMEMFILE_LIKELY(store.medium.level != pmem::Persistence::kPageCache)) return {};
  // What belongs to one file is spread over the pool, its records and its maps.
  return pmem::sync(store.medium, PoolOff{0}, store.medium.bytes);
}

namespace {

// One side of a copy: an explicit offset, or the description's own under its lock.
Result<u64> transfer_some(Task& task, Description number, i64* offset, void* buffer, u64 bytes, bool write) {
  data::IoVec vector{buffer, bytes};
  i64 at = offset == nullptr ? -1 : *offset;
  u64 done = TRY(write ? write_file(task, number, at, &vector, 1) : read_file(task, number, at, &vector, 1));
  if (offset != nullptr) *offset += static_cast<i64>(done);
  return done;
}

Result<u64> position(Task& task, Description number, const i64* offset) {
  return offset != nullptr ? Result<u64>(static_cast<u64>(*offset)) : seek_file(task, number, 0, SEEK_CUR);
}

Result<void> check_copy(Task& task, Description from, const i64* from_offset, Description to, const i64* to_offset, u64 bytes) {
  OpenDescription& source = *TRY(opened(*task.pool, from));
  OpenDescription& target = *TRY(opened(*task.pool, to));
  if (!readable(source.flags) || !writable(target.flags) || (target.flags & O_APPEND) != 0) return Error(EBADF);
  if (is_dir(source.mode) || is_dir(target.mode)) return Error(EISDIR);
  if (!is_regular(source.mode) || !is_regular(target.mode)) return Error(EINVAL);
  u64 start = TRY(position(task, from, from_offset)), end = TRY(position(task, to, to_offset));
  if (start > kMaxOffset || end > kMaxOffset) return Error(EINVAL);
  if (bytes > kMaxOffset - start || bytes > kMaxOffset - end) return Error(EOVERFLOW);
  if (source.ino != target.ino) return {};
  u64 size = TRY(inode::read(task.pool->store(), Ino{source.ino})).size;
  u64 moved = start >= size ? 0 : min_of(bytes, size - start);
  return start < end + moved && end < start + moved ? Result<void>(Error(EINVAL)) : Result<void>();
}

Result<u64> copy_through(Task& task, Description from, i64* from_offset, Description to, i64* to_offset, u64 bytes,
                         void* buffer, u64 capacity) {
  u64 done = 0;
  while (done < bytes) {
    u64 want = min_of(capacity, bytes - done);
    auto got = transfer_some(task, from, from_offset, buffer, want, false);
    if (!got.ok()) return done != 0 ? Result<u64>(done) : got;
    if (got.value() == 0) break;
    auto put = transfer_some(task, to, to_offset, buffer, got.value(), true);
    u64 put_bytes = put.value_or(0);
    if (put_bytes < got.value()) { // give back what was read and not written
      i64 surplus = static_cast<i64>(got.value() - put_bytes);
      if (from_offset != nullptr) *from_offset -= surplus;
      else (void)seek_file(task, from, -surplus, SEEK_CUR);
    }
    done += put_bytes;
    if (!put.ok()) return done != 0 ? Result<u64>(done) : put;
    if (put_bytes < got.value()) break;
  }
  return done;
}

} // namespace

Result<u64> copy_range(Task& task, Description from, i64* from_offset, Description to, i64* to_offset, u64 bytes) {
  // Over the stack, or through the thread's room by pieces. A buffer of its own makes a large copy a tenth faster, but its pages are touched first
  // and taken away again: 0.4 ms where that is dear, the gain at 12 MiB.
  constexpr u64 kSmall = 1024, kWorthABuffer = 16 << 20, kLarge = 256 * 1024, kPage = 4096;
  bytes = min_of(bytes, kMaxTransfer);
  TRY(check_copy(task, from, from_offset, to, to_offset, bytes));
  u64 start = TRY(position(task, from, from_offset));
  u64 size = TRY(inode::read(task.pool->store(), Ino{TRY(opened(*task.pool, from))->ino})).size;
  bytes = start >= size ? 0 : min_of(bytes, size - start);
  if (bytes <= kSmall) {
    u8 small[kSmall];
    return copy_through(task, from, from_offset, to, to_offset, bytes, small, sizeof small);
  }
  if (task.scratch != nullptr && bytes < kWorthABuffer)
    return copy_through(task, from, from_offset, to, to_offset, bytes, task.scratch, task.scratch_bytes);
  u64 capacity = min_of((bytes + kPage - 1) / kPage * kPage, kLarge);
  long buffer = raw_syscall(SYS_mmap, 0, static_cast<long>(capacity), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (is_syscall_error(buffer)) return Error(ENOMEM);
  auto result = copy_through(task, from, from_offset, to, to_offset, bytes, reinterpret_cast<void*>(buffer), capacity);
  raw_syscall(SYS_munmap, buffer, static_cast<long>(capacity));
  return result;
}

} // namespace pmemfile::vfs
