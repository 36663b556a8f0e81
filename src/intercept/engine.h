// The interception engine: every system call of the process goes to a hook
// first, by patching the `syscall` instructions of the loaded objects.
//
// Owner: the one library that calls start(). Thread rule: start() once, from a
// constructor, before the process has threads; all else from any thread.
// Everything here may run inside a hook, but start() itself.
#pragma once

#include <string_view>

#include "base/result.h"
#include "base/syscall.h"
#include "base/types.h"

namespace pmemfile::intercept {

// The registers of the program at an intercepted instruction, built on its own
// stack below the red zone. The layout is shared with x86_64/entry.S.
// A hook may change the arguments and pass the call on.
struct Frame {
  u64 r15, r14, r13, r12, rbp, rbx;
  u64 r9, r8, r10, rdx, rsi, rdi; // arguments 5, 4, 3, 2, 1, 0
  u64 rax;                        // number; after Verdict::Done the result
  u64 mode;                       // the engine's own; becomes r11
  u64 rflags;
  u64 rip;         // address after the instruction
  u64 stub_return; // the engine's own

  static constexpr u64 kRedZoneBytes = 128;
  u64 rsp() const { return reinterpret_cast<u64>(this) + sizeof(Frame) + kRedZoneBytes; }
  long nr() const { return static_cast<long>(rax); }
  void set_result(long value) { rax = static_cast<u64>(value); }
};
static_assert(sizeof(Frame) == 17 * 8);

enum class Verdict {
  Pass, // execute the call, with the registers as the frame has them now
  Done, // the program sees frame.rax as the result
};

// Compiled with -mgeneral-regs-only, or wrapped by call_preserving_vectors().
// Runs on the program's stack; may be interrupted by a signal handler whose
// system calls enter the hook again.
using FastHook = Verdict (*)(Frame&);

enum class CloneKind : u8 {
  Thread,       // CLONE_THREAD
  Fork,         // a copy of the memory
  VforkLike,    // CLONE_VM | CLONE_VFORK: the caller sleeps until exec or exit
  SharedMemory, // CLONE_VM alone: a process that runs in our memory
};

// Called for clone, clone3, fork and vfork that the hook passed. Any may be
// null. `flags` are those of clone (for fork and vfork their equivalent).
struct ChildEvents {
  void (*before)(Frame&, CloneKind, u64 flags) = nullptr;
  void (*parent)(Frame&, CloneKind, u64 flags, long pid_or_error) = nullptr;
  // On the child's stack, before it sees its result 0. Thread-local storage
  // is the child's own.
  void (*child)(Frame&, CloneKind, u64 flags) = nullptr;
};

struct Options {
  // Patch every loaded and later mapped object, or only libc and ld.so.
  bool all_objects = true;
  // Run the planner when an object has no plan yet (takes some 100 ms once
  // per build-id). Without, such objects are left alone.
  bool plan_when_missing = true;
  // The planner; null: looked for beside the library and under ../libexec.
  const char* planner_path = nullptr;
  // Where plans are kept. Null: $XDG_CACHE_HOME/pmemfile if that is set, else
  // /var/cache/pmemfile and then $HOME/.cache/pmemfile. If none can be written,
  // a folder in /tmp.
  const char* cache_dir = nullptr;
  // How many system calls the kernel may report to us before the process is patched (trap.h); 0: it is patched at start, as
  // it is where the kernel cannot report them.
  u32 max_traps = 0;
  // A deferred start that fails later, with what start() would have returned. Does not return.
  void (*failed)(int error) = nullptr;
  // Told, in one line without newline, of each object that could not be
  // patched as a whole; null: nobody is told.
  void (*warn)(std::string_view line) = nullptr;
};

// Patches everything loaded now. EALREADY: another copy of the engine is at
// work in this process, or start() was called before. ENOENT: libc itself
// could not be patched (stats() says why), so nothing is intercepted.
Result<void> start(FastHook hook, const ChildEvents* events, const Options& options);

// The file of an object that is being mapped. The engine reads headers and
// notes by `read`, and calls `descriptor` only if the object has to be planned:
// the planner, another process, reads the whole file through it. The engine
// does not close it.
struct ObjectFile {
  void* context;
  std::string_view name;
  bool (*read)(void* context, void* to, u64 size_bytes, u64 offset); // all, or false
  int (*descriptor)(void* context);                                  // -1: none can be had
};
// For an object that the caller mapped itself, executable, at `address` (the
// engine sees those whose mmap the hook passes). A descriptor made for files
// that the kernel cannot open, a memfd with a copy, serves.
void object_mapped(void* address, u64 size_bytes, u64 file_offset, const ObjectFile& file);
// The same, of a file of the kernel.
void object_mapped(void* address, u64 size_bytes, u64 file_offset, int fd);

// Objects loaded behind the engine's back, found by walking the link map.
void patch_new_objects();

enum class LeftReason : u8 { NoBounds, NoRoom, Undecodable, SignalReturn };
inline constexpr unsigned kLeftReasons = 4;

enum class ObjectState : u8 {
  Unpatched,  // error says why
  NoSites,    // nothing to patch
  Image,      // a ready-patched image is mapped over the text
  InPlace,    // patched word by word
};

struct ObjectStats {
  char name[64]; // the last component of its path
  u64 base;
  u32 found, before, over, short_jump; // sites, and patched ones by kind
  u32 left[kLeftReasons];
  int error; // errno if Unpatched
  ObjectState state;
  u32 patched() const { return before + over + short_jump; }
};

inline constexpr unsigned kMaxObjectStats = 128;
struct Stats {
  u32 object_count; // all that were looked at; the array keeps the first ones
  ObjectStats objects[kMaxObjectStats];
  u32 sites_found() const;
  u32 sites_patched() const;
};
const Stats& stats();

// Puts the object that contains the engine at the end of the loader's list, for a library that exports nothing. Runtimes of
// sanitizers insist on being the first of the list, so that what they replace of libc is found in them. Only from a
// constructor, before there are threads.
void go_to_end_of_object_list();

// Is the process patched by this copy of the engine? Not yet while the kernel reports its calls.
bool active();

// The real system call.
inline long passthrough(long nr, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0) {
  return raw_syscall(nr, a0, a1, a2, a3, a4, a5);
}

// Calls fn(argument) with all vector, mask, x87 and control state saved before
// and restored after, and the control words of a fresh process in between.
// Needs some 3.2 KiB of stack (11.5 KiB while AMX tiles are in use).
extern "C" u64 pmemfile_call_preserving_vectors(u64 (*fn)(void*), void* argument);
inline u64 call_preserving_vectors(u64 (*fn)(void*), void* argument) {
  return pmemfile_call_preserving_vectors(fn, argument);
}

} // namespace pmemfile::intercept
