#include "api/handle.h"

#include <string.h>

#include "shm/futex.h"

namespace pmemfile::api {
namespace {

struct LastError {
  int error;
  char text[512];
};
thread_local LastError last_error;

// An address that is no PMEMfile of ours: too small to be one, or AT_CWD where a file is wanted.
bool looks_open(const PMEMfile* file) { return file != nullptr && file != PMEMFILE_AT_CWD && load_acquire(file->in_use) != 0; }

} // namespace

void Lock::lock() {
  u32 free_word = 0;
  if (compare_exchange(word_, free_word, 1u)) return;
  while (exchange(word_, 2u) != 0) shm::futex_wait(word_, 2, 10'000'000);
}
void Lock::unlock() {
  if (exchange(word_, 0u) == 2) shm::futex_wake(word_, 1);
}

void fail(int error) {
  last_error.error = error;
  last_error.text[0] = '\0';
  errno = error;
}

void fail_with_text(int error, const char* text) {
  last_error.error = error;
  std::size_t length = 0;
  while (length + 1 < sizeof last_error.text && text[length] != '\0') ++length;
  memcpy(last_error.text, text, length);
  last_error.text[length] = '\0';
  errno = error;
}

void read_credentials(const pmemfilepool& pool, vfs::Credentials& out) {
  for (;;) {
    u32 before = load_acquire(pool.credentials_sequence);
    memcpy(&out, &pool.credentials, sizeof out);
    acquire_fence();
    if ((before & 1) == 0 && load_relaxed(pool.credentials_sequence) == before) return;
    cpu_relax();
  }
}

Call::Call(pmemfilepool* p) : pool(p) {
  if (PMEMFILE_UNLIKELY(p == nullptr || p->pool == nullptr)) {
    error = p == nullptr ? EFAULT : EBUSY;
    return;
  }
  read_credentials(*p, credentials);
  task.pool = p->pool;
  task.credentials = &credentials;
  task.umask = load_relaxed(p->umask);
  task.root = Ino{p->pool->store().geometry.root_ino[0]};
}

Result<vfs::At> place(const pmemfilepool& pool, PMEMfile* dir, const char* path) {
  if (path == nullptr) return Error(EFAULT);
  std::string_view text(path, strlen(path));
  // The directory of an absolute path is not looked at.
  if (dir == PMEMFILE_AT_CWD || (!text.empty() && text.front() == '/')) return vfs::At{Ino{load_relaxed(pool.cwd)}, text};
  if (dir == nullptr) return Error(EFAULT);
  if (!looks_open(dir)) return Error(EBADF);
  return vfs::At{Ino{dir->ino}, text};
}
Result<vfs::At> place(const pmemfilepool& pool, const char* path) { return place(pool, PMEMFILE_AT_CWD, path); }

Result<vfs::At> itself(PMEMfile* file) {
  if (file == nullptr) return Error(EFAULT);
  if (!looks_open(file)) return Error(EBADF);
  return vfs::At{Ino{file->ino}, {}};
}

Result<vfs::Description> description_of(PMEMfile* file) {
  if (file == nullptr) return Error(EFAULT);
  if (PMEMFILE_UNLIKELY(!looks_open(file))) return Error(EBADF);
  return vfs::Description{file->description};
}

PMEMfile* take_file(pmemfilepool& pool) {
  u64 head = load_acquire(pool.free_files);
  while (static_cast<u32>(head) != 0) {
    PMEMfile* file = &pool.files[static_cast<u32>(head) - 1];
    u64 next = ((head >> 32) + 1) << 32 | load_relaxed(file->next_free);
    if (compare_exchange(pool.free_files, head, next)) return file;
  }
  u32 index = fetch_add(pool.files_touched, 1u);
  if (index < kMaxFiles) return &pool.files[index];
  fetch_add(pool.files_touched, ~0u);
  return nullptr;
}

void give_file_back(pmemfilepool& pool, PMEMfile* file) {
  store_release(file->in_use, 0u);
  u64 head = load_acquire(pool.free_files);
  for (;;) {
    store_relaxed(file->next_free, static_cast<u32>(head));
    u64 next = ((head >> 32) + 1) << 32 | static_cast<u32>(file - pool.files + 1);
    if (compare_exchange(pool.free_files, head, next)) return;
  }
}

Result<PMEMfile*> open_file(Call& call, vfs::At at, int flags, u32 mode) {
  PMEMfile* file = take_file(*call.pool);
  if (file == nullptr) return Error(ENFILE);
  Result<vfs::OpenResult> opened = vfs::open_at(call.task, at, flags, mode, handle_of(*call.pool, file));
  if (!opened.ok()) {
    give_file_back(*call.pool, file);
    return Error(opened.error());
  }
  file->description = static_cast<u32>(opened.value().description);
  file->ino = raw(opened.value().ino);
  file->cloexec = (flags & PMEMFILE_O_CLOEXEC) != 0 ? PMEMFILE_FD_CLOEXEC : 0;
  store_release(file->in_use, 1u);
  return file;
}

} // namespace pmemfile::api

PMEMFILE_API const char* pmemfile_errormsg(void) {
  pmemfile::api::LastError& last = pmemfile::api::last_error;
  if (last.text[0] == '\0') {
    const char* text = strerrordesc_np(last.error);
    return text == nullptr ? "unknown error" : text;
  }
  return last.text;
}
