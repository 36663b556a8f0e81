// Contents through descriptors: read, write and their family, seeking, sizes, syncing.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "preload/handlers.h"
#include "preload/limits.h"
#include "preload/maps.h"
#include "preload/paths.h"
#include "preload/procfs.h"

namespace pmemfile::preload {
namespace {

constexpr u64 kMaxTransfer = 0x7ffff000; // MAX_RW_COUNT
static_assert(sizeof(data::IoVec) == sizeof(iovec));

bool fill_buffers(const data::IoVec* vectors, u32 count) {
  bool any = false;
  for (u32 i = 0; i < count; ++i) any |= fill_range(reinterpret_cast<u64>(vectors[i].base), vectors[i].bytes);
  return any;
}

long move_contents(Call& call, FdWord word, bool write, i64 offset, const data::IoVec* vectors, u32 count, int rwf_flags) {
  vfs::Task task = make_task(call, mount_of(word));
  auto move = [&] {
    if (!write) return to_long(vfs::read_file(task, description_of(word), offset, vectors, count, rwf_flags));
    return end_of_growth(task, vfs::write_file(task, description_of(word), offset, vectors, count, rwf_flags));
  };
  long result = move();
  // A buffer in a mapping, whose file has a hole there or has grown since, would have been filled by a touch.
  return PMEMFILE_UNLIKELY(result == -EFAULT) && fill_buffers(vectors, count) ? move() : result;
}

// As access_ok() in Linux: told by the numbers alone; with five levels of page tables a program may have 56 bits.
bool may_be_users(const data::IoVec& vector) {
  constexpr u64 kUserEnd = (u64{1} << 56) - 4096;
  return vector.bytes <= kUserEnd && reinterpret_cast<u64>(vector.base) <= kUserEnd - vector.bytes;
}
// What is wrong with the descriptor is said before what is wrong with a buffer.
long refuse_buffers(Call& call, FdWord word, bool write, long error) {
  int flags = vfs::info(call.pool(mount_of(word)), description_of(word)).flags, access = flags & O_ACCMODE;
  return (flags & O_PATH) != 0 || access == (write ? O_RDONLY : O_WRONLY) ? -EBADF : error;
}

long one_buffer(Call& call, bool write, i64 offset) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  data::IoVec vector{call.pointer<void>(1), call.arg(2)};
  if (PMEMFILE_UNLIKELY(!may_be_users(vector))) return refuse_buffers(call, word, write, -EFAULT);
  vector.bytes = min_of(vector.bytes, kMaxTransfer);
  return move_contents(call, word, write, offset, &vector, 1, 0);
}

// Copies the program's vectors into the thread's room and checks them as the kernel does.
long take_vectors(Call& call, data::IoVec*& vectors, u32& count) {
  u64 wanted = call.arg(2);
  if (wanted > 1024) return -EINVAL; // UIO_MAXIOV
  vectors = reinterpret_cast<data::IoVec*>(call.block.scratch);
  static_assert(sizeof call.block.scratch >= 1024 * sizeof(data::IoVec));
  if (pmem::copy_guarded(vectors, call.pointer<void>(1), wanted * sizeof(data::IoVec)) != 0) return -EFAULT;
  u64 total = 0;
  count = static_cast<u32>(wanted);
  for (u32 i = 0; i < count; ++i) {
    if (static_cast<i64>(vectors[i].bytes) < 0) return -EINVAL;
    if (!may_be_users(vectors[i])) return -EFAULT;
    if (vectors[i].bytes > kMaxTransfer - total) vectors[i].bytes = kMaxTransfer - total;
    total += vectors[i].bytes;
  }
  return 0;
}

long many_buffers(Call& call, bool write, i64 offset, int rwf_flags) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  data::IoVec* vectors = nullptr;
  u32 count = 0;
  long error = take_vectors(call, vectors, count);
  if (error != 0) return refuse_buffers(call, word, write, error);
  return move_contents(call, word, write, offset, vectors, count, rwf_flags);
}

} // namespace

long h_read(Call& call) { return one_buffer(call, false, -1); }
long h_write(Call& call) { return one_buffer(call, true, -1); }
long h_pread64(Call& call) {
  i64 offset = static_cast<i64>(call.arg(3));
  return offset < 0 ? -EINVAL : one_buffer(call, false, offset);
}
long h_pwrite64(Call& call) {
  i64 offset = static_cast<i64>(call.arg(3));
  return offset < 0 ? -EINVAL : one_buffer(call, true, offset);
}
long h_readv(Call& call) { return many_buffers(call, false, -1, 0); }
long h_writev(Call& call) { return many_buffers(call, true, -1, 0); }
long h_preadv(Call& call) {
  i64 offset = static_cast<i64>(call.arg(3));
  return offset < 0 ? -EINVAL : many_buffers(call, false, offset, 0);
}
long h_pwritev(Call& call) {
  i64 offset = static_cast<i64>(call.arg(3));
  return offset < 0 ? -EINVAL : many_buffers(call, true, offset, 0);
}
long h_preadv2(Call& call) {
  i64 offset = static_cast<i64>(call.arg(3));
  return offset < -1 ? -EINVAL : many_buffers(call, false, offset, call.fd(5));
}
long h_pwritev2(Call& call) {
  i64 offset = static_cast<i64>(call.arg(3));
  return offset < -1 ? -EINVAL : many_buffers(call, true, offset, call.fd(5));
}

long h_lseek(Call& call) {
  FdWord word = call.file(0);
  if (word == 0) return rewind_kernel_dir(call);
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  return to_long(vfs::seek_file(task, description_of(word), static_cast<i64>(call.arg(1)), call.fd(2)));
}

long h_ftruncate(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  if (static_cast<i64>(call.arg(1)) < 0) return -EINVAL;
  vfs::Task task = make_task(call, mount_of(word));
  return end_of_growth(task, vfs::truncate_file(task, description_of(word), call.arg(1)));
}

long h_truncate(Call& call) {
  i64 size = static_cast<i64>(call.arg(1));
  return at_path(call, AT_FDCWD, 0, kFollowLast | kNeverKnown, [&](vfs::Task& task, Place& place) -> Result<void> {
    if (size < 0) return Error(EINVAL);
    Result<void> done = vfs::truncate_at(task, place.at, static_cast<u64>(size), place.itself);
    (void)end_of_growth(task, done);
    return done;
  });
}

long h_fallocate(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  i64 offset = static_cast<i64>(call.arg(2)), bytes = static_cast<i64>(call.arg(3));
  if (offset < 0 || bytes <= 0) return -EINVAL;
  vfs::Task task = make_task(call, mount_of(word));
  return end_of_growth(task, vfs::fallocate_file(task, description_of(word), call.fd(1), static_cast<u64>(offset), static_cast<u64>(bytes)));
}

namespace {
long sync_descriptor(Call& call, bool data_only) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  return to_long(vfs::sync_file(task, description_of(word), data_only));
}
} // namespace

long h_fsync(Call& call) { return sync_descriptor(call, false); }
long h_fdatasync(Call& call) { return sync_descriptor(call, true); }
long h_syncfs(Call& call) { return sync_descriptor(call, false); }
long h_sync_file_range(Call& call) {
  if ((call.arg(3) & ~u64{7}) != 0 || static_cast<i64>(call.arg(1)) < 0 || static_cast<i64>(call.arg(1) + call.arg(2)) < static_cast<i64>(call.arg(1)))
    return -EINVAL;
  return sync_descriptor(call, true);
}
// Advice: nothing has to be read ahead.
long h_fadvise64(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word) || (vfs::info(call.pool(mount_of(word)), description_of(word)).flags & O_PATH) != 0) return -EBADF;
  return (call.arg(3) & 0xffffffff) > 5 || static_cast<i64>(call.arg(2)) < 0 ? -EINVAL : 0;
}
long h_readahead(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  if ((info.flags & O_PATH) != 0 || (info.flags & O_ACCMODE) == O_WRONLY) return -EBADF;
  return (info.mode & S_IFMT) == S_IFREG ? 0 : -EINVAL;
}

long h_getdents64(Call& call) {
  FdWord word = call.file(0);
  if (word == 0) return list_kernel_dir(call);
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  return to_long(vfs::read_dir(task, description_of(word), call.pointer<void>(1), call.arg(2) & 0xffffffff, false));
}
long h_getdents(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  return to_long(vfs::read_dir(task, description_of(word), call.pointer<void>(1), call.arg(2) & 0xffffffff, true));
}

long h_flock(Call& call) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  return to_long(vfs::flock_file(task, description_of(word), call.fd(1)));
}

long record_lock(Call& call, FdWord word, int command) {
  struct flock lock;
  if (pmem::copy_guarded(&lock, call.pointer<void>(2), sizeof lock) != 0) return -EFAULT;
  vfs::Task task = make_task(call, mount_of(word));
  Result<void> done = vfs::record_lock(task, description_of(word), command, &lock);
  if (!done.ok()) return -done.error();
  if ((command == F_GETLK || command == F_OFD_GETLK) && pmem::copy_guarded(call.pointer<void>(2), &lock, sizeof lock) != 0)
    return -EFAULT;
  return 0;
}

} // namespace pmemfile::preload
