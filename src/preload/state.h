// What the preload library knows of its process: mounts, descriptors, working
// directory, credentials; and of each thread.
//
// Owner: one Process for the process, and a private copy for each child that
// runs in our memory (vfork, posix_spawn) while it runs. Rules: hook-safe.
// Tables are changed under Process::lock, which is taken only inside a served
// call, where signal handlers of the program are held back (signals.h).
#pragma once

#include <cstddef>
#include <string_view>

#include "base/atomic.h"
#include "base/syscall.h"
#include "base/text.h"
#include "intercept/engine.h"
#include "vfs/pool.h"
#include "vfs/vfs.h"

namespace pmemfile::preload {

inline constexpr unsigned kMaxMounts = 8;
inline constexpr u64 kPathBytes = 4096; // PATH_MAX, NUL included

constexpr u32 kFirstMountId = 90000; // in mountinfo, statx and handles: beyond the kernel's
struct Mount {
  std::string_view point; // absolute, normalised, without trailing '/'
  std::string_view last;  // its last component
  const char* pool_path = nullptr;
};

// ---- Descriptors: one word each, 0 for those of the kernel ----------------------------------------------------
inline constexpr u32 kMaxDescriptors = 1u << 20;
// 22 bits of description, 4 of mount + 1 (0: no file), flags: so small that low numbers and our own, from 900 on, share a page.
using FdWord = u32;
constexpr unsigned kFdMountShift = 22;
constexpr FdWord kFdMountMask = 15;
inline constexpr FdWord kFdCloexec = 1u << 26;       // as the program sees it
inline constexpr FdWord kFdKernelCloexec = 1u << 27; // as the placeholder has it
inline constexpr FdWord kFdStashed = 1u << 28;       // closed for the program, placeholder kept for the next open
inline constexpr FdWord kFdInternal = 1u << 29;      // ours; the program sees it closed
inline constexpr FdWord kFdClosing = 1u << 30;       // stashed, but its handle is still being closed
inline constexpr FdWord kFdReplaced = 1u << 31;      // about to be something else by dup2, and never closed: calls look again
static_assert(kMaxMounts < kFdMountMask);
static_assert(shm::kMaxDescriptions <= 1u << kFdMountShift);
constexpr FdWord mount_bits(FdWord word) { return word >> kFdMountShift & kFdMountMask; }
constexpr bool is_file(FdWord word) { return mount_bits(word) != 0; }
constexpr u32 mount_of(FdWord word) { return mount_bits(word) - 1; }
constexpr vfs::Description description_of(FdWord word) { return vfs::Description{word & ((1u << kFdMountShift) - 1)}; }
constexpr FdWord file_word(u32 mount, vfs::Description description, FdWord flags) {
  return static_cast<u32>(description) | (mount + 1) << kFdMountShift | flags;
}

inline constexpr unsigned kMaxStash = 32;

// Handles of this process that are no descriptors.
inline constexpr u32 kCwdHandle = vfs::kFirstPrivateHandle; // and the next, by turns
inline constexpr u32 kFirstMapHandle = vfs::kFirstPrivateHandle + 16;
inline constexpr u32 kMaxMapHandles = 65536;

struct Cwd {
  bool in_pool = false;
  u32 mount = 0;
  u32 turn = 0;       // of its handle
  Ino ino{};
  u64 generation = 0; // advanced by every change; seeds the cache of directories

  u32 handle() const { return kCwdHandle + turn; }
};

// Directories of the kernel that are known to lead into no pool (known.h).
inline constexpr unsigned kKnownDirs = 256;
struct KnownDir {
  u64 hash;
  u64 stamp_and_plain; // epoch of cache and coarse time; bit 0: no symlink on the way
  u64 identity;
  u8 misses; // in a row
};
// What the kernel has where pools are mounted (known.h).
enum class Hidden : u8 { kNothing, kEmptyDirectory, kSomething };

// A signal's disposition as the program set it: the kernel's struct of rt_sigaction.
struct KernelAction {
  u64 handler;
  u64 flags;
  u64 restorer;
  u64 mask;
};
struct SignalAction {
  KernelAction action;
  bool known; // false: what the kernel has is what the program sees
};

// A directory of the kernel that the program lists and whose entries are not the whole truth.
struct Listing {
  int fd;
  bool is_fds;     // /proc/self/fd or its like; else mount points lie in it
  u32 given;       // bits of mounts whose entries were given out
  u64 device, ino; // the number may have become something else unseen
};
inline constexpr unsigned kMaxListings = 16;

// Who a task of the kernel is.
struct Identity {
  bool known = false; // read when the first call needs it
  vfs::Credentials credentials;
  u32 groups[64] = {};
  u32* many_groups = nullptr; // if they do not fit
};

inline constexpr unsigned kMaxOwn = 32;

// Begins as zeros but for what start() sets.
struct Process {
  vfs::Pool* pools[kMaxMounts] = {}; // null: not attached yet (attach.h)
  FdWord* fds = nullptr; // the end of a table that grows downwards (fd_entry); made when the first entry is set
  u32 fd_end = 0;     // beyond the highest entry that was ever set
  // Our own descriptors, plus 1, in any order; more than fit here are in the table. They stand apart because a process that uses no
  // file of a pool then needs no table, and one that forks writes to none.
  u32 own[kMaxOwn] = {};
  u32 own_floor = 0; // no own number was ever lower
  int placeholder = 0; // what descriptors of pool files are made from; -1: not opened yet
  // What opens and closes change, and apart from it what every call reads: threads on several processors would keep taking it
  // from each other.
  alignas(64) u32 lock = 0;
  // Every number below is in use in the kernel, stashed ones included.
  u32 fd_floor = 0;
  u32 stash_count = 0;
  u32 stash[kMaxStash] = {}; // ascending
  alignas(64) Cwd cwd;
  // Of all threads; never known once a thread has changed itself while there were others: then each has its own.
  Identity identity;
  bool identity_per_thread = false;
  bool common_known = false; // what follows, which threads share
  u32 umask = 0;
  u64 file_size_limit = 0; // RLIMIT_FSIZE (limits.h)
  // From here to `cwd_looked_at`: what every call with a path looks at (quick.h).
  u64 known_epoch = 0;
  u64 hidden_stamp = 0; // when it was looked at
  Hidden hidden{};
  u64 hidden_identities[kMaxMounts] = {};
  u64 cwd_looked_at = 0; // the working directory's generation; bit 0: it lies in /proc
  bool is_child_view = false;
  bool is_traced = false; // it said so: a debugger would stop at each trapped call (intercept/trap.h)
  u32 listing_count = 0;
  Listing listings[kMaxListings] = {};
  SignalAction actions[65] = {};
  KnownDir known[kKnownDirs] = {};
};

// ---- Threads ----------------------------------------------------------------------------------------------------
// A seccomp filter is in force, or strict mode: only what the program asks for is asked of the kernel, as it may be killed for anything else. Symlinks
// of the kernel that lead into a pool are not found then, and the pools are left to who buries the process.
extern bool g_sandboxed;
inline constexpr unsigned kMaxPending = 64;
struct PendingSignal {
  int signal;
  u8 info[128]; // siginfo_t
};
struct InFlight; // inflight.h
struct PathRoom { // for one path argument
  char path[kPathBytes];
  char todo[2 * kPathBytes];
};
// Stack and scratch room of one thread. The first page is the guard.
struct alignas(4096) ThreadBlock {
  char guard[4096];
  char stack[1024 * 1024 - 1024]; // its head shares a page with what follows: both are touched by every thread
  InFlight* in_flight; // inflight.h
  u32 task_mounts;   // bits of mounts that calls of this thread were about (failed.h)
  u32 pending_count; // signals that came during the call under way: waits end with EINTR
  u64 saved_mask;
  bool pending_restart; // all pending handlers were installed with SA_RESTART
  struct ChildRun* children; // children.cc: clones of this thread that are under way, innermost first
  bool is_wiped_in_children; // of fork: they find zeros, and get the words from `in_flight` to `identity` back (children.cc)
  Identity identity; // with Process::identity_per_thread
  PendingSignal pending[kMaxPending];
  char escape[kPathBytes];
  char done[kPathBytes];
  char link[kPathBytes];
  PathRoom rooms[2];
  alignas(4096) u8 scratch[16384]; // its users mostly need one page
};
static_assert(offsetof(ThreadBlock, stack) + sizeof(ThreadBlock::stack) == offsetof(ThreadBlock, in_flight));
inline constexpr u64 kThreadWordsBytes = offsetof(ThreadBlock, pending) - offsetof(ThreadBlock, in_flight);
static_assert(sizeof(ThreadBlock::stack) % 16 == 0);

// Initial-exec thread-local words.
struct ThreadWords {
  Process* process; // null: g_process
  ThreadBlock* block;
  u32 in_call;      // inside a served call
  u32 fault_repeats; // of the same address, although it was filled
  struct ChildRun* forking; // a fork of this thread, which its child finds here
  u32 forks_locked; // forks of this thread that are under way and hold Process::lock
  u64 fault_address;
  u64 fault_changes; // g_mapping_changes then
  u64 altstack_base, altstack_bytes;
  bool altstack_disarms; // SS_AUTODISARM
  u64 blocked_faults; // SIGSEGV and SIGBUS as the program blocks them (signals.h)
  u64 suspended_at;   // stack pointer of a call that brings a mask of its own; 0: none
  u64 suspended_faults; // what that mask blocks
};
extern __thread ThreadWords t_thread __attribute__((tls_model("initial-exec")));
extern Process g_process;
extern Mount g_mounts[kMaxMounts];
extern u32 g_mount_count;

inline Process& current_process() {
  Process* process = t_thread.process;
  return PMEMFILE_LIKELY(process == nullptr) ? g_process : *process;
}
// Neighbours stand in different lines of one page: threads with neighbouring numbers would keep taking a common line from each other.
inline constexpr u64 kFdsPerPage = 4096 / sizeof(FdWord);
inline FdWord& fd_entry(const Process& process, u64 fd) {
  u64 index = (fd & ~(kFdsPerPage - 1)) | (fd * 17 & (kFdsPerPage - 1));
  return process.fds[-1 - static_cast<i64>(index)];
}
inline FdWord table_word(const Process& process, u64 fd) {
  return fd < load_relaxed(process.fd_end) ? load_relaxed(fd_entry(process, fd)) : 0;
}
bool is_own(const Process& process, u64 fd);
inline FdWord fd_word(const Process& process, u64 fd) {
  if (PMEMFILE_UNLIKELY(fd >= load_relaxed(process.own_floor)) && is_own(process, fd)) return kFdInternal;
  return table_word(process, fd);
}
// The same, once no dup2 is at it: to everybody else the number is one file or the other. (A child that was made in the middle of one finds
// such a word for ever.)
inline FdWord settled_word(const Process& process, u64 fd) {
  FdWord word = fd_word(process, fd);
  for (unsigned tries = 0; PMEMFILE_UNLIKELY((word & kFdReplaced) != 0) && tries < 10000; ++tries) {
    raw_syscall(SYS_sched_yield);
    word = fd_word(process, fd);
  }
  return word;
}
// Beyond the highest number with a word.
u64 fd_words_end(const Process& process);

// Attaches to a pool whose first use this is.
vfs::Pool& attach_now(Process& process, u32 mount);
inline vfs::Pool& pool_of(Process& process, u32 mount) {
  vfs::Pool* pool = load_acquire(process.pools[mount]);
  return PMEMFILE_LIKELY(pool != nullptr) ? *pool : attach_now(process, mount);
}

// A served call: the program's registers and where it stands.
struct Call {
  intercept::Frame& frame;
  Process& process;
  ThreadBlock& block;
  long nr;

  u64 arg(unsigned index) const {
    const u64* args[] = {&frame.rdi, &frame.rsi, &frame.rdx, &frame.r10, &frame.r8, &frame.r9};
    return *args[index];
  }
  int fd(unsigned index) const { return static_cast<int>(arg(index)); }
  template <class T>
  T* pointer(unsigned index) const { return reinterpret_cast<T*>(arg(index)); }
  // The entry of a descriptor argument; 0 if it is the kernel's.
  FdWord file(unsigned index) const { return settled_word(process, arg(index) & 0xffffffff); }
  vfs::Pool& pool(u32 mount) const { return pool_of(process, mount); }
  // The call as it stands, made by us; for handlers that look at its result.
  long kernel() const {
    return raw_syscall(nr, static_cast<long>(frame.rdi), static_cast<long>(frame.rsi), static_cast<long>(frame.rdx),
                       static_cast<long>(frame.r10), static_cast<long>(frame.r8), static_cast<long>(frame.r9));
  }
};

// substr() of the standard library can throw; this one cuts.
constexpr std::string_view part(std::string_view text, u64 from, u64 bytes = ~u64{0}) {
  from = min_of<u64>(from, text.size());
  return {text.data() + from, min_of<u64>(bytes, text.size() - from)};
}

// What a handler returns beside results and negated errnos: the kernel shall do it.
inline constexpr long kPassOn = -1000000;
using Handler = long (*)(Call&);

inline long to_long(const Result<void>& result) { return result.ok() ? 0 : -result.error(); }
inline long to_long(const Result<u64>& result) {
  return result.ok() ? static_cast<long>(result.value()) : -result.error();
}

// A lock of threads, held for a few instructions, or for a system call on our own descriptors: then it yields.
void lock_briefly(u32& lock);
inline void unlock_briefly(u32& lock) { store_release(lock, 0u); }
void lock_process(Process& process);
void unlock_process(Process& process);
class Locked {
 public:
  explicit Locked(Process& process) : process_(process) { lock_process(process_); }
  ~Locked() { unlock_process(process_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Process& process_;
};

vfs::Task make_task(Call& call, u32 mount);
// This thread's block; null if there is no memory for it.
ThreadBlock* thread_block();
void free_thread_block();

// What cannot be served is counted and named in the report; returns -errno_value.
long refuse(Call& call, int errno_value);

extern "C" {
long pmemfile_preload_on_stack(long (*fn)(void*), void* argument, void* stack_top);
long pmemfile_preload_strnlen(const char* text, u64 max);
long pmemfile_preload_match(const char* text, const char* prefix, u64 bytes);
long pmemfile_preload_wait(long nr, long a0, long a1, long a2, long a3, long a4, long a5, const u32* pending);
}

// A system call that may block, inside a served call: a signal ends it with EINTR, even one that came before it.
inline long wait_in_kernel(long nr, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0) {
  return pmemfile_preload_wait(nr, a0, a1, a2, a3, a4, a5, &t_thread.block->pending_count);
}

} // namespace pmemfile::preload
