// Copying between descriptors in the kernel's place: sendfile, copy_file_range, splice; and waiting on descriptors.

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>

#include "preload/handlers.h"
#include "preload/limits.h"
#include "preload/paths.h"
#include "preload/signals.h"

namespace pmemfile::preload {
namespace {

// One end of a copy. `offset` null: the descriptor's own.
struct End {
  int fd;
  FdWord word; // 0: the kernel's
  i64* offset;
};

long read_end(Call& call, const End& end, char* buffer, u64 bytes) {
  if (end.word == 0)
    return end.offset != nullptr ? wait_in_kernel(SYS_pread64, end.fd, as_arg(buffer), static_cast<long>(bytes), *end.offset, 0, 0)
                                 : wait_in_kernel(SYS_read, end.fd, as_arg(buffer), static_cast<long>(bytes), 0, 0, 0);
  vfs::Task task = make_task(call, mount_of(end.word));
  data::IoVec vector{buffer, bytes};
  return to_long(vfs::read_file(task, description_of(end.word), end.offset != nullptr ? *end.offset : -1, &vector, 1));
}

long write_end(Call& call, const End& end, char* buffer, u64 bytes) {
  if (end.word == 0)
    return end.offset != nullptr ? wait_in_kernel(SYS_pwrite64, end.fd, as_arg(buffer), static_cast<long>(bytes), *end.offset, 0, 0)
                                 : wait_in_kernel(SYS_write, end.fd, as_arg(buffer), static_cast<long>(bytes), 0, 0, 0);
  vfs::Task task = make_task(call, mount_of(end.word));
  data::IoVec vector{buffer, bytes};
  return end_of_growth(task, vfs::write_file(task, description_of(end.word), end.offset != nullptr ? *end.offset : -1, &vector, 1));
}

// What was read and could not be written goes back: the source's own offset is set behind what was written.
void step_back(Call& call, const End& end, u64 bytes) {
  if (end.offset != nullptr || bytes == 0) return;
  if (end.word == 0) {
    raw_syscall(SYS_lseek, end.fd, -static_cast<long>(bytes), SEEK_CUR);
    return;
  }
  vfs::Task task = make_task(call, mount_of(end.word));
  (void)vfs::seek_file(task, description_of(end.word), -static_cast<i64>(bytes), SEEK_CUR);
}

// Until an error, as splice in Linux: a write that was cut short is tried again, and only then is the limit exceeded.
long write_all(Call& call, const End& to, char* buffer, u64 bytes) {
  u64 done = 0;
  while (done < bytes) {
    long put = write_end(call, to, buffer + done, bytes - done);
    if (put <= 0) return done != 0 ? static_cast<long>(done) : put;
    if (to.offset != nullptr) *to.offset += put;
    done += static_cast<u64>(put);
  }
  return static_cast<long>(done);
}

bool is_pipe(int fd) { return raw_syscall(SYS_fcntl, fd, F_GETPIPE_SZ) > 0; }

// A pipe is never waited for once something was moved, nor with `no_wait`. 0, or -EAGAIN.
long wait_for_pipe(const End& end, short events, bool no_wait) {
  pollfd wanted{end.fd, events, 0};
  long ready = wait_in_kernel(SYS_poll, as_arg(&wanted), 1, no_wait ? 0 : -1, 0, 0, 0);
  return ready == 0 ? -EAGAIN : min_of(ready, 0L);
}

bool is_nonblocking(int fd) {
  long flags = raw_syscall(SYS_fcntl, fd, F_GETFL);
  return flags > 0 && (flags & O_NONBLOCK) != 0;
}

constexpr u64 kPipePiece = 4096; // PIPE_BUF: what a pipe with room takes without waiting

// `stop_when_short`: the source gives what it has. Pipes on either side: as splice(2), what they have and take.
long copy_between(Call& call, End from, End to, u64 bytes, bool stop_when_short, bool no_wait = false) {
  char* buffer = reinterpret_cast<char*>(call.block.scratch);
  bool from_pipe = from.word == 0 && from.offset == nullptr && is_pipe(from.fd);
  bool to_pipe = to.word == 0 && is_pipe(to.fd);
  u64 done = 0;
  bytes = min_of<u64>(bytes, 0x7ffff000);
  while (done < bytes) {
    u64 step = min_of<u64>(bytes - done, to_pipe ? kPipePiece : sizeof call.block.scratch);
    long ready = 0;
    if (to_pipe) ready = wait_for_pipe(to, POLLOUT, no_wait || done != 0);
    if (from_pipe && ready == 0) ready = wait_for_pipe(from, POLLIN, no_wait || done != 0);
    if (ready != 0) return done != 0 ? static_cast<long>(done) : ready;
    long got = read_end(call, from, buffer, step);
    if (got <= 0) return done != 0 ? static_cast<long>(done) : got;
    long put = write_all(call, to, buffer, static_cast<u64>(got));
    if (from.offset != nullptr) *from.offset += max_of(put, 0L);
    step_back(call, from, static_cast<u64>(got - max_of(put, 0L)));
    if (put < 0) return done != 0 ? static_cast<long>(done) : put;
    done += static_cast<u64>(put);
    if (put < got || (stop_when_short && static_cast<u64>(got) < step)) break;
  }
  return static_cast<long>(done);
}

// An offset argument of the program: copied in, and back after the call.
class OffsetArgument {
 public:
  OffsetArgument(Call& call, unsigned index) : user_(call.pointer<void>(index)) {
    if (user_ != nullptr && pmem::copy_guarded(&value_, user_, sizeof value_) != 0) error_ = -EFAULT;
    if (error_ == 0 && value_ < 0) error_ = -EINVAL;
  }
  long error() const { return error_; }
  i64* get() { return user_ != nullptr ? &value_ : nullptr; }
  // Bytes were moved; who cannot be told how far hears that.
  bool put_back() const { return user_ == nullptr || pmem::copy_guarded(user_, &value_, sizeof value_) == 0; }

 private:
  void* user_;
  i64 value_ = 0;
  long error_ = 0;
};

// Open for reading, or for writing?
bool open_for(Call& call, int fd, FdWord word, bool write) {
  if (word != 0 && !is_file(word)) return false;
  long flags = word != 0 ? vfs::info(call.pool(mount_of(word)), description_of(word)).flags : raw_syscall(SYS_fcntl, fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return false;
  return (flags & O_ACCMODE) == O_RDWR || (flags & O_ACCMODE) == (write ? O_WRONLY : O_RDONLY);
}

bool is_dir(Call& call, FdWord word) { return is_file(word) && S_ISDIR(vfs::info(call.pool(mount_of(word)), description_of(word)).mode); }
bool is_open(Call& call, int fd, FdWord word) { return open_for(call, fd, word, false) || open_for(call, fd, word, true); }

// What copy_file_range finds wrong with its files, in the order of the kernel; 0 if nothing.
long check_copied(Call& call) {
  struct Side {
    u32 mode = 0;
    long flags = -EBADF;
  } sides[2];
  for (unsigned i = 0; i < 2; ++i) {
    FdWord word = call.file(i * 2);
    struct stat status {};
    if (word == 0) {
      sides[i].flags = raw_syscall(SYS_fcntl, call.fd(i * 2), F_GETFL);
      if (raw_syscall(SYS_fstat, call.fd(i * 2), as_arg(&status)) == 0) sides[i].mode = status.st_mode;
    } else if (is_file(word)) {
      vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
      sides[i] = Side{info.mode, info.flags};
    }
    if (sides[i].flags < 0 || (sides[i].flags & O_PATH) != 0) return -EBADF;
  }
  if (call.arg(5) != 0) return -EINVAL;
  if (S_ISDIR(sides[0].mode) || S_ISDIR(sides[1].mode)) return -EISDIR;
  if (!S_ISREG(sides[0].mode) || !S_ISREG(sides[1].mode)) return -EINVAL;
  bool reads = (sides[0].flags & O_ACCMODE) != O_WRONLY, writes = (sides[1].flags & O_ACCMODE) != O_RDONLY;
  return reads && writes && (sides[1].flags & O_APPEND) == 0 ? 0 : -EBADF;
}

// Between file systems callers copy by themselves (EXDEV), and with larger files in larger pieces than we would. But for each small one
// they take a buffer whose pages they touch first. A size of 0 need not mean that nothing can be read (/proc).
bool is_copied_here(Call& call, FdWord in) {
  constexpr u64 kSmall = 128 * 1024;
  u64 size = 0;
  if (in != 0) {
    inode::Attr attr;
    if (inode::read_into(call.pool(mount_of(in)).store(), vfs::info(call.pool(mount_of(in)), description_of(in)).ino, attr).ok()) size = attr.size;
  } else {
    struct stat status {};
    if (raw_syscall(SYS_fstat, call.fd(0), as_arg(&status)) == 0) size = static_cast<u64>(status.st_size);
  }
  return size != 0 && size <= kSmall;
}

// From a description to itself, both from where it stands.
long copy_onto_itself(Call& call, FdWord word, u64 bytes) {
  vfs::Task task = make_task(call, mount_of(word));
  Result<u64> stands = vfs::seek_file(task, description_of(word), 0, SEEK_CUR);
  if (!stands.ok()) return -stands.error();
  i64 from = static_cast<i64>(stands.value()), to = from;
  long result = copy_between(call, End{call.fd(1), word, &from}, End{call.fd(0), word, &to}, bytes, false);
  (void)vfs::seek_file(task, description_of(word), to, SEEK_SET);
  return result;
}

} // namespace

long h_sendfile(Call& call) {
  FdWord out = call.file(0), in = call.file(1);
  if (out == 0 && in == 0) return kPassOn;
  if (!open_for(call, call.fd(1), in, false)) return -EBADF;
  OffsetArgument offset(call, 2);
  bool stream = in == 0 && raw_syscall(SYS_lseek, call.fd(1), 0, SEEK_CUR) == -ESPIPE;
  if (stream && offset.get() != nullptr) return -ESPIPE;
  if (offset.error() != 0) return offset.error();
  if (!open_for(call, call.fd(0), out, true)) return -EBADF;
  if (stream || is_dir(call, in)) return -EINVAL;
  if (is_file(out) && (vfs::info(call.pool(mount_of(out)), description_of(out)).flags & O_APPEND) != 0) return -EINVAL;
  bool same = is_file(in) && is_file(out) && mount_of(in) == mount_of(out) && description_of(in) == description_of(out);
  if (same && offset.get() == nullptr) return copy_onto_itself(call, in, call.arg(3));
  bool no_wait = out == 0 && is_nonblocking(call.fd(0));
  long result = copy_between(call, End{call.fd(1), in, offset.get()}, End{call.fd(0), out, nullptr}, call.arg(3), in == 0, no_wait);
  return result >= 0 && !offset.put_back() ? -EFAULT : result;
}

long h_copy_file_range(Call& call) {
  FdWord in = call.file(0), out = call.file(2);
  if (in == 0 && out == 0) return kPassOn;
  long wrong = check_copied(call);
  if (wrong != 0) return wrong;
  OffsetArgument from(call, 1), to(call, 3);
  if (from.error() != 0) return from.error();
  if (to.error() != 0) return to.error();
  if (in == 0 || out == 0 || mount_of(in) != mount_of(out)) {
    if (!is_copied_here(call, in)) return -EXDEV;
    long copied = copy_between(call, End{call.fd(0), in, from.get()}, End{call.fd(2), out, to.get()}, call.arg(4), true);
    return copied > 0 && (!from.put_back() || !to.put_back()) ? -EFAULT : copied;
  }
  vfs::Task task = make_task(call, mount_of(in));
  task.scratch = call.block.scratch;
  task.scratch_bytes = sizeof call.block.scratch;
  long result = end_of_growth(task, vfs::copy_range(task, description_of(in), from.get(), description_of(out), to.get(), call.arg(4)));
  return result > 0 && (!from.put_back() || !to.put_back()) ? -EFAULT : result;
}

// Between a pipe and a file of ours. A pipe must not be emptied by more than the file takes: files take all.
long h_splice(Call& call) {
  FdWord in = call.file(0), out = call.file(2);
  if (in == 0 && out == 0) return kPassOn;
  if (!is_open(call, call.fd(0), in) || !is_open(call, call.fd(2), out)) return -EBADF;
  if ((in == 0 && call.arg(1) != 0 && is_pipe(call.fd(0))) || (out == 0 && call.arg(3) != 0 && is_pipe(call.fd(2)))) return -ESPIPE;
  if (!open_for(call, call.fd(0), in, false) || !open_for(call, call.fd(2), out, true)) return -EBADF;
  if (in != 0 && out != 0) return -EINVAL; // one end must be a pipe
  if (is_file(out) && (vfs::info(call.pool(mount_of(out)), description_of(out)).flags & O_APPEND) != 0) return -EINVAL;
  if (!is_pipe(in != 0 ? call.fd(2) : call.fd(0)) || is_dir(call, in)) return -EINVAL;
  OffsetArgument from(call, 1), to(call, 3);
  if (from.error() != 0) return from.error();
  if (to.error() != 0) return to.error();
  if ((call.arg(5) & ~u64{SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT} & 0xffffffff) != 0) return -EINVAL;
  bool no_wait = (call.arg(5) & SPLICE_F_NONBLOCK) != 0 || is_nonblocking(in != 0 ? call.fd(2) : call.fd(0));
  long result = copy_between(call, End{call.fd(0), in, from.get()}, End{call.fd(2), out, to.get()}, call.arg(4), true, no_wait);
  return result > 0 && (!from.put_back() || !to.put_back()) ? -EFAULT : result;
}

// ---- poll and select: files are always ready ---------------------------------------------------------------------

namespace {

// One that only names a file (O_PATH) is no open file to those who wait.
bool only_names(Call& call, FdWord word) { return (vfs::info(call.pool(mount_of(word)), description_of(word)).flags & O_PATH) != 0; }

short events_of(Call& call, FdWord word, short wanted) {
  return is_file(word) && !only_names(call, word) ? static_cast<short>(wanted & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)) : short{POLLNVAL};
}

// For copies of what is waited for: the thread's room, or one of its own where more is needed.
class Room {
 public:
  Room(Call& call, u64 bytes) : bytes_(bytes), start_(call.block.scratch) {
    if (bytes_ <= sizeof call.block.scratch) return;
    long room = raw_syscall(SYS_mmap, 0, static_cast<long>(bytes_), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mapped_ = !is_syscall_error(room);
    start_ = mapped_ ? reinterpret_cast<void*>(room) : nullptr;
  }
  ~Room() {
    if (mapped_) raw_syscall(SYS_munmap, as_arg(start_), static_cast<long>(bytes_));
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  void* start() const { return start_; } // null: no memory

 private:
  u64 bytes_;
  void* start_;
  bool mapped_ = false;
};

// Linux looks at the time-out before all else; the kernel then says what is wrong with it.
bool is_good_time(const void* user, bool is_timespec) {
  i64 time[2];
  if (user == nullptr) return true;
  if (pmem::copy_guarded(time, user, sizeof time) != 0) return false;
  if (is_timespec) return time[0] >= 0 && time[1] >= 0 && time[1] < 1000000000;
  constexpr i64 kMicros = 1000000; // of which there may be more than a second
  return time[1] % kMicros >= 0 && static_cast<i64>(static_cast<u64>(time[0]) + static_cast<u64>(time[1] / kMicros)) >= 0;
}

// And then at the mask.
bool is_good_mask(u64 address, u64 bytes) {
  u64 mask;
  return address == 0 || (bytes == sizeof mask && pmem::copy_guarded(&mask, reinterpret_cast<void*>(address), sizeof mask) == 0);
}

// Does not wait, as something is ready: that goes before a signal. Without the caller's mask, whose signals stay pending then. 0: nothing.
long look_once(long nr, long a0, long a1, long a2, long a3, long a4) {
  constexpr unsigned kTries = 100;
  for (unsigned tries = 0; tries < kTries; ++tries)
    if (long found = raw_syscall(nr, a0, a1, a2, a3, a4, 0); found != -EINTR) return found;
  return -EINTR;
}

long poll_files(Call& call, bool timespec_timeout) {
  u64 count = call.arg(1) & 0xffffffff;
  if (count > kMaxDescriptors || count == 0) return kPassOn; // more than there can be: the kernel says so
  if (timespec_timeout && (!is_good_time(call.pointer<void>(2), true) || !is_good_mask(call.arg(3), call.arg(4)))) return kPassOn;
  auto* given = call.pointer<pollfd>(0);
  Room room(call, count * sizeof(pollfd));
  auto* copy = static_cast<pollfd*>(room.start());
  if (copy == nullptr) return -ENOMEM;
  if (pmem::copy_guarded(copy, given, count * sizeof(pollfd)) != 0) return -EFAULT;
  long ready = 0;
  bool any = false;
  for (u64 i = 0; i < count; ++i) {
    if (copy[i].fd < 0) continue;
    FdWord word = fd_word(call.process, static_cast<u32>(copy[i].fd));
    if (word == 0) continue;
    any = true;
    copy[i].revents = events_of(call, word, copy[i].events);
    if (copy[i].revents != 0) ++ready;
  }
  if (!any) return kPassOn;
  // The kernel's share, with our numbers turned away (negative numbers are skipped).
  for (u64 i = 0; i < count; ++i)
    if (copy[i].fd >= 0 && fd_word(call.process, static_cast<u32>(copy[i].fd)) != 0) copy[i].fd = -1 - copy[i].fd;
  long others;
  if (ready != 0)
    others = look_once(SYS_poll, as_arg(copy), static_cast<long>(count), 0, 0, 0);
  else if (timespec_timeout)
    others = wait_in_kernel(SYS_ppoll, as_arg(copy), static_cast<long>(count), static_cast<long>(call.arg(2)), static_cast<long>(call.arg(3)),
                            static_cast<long>(call.arg(4)), 0);
  else
    others = wait_in_kernel(SYS_poll, as_arg(copy), static_cast<long>(count), static_cast<long>(call.arg(2)), 0, 0, 0);
  if (others < 0) return others;
  for (u64 i = 0; i < count; ++i) {
    short events = copy[i].revents;
    if (copy[i].fd < 0) {
      int fd = -1 - copy[i].fd;
      if (fd < 0 || fd_word(call.process, static_cast<u32>(fd)) == 0) continue;
      events = events_of(call, fd_word(call.process, static_cast<u32>(fd)), copy[i].events);
    }
    if (pmem::copy_guarded(&given[i].revents, &events, sizeof events) != 0) return -EFAULT;
  }
  return ready + others;
}

constexpr u64 kWordBits = 64;

// Has the program a descriptor of the kernel among these 64 numbers?
bool any_in_kernel(const Process& process, u64 first) {
  pollfd list[kWordBits];
  for (u64 i = 0; i < kWordBits; ++i) list[i] = {static_cast<int>(first + i), 0, 0};
  bool polled = raw_syscall(SYS_poll, as_arg(list), kWordBits, 0) >= 0; // not with a limit below 64
  for (u64 i = 0; i < kWordBits; ++i) {
    bool is_open = polled ? (list[i].revents & POLLNVAL) == 0 : raw_syscall(SYS_fcntl, first + i, F_GETFD) >= 0;
    if (is_open && fd_word(process, first + i) == 0) return true;
  }
  return false;
}

// Linux takes no more of the sets than the process's table has room for: 64 numbers, and twice as many until all fit that were open.
// The kernel's table has been made larger by our own descriptors, which the program does not know.
u64 numbers_selected(const Process& process, u64 wanted) {
  u64 room = kWordBits;
  while (room < load_relaxed(process.fd_end)) room *= 2;
  if (wanted <= room) return wanted;
  u64 top = align_up(min_of<u64>(wanted, kMaxDescriptors), kWordBits);
  while (top > room && !any_in_kernel(process, top - kWordBits)) top -= kWordBits;
  while (room < top) room *= 2;
  return min_of(wanted, room);
}

// One of the three sets. `mine`: which of our files are ready. Takes what is not the kernel's out of `kernels`, so that it is not judged by
// its placeholder. -EBADF: closed for the program.
long split_set(Call& call, u64* kernels, u64* mine, u64 limit, bool always_ready, bool& any, long& ready) {
  for (u64 w = 0; w < div_up(limit, kWordBits); ++w) {
    for (u64 left = kernels[w]; left != 0; left &= left - 1) {
      u64 fd = w * kWordBits + static_cast<u64>(__builtin_ctzll(left)), bit = left & -left;
      FdWord word = fd < limit ? fd_word(call.process, fd) : 0;
      if (word == 0) continue;
      if (!is_file(word)) return -EBADF;
      any = true;
      kernels[w] &= ~bit;
      if (always_ready || only_names(call, word)) mine[w] |= bit, ++ready;
    }
  }
  return 0;
}

// Does a set hold a number that is not the kernel's?
bool selects_ours(Call& call, u64 count) {
  count = min_of<u64>(count, load_relaxed(call.process.fd_end));
  for (unsigned s = 1; s <= 3; ++s) {
    if (call.arg(s) == 0) continue;
    for (u64 w = 0; w < div_up(count, kWordBits); ++w) {
      u64 bits = 0;
      if (pmem::copy_guarded(&bits, call.pointer<u64>(s) + w, sizeof bits) != 0) return false; // the kernel says so
      for (; bits != 0; bits &= bits - 1) {
        u64 fd = w * kWordBits + static_cast<u64>(__builtin_ctzll(bits));
        if (fd < count && fd_word(call.process, fd) != 0) return true;
      }
    }
  }
  return false;
}

long select_files(Call& call, bool timespec_timeout) {
  i64 count = static_cast<i32>(call.arg(0));
  if (count <= 0 || !selects_ours(call, static_cast<u64>(count)) || !is_good_time(call.pointer<void>(4), timespec_timeout)) return kPassOn;
  u64 limit = numbers_selected(call.process, static_cast<u64>(count));
  u64 words = div_up(limit, kWordBits);
  Room room(call, 6 * words * sizeof(u64));
  auto* sets = static_cast<u64*>(room.start()); // three for the kernel, three of ours
  if (sets == nullptr) return -ENOMEM;
  memset(sets, 0, 6 * words * sizeof(u64));
  for (unsigned s = 0; s < 3; ++s)
    if (call.arg(1 + s) != 0 && pmem::copy_guarded(sets + s * words, call.pointer<void>(1 + s), words * sizeof(u64)) != 0) return -EFAULT;
  long ready = 0;
  bool any = false;
  for (unsigned s = 0; s < 3; ++s)
    if (long bad = split_set(call, sets + s * words, sets + (3 + s) * words, limit, s < 2, any, ready); bad != 0) return bad;
  if (!any) return kPassOn;
  long args[3];
  for (unsigned s = 0; s < 3; ++s) args[s] = call.arg(1 + s) != 0 ? as_arg(sets + s * words) : 0;
  u64 zero[2] = {};
  long others = ready != 0 ? look_once(SYS_select, static_cast<long>(limit), args[0], args[1], args[2], as_arg(zero))
                           : wait_in_kernel(call.nr, static_cast<long>(limit), args[0], args[1], args[2], static_cast<long>(call.arg(4)),
                                            timespec_timeout ? static_cast<long>(call.arg(5)) : 0);
  if (others < 0) return others;
  for (unsigned s = 0; s < 3; ++s) {
    if (call.arg(1 + s) == 0) continue;
    for (u64 w = 0; w < words; ++w) sets[s * words + w] |= sets[(3 + s) * words + w];
    if (pmem::copy_guarded(call.pointer<void>(1 + s), sets + s * words, words * sizeof(u64)) != 0) return -EFAULT;
  }
  return ready + others;
}

} // namespace

long h_poll(Call& call) { return poll_files(call, false); }
long h_ppoll(Call& call) {
  note_waiting_mask(call.frame, call.arg(3));
  return poll_files(call, true);
}
long h_select(Call& call) { return select_files(call, false); }
long h_pselect6(Call& call) {
  u64 mask[2] = {}; // the sixth argument points to the mask's address and size
  bool readable = call.arg(5) == 0 || pmem::copy_guarded(mask, call.pointer<void>(5), sizeof mask) == 0;
  note_waiting_mask(call.frame, mask[0]);
  return readable && is_good_mask(mask[0], mask[1]) ? select_files(call, true) : kPassOn;
}

// Only pipes will do.
long h_tee(Call& call) {
  return open_for(call, call.fd(0), call.file(0), false) && open_for(call, call.fd(1), call.file(1), true) ? -EINVAL : -EBADF;
}

// Files cannot be watched, as on every file system.
long h_epoll_ctl(Call& call) {
  u64 target = fd_word(call.process, call.arg(2) & 0xffffffff);
  if (is_file(call.file(0))) return -EINVAL;
  if (target == 0) return kPassOn;
  return is_file(target) && !only_names(call, target) ? -EPERM : -EBADF;
}

} // namespace pmemfile::preload
