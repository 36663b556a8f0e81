// Opening, closing, and the verbs on open files.
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>

#include "api/handle.h"

using namespace pmemfile;
using namespace pmemfile::api;

namespace {

bool wants_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

PMEMfile* finish_open(const Result<PMEMfile*>& file) {
  if (file.ok()) return file.value();
  fail(file.error());
  return nullptr;
}

PMEMfile* open_from(PMEMfilepool* pool, PMEMfile* dir, const char* path, int flags, u32 mode) {
  PMEMFILE_CALL(pool, nullptr);
  // The kernel looks at flags before anything else.
  if ((flags & O_PATH) == 0 && (flags & O_CREAT) != 0 && (flags & O_DIRECTORY) != 0) return finish_open(Error(EINVAL));
  if (path != nullptr && *path == '\0') return finish_open(Error(ENOENT)); // vfs would reopen the directory itself
  Result<vfs::At> at = place(*pool, dir, path);
  if (!at.ok()) return finish_open(Error(at.error()));
  return finish_open(open_file(call, at.value(), flags, mode));
}

} // namespace

PMEMFILE_API PMEMfile* pmemfile_open(PMEMfilepool* pool, const char* path, int flags, ...) {
  u32 mode = 0;
  if (wants_mode(flags)) {
    va_list list;
    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
  }
  return open_from(pool, PMEMFILE_AT_CWD, path, flags, mode);
}

PMEMFILE_API PMEMfile* pmemfile_openat(PMEMfilepool* pool, PMEMfile* dir, const char* path, int flags, ...) {
  u32 mode = 0;
  if (wants_mode(flags)) {
    va_list list;
    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
  }
  return open_from(pool, dir, path, flags, mode);
}

PMEMFILE_API PMEMfile* pmemfile_create(PMEMfilepool* pool, const char* path, mode_t mode) {
  return open_from(pool, PMEMFILE_AT_CWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

namespace {

Result<PMEMfile*> open_by_how(Call& call, PMEMfile* dir, const char* path, const ::open_how& how) {
  TRY(vfs::check_open_how(how));
  vfs::At at = TRY(place(*call.pool, dir, path));
  if (at.path.empty()) return Error(ENOENT);
  call.task.resolve = how.resolve;
  if ((how.resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH)) != 0) {
    bool absolute = at.path.front() == '/';
    if (absolute && dir != PMEMFILE_AT_CWD) at.dir = TRY(itself(dir)).dir;
    call.task.root = at.dir;
  }
  return open_file(call, at, static_cast<int>(how.flags), static_cast<u32>(how.mode));
}

} // namespace

PMEMFILE_API PMEMfile* pmemfile_openat2(PMEMfilepool* pool, PMEMfile* dir, const char* path, struct open_how* how, size_t size) {
  PMEMFILE_CALL(pool, nullptr);
  if (how == nullptr) return finish_open(Error(EFAULT));
  if (size < sizeof *how) return finish_open(Error(EINVAL));
  if (size > 4096) return finish_open(Error(E2BIG)); // a page, as in Linux
  for (size_t i = sizeof *how; i < size; ++i)
    if (reinterpret_cast<const char*>(how)[i] != 0) return finish_open(Error(E2BIG));
  return finish_open(open_by_how(call, dir, path, *how));
}

PMEMFILE_API void pmemfile_close(PMEMfilepool* pool, PMEMfile* file) {
  int saved = errno;
  Call call(pool);
  if (!call.ready() || !description_of(file).ok()) return;
  (void)vfs::close_handle(*pool->pool, handle_of(*pool, file));
  give_file_back(*pool, file);
  errno = saved;
}

// ---- Data ------------------------------------------------------------------------------------------------------------

namespace {

constexpr int kMaxVectors = 1024; // UIO_MAXIOV

static_assert(sizeof(iovec) == sizeof(data::IoVec));

enum class Way { kRead, kWrite };

// `offset` -1: the file's own.
template <Way way>
ssize_t transfer(PMEMfilepool* pool, PMEMfile* file, const iovec* vectors, int count, i64 offset, int flags = 0) {
  PMEMFILE_CALL(pool, -1);
  auto run = [&]() -> Result<u64> {
    vfs::Description description = TRY(description_of(file));
    if (count < 0 || count > kMaxVectors) return Error(EINVAL);
    if (count != 0 && vectors == nullptr) return Error(EFAULT);
    auto* list = reinterpret_cast<const data::IoVec*>(vectors);
    if constexpr (way == Way::kRead)
      return vfs::read_file(call.task, description, offset, list, static_cast<u32>(count), flags);
    else
      return vfs::write_file(call.task, description, offset, list, static_cast<u32>(count), flags);
  };
  return finish(run());
}

template <Way way>
ssize_t transfer_at(PMEMfilepool* pool, PMEMfile* file, const iovec* vectors, int count, i64 offset, int flags = 0) {
  if (offset < 0) {
    fail(EINVAL);
    return -1;
  }
  return transfer<way>(pool, file, vectors, count, offset, flags);
}

} // namespace

PMEMFILE_API ssize_t pmemfile_read(PMEMfilepool* pool, PMEMfile* file, void* buf, size_t size) {
  iovec vector{buf, size};
  return transfer<Way::kRead>(pool, file, &vector, 1, -1);
}
PMEMFILE_API ssize_t pmemfile_pread(PMEMfilepool* pool, PMEMfile* file, void* buf, size_t size, __off64_t offset) {
  iovec vector{buf, size};
  return transfer_at<Way::kRead>(pool, file, &vector, 1, offset);
}
PMEMFILE_API ssize_t pmemfile_readv(PMEMfilepool* pool, PMEMfile* file, const iovec* iov, int count) {
  return transfer<Way::kRead>(pool, file, iov, count, -1);
}
PMEMFILE_API ssize_t pmemfile_preadv(PMEMfilepool* pool, PMEMfile* file, const iovec* iov, int count, __off64_t offset) {
  return transfer_at<Way::kRead>(pool, file, iov, count, offset);
}
PMEMFILE_API ssize_t pmemfile_preadv2(PMEMfilepool* pool, PMEMfile* file, const iovec* iov, int count, __off64_t offset, int flags) {
  return offset == -1 ? transfer<Way::kRead>(pool, file, iov, count, -1, flags)
                      : transfer_at<Way::kRead>(pool, file, iov, count, offset, flags);
}
PMEMFILE_API ssize_t pmemfile_write(PMEMfilepool* pool, PMEMfile* file, const void* buf, size_t size) {
  iovec vector{const_cast<void*>(buf), size};
  return transfer<Way::kWrite>(pool, file, &vector, 1, -1);
}
PMEMFILE_API ssize_t pmemfile_pwrite(PMEMfilepool* pool, PMEMfile* file, const void* buf, size_t size, __off64_t offset) {
  iovec vector{const_cast<void*>(buf), size};
  return transfer_at<Way::kWrite>(pool, file, &vector, 1, offset);
}
PMEMFILE_API ssize_t pmemfile_writev(PMEMfilepool* pool, PMEMfile* file, const iovec* iov, int count) {
  return transfer<Way::kWrite>(pool, file, iov, count, -1);
}
PMEMFILE_API ssize_t pmemfile_pwritev(PMEMfilepool* pool, PMEMfile* file, const iovec* iov, int count, __off64_t offset) {
  return transfer_at<Way::kWrite>(pool, file, iov, count, offset);
}
PMEMFILE_API ssize_t pmemfile_pwritev2(PMEMfilepool* pool, PMEMfile* file, const iovec* iov, int count, __off64_t offset, int flags) {
  return offset == -1 ? transfer<Way::kWrite>(pool, file, iov, count, -1, flags)
                      : transfer_at<Way::kWrite>(pool, file, iov, count, offset, flags);
}

// ---- Verbs on open files ------------------------------------------------------------------------------------------------

namespace {

// Runs `body(call, description)` on an open file.
template <class Body>
auto on_file(PMEMfilepool* pool, PMEMfile* file, Body&& body) -> decltype(finish(body(*static_cast<Call*>(nullptr), vfs::Description{}))) {
  PMEMFILE_CALL(pool, -1);
  Result<vfs::Description> description = description_of(file);
  if (!description.ok()) {
    fail(description.error());
    return -1;
  }
  return finish(body(call, description.value()));
}

} // namespace

PMEMFILE_API __off64_t pmemfile_lseek(PMEMfilepool* pool, PMEMfile* file, __off64_t offset, int whence) {
  return on_file(pool, file, [&](Call& call, vfs::Description d) { return vfs::seek_file(call.task, d, offset, whence); });
}

PMEMFILE_API int pmemfile_ftruncate(PMEMfilepool* pool, PMEMfile* file, __off64_t size) {
  return on_file(pool, file, [&](Call& call, vfs::Description d) -> Result<void> {
    if (size < 0) return Error(EINVAL);
    return vfs::truncate_file(call.task, d, static_cast<u64>(size));
  });
}

PMEMFILE_API int pmemfile_fallocate(PMEMfilepool* pool, PMEMfile* file, int mode, __off64_t offset, __off64_t size) {
  return on_file(pool, file, [&](Call& call, vfs::Description d) -> Result<void> {
    if (offset < 0 || size <= 0) return Error(EINVAL);
    return vfs::fallocate_file(call.task, d, mode, static_cast<u64>(offset), static_cast<u64>(size));
  });
}

PMEMFILE_API int pmemfile_posix_fallocate(PMEMfilepool* pool, PMEMfile* file, __off64_t offset, __off64_t size) {
  int saved = errno;
  int error = pmemfile_fallocate(pool, file, 0, offset, size) == 0 ? 0 : errno;
  errno = saved;
  return error;
}

PMEMFILE_API ssize_t pmemfile_copy_file_range(PMEMfilepool* pool, PMEMfile* from, __off64_t* from_offset, PMEMfile* to,
                                              __off64_t* to_offset, size_t size, unsigned flags) {
  return on_file(pool, from, [&](Call& call, vfs::Description d) -> Result<u64> {
    if (flags != 0) return Error(EINVAL);
    return vfs::copy_range(call.task, d, from_offset, TRY(description_of(to)), to_offset, size);
  });
}

PMEMFILE_API int pmemfile_flock(PMEMfilepool* pool, PMEMfile* file, int operation) {
  return on_file(pool, file, [&](Call& call, vfs::Description d) { return vfs::flock_file(call.task, d, operation); });
}
PMEMFILE_API int pmemfile_fsync(PMEMfilepool* pool, PMEMfile* file) {
  return on_file(pool, file, [&](Call& call, vfs::Description d) { return vfs::sync_file(call.task, d, false); });
}
PMEMFILE_API int pmemfile_fdatasync(PMEMfilepool* pool, PMEMfile* file) {
  return on_file(pool, file, [&](Call& call, vfs::Description d) { return vfs::sync_file(call.task, d, true); });
}

namespace {

constexpr int kKernelLargeFile = 0100000; // the kernel adds it, PMEMFILE_O_LARGEFILE is 0

Result<u64> control(Call& call, PMEMfile* file, int command, long argument) {
  vfs::Description description = TRY(description_of(file));
  switch (command) {
    case F_GETFD: return u64{file->cloexec};
    case F_SETFD: file->cloexec = static_cast<u32>(argument) & FD_CLOEXEC; return u64{0};
    case F_GETFL: return static_cast<u64>(vfs::info(*call.task.pool, description).flags & ~kKernelLargeFile);
    case F_SETFL: TRY(vfs::set_status_flags(*call.task.pool, description, static_cast<int>(argument))); return u64{0};
    case F_GETLK: case F_SETLK: case F_SETLKW: case F_OFD_GETLK: case F_OFD_SETLK: case F_OFD_SETLKW:
      if (argument == 0) return Error(EFAULT);
      TRY(vfs::record_lock(call.task, description, command, reinterpret_cast<struct flock*>(argument)));
      return u64{0};
    default: return Error(EINVAL);
  }
}

} // namespace

PMEMFILE_API int pmemfile_fcntl(PMEMfilepool* pool, PMEMfile* file, int command, ...) {
  PMEMFILE_CALL(pool, -1);
  va_list list;
  va_start(list, command);
  long argument = va_arg(list, long);
  va_end(list);
  return static_cast<int>(finish(control(call, file, command, argument)));
}

// ---- Directories ----------------------------------------------------------------------------------------------------------

PMEMFILE_API int pmemfile_getdents(PMEMfilepool* pool, PMEMfile* dir, struct linux_dirent* entries, unsigned size) {
  return static_cast<int>(on_file(pool, dir, [&](Call& call, vfs::Description d) {
    return vfs::read_dir(call.task, d, entries, size, true);
  }));
}
PMEMFILE_API int pmemfile_getdents64(PMEMfilepool* pool, PMEMfile* dir, struct linux_dirent64* entries, unsigned size) {
  return static_cast<int>(on_file(pool, dir, [&](Call& call, vfs::Description d) {
    return vfs::read_dir(call.task, d, entries, size, false);
  }));
}
