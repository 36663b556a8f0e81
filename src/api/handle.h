// PMEMfilepool and PMEMfile: what the C library keeps for its callers.
//
// A pool's PMEMfiles stand in one array, reserved at open and touched as far as it is used: the index of an entry is the
// private handle under which V knows the open file. Free entries form a stack, so open and close never search.
// Owner: the PMEMfilepool. Rules: any thread; no malloc; not inside hooks (errno and libc are the caller's).
#pragma once

#include <cerrno>

#include "libpmemfile-core.h"
#include "shm/handles.h"
#include "vfs/names.h"
#include "vfs/pool.h"
#include "vfs/vfs.h"

struct pmemfile_file {
  pmemfile::u32 next_free; // index + 1 in the stack of free entries
  pmemfile::u32 in_use;
  pmemfile::u32 description;
  pmemfile::u32 cloexec; // FD_CLOEXEC, for F_GETFD; without meaning otherwise
  pmemfile::u64 ino;
  // While the pool is suspended:
  pmemfile::u64 saved_generation, saved_offset;
  pmemfile::u32 saved_flags, reserved;
};

namespace pmemfile::api {

inline constexpr u32 kMaxGroups = 65536; // NGROUPS_MAX
// Private handles: 0 is the working directory, then files, then mappings, then the passing ones of vfs.
inline constexpr u32 kCwdHandle = vfs::kFirstPrivateHandle;
inline constexpr u32 kFirstFileHandle = vfs::kFirstPrivateHandle + 1;
inline constexpr u32 kMaxFiles = 900000;
inline constexpr u32 kFirstMappingHandle = vfs::kFirstPrivateHandle + 1000000;
inline constexpr u32 kMaxMappings = 32768;

// A short lock; a thread that waits sleeps. Not safe against the death of a thread, which takes the process with it.
class Lock {
 public:
  void lock();
  void unlock();

 private:
  u32 word_ = 0; // 0 free, 1 held, 2 held and waited for
};
class Locked {
 public:
  explicit Locked(Lock& lock) : lock_(lock) { lock_.lock(); }
  ~Locked() { lock_.unlock(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Lock& lock_;
};

// A piece of address space that shows a file, or that lies behind its end.
struct Mapping {
  u64 start, end; // addresses
  u64 offset;     // in the file, of start
  u32 description;
  u32 handle;     // pins the file's blocks; shared by the pieces that one mapping was cut into
  u32 limit;      // PROT_* that mprotect may give; 0: behind the end of the file
  int flags, protection;
};

} // namespace pmemfile::api

struct pmemfilepool {
  pmemfile::vfs::Pool* pool; // null: suspended
  PMEMfile* files;           // kMaxFiles entries
  pmemfile::u64 free_files;  // bits 0..31 index + 1 of the first free entry, 32..63 a count against reuse
  pmemfile::u32 files_touched;
  pmemfile::u32 umask;
  pmemfile::u64 cwd;
  pmemfile::u64 uuid[2];
  pmemfile::api::Lock credentials_lock; // of who changes them
  pmemfile::u32 credentials_sequence;   // odd while they change
  pmemfile::vfs::Credentials credentials;
  pmemfile::u32* groups[2]; // kMaxGroups each, used by turns
  pmemfile::u32 groups_turn;
  pmemfile::api::Lock mappings_lock;
  pmemfile::u32 mapping_count;
  pmemfile::u32 mapping_turn; // where to look for a free handle
  pmemfile::api::Mapping* mappings; // kMaxMappings
  pmemfilepool* next;               // of all pools of the process, for fork
  pmemfile::vfs::Pool::ChildTicket ticket;
  int ticket_ready;
};

namespace pmemfile::api {

// Remembers the failure for pmemfile_errormsg() and sets errno.
void fail(int error);
void fail_with_text(int error, const char* text);

template <class T>
auto finish(const Result<T>& result) {
  if (PMEMFILE_UNLIKELY(!result.ok())) fail(result.error());
  if constexpr (std::is_void_v<T>)
    return result.ok() ? 0 : -1;
  else
    return result.ok() ? static_cast<long>(result.value()) : -1L;
}

void read_credentials(const pmemfilepool& pool, vfs::Credentials& out);

// What one call needs: a Task with a copy of the caller's credentials.
struct Call {
  explicit Call(pmemfilepool* p);
  // Not for suspended or null pools; fails the call otherwise.
  bool ready() const { return error == 0; }

  pmemfilepool* pool;
  int error = 0;
  vfs::Credentials credentials;
  vfs::Task task;
};

// A directory argument and a path. EFAULT: null; EBADF: not an open PMEMfile.
Result<vfs::At> place(const pmemfilepool& pool, PMEMfile* dir, const char* path);
Result<vfs::At> place(const pmemfilepool& pool, const char* path);
// An open file itself, for the verbs by description.
Result<vfs::At> itself(PMEMfile* file);
Result<vfs::Description> description_of(PMEMfile* file);

PMEMfile* take_file(pmemfilepool& pool);
void give_file_back(pmemfilepool& pool, PMEMfile* file);
inline u32 handle_of(const pmemfilepool& pool, const PMEMfile* file) {
  return kFirstFileHandle + static_cast<u32>(file - pool.files);
}
// Opens `at` as a new PMEMfile.
Result<PMEMfile*> open_file(Call& call, vfs::At at, int flags, u32 mode);

} // namespace pmemfile::api

// The body of a call on a pool: a Call named `call`, or the failure.
#define PMEMFILE_CALL(pool, failure)          \
  pmemfile::api::Call call(pool);             \
  if (PMEMFILE_UNLIKELY(!call.ready())) {     \
    pmemfile::api::fail(call.error);          \
    return failure;                           \
  }
#define PMEMFILE_API extern "C" __attribute__((visibility("default")))
