// Where a path argument leads: into a pool or to the kernel.
//
// A path is ours if it begins with a mount point, if it is relative to a
// directory of ours, or if symlinks, `..` or /proc on the kernel's side lead
// into a mount point. Whether there are symlinks is asked of the kernel; if so, the path is looked at component by component, and
// directories that were found to lead nowhere are remembered for a moment.
// Rules: hook-safe; texts of a Place are valid until the next locate() with the
// same room, or the end of the call.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

inline constexpr unsigned kFollowLast = 1;   // a symlink as last component is followed
inline constexpr unsigned kAllowEmpty = 2;   // AT_EMPTY_PATH
inline constexpr unsigned kLastIsChecked = 4; // the caller finds out itself whether the last component is a symlink
inline constexpr unsigned kNeverKnown = 8;   // walk, whatever is remembered: for whatever makes or removes names

inline constexpr unsigned kIsName = 32; // a name that is made or removed: "link/" is the link itself
inline constexpr unsigned kCallerAsks = 64; // a path that looks plain is taken for plain: the caller has the kernel see to it, and comes again
inline constexpr unsigned kTakesProcLinks = 16; // the caller answers for symlinks in /proc/self that lead to something of ours

enum class Special : u8 { kNone, kProcMounts, kProcMountinfo, kProcExe, kProcCwd, kProcFdLink, kProcFdDir, kProcFdInfo };

struct Place {
  bool ours = false;
  u32 mount = 0;
  vfs::At at;
  bool itself = false;     // at.dir is what is meant, whatever its type (`allow_empty`)
  i32 descriptor = -1;     // the descriptor of ours that is meant (/proc/self/fd/N, AT_EMPTY_PATH)
  bool plain_dir = false;  // of a kernel path: no symlink but perhaps the last component
  bool known = false;      // answered from memory: another process may have changed a directory since (foundations H9)
  bool changing = false;   // through /proc/self, or a directory that is not there yet: not remembered
  // Of a kernel path: itself, or, where there were symlinks, what is left without them; none but perhaps the last component, if that is not
  // followed or the caller's to look at. Null if it cannot be had.
  const char* resolved = nullptr;
  Special special = Special::kNone;
  bool through_link = false; // a symlink of the kernel was followed,
  bool magic = false;        // or one of /proc/self that leads to something of ours
  bool own_exe = false;    // /proc/self/exe of a program of a pool, followed: g_exe_path
  bool hidden = false;     // names a descriptor that the program does not have
};

// `room`: 0 or 1, which path of the call. Returns 0 or a negated errno.
long locate(Call& call, int dirfd, const char* path, unsigned options, unsigned room, Place& place);

// After a call of the kernel on a path that was answered from memory: would looking again tell something else?
bool was_right(Call& call, int dirfd, const char* path, long result);

// What is remembered about directories is void: this process changed symlinks.
void forget_known_dirs(Process& process);

// Absolute kernel path of a kernel directory descriptor or AT_FDCWD; its length or a negated errno.
long kernel_dir_path(Call& call, int dirfd, char* buffer);

// Lexically normalises an absolute path in place ("//", "/./", "/../"); returns the new length.
u64 normalise(char* path);

// Is this text (of `bytes`) in a mount point? Returns the mount or -1.
int mount_of_path(const char* path);

// Runs the kernel's call with the path argument replaced.
long kernel_call_with_path(Call& call, unsigned path_index, const char* path);

inline bool is_proc_link(const Place& place) { return place.special == Special::kProcFdLink || place.special == Special::kProcCwd; }

// Runs `body(Task&, Place&)` on the pool that a path leads to, again for where it leads out of the pool, and the
// kernel's call if it ends there.
template <class Body>
long at_path(Call& call, int dirfd, unsigned path_index, unsigned options, Body&& body) {
  auto* path = call.pointer<const char>(path_index);
  for (unsigned round = 0; round < 40; ++round) {
    Place place;
    long error = locate(call, dirfd, path, options, 0, place);
    if (error != 0) return error;
    if (!place.ours) {
      if (round != 0) return kernel_call_with_path(call, path_index, path);
      if (!place.known) return kPassOn;
      // A way into a pool that was made a moment ago leads to nothing in the kernel: look again (known.h).
      long result = kernel_call_with_path(call, path_index, path);
      if (was_right(call, dirfd, path, result)) return result;
      options |= kNeverKnown;
      error = locate(call, dirfd, path, options, 0, place);
      if (error != 0) return error;
      if (!place.ours) return result;
    }
    // The link itself is the kernel's.
    if (PMEMFILE_UNLIKELY(is_proc_link(place)) && (options & kTakesProcLinks) == 0) return round == 0 ? kPassOn : -ELOOP;
    vfs::Task task = make_task(call, place.mount);
    auto result = body(task, place);
    if (PMEMFILE_LIKELY(result.error() != vfs::kEscaped)) return to_long(result);
    char* copy = call.block.rooms[0].path;
    memcpy(copy, call.block.escape, kPathBytes);
    path = copy;
    dirfd = -100; // AT_FDCWD; the path is absolute
    options &= ~kLastIsChecked;
  }
  return -ELOOP;
}

} // namespace pmemfile::preload
