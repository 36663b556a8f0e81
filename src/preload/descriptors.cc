#include "preload/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "base/mapping.h"
#include "preload/children.h"
#include "preload/config.h"
#include "preload/inflight.h"

namespace pmemfile::preload {
namespace {

constexpr int kHighNumber = 900; // where our own descriptors go: out of the way of closing loops

// A symlink that is there on every Linux system; what it points to does not matter.
const char* const kSymlinks[] = {"/proc/self", "/dev/fd", "/bin", "/etc/mtab", "/dev/stdin"};

Result<int> placeholder(Process& process) {
  if (process.placeholder >= 0) return process.placeholder;
  // The number must not count as the program's; nor may it take the one that the program is about to get.
  for (const char* name : kSymlinks) {
    long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(name), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -EMFILE || fd == -ENFILE) return Error(static_cast<int>(-fd));
    if (fd < 0) continue;
    // A symlink: reopening what is behind the descriptor must fail.
    if (raw_syscall(SYS_fchdir, fd) != -ENOTDIR) {
      raw_syscall(SYS_close, fd);
      continue;
    }
    int high = move_high(static_cast<int>(fd));
    process.placeholder = high;
    hide_descriptor(process, high);
    return high;
  }
  return Error(ENFILE);
}

void remove_from_stash(Process& process, u32 index) {
  --process.stash_count;
  for (u32 i = index; i < process.stash_count; ++i) process.stash[i] = process.stash[i + 1];
}

void add_to_stash_locked(Process& process, u32 fd) {
  FdWord kernel_flag = load_relaxed(fd_entry(process, fd)) & kFdKernelCloexec;
  if (process.stash_count == kMaxStash) {
    set_fd_word(process, fd, 0);
    raw_syscall(SYS_close, fd);
    note_kernel_close(process, fd);
    return;
  }
  u32 at = process.stash_count++;
  while (at != 0 && process.stash[at - 1] > fd) {
    process.stash[at] = process.stash[at - 1];
    --at;
  }
  process.stash[at] = fd;
  set_fd_word(process, fd, kFdStashed | kernel_flag);
}

void empty_stash_locked(Process& process) {
  for (u32 i = 0; i < process.stash_count; ++i) {
    u32 fd = process.stash[i];
    set_fd_word(process, fd, 0);
    raw_syscall(SYS_close, fd);
    note_kernel_close(process, fd);
  }
  store_relaxed(process.stash_count, 0u);
}

} // namespace

bool make_descriptor_table(Process& process) {
  FdWord* table = static_cast<FdWord*>(map_near(kMaxDescriptors * sizeof(FdWord)));
  if (table == nullptr) return false;
  process.fds = table + kMaxDescriptors;
  return true;
}

void free_descriptor_table(Process& process) {
  if (process.fds != nullptr) unmap_near(process.fds - kMaxDescriptors, kMaxDescriptors * sizeof(FdWord));
  process.fds = nullptr;
}

void set_fd_word(Process& process, u32 fd, FdWord word) {
  if (fd >= kMaxDescriptors || (word == 0 && fd >= process.fd_end)) return;
  if (PMEMFILE_UNLIKELY(process.fds == nullptr) && !make_descriptor_table(process)) give_up("no memory", "for the table of descriptors", "free some");
  // The end first: of a child that is killed in between, nothing is left beyond it for the next user of the table.
  if (fd >= process.fd_end) store_release(process.fd_end, fd + 1);
  store_release(fd_entry(process, fd), word);
}

bool change_cloexec(Process& process, u32 fd, bool cloexec) {
  for (;;) {
    FdWord word = settled_word(process, fd);
    if (!is_file(word)) return false;
    if (change_fd_word(process, fd, word, cloexec ? word | kFdCloexec : word & ~kFdCloexec)) return true;
  }
}

namespace {
// With a low RLIMIT_NOFILE: beyond it, where the hard limit allows; else at its end.
long dup_beyond_limit(int fd) {
  u64 limit[2];
  if (raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, as_arg(limit)) != 0) return -EMFILE;
  u64 raised[2] = {kHighNumber + 124, limit[1]};
  long high = -EMFILE;
  if (limit[0] < raised[0] && limit[1] >= raised[0] && raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, as_arg(raised), 0) == 0) {
    high = raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, kHighNumber);
    raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, as_arg(limit), 0);
  }
  for (u64 below = 1; high < 0 && below <= 16 && below < limit[0]; ++below)
    high = raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, static_cast<long>(limit[0] - below));
  return high;
}
} // namespace

int move_high(int fd) {
  long high = raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, kHighNumber);
  if (high < 0) high = dup_beyond_limit(fd);
  if (high < 0) return fd;
  raw_syscall(SYS_close, fd);
  return static_cast<int>(high);
}

bool is_own(const Process& process, u64 fd) {
  for (const u32& own : process.own)
    if (load_relaxed(own) == fd + 1) return true;
  return false;
}

u64 fd_words_end(const Process& process) {
  u64 end = load_relaxed(process.fd_end);
  for (const u32& own : process.own) end = max_of<u64>(end, load_relaxed(own));
  return end;
}

void hide_descriptor(Process& process, int fd) {
  u32 number = static_cast<u32>(fd);
  if (fd < 0 || is_own(process, number)) return;
  for (u32 floor = load_relaxed(process.own_floor); number < floor && !compare_exchange(process.own_floor, floor, number);) {}
  for (u32& own : process.own)
    if (u32 nobody = 0; load_relaxed(own) == 0 && compare_exchange(own, nobody, number + 1)) return;
  set_fd_word(process, number, kFdInternal);
}

void unhide_descriptor(Process& process, int fd) {
  if (fd < 0) return;
  for (u32& own : process.own)
    if (u32 expected = static_cast<u32>(fd) + 1; load_relaxed(own) == expected && compare_exchange(own, expected, 0u)) return;
  if (table_word(process, static_cast<u64>(fd)) == kFdInternal) set_fd_word(process, static_cast<u32>(fd), 0);
}

Result<u32> claim_number(Process& process, u32 minimum) {
  Locked locked(process);
  if (minimum == 0 && process.stash_count != 0 && process.stash[0] < process.fd_floor) {
    u32 fd = process.stash[0];
    remove_from_stash(process, 0);
    return fd;
  }
  int base = TRY(placeholder(process));
  if (minimum != 0) {
    for (u32 i = 0; i < process.stash_count; ++i)
      if (process.stash[i] >= minimum) {
        empty_stash_locked(process);
        break;
      }
  }
  long fd = raw_syscall(SYS_fcntl, base, F_DUPFD_CLOEXEC, minimum);
  if (fd == -EMFILE && minimum == 0 && process.stash_count != 0) { // the free ones are all in the stash
    u32 lowest = process.stash[0];
    remove_from_stash(process, 0);
    return lowest;
  }
  if (fd < 0) return Error(static_cast<int>(-fd));
  if (fd >= kMaxDescriptors) {
    raw_syscall(SYS_close, fd);
    return Error(EMFILE);
  }
  set_fd_word(process, static_cast<u32>(fd), kFdStashed | kFdKernelCloexec);
  if (minimum != 0) return static_cast<u32>(fd);
  // Nothing below was free; another thread may have closed something meanwhile, but the kernel has the same race.
  store_relaxed(process.fd_floor, static_cast<u32>(fd) + 1);
  if (process.stash_count != 0 && process.stash[0] < static_cast<u32>(fd)) {
    u32 lower = process.stash[0];
    remove_from_stash(process, 0);
    add_to_stash_locked(process, static_cast<u32>(fd));
    return lower;
  }
  return static_cast<u32>(fd);
}

void give_back_number(Process& process, u32 fd) {
  Locked locked(process);
  add_to_stash_locked(process, fd);
}

void take_placeholder(Process& process) {
  Locked locked(process);
  (void)placeholder(process);
}

void empty_stash(Process& process) {
  Locked locked(process);
  empty_stash_locked(process);
}

Result<void> place_at(Process& process, u32 fd) {
  Locked locked(process);
  int base = TRY(placeholder(process));
  for (u32 i = 0; i < process.stash_count; ++i)
    if (process.stash[i] == fd) {
      remove_from_stash(process, i); // the placeholder is there already
      set_fd_word(process, fd, load_relaxed(fd_entry(process, fd)) | kFdReplaced);
      return {};
    }
  if (fd >= kMaxDescriptors) return Error(EBADF);
  FdWord word = table_word(process, fd);
  if (is_file(word) || (word & (kFdClosing | kFdReplaced)) != 0) return Error(EAGAIN);
  if (word != 0) return Error(EBUSY); // another thread is opening something there
  // Who uses what the number is yet looks again, and finds what it will be.
  set_fd_word(process, fd, kFdStashed | kFdReplaced | kFdKernelCloexec);
  long made = raw_syscall(SYS_dup3, base, fd, O_CLOEXEC);
  if (made >= 0) return {};
  set_fd_word(process, fd, 0);
  return Error(static_cast<int>(-made));
}

bool is_placeholder(u32 fd) {
  long flags = raw_syscall(SYS_fcntl, fd, F_GETFL);
  return flags >= 0 && (flags & O_PATH) != 0;
}

void settle_cloexec(Process& process) {
  Locked locked(process);
  empty_stash_locked(process);
  for (u32 fd = 0; fd < process.fd_end; ++fd) {
    for (;;) {
      FdWord word = load_relaxed(fd_entry(process, fd));
      if (!is_file(word) || ((word & kFdCloexec) != 0) == ((word & kFdKernelCloexec) != 0)) break;
      // Between the copy of our table and the clone another thread may have closed it, and the kernel have given its number away.
      if (process.is_child_view && !is_placeholder(fd)) {
        set_fd_word(process, fd, 0);
        break;
      }
      if (change_fd_word(process, fd, word, word ^ kFdKernelCloexec))
        raw_syscall(SYS_fcntl, fd, F_SETFD, (word & kFdCloexec) != 0 ? FD_CLOEXEC : 0);
    }
  }
}

long close_file(Call& call, u32 fd, FdWord word) {
  Process& process = call.process;
  // Another thread may have been faster, or has changed a flag.
  while (!change_fd_word(process, fd, word, kFdStashed | kFdClosing | (word & kFdKernelCloexec))) {
    word = settled_word(process, fd);
    if (word == 0) return kPassOn;
    if (!is_file(word)) return -EBADF;
  }
  Result<u32> vacated = vacate_handle(call, fd, mount_of(word), true);
  // The number is free whatever became of the pool.
  give_back_number(process, fd);
  if (!vacated.ok()) return call.pool(mount_of(word)).is_cut_off() ? 0 : -vacated.error();
  close_vacated(call, fd, mount_of(word), vacated.value());
  return 0;
}

} // namespace pmemfile::preload
