// The verbs on paths: names, attributes, extended attributes, directories.
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/handle.h"

using namespace pmemfile;
using namespace pmemfile::api;
using vfs::At;
using vfs::Follow;

namespace {

// Runs `body(task, at)` on a path.
template <class Body>
auto on_path(PMEMfilepool* pool, PMEMfile* dir, const char* path, Body&& body) -> decltype(finish(body(*static_cast<vfs::Task*>(nullptr), At{}))) {
  PMEMFILE_CALL(pool, -1);
  Result<At> at = place(*pool, dir, path);
  if (PMEMFILE_UNLIKELY(!at.ok())) {
    fail(at.error());
    return -1;
  }
  return finish(body(call.task, at.value()));
}
template <class Body>
auto on_itself(PMEMfilepool* pool, PMEMfile* file, Body&& body) -> decltype(finish(body(*static_cast<vfs::Task*>(nullptr), At{}))) {
  PMEMFILE_CALL(pool, -1);
  Result<At> at = itself(file);
  if (PMEMFILE_UNLIKELY(!at.ok())) {
    fail(at.error());
    return -1;
  }
  return finish(body(call.task, at.value()));
}
// Two paths.
template <class Body>
int on_paths(PMEMfilepool* pool, PMEMfile* from_dir, const char* from, PMEMfile* to_dir, const char* to, Body&& body) {
  PMEMFILE_CALL(pool, -1);
  auto run = [&]() -> Result<void> {
    At first = TRY(place(*pool, from_dir, from));
    At second = TRY(place(*pool, to_dir, to));
    return body(call.task, first, second);
  };
  return finish(run());
}

constexpr bool known(int flags, int allowed) { return (flags & ~allowed) == 0; }
constexpr Follow follow_unless(int flags) { return (flags & AT_SYMLINK_NOFOLLOW) != 0 ? Follow::kNo : Follow::kYes; }
constexpr bool empty_allowed(int flags) { return (flags & AT_EMPTY_PATH) != 0; }
constexpr int kStatFlags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;

} // namespace

// ---- Names -----------------------------------------------------------------------------------------------------------

PMEMFILE_API int pmemfile_linkat(PMEMfilepool* pool, PMEMfile* from_dir, const char* from, PMEMfile* to_dir, const char* to, int flags) {
  return on_paths(pool, from_dir, from, to_dir, to, [&](vfs::Task& task, At first, At second) -> Result<void> {
    if (!known(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return Error(EINVAL);
    Follow follow = (flags & AT_SYMLINK_FOLLOW) != 0 ? Follow::kYes : Follow::kNo;
    return vfs::link_at(task, first, second, follow, empty_allowed(flags));
  });
}
PMEMFILE_API int pmemfile_link(PMEMfilepool* pool, const char* from, const char* to) {
  return pmemfile_linkat(pool, PMEMFILE_AT_CWD, from, PMEMFILE_AT_CWD, to, 0);
}
PMEMFILE_API int pmemfile_unlinkat(PMEMfilepool* pool, PMEMfile* dir, const char* path, int flags) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (!known(flags, AT_REMOVEDIR)) return Error(EINVAL);
    return (flags & AT_REMOVEDIR) != 0 ? vfs::rmdir_at(task, at) : vfs::unlink_at(task, at);
  });
}
PMEMFILE_API int pmemfile_unlink(PMEMfilepool* pool, const char* path) { return pmemfile_unlinkat(pool, PMEMFILE_AT_CWD, path, 0); }
PMEMFILE_API int pmemfile_rmdir(PMEMfilepool* pool, const char* path) {
  return pmemfile_unlinkat(pool, PMEMFILE_AT_CWD, path, AT_REMOVEDIR);
}
PMEMFILE_API int pmemfile_renameat2(PMEMfilepool* pool, PMEMfile* from_dir, const char* from, PMEMfile* to_dir, const char* to,
                                    unsigned flags) {
  return on_paths(pool, from_dir, from, to_dir, to,
                  [&](vfs::Task& task, At first, At second) { return vfs::rename_at(task, first, second, flags); });
}
PMEMFILE_API int pmemfile_renameat(PMEMfilepool* pool, PMEMfile* from_dir, const char* from, PMEMfile* to_dir, const char* to) {
  return pmemfile_renameat2(pool, from_dir, from, to_dir, to, 0);
}
PMEMFILE_API int pmemfile_rename(PMEMfilepool* pool, const char* from, const char* to) {
  return pmemfile_renameat2(pool, PMEMFILE_AT_CWD, from, PMEMFILE_AT_CWD, to, 0);
}
PMEMFILE_API int pmemfile_symlinkat(PMEMfilepool* pool, const char* target, PMEMfile* dir, const char* path) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (target == nullptr) return Error(EFAULT);
    return vfs::symlink_at(task, std::string_view(target, strlen(target)), at);
  });
}
PMEMFILE_API int pmemfile_symlink(PMEMfilepool* pool, const char* target, const char* path) {
  return pmemfile_symlinkat(pool, target, PMEMFILE_AT_CWD, path);
}
PMEMFILE_API ssize_t pmemfile_readlinkat(PMEMfilepool* pool, PMEMfile* dir, const char* path, char* buf, size_t size) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<u64> {
    if (size == 0) return Error(EINVAL);
    return vfs::readlink_at(task, at, true, buf, size);
  });
}
PMEMFILE_API ssize_t pmemfile_readlink(PMEMfilepool* pool, const char* path, char* buf, size_t size) {
  return on_path(pool, PMEMFILE_AT_CWD, path, [&](vfs::Task& task, At at) -> Result<u64> {
    if (size == 0) return Error(EINVAL);
    return vfs::readlink_at(task, at, false, buf, size);
  });
}
PMEMFILE_API int pmemfile_mknodat(PMEMfilepool* pool, PMEMfile* dir, const char* path, mode_t mode, dev_t device) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) { return vfs::mknod_at(task, at, mode, device); });
}
PMEMFILE_API int pmemfile_mkdirat(PMEMfilepool* pool, PMEMfile* dir, const char* path, mode_t mode) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) { return vfs::mkdir_at(task, at, mode); });
}
PMEMFILE_API int pmemfile_mkdir(PMEMfilepool* pool, const char* path, mode_t mode) {
  return pmemfile_mkdirat(pool, PMEMFILE_AT_CWD, path, mode);
}
PMEMFILE_API int pmemfile_truncate(PMEMfilepool* pool, const char* path, __off64_t size) {
  return on_path(pool, PMEMFILE_AT_CWD, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (size < 0) return Error(EINVAL);
    return vfs::truncate_at(task, at, static_cast<u64>(size));
  });
}

// ---- Attributes ------------------------------------------------------------------------------------------------------

PMEMFILE_API int pmemfile_fstatat(PMEMfilepool* pool, PMEMfile* dir, const char* path, struct stat* out, int flags) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (!known(flags, kStatFlags)) return Error(EINVAL);
    return vfs::stat_at(task, at, follow_unless(flags), empty_allowed(flags), out);
  });
}
PMEMFILE_API int pmemfile_stat(PMEMfilepool* pool, const char* path, struct stat* out) {
  return pmemfile_fstatat(pool, PMEMFILE_AT_CWD, path, out, 0);
}
PMEMFILE_API int pmemfile_lstat(PMEMfilepool* pool, const char* path, struct stat* out) {
  return pmemfile_fstatat(pool, PMEMFILE_AT_CWD, path, out, AT_SYMLINK_NOFOLLOW);
}
PMEMFILE_API int pmemfile_fstat(PMEMfilepool* pool, PMEMfile* file, struct stat* out) {
  return on_itself(pool, file, [&](vfs::Task& task, At at) { return vfs::stat_at(task, at, Follow::kNo, true, out); });
}
PMEMFILE_API int pmemfile_statx(PMEMfilepool* pool, PMEMfile* dir, const char* path, int flags, unsigned mask, struct statx* out) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (!known(flags, kStatFlags | AT_STATX_SYNC_TYPE) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE) return Error(EINVAL);
    return vfs::statx_at(task, at, follow_unless(flags), empty_allowed(flags), mask, out);
  });
}
PMEMFILE_API int pmemfile_fchmodat(PMEMfilepool* pool, PMEMfile* dir, const char* path, mode_t mode, int flags) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (!known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Error(EINVAL);
    return vfs::chmod_at(task, at, follow_unless(flags), empty_allowed(flags), mode);
  });
}
PMEMFILE_API int pmemfile_chmod(PMEMfilepool* pool, const char* path, mode_t mode) {
  return pmemfile_fchmodat(pool, PMEMFILE_AT_CWD, path, mode, 0);
}

namespace {

// What changes an inode by descriptor answers EBADF on an O_PATH one.
Result<void> not_path_only(vfs::Task& task, PMEMfile* file) {
  if ((vfs::info(*task.pool, TRY(description_of(file))).flags & O_PATH) != 0) return Error(EBADF);
  return {};
}

} // namespace

PMEMFILE_API int pmemfile_fchmod(PMEMfilepool* pool, PMEMfile* file, mode_t mode) {
  return on_itself(pool, file, [&](vfs::Task& task, At at) -> Result<void> {
    TRY(not_path_only(task, file));
    return vfs::chmod_at(task, at, Follow::kNo, true, mode);
  });
}
PMEMFILE_API int pmemfile_fchownat(PMEMfilepool* pool, PMEMfile* dir, const char* path, uid_t owner, gid_t group, int flags) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (!known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Error(EINVAL);
    return vfs::chown_at(task, at, follow_unless(flags), empty_allowed(flags), owner, group);
  });
}
PMEMFILE_API int pmemfile_chown(PMEMfilepool* pool, const char* path, uid_t owner, gid_t group) {
  return pmemfile_fchownat(pool, PMEMFILE_AT_CWD, path, owner, group, 0);
}
PMEMFILE_API int pmemfile_lchown(PMEMfilepool* pool, const char* path, uid_t owner, gid_t group) {
  return pmemfile_fchownat(pool, PMEMFILE_AT_CWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}
PMEMFILE_API int pmemfile_fchown(PMEMfilepool* pool, PMEMfile* file, uid_t owner, gid_t group) {
  return on_itself(pool, file, [&](vfs::Task& task, At at) -> Result<void> {
    TRY(not_path_only(task, file));
    return vfs::chown_at(task, at, Follow::kNo, true, owner, group);
  });
}
PMEMFILE_API int pmemfile_faccessat(PMEMfilepool* pool, PMEMfile* dir, const char* path, int mode, int flags) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (!known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EACCESS)) return Error(EINVAL);
    return vfs::access_at(task, at, follow_unless(flags), empty_allowed(flags), mode, (flags & AT_EACCESS) != 0);
  });
}
PMEMFILE_API int pmemfile_access(PMEMfilepool* pool, const char* path, int mode) {
  return pmemfile_faccessat(pool, PMEMFILE_AT_CWD, path, mode, 0);
}
PMEMFILE_API int pmemfile_euidaccess(PMEMfilepool* pool, const char* path, int mode) {
  return pmemfile_faccessat(pool, PMEMFILE_AT_CWD, path, mode, AT_EACCESS);
}

// ---- Times -----------------------------------------------------------------------------------------------------------

namespace {

// timeval to timespec; EINVAL as the kernel says it. Null stays null: now.
Result<const timespec*> convert(const timeval* times, timespec (&out)[2]) {
  if (times == nullptr) return static_cast<const timespec*>(nullptr);
  for (int i = 0; i < 2; ++i) {
    if (times[i].tv_usec < 0 || times[i].tv_usec >= 1'000'000) return Error(EINVAL);
    out[i] = timespec{times[i].tv_sec, times[i].tv_usec * 1000};
  }
  return static_cast<const timespec*>(out);
}

int set_times(PMEMfilepool* pool, PMEMfile* dir, const char* path, const timeval* times, Follow follow) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    timespec converted[2];
    const timespec* wanted = TRY(convert(times, converted));
    return vfs::utimens_at(task, at, follow, false, wanted);
  });
}

} // namespace

PMEMFILE_API int pmemfile_utimensat(PMEMfilepool* pool, PMEMfile* dir, const char* path, const timespec* times, int flags) {
  return on_path(pool, dir, path, [&](vfs::Task& task, At at) -> Result<void> {
    if (!known(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Error(EINVAL);
    return vfs::utimens_at(task, at, follow_unless(flags), empty_allowed(flags), times);
  });
}
PMEMFILE_API int pmemfile_futimens(PMEMfilepool* pool, PMEMfile* file, const timespec* times) {
  return on_itself(pool, file, [&](vfs::Task& task, At at) -> Result<void> {
    TRY(not_path_only(task, file));
    return vfs::utimens_at(task, at, Follow::kNo, true, times);
  });
}
PMEMFILE_API int pmemfile_utime(PMEMfilepool* pool, const char* path, const utimbuf* times) {
  timeval converted[2] = {};
  if (times != nullptr) converted[0].tv_sec = times->actime, converted[1].tv_sec = times->modtime;
  return set_times(pool, PMEMFILE_AT_CWD, path, times == nullptr ? nullptr : converted, Follow::kYes);
}
PMEMFILE_API int pmemfile_utimes(PMEMfilepool* pool, const char* path, const timeval* times) {
  return set_times(pool, PMEMFILE_AT_CWD, path, times, Follow::kYes);
}
PMEMFILE_API int pmemfile_lutimes(PMEMfilepool* pool, const char* path, const timeval* times) {
  return set_times(pool, PMEMFILE_AT_CWD, path, times, Follow::kNo);
}
PMEMFILE_API int pmemfile_futimesat(PMEMfilepool* pool, PMEMfile* dir, const char* path, const timeval* times) {
  return set_times(pool, dir, path, times, Follow::kYes);
}
PMEMFILE_API int pmemfile_futimes(PMEMfilepool* pool, PMEMfile* file, const timeval* times) {
  timespec converted[2];
  Result<const timespec*> wanted = convert(times, converted);
  if (!wanted.ok()) {
    fail(wanted.error());
    return -1;
  }
  return pmemfile_futimens(pool, file, wanted.value());
}

PMEMFILE_API int pmemfile_statfs(PMEMfilepool* pool, struct statfs* out) {
  PMEMFILE_CALL(pool, -1);
  return finish(vfs::statfs_pool(call.task, out));
}

// ---- Extended attributes -----------------------------------------------------------------------------------------------

namespace {

Result<std::string_view> text_of(const char* name) {
  if (name == nullptr) return Error(EFAULT);
  return std::string_view(name, strlen(name));
}

auto getter(const char* name, void* value, size_t size, Follow follow, bool by_file) {
  return [=](vfs::Task& task, At at) -> Result<u64> {
    return vfs::getxattr_at(task, at, follow, by_file, TRY(text_of(name)), value, size);
  };
}
auto setter(const char* name, const void* value, size_t size, int flags, Follow follow, bool by_file) {
  return [=](vfs::Task& task, At at) -> Result<void> {
    return vfs::setxattr_at(task, at, follow, by_file, TRY(text_of(name)), value, size, flags);
  };
}
auto lister(char* list, size_t size, Follow follow, bool by_file) {
  return [=](vfs::Task& task, At at) -> Result<u64> { return vfs::listxattr_at(task, at, follow, by_file, list, size); };
}
auto remover(const char* name, Follow follow, bool by_file) {
  return [=](vfs::Task& task, At at) -> Result<void> { return vfs::removexattr_at(task, at, follow, by_file, TRY(text_of(name))); };
}

} // namespace

PMEMFILE_API ssize_t pmemfile_getxattr(PMEMfilepool* pool, const char* path, const char* name, void* value, size_t size) {
  return on_path(pool, PMEMFILE_AT_CWD, path, getter(name, value, size, Follow::kYes, false));
}
PMEMFILE_API ssize_t pmemfile_lgetxattr(PMEMfilepool* pool, const char* path, const char* name, void* value, size_t size) {
  return on_path(pool, PMEMFILE_AT_CWD, path, getter(name, value, size, Follow::kNo, false));
}
PMEMFILE_API ssize_t pmemfile_fgetxattr(PMEMfilepool* pool, PMEMfile* file, const char* name, void* value, size_t size) {
  return on_itself(pool, file, getter(name, value, size, Follow::kNo, true));
}
PMEMFILE_API int pmemfile_setxattr(PMEMfilepool* pool, const char* path, const char* name, const void* value, size_t size, int flags) {
  return on_path(pool, PMEMFILE_AT_CWD, path, setter(name, value, size, flags, Follow::kYes, false));
}
PMEMFILE_API int pmemfile_lsetxattr(PMEMfilepool* pool, const char* path, const char* name, const void* value, size_t size, int flags) {
  return on_path(pool, PMEMFILE_AT_CWD, path, setter(name, value, size, flags, Follow::kNo, false));
}
PMEMFILE_API int pmemfile_fsetxattr(PMEMfilepool* pool, PMEMfile* file, const char* name, const void* value, size_t size, int flags) {
  return on_itself(pool, file, setter(name, value, size, flags, Follow::kNo, true));
}
PMEMFILE_API ssize_t pmemfile_listxattr(PMEMfilepool* pool, const char* path, char* list, size_t size) {
  return on_path(pool, PMEMFILE_AT_CWD, path, lister(list, size, Follow::kYes, false));
}
PMEMFILE_API ssize_t pmemfile_llistxattr(PMEMfilepool* pool, const char* path, char* list, size_t size) {
  return on_path(pool, PMEMFILE_AT_CWD, path, lister(list, size, Follow::kNo, false));
}
PMEMFILE_API ssize_t pmemfile_flistxattr(PMEMfilepool* pool, PMEMfile* file, char* list, size_t size) {
  return on_itself(pool, file, lister(list, size, Follow::kNo, true));
}
PMEMFILE_API int pmemfile_removexattr(PMEMfilepool* pool, const char* path, const char* name) {
  return on_path(pool, PMEMFILE_AT_CWD, path, remover(name, Follow::kYes, false));
}
PMEMFILE_API int pmemfile_lremovexattr(PMEMfilepool* pool, const char* path, const char* name) {
  return on_path(pool, PMEMFILE_AT_CWD, path, remover(name, Follow::kNo, false));
}
PMEMFILE_API int pmemfile_fremovexattr(PMEMfilepool* pool, PMEMfile* file, const char* name) {
  return on_itself(pool, file, remover(name, Follow::kNo, true));
}
