#include "preload/procfs.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/descriptors.h"

namespace pmemfile::preload {

PMEMFILE_BULKY char g_exe_path[kPathBytes];

namespace {
// As Linux shows names in these lists: what would end a field is written in octal.
void put_escaped(Text& out, std::string_view name, std::string_view ends) {
  for (char c : name) {
    bool escaped = false;
    for (char end : ends) escaped |= c == end;
    if (!escaped)
      out << c;
    else
      out << '\\' << static_cast<char>('0' + (c >> 6 & 7)) << static_cast<char>('0' + (c >> 3 & 7)) << static_cast<char>('0' + (c & 7));
  }
}
constexpr std::string_view kEndsOfPaths = " \t\n\\", kEndsOfSources = " \t\n\\#";
constexpr u64 kMountLineBytes = 2 * 4 * kPathBytes + 256; // two paths, all of them in octal
} // namespace

long open_mount_list(Call& call, Special which, int flags) {
  bool info = which == Special::kProcMountinfo;
  long from = raw_syscall(SYS_openat, AT_FDCWD, info ? as_arg("/proc/self/mountinfo") : as_arg("/proc/self/mounts"), O_RDONLY | O_CLOEXEC);
  if (from < 0) return from;
  int source = move_high(static_cast<int>(from));
  empty_stash(call.process);
  long fd = raw_syscall(SYS_memfd_create, as_arg("mounts"), (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0);
  if (fd < 0) {
    raw_syscall(SYS_close, source);
    return fd;
  }
  char* buffer = reinterpret_cast<char*>(call.block.scratch);
  long got;
  while ((got = raw_syscall(SYS_read, source, as_arg(buffer), sizeof call.block.scratch)) > 0)
    raw_syscall(SYS_write, fd, as_arg(buffer), got);
  raw_syscall(SYS_close, source);
  for (u32 i = 0; i < g_mount_count; ++i) {
    FixedText<kMountLineBytes> line;
    std::string_view source(g_mounts[i].pool_path, strlen(g_mounts[i].pool_path));
    if (info) {
      u64 device = call.pool(i).device();
      u32 major = static_cast<u32>((device >> 8) & 0xfff), minor = static_cast<u32>((device & 0xff) | ((device >> 12) & 0xfff00));
      line << (kFirstMountId + i) << " 1 " << major << ":" << minor << " / ";
      put_escaped(line, g_mounts[i].point, kEndsOfPaths);
      line << " rw,relatime - pmemfile ";
      put_escaped(line, source, kEndsOfSources);
      line << " rw\n";
    } else {
      put_escaped(line, source, kEndsOfSources);
      line << " ";
      put_escaped(line, g_mounts[i].point, kEndsOfPaths);
      line << " pmemfile rw,relatime 0 0\n";
    }
    raw_syscall(SYS_write, fd, as_arg(line.c_str()), static_cast<long>(line.size()));
  }
  raw_syscall(SYS_lseek, fd, 0, SEEK_SET);
  return fd;
}

long open_fdinfo(Call& call, int fd, int flags) {
  if ((flags & O_ACCMODE) != O_RDONLY) return -EACCES;
  FdWord word = fd_word(call.process, static_cast<u32>(fd));
  if (!is_file(word)) return -ENOENT;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  vfs::Task task = make_task(call, mount_of(word));
  Result<u64> offset = (info.flags & O_PATH) != 0 ? Result<u64>(u64{0}) : vfs::seek_file(task, description_of(word), 0, SEEK_CUR);
  u32 shown = static_cast<u32>(info.flags | ((info.flags & O_PATH) != 0 ? 0 : 0100000) | ((word & kFdCloexec) != 0 ? O_CLOEXEC : 0));
  FixedText<256> text;
  text << "pos:\t" << (offset.ok() ? offset.value() : u64{0}) << "\nflags:\t0";
  FixedText<16> octal;
  for (int shift = 30; shift >= 0; shift -= 3)
    if (shown >> shift != 0) octal << static_cast<char>('0' + (shown >> shift & 7));
  text << octal.view() << "\nmnt_id:\t" << (kFirstMountId + mount_of(word)) << "\nino:\t" << raw(info.ino) << "\n";
  empty_stash(call.process);
  long made = raw_syscall(SYS_memfd_create, as_arg("fdinfo"), (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0);
  if (made < 0) return made;
  raw_syscall(SYS_write, made, as_arg(text.c_str()), static_cast<long>(text.size()));
  raw_syscall(SYS_lseek, made, 0, SEEK_SET);
  return made;
}

// ---- Listings -----------------------------------------------------------------------------------------------------

namespace {

struct DirEntry { // struct linux_dirent64
  u64 ino;
  i64 offset;
  u16 bytes;
  u8 type;
  char name[];
};
constexpr u64 kEntryHead = 19;

struct ParentDir { // of a mount point
  u32 known;
  u64 device, ino;
};
ParentDir g_parents[kMaxMounts];

// Threads that find it out at the same time find the same.
const ParentDir& parent_of(u32 mount) {
  ParentDir& parent = g_parents[mount];
  if (load_acquire(parent.known) == 0) {
    std::string_view point = g_mounts[mount].point;
    FixedText<kPathBytes> path;
    path << part(point, 0, max_of<u64>(point.size() - g_mounts[mount].last.size(), 1));
    struct stat status {};
    if (!path.truncated() && raw_syscall(SYS_stat, as_arg(path.c_str()), as_arg(&status)) == 0) {
      store_relaxed(parent.device, u64{status.st_dev});
      store_relaxed(parent.ino, u64{status.st_ino});
    }
    store_release(parent.known, 1u);
  }
  return parent;
}

// Bits of the mounts whose points lie in a directory.
u32 mounts_in(const struct stat& directory) {
  u32 found = 0;
  for (u32 i = 0; i < g_mount_count; ++i) {
    const ParentDir& parent = parent_of(i);
    if (load_relaxed(parent.ino) == directory.st_ino && load_relaxed(parent.device) == directory.st_dev) found |= 1u << i;
  }
  return found;
}

void forget_listings_locked(Process& process, u32 first, u32 last) {
  for (u32 i = 0; i < process.listing_count;) {
    u32 fd = static_cast<u32>(process.listings[i].fd);
    if (fd < first || fd > last) {
      ++i;
      continue;
    }
    process.listings[i] = process.listings[process.listing_count - 1];
    store_relaxed(process.listing_count, process.listing_count - 1);
  }
}

bool remember_listing_locked(Process& process, const Listing& listing) {
  forget_listings_locked(process, static_cast<u32>(listing.fd), static_cast<u32>(listing.fd));
  if (process.listing_count == kMaxListings) return false; // then it shows what the kernel shows
  process.listings[process.listing_count] = listing;
  store_relaxed(process.listing_count, process.listing_count + 1);
  return true;
}

bool is_same_description(int one, int two) {
  constexpr long kCompareFiles = 0; // KCMP_FILE
  long pid = raw_syscall(SYS_getpid);
  return one == two || raw_syscall(SYS_kcmp, pid, pid, kCompareFiles, one, two) == 0;
}

// What is remembered of the descriptor, or of one that shares its place in the directory.
Listing* find_listing_locked(Process& process, int fd, const struct stat& directory) {
  for (u32 i = 0; i < process.listing_count; ++i) {
    Listing& listing = process.listings[i];
    if (listing.device == directory.st_dev && listing.ino == directory.st_ino && is_same_description(listing.fd, fd)) return &listing;
  }
  return nullptr;
}

// Takes the numbers that the program does not have out of a listing of /proc/self/fd.
u64 drop_hidden_numbers(const Process& process, char* buffer, u64 bytes) {
  u64 out = 0;
  for (u64 at = 0; at + kEntryHead < bytes;) {
    auto* entry = reinterpret_cast<DirEntry*>(buffer + at);
    u64 size = entry->bytes;
    if (size < kEntryHead || size > bytes - at) break;
    u64 number = 0;
    bool is_number = entry->name[0] >= '0' && entry->name[0] <= '9';
    for (const char* c = entry->name; *c >= '0' && *c <= '9' && number < kMaxDescriptors; ++c) number = number * 10 + static_cast<u64>(*c - '0');
    FdWord word = is_number ? fd_word(process, number) : 0;
    if (word == 0 || is_file(word)) {
      memmove(buffer + out, buffer + at, size);
      out += size;
    }
    at += size;
  }
  return out;
}

constexpr i64 kOffsetOfMounts = 0x7fffffffffffffff - i64{kMaxMounts}; // behind all of the kernel's

// At the kernel's end of a directory: the entries of mount points that it does not have.
long emit_mount_points(Call& call, const struct stat& directory, u32 mounts) {
  Process& process = call.process;
  int fd = call.fd(0);
  u32 absent = 0;
  struct stat entry_status;
  for (u32 i = 0; i < g_mount_count; ++i) {
    bool asked = (mounts >> i & 1) != 0;
    if (asked && raw_syscall(SYS_newfstatat, fd, as_arg(g_mounts[i].last.data()), as_arg(&entry_status), AT_SYMLINK_NOFOLLOW) != 0) absent |= 1u << i;
  }
  auto bytes_of = [](u32 mount) { return align_up(kEntryHead + g_mounts[mount].last.size() + 1, 8); };
  u32 taken = 0;
  u64 room = call.arg(2) & 0xffffffff, bytes = 0;
  {
    Locked locked(process);
    Listing* listing = find_listing_locked(process, fd, directory);
    absent &= ~(listing != nullptr ? listing->given : 0);
    if (absent == 0) return 0;
    for (u32 i = 0; i < g_mount_count; ++i) {
      if ((absent >> i & 1) == 0) continue;
      if (bytes + bytes_of(i) > room) break;
      bytes += bytes_of(i), taken |= 1u << i;
    }
    if (taken == 0) return -EINVAL; // as Linux says of a room too small for an entry
    if (listing != nullptr)
      listing->given |= taken;
    else if (!remember_listing_locked(process, Listing{fd, false, taken, directory.st_dev, directory.st_ino}))
      return 0;
  }
  u64 done = 0;
  for (u32 i = 0; i < g_mount_count; ++i) {
    if ((taken >> i & 1) == 0) continue;
    char* user = call.pointer<char>(1) + done;
    std::string_view name = g_mounts[i].last;
    DirEntry entry{call.pool(i).store().geometry.root_ino[0], kOffsetOfMounts + i, static_cast<u16>(bytes_of(i)), 4 /* DT_DIR */};
    u8 end[8] = {};
    if (pmem::copy_guarded(user, &entry, kEntryHead) != 0 || pmem::copy_guarded(user + kEntryHead, name.data(), name.size()) != 0 ||
        pmem::copy_guarded(user + kEntryHead + name.size(), end, bytes_of(i) - kEntryHead - name.size()) != 0)
      return -EFAULT;
    done += bytes_of(i);
  }
  return static_cast<long>(done);
}

} // namespace

void note_fd_directory(Process& process, int fd) {
  struct stat status {};
  if (raw_syscall(SYS_fstat, fd, as_arg(&status)) != 0) return;
  Locked locked(process);
  remember_listing_locked(process, Listing{fd, true, 0, status.st_dev, status.st_ino});
}

void forget_listings(Process& process, u32 first, u32 last) {
  if (load_relaxed(process.listing_count) == 0) return;
  Locked locked(process);
  forget_listings_locked(process, first, last);
}

void copy_listing(Process& process, int from, int to) {
  if (load_relaxed(process.listing_count) == 0 || from == to) return;
  Locked locked(process);
  forget_listings_locked(process, static_cast<u32>(to), static_cast<u32>(to));
  for (u32 i = 0; i < process.listing_count; ++i) {
    if (process.listings[i].fd != from) continue;
    Listing copy = process.listings[i];
    copy.fd = to;
    remember_listing_locked(process, copy);
    return;
  }
}

// Whether mount points lie in it is asked at its end: it may have been opened in any way, or before us.
long list_kernel_dir(Call& call) {
  if (load_relaxed(g_sandboxed)) return kPassOn;
  Process& process = call.process;
  for (;;) {
    long got = call.kernel();
    if (got < 0 || (got > 0 && load_relaxed(process.listing_count) == 0)) return got;
    struct stat directory {};
    if (raw_syscall(SYS_fstat, call.fd(0), as_arg(&directory)) != 0) return got;
    if (got == 0) {
      u32 mounts = mounts_in(directory);
      return mounts == 0 ? 0 : emit_mount_points(call, directory, mounts);
    }
    bool is_fds;
    {
      Locked locked(process);
      Listing* listing = find_listing_locked(process, call.fd(0), directory);
      is_fds = listing != nullptr && listing->is_fds;
    }
    if (!is_fds) return got;
    u64 left = drop_hidden_numbers(process, call.pointer<char>(1), static_cast<u64>(got));
    if (left != 0) return static_cast<long>(left);
  }
}

long rewind_kernel_dir(Call& call) {
  Process& process = call.process;
  struct stat directory {};
  if (load_relaxed(process.listing_count) == 0 || raw_syscall(SYS_fstat, call.fd(0), as_arg(&directory)) != 0) return kPassOn;
  i64 offset = static_cast<i64>(call.arg(1));
  u32 given = offset < kOffsetOfMounts || call.fd(2) != SEEK_SET ? 0 : (2u << (offset - kOffsetOfMounts)) - 1;
  if (call.fd(2) == SEEK_CUR && offset == 0) return kPassOn;
  Locked locked(process);
  for (u32 i = 0; i < process.listing_count; ++i) {
    Listing& listing = process.listings[i];
    if (listing.device == directory.st_dev && listing.ino == directory.st_ino && is_same_description(listing.fd, call.fd(0))) listing.given = given;
  }
  return kPassOn;
}

long read_own_exe(Call& call, int dirfd, const char* path, char* user_buffer, u64 size) {
  if (g_exe_path[0] == '\0' || pmemfile_preload_match(path, "/proc/", 6) != 1) return kPassOn;
  Place place;
  long error = locate(call, dirfd, path, kNeverKnown, 0, place);
  if (error != 0 || place.special != Special::kProcExe) return kPassOn;
  u64 bytes = min_of<u64>(strlen(g_exe_path), size);
  return pmem::copy_guarded(user_buffer, g_exe_path, bytes) != 0 ? -EFAULT : static_cast<long>(bytes);
}

} // namespace pmemfile::preload
