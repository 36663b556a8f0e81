// Making, opening, closing and suspending pools; fork; the roots and the working directory; counts.
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/alloc.h"
#include "api/handle.h"

using namespace pmemfile;
using namespace pmemfile::api;

namespace {

// ---- Memory of a pool's handle ---------------------------------------------------------------------------------------

void* reserve(u64 bytes) {
  long at = raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return is_syscall_error(at) ? nullptr : reinterpret_cast<void*>(at);
}

constexpr u64 kHandleBytes = align_up(sizeof(pmemfilepool), 4096);
constexpr u64 kFileBytes = align_up(sizeof(PMEMfile) * kMaxFiles, 4096);
constexpr u64 kGroupBytes = kMaxGroups * sizeof(u32);
constexpr u64 kMappingBytes = align_up(sizeof(Mapping) * kMaxMappings, 4096);
constexpr u64 kAllBytes = kHandleBytes + kFileBytes + 2 * kGroupBytes + kMappingBytes;

pmemfilepool* make_handle() {
  u8* memory = static_cast<u8*>(reserve(kAllBytes));
  if (memory == nullptr) return nullptr;
  auto* pool = reinterpret_cast<pmemfilepool*>(memory);
  memory += kHandleBytes;
  pool->files = reinterpret_cast<PMEMfile*>(memory);
  memory += kFileBytes;
  pool->groups[0] = reinterpret_cast<u32*>(memory);
  pool->groups[1] = reinterpret_cast<u32*>(memory + kGroupBytes);
  pool->mappings = reinterpret_cast<Mapping*>(memory + 2 * kGroupBytes);
  return pool;
}
void free_handle(pmemfilepool* pool) { raw_syscall(SYS_munmap, as_arg(pool), static_cast<long>(kAllBytes)); }

// ---- The caller's credentials, read once ---------------------------------------------------------------------------------

u64 own_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (is_syscall_error(raw_syscall(SYS_capget, as_arg(&header), as_arg(data)))) return 0;
  return data[0].effective | u64{data[1].effective} << 32;
}

void take_credentials(pmemfilepool& pool) {
  vfs::Credentials& who = pool.credentials;
  raw_syscall(SYS_getresuid, as_arg(&who.uid), as_arg(&who.euid), as_arg(&who.suid));
  raw_syscall(SYS_getresgid, as_arg(&who.gid), as_arg(&who.egid), as_arg(&who.sgid));
  who.fsuid = static_cast<u32>(raw_syscall(SYS_setfsuid, -1)); // -1 changes nothing and tells
  who.fsgid = static_cast<u32>(raw_syscall(SYS_setfsgid, -1));
  who.capabilities = own_capabilities();
  long count = raw_syscall(SYS_getgroups, kMaxGroups, as_arg(pool.groups[0]));
  who.groups = pool.groups[0];
  who.group_count = is_syscall_error(count) ? 0 : static_cast<u32>(count);
  u32 mask = static_cast<u32>(raw_syscall(SYS_umask, 077)); // the only way to ask
  raw_syscall(SYS_umask, mask);
  pool.umask = mask;
}

// ---- fork ------------------------------------------------------------------------------------------------------------------

Lock pools_lock;
pmemfilepool* all_pools;
u32 fork_handlers_set;

void before_fork() {
  pools_lock.lock();
  for (pmemfilepool* pool = all_pools; pool != nullptr; pool = pool->next) {
    pool->ticket_ready = 0;
    if (pool->pool == nullptr) continue;
    auto ticket = pool->pool->prepare_child();
    if (!ticket.ok()) continue; // the child finds the pool closed
    pool->ticket = ticket.value();
    pool->ticket_ready = 1;
  }
}
void after_fork_in_parent() {
  for (pmemfilepool* pool = all_pools; pool != nullptr; pool = pool->next)
    if (pool->ticket_ready != 0) pool->pool->parent_after_fork(pool->ticket);
  pools_lock.unlock();
}
void after_fork_in_child() {
  for (pmemfilepool* pool = all_pools; pool != nullptr; pool = pool->next) {
    if (pool->ticket_ready != 0)
      pool->pool->become_child(pool->ticket);
    else
      pool->pool = nullptr;
  }
  pools_lock.unlock();
}

void list_pool(pmemfilepool* pool) {
  if (exchange(fork_handlers_set, 1u) == 0) pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  Locked locked(pools_lock);
  pool->next = all_pools;
  all_pools = pool;
}
void unlist_pool(pmemfilepool* pool) {
  Locked locked(pools_lock);
  for (pmemfilepool** at = &all_pools; *at != nullptr; at = &(*at)->next) {
    if (*at != pool) continue;
    *at = pool->next;
    return;
  }
}

// ---- Attaching -----------------------------------------------------------------------------------------------------------------

Result<vfs::Pool*> attach(const char* path, vfs::AttachFailure& failure) {
  vfs::AttachOptions options;
  options.shm_dir = getenv("PMEMFILE_SHM_DIR");
  Result<vfs::Pool*> pool = vfs::Pool::attach(path, options, &failure);
  if (pool.error() != EACCES && pool.error() != EROFS && pool.error() != EPERM) return pool;
  options.read_only = true;
  return vfs::Pool::attach(path, options, &failure);
}

PMEMfilepool* fail_open(int error, const vfs::AttachFailure& failure) {
  if (failure.text[0] != '\0')
    fail_with_text(error, failure.text);
  else
    fail(error);
  return nullptr;
}

} // namespace

PMEMFILE_API PMEMfilepool* pmemfile_pool_open(const char* path) {
  vfs::AttachFailure failure{};
  if (path == nullptr) return fail_open(EFAULT, failure);
  pmemfilepool* pool = make_handle();
  if (pool == nullptr) return fail_open(ENOMEM, failure);
  Result<vfs::Pool*> attached = attach(path, failure);
  if (!attached.ok()) {
    free_handle(pool);
    return fail_open(attached.error(), failure);
  }
  pool->pool = attached.value();
  take_credentials(*pool);
  const layout::Geometry& geometry = pool->pool->store().geometry;
  memcpy(pool->uuid, geometry.uuid, sizeof pool->uuid);
  pool->cwd = geometry.root_ino[0];
  (void)vfs::hold_dir(*pool->pool, Ino{pool->cwd}, kCwdHandle);
  list_pool(pool);
  return pool;
}

PMEMFILE_API PMEMfilepool* pmemfile_pool_create(const char* path, size_t size, mode_t mode) {
  vfs::AttachFailure failure{};
  if (path == nullptr) return fail_open(EFAULT, failure);
  vfs::Pool::MakeOptions options;
  options.bytes = size;
  options.mode = mode;
  options.exclusive = size != 0;
  options.uid = static_cast<u32>(raw_syscall(SYS_geteuid));
  options.gid = static_cast<u32>(raw_syscall(SYS_getegid));
  Result<layout::Geometry> made = vfs::Pool::make(path, options, &failure);
  if (!made.ok()) return fail_open(made.error(), failure);
  return pmemfile_pool_open(path);
}

PMEMFILE_API void pmemfile_pool_close(PMEMfilepool* pool) {
  if (pool == nullptr) return;
  unlist_pool(pool);
  if (pool->pool != nullptr) pool->pool->detach();
  free_handle(pool);
}

PMEMFILE_API void pmemfile_pool_set_device(PMEMfilepool* pool, dev_t device) {
  if (pool != nullptr && pool->pool != nullptr) pool->pool->set_device(device);
}

// ---- Suspending ----------------------------------------------------------------------------------------------------------------

namespace {

template <class Visit>
void for_each_file(pmemfilepool& pool, Visit&& visit) {
  u32 touched = min_of(load_acquire(pool.files_touched), kMaxFiles);
  for (u32 i = 0; i < touched; ++i)
    if (pool.files[i].in_use != 0) visit(pool.files[i]);
}

void save_file(Call& call, PMEMfile& file) {
  vfs::Description description{file.description};
  Result<u64> offset = vfs::seek_file(call.task, description, 0, SEEK_CUR);
  Result<inode::Attr> attr = inode::read(call.task.pool->store(), Ino{file.ino});
  file.saved_offset = offset.value_or(0);
  file.saved_flags = static_cast<u32>(vfs::info(*call.task.pool, description).flags);
  file.saved_generation = attr.ok() ? attr.value().generation : 0;
}

// A file that cannot be opened again stays a PMEMfile whose description no call finds.
void restore_file(Call& call, PMEMfile& file) {
  file.description = ~0u;
  Result<inode::Attr> attr = inode::read(call.task.pool->store(), Ino{file.ino});
  if (!attr.ok() || attr.value().generation != file.saved_generation || attr.value().nlink == 0) return;
  Result<vfs::OpenResult> opened =
      vfs::open_at(call.task, vfs::At{Ino{file.ino}, {}}, static_cast<int>(file.saved_flags), 0, handle_of(*call.pool, &file));
  if (!opened.ok()) return;
  file.description = static_cast<u32>(opened.value().description);
  (void)vfs::seek_file(call.task, opened.value().description, static_cast<i64>(file.saved_offset), SEEK_SET);
}

} // namespace

PMEMFILE_API int pmemfile_pool_suspend(PMEMfilepool* pool) {
  PMEMFILE_CALL(pool, -1);
  if (pool->mapping_count != 0) {
    fail(EBUSY);
    return -1;
  }
  for_each_file(*pool, [&](PMEMfile& file) { save_file(call, file); });
  vfs::Pool* attached = pool->pool;
  pool->pool = nullptr;
  attached->detach();
  return 0;
}

PMEMFILE_API int pmemfile_pool_resume(PMEMfilepool* pool, const char* path) {
  vfs::AttachFailure failure{};
  auto refuse = [&](int error) {
    fail_open(error, failure);
    return -1;
  };
  if (pool == nullptr || path == nullptr) return refuse(EFAULT);
  if (pool->pool != nullptr) return refuse(EINVAL);
  Result<vfs::Pool*> attached = attach(path, failure);
  if (!attached.ok()) return refuse(attached.error());
  if (memcmp(attached.value()->store().geometry.uuid, pool->uuid, sizeof pool->uuid) != 0) {
    attached.value()->detach();
    return refuse(EINVAL);
  }
  pool->pool = attached.value();
  Call call(pool);
  // They were open already: nobody's permission is asked again.
  call.credentials.capabilities = ~u64{0};
  if (!vfs::hold_dir(*pool->pool, Ino{pool->cwd}, kCwdHandle).ok()) {
    pool->cwd = raw(call.task.root);
    (void)vfs::hold_dir(*pool->pool, call.task.root, kCwdHandle);
  }
  for_each_file(*pool, [&](PMEMfile& file) { restore_file(call, file); });
  return 0;
}

// ---- Roots and the working directory ---------------------------------------------------------------------------------------------

PMEMFILE_API unsigned pmemfile_pool_root_count(PMEMfilepool*) { return layout::kRootCount; }

PMEMFILE_API PMEMfile* pmemfile_open_root(PMEMfilepool* pool, unsigned index, int flags) {
  PMEMFILE_CALL(pool, nullptr);
  auto run = [&]() -> Result<PMEMfile*> {
    if (index >= layout::kRootCount || flags != 0) return Error(EINVAL);
    return open_file(call, vfs::At{Ino{pool->pool->store().geometry.root_ino[index]}, {}}, O_PATH | O_DIRECTORY, 0);
  };
  Result<PMEMfile*> root = run();
  if (root.ok()) return root.value();
  fail(root.error());
  return nullptr;
}

namespace {

Result<void> change_dir(Call& call, const inode::Attr& dir) {
  if ((dir.mode & 0170000) != 0040000) return Error(ENOTDIR);
  if (!vfs::may_access(call.credentials, dir, 1)) return Error(EACCES);
  // The new one is held before the old one is let go of: under a file's handle meanwhile.
  PMEMfile* passing = take_file(*call.pool);
  if (passing == nullptr) return Error(ENFILE);
  u32 handle = handle_of(*call.pool, passing);
  Result<void> held = vfs::hold_dir(*call.task.pool, dir.ino, handle);
  if (held.ok()) {
    (void)vfs::close_handle(*call.task.pool, kCwdHandle);
    held = vfs::hold_dir(*call.task.pool, dir.ino, kCwdHandle);
    if (held.ok()) store_release(call.pool->cwd, raw(dir.ino));
    (void)vfs::close_handle(*call.task.pool, handle);
  }
  give_file_back(*call.pool, passing);
  return held;
}

// Paths for a buffer of the caller or, without one, for malloc'ed memory.
char* give_path(Call& call, Ino dir, char* buf, size_t size) {
  char text[PMEMFILE_PATH_MAX];
  if (buf != nullptr && size == 0) {
    fail(EINVAL);
    return nullptr;
  }
  Result<u64> length = vfs::dir_path(call.task, dir, text, sizeof text);
  if (!length.ok() || (size != 0 && length.value() > size)) {
    fail(length.ok() ? ERANGE : length.error() == ERANGE ? ENAMETOOLONG : length.error());
    return nullptr;
  }
  if (buf == nullptr) buf = static_cast<char*>(malloc(size != 0 ? size : length.value()));
  if (buf == nullptr) {
    fail(ENOMEM);
    return nullptr;
  }
  memcpy(buf, text, length.value());
  return buf;
}

} // namespace

PMEMFILE_API int pmemfile_chdir(PMEMfilepool* pool, const char* path) {
  PMEMFILE_CALL(pool, -1);
  auto run = [&]() -> Result<void> {
    vfs::At at = TRY(place(*pool, path));
    return change_dir(call, TRY(vfs::resolve(call.task, at, vfs::Follow::kYes)));
  };
  return finish(run());
}
PMEMFILE_API int pmemfile_fchdir(PMEMfilepool* pool, PMEMfile* dir) {
  PMEMFILE_CALL(pool, -1);
  auto run = [&]() -> Result<void> { return change_dir(call, TRY(vfs::resolve(call.task, TRY(itself(dir)), vfs::Follow::kNo, true))); };
  return finish(run());
}
PMEMFILE_API char* pmemfile_getcwd(PMEMfilepool* pool, char* buf, size_t size) {
  PMEMFILE_CALL(pool, nullptr);
  return give_path(call, Ino{load_relaxed(pool->cwd)}, buf, size);
}
PMEMFILE_API char* pmemfile_get_dir_path(PMEMfilepool* pool, PMEMfile* dir, char* buf, size_t size) {
  PMEMFILE_CALL(pool, nullptr);
  Result<vfs::At> at = dir == PMEMFILE_AT_CWD ? place(*pool, "") : itself(dir);
  if (!at.ok()) {
    fail(at.error());
    return nullptr;
  }
  return give_path(call, at.value().dir, buf, size);
}
