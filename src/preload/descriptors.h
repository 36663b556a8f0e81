// Descriptor numbers of pool files: real kernel numbers, held by placeholders.
//
// A placeholder is a duplicate of an O_PATH|O_NOFOLLOW descriptor of a symlink:
// what the kernel answers on it is in docs/placeholders.md. A number that our
// close freed keeps its placeholder in the stash, so that the next open needs no
// system call; every kernel call that makes a descriptor gives the stash up
// first, so that numbers come out as without us.
// Rules: hook-safe; all but the inline ones take Process::lock themselves.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// Allocates the table. Once, at start.
bool make_descriptor_table(Process& process);
void free_descriptor_table(Process& process);
void set_fd_word(Process& process, u32 fd, FdWord word);
// Of a file: false if another thread has closed it, or changed its flags, meanwhile. What the caller loads then is not older than that.
inline bool change_fd_word(Process& process, u32 fd, FdWord from, FdWord to) { return compare_exchange(fd_entry(process, fd), from, to); }
// As the program sees it. False: there is no file any more.
bool change_cloexec(Process& process, u32 fd, bool cloexec);

// The lowest free number from `minimum` on, with a placeholder in it; the word of the table is kFdStashed until
// the caller sets it.
Result<u32> claim_number(Process& process, u32 minimum);
// Gives a claimed number, or one whose file was just closed, back to the stash.
void give_back_number(Process& process, u32 fd);
// Opens what placeholders are made from, if it is not open yet. The first claim does it otherwise.
void take_placeholder(Process& process);
// Closes all stashed numbers in the kernel.
void empty_stash(Process& process);
// Puts a placeholder in place of what `fd` is in the kernel; for dup2. EAGAIN: it has become a file of ours; EBUSY: it is about to.
Result<void> place_at(Process& process, u32 fd);
// Before exec: close-on-exec of placeholders as the program wants it.
void settle_cloexec(Process& process);
// May this number of the kernel stand for a file of a pool?
bool is_placeholder(u32 fd);
// The kernel has closed `fd`, or may have: lower numbers may be free now.
inline void note_kernel_close(Process& process, u64 fd) {
  if (fd < load_relaxed(process.fd_floor)) store_relaxed(process.fd_floor, static_cast<u32>(fd));
}
// A descriptor of our own at a high number: the program sees it closed.
void hide_descriptor(Process& process, int fd);
void unhide_descriptor(Process& process, int fd);
// Moves a descriptor of our own to a high number, close-on-exec.
int move_high(int fd);

// close(2) on one of ours; `word` is its entry.
long close_file(Call& call, u32 fd, FdWord word);

// The file of a descriptor argument.
struct File {
  u32 mount;
  vfs::Description description;
  FdWord word;
};

} // namespace pmemfile::preload
