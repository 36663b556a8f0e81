#include "preload/procfs.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

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
  bool known;
  u64 device, ino;
};
ParentDir g_parents[kMaxMounts];

const ParentDir& parent_of(u32 mount) {
  ParentDir& parent = g_parents[mount];
  if (!parent.known) {
    std::string_view point = g_mounts[mount].point;
    FixedText<kPathBytes / 4> path;
    path << part(point, 0, max_of<u64>(point.size() - g_mounts[mount].last.size(), 1));
    struct stat status {};
    if (!path.truncated() && raw_syscall(SYS_stat, as_arg(path.c_str()), as_arg(&status)) == 0)
      parent.device = status.st_dev, parent.ino = status.st_ino;
    parent.known = true;
  }
  return parent;
}

Listing* find_listing(Process& process, int fd) {
  for (u32 i = 0; i < process.listing_count; ++i)
    if (process.listings[i].fd == fd) return &process.listings[i];
  return nullptr;
}

void add_listing(Process& process, int fd, i32 mount) {
  forget_listing(process, fd);
  if (process.listing_count == kMaxListings) return; // then it shows what the kernel shows
  process.listings[process.listing_count++] = Listing{fd, mount, false};
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

// The entry of a mount point that the kernel's directory does not have.
long emit_mount_point(Call& call, Listing& listing) {
  listing.emitted = true;
  const Mount& mount = g_mounts[listing.mount];
  if (raw_syscall(SYS_faccessat, listing.fd, as_arg(mount.last.data()), 0) == 0) return 0; // it is there
  u64 bytes = align_up(kEntryHead + mount.last.size() + 1, 8);
  if (bytes > call.arg(2) || bytes > sizeof call.block.link) return 0;
  auto* entry = reinterpret_cast<DirEntry*>(call.block.link);
  memset(entry, 0, bytes);
  entry->ino = call.pool(static_cast<u32>(listing.mount)).store().geometry.root_ino[0];
  entry->offset = 0x7fffffffffffffff;
  entry->bytes = static_cast<u16>(bytes);
  entry->type = 4; // DT_DIR
  memcpy(entry->name, mount.last.data(), mount.last.size());
  return pmem::copy_guarded(call.pointer<void>(1), entry, bytes) != 0 ? -EFAULT : static_cast<long>(bytes);
}

} // namespace

void note_directory(Call& call, int fd, Special special) {
  if (special == Special::kProcFdDir) {
    add_listing(call.process, fd, -1);
    return;
  }
  struct stat status {};
  if (raw_syscall(SYS_fstat, fd, as_arg(&status)) != 0) return;
  for (u32 i = 0; i < g_mount_count; ++i) {
    const ParentDir& parent = parent_of(i);
    if (parent.ino != 0 && parent.ino == status.st_ino && parent.device == status.st_dev) {
      add_listing(call.process, fd, static_cast<i32>(i));
      return;
    }
  }
}

void forget_listing(Process& process, int fd) {
  Listing* listing = find_listing(process, fd);
  if (listing != nullptr) *listing = process.listings[--process.listing_count];
}

long list_kernel_dir(Call& call) {
  Listing* listing = find_listing(call.process, call.fd(0));
  if (listing == nullptr) return kPassOn;
  for (;;) {
    long got = call.kernel();
    if (got < 0) return got;
    if (listing->mount >= 0) return got == 0 && !listing->emitted ? emit_mount_point(call, *listing) : got;
    if (got == 0) return 0;
    u64 left = drop_hidden_numbers(call.process, call.pointer<char>(1), static_cast<u64>(got));
    if (left != 0) return static_cast<long>(left);
  }
}

long rewind_kernel_dir(Call& call) {
  Listing* listing = find_listing(call.process, call.fd(0));
  if (listing != nullptr) listing->emitted = call.arg(1) == 0x7fffffffffffffff;
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
