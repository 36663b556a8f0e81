// Copies of programs and of the libraries they need from pools.

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "preload/descriptors.h"
#include "preload/exec.h"
#include "preload/exec_state.h"
#include "preload/names_of.h"
#include "preload/paths.h"

namespace pmemfile::preload {
namespace {

u64 hash_name(std::string_view name) {
  u64 hash = 14695981039346656037ull;
  for (char c : name) hash = (hash ^ static_cast<u8>(c)) * 1099511628211ull;
  return hash;
}

// A file of the pool copied into a memfd, mapped readable.
struct Copy {
  int fd = -1;
  char* base = nullptr;
  u64 bytes = 0;
};

void unmap(Copy& copy) {
  if (copy.base != nullptr) raw_syscall(SYS_munmap, as_arg(copy.base), static_cast<long>(copy.bytes));
  copy.base = nullptr;
}

// The copy is no file of the program's: RLIMIT_FSIZE is lifted for it, as far as the hard limit goes.
long set_size(int fd, u64 size) {
  struct rlimit limit{};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, as_arg(&limit));
  if (limit.rlim_cur >= size) return raw_syscall(SYS_ftruncate, fd, static_cast<long>(size));
  if (limit.rlim_max < size) return -EFBIG; // without SIGXFSZ
  struct rlimit raised{limit.rlim_max, limit.rlim_max};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, as_arg(&raised), 0);
  long result = raw_syscall(SYS_ftruncate, fd, static_cast<long>(size));
  raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, as_arg(&limit), 0);
  return result;
}

Result<Copy> copy_file(Call& call, u32 mount, Ino ino, std::string_view name) {
  journal::Store& store = call.pool(mount).store();
  u64 size = TRY(inode::read(store, ino)).size;
  if (size == 0) return Error(ENOEXEC);
  char short_name[250] = {};
  memcpy(short_name, name.data(), min_of<u64>(name.size(), sizeof short_name - 1));
  constexpr unsigned kExecutable = 0x10; // MFD_EXEC of Linux 6.3: for systems where a memory file is not executable otherwise
  long made = raw_syscall(SYS_memfd_create, as_arg(short_name), MFD_CLOEXEC | kExecutable);
  if (made == -EINVAL) made = raw_syscall(SYS_memfd_create, as_arg(short_name), MFD_CLOEXEC);
  if (made < 0) return Error(static_cast<int>(-made));
  Copy copy{move_high(static_cast<int>(made)), nullptr, size};
  long room = set_size(copy.fd, size);
  if (room == 0) room = raw_syscall(SYS_mmap, 0, static_cast<long>(size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, copy.fd, 0);
  int error = is_syscall_error(room) ? static_cast<int>(-room) : 0;
  if (error == 0) {
    copy.base = reinterpret_cast<char*>(room);
    for (u64 done = 0; done < size;) {
      data::IoVec vector{copy.base + done, size - done};
      Result<u64> got = data::read(store, ino, done, &vector, 1);
      if (!got.ok() || got.value() == 0) {
        error = got.ok() ? ENOEXEC : got.error();
        break;
      }
      done += got.value();
    }
  }
  if (error == 0) return copy;
  unmap(copy);
  raw_syscall(SYS_close, copy.fd);
  return Error(error);
}

// What ld.so would read of an object: bounds-checked views into the copy.
struct Dynamic {
  const char* strings = nullptr;
  u64 strings_bytes = 0;
  u64 needed[48];
  u32 needed_count = 0;
  const char* runpath = nullptr;
  const char* rpath = nullptr;
  bool has_interpreter = false;
  bool has_soname = false; // a loader has one, a static program has not
  bool is_elf = false;
};

const Elf64_Phdr* headers(const Copy& copy, u32& count) {
  auto* header = reinterpret_cast<const Elf64_Ehdr*>(copy.base);
  if (copy.bytes < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
      header->e_machine != EM_X86_64 || header->e_phentsize != sizeof(Elf64_Phdr))
    return nullptr;
  count = header->e_phnum;
  if (header->e_phoff > copy.bytes || count > (copy.bytes - header->e_phoff) / sizeof(Elf64_Phdr)) return nullptr;
  return reinterpret_cast<const Elf64_Phdr*>(copy.base + header->e_phoff);
}

// Offset in the file of an address of the loaded object; ~0 if it has none.
u64 file_offset(const Copy& copy, u64 address) {
  u32 count = 0;
  const Elf64_Phdr* program = headers(copy, count);
  for (u32 i = 0; program != nullptr && i < count; ++i)
    if (program[i].p_type == PT_LOAD && address >= program[i].p_vaddr && address - program[i].p_vaddr < program[i].p_filesz)
      return program[i].p_offset + (address - program[i].p_vaddr);
  return ~u64{0};
}

const char* string_at(const Dynamic& dynamic, u64 offset) {
  if (offset >= dynamic.strings_bytes) return nullptr;
  for (u64 i = offset; i < dynamic.strings_bytes; ++i)
    if (dynamic.strings[i] == '\0') return dynamic.strings + offset;
  return nullptr;
}

Dynamic read_dynamic(const Copy& copy) {
  Dynamic result;
  u32 count = 0;
  const Elf64_Phdr* program = headers(copy, count);
  if (program == nullptr) return result;
  result.is_elf = true;
  const Elf64_Dyn* dynamic = nullptr;
  u64 entries = 0;
  for (u32 i = 0; i < count; ++i) {
    if (program[i].p_type == PT_INTERP) result.has_interpreter = true;
    if (program[i].p_type == PT_DYNAMIC && program[i].p_offset <= copy.bytes && program[i].p_filesz <= copy.bytes - program[i].p_offset) {
      dynamic = reinterpret_cast<const Elf64_Dyn*>(copy.base + program[i].p_offset);
      entries = program[i].p_filesz / sizeof(Elf64_Dyn);
    }
  }
  u64 runpath = ~u64{0}, rpath = ~u64{0};
  for (u64 i = 0; i < entries && dynamic[i].d_tag != DT_NULL; ++i) {
    u64 value = dynamic[i].d_un.d_val;
    if (dynamic[i].d_tag == DT_STRTAB) {
      u64 at = file_offset(copy, value);
      if (at < copy.bytes) result.strings = copy.base + at;
    }
    if (dynamic[i].d_tag == DT_STRSZ) result.strings_bytes = value;
    if (dynamic[i].d_tag == DT_NEEDED && result.needed_count < 48) result.needed[result.needed_count++] = value;
    if (dynamic[i].d_tag == DT_SONAME) result.has_soname = true;
    if (dynamic[i].d_tag == DT_RUNPATH) runpath = value;
    if (dynamic[i].d_tag == DT_RPATH) rpath = value;
  }
  if (result.strings == nullptr) result.strings_bytes = 0;
  if (result.strings_bytes > copy.bytes || (result.strings != nullptr && static_cast<u64>(result.strings - copy.base) > copy.bytes - result.strings_bytes))
    result.strings_bytes = 0;
  if (runpath != ~u64{0}) result.runpath = string_at(result, runpath);
  if (rpath != ~u64{0} && runpath == ~u64{0}) result.rpath = string_at(result, rpath);
  return result;
}

// ---- Looking for libraries ----------------------------------------------------------------------------------------

struct Search {
  Call& call;
  Libraries& libraries;
  const char* library_path; // LD_LIBRARY_PATH of the next image, or null
  char* candidate;          // PATH_MAX
  unsigned depth = 0;
};

struct Found {
  bool ours = false, stop = false;
  u32 mount = 0;
  Ino ino{};
};

Found look_at(Search& search, const char* path) {
  Place place;
  Found found;
  if (locate(search.call, AT_FDCWD, path, kFollowLast | kNeverKnown, 1, place) != 0) return found;
  if (!place.ours) {
    found.stop = raw_syscall(SYS_access, as_arg(path), R_OK) == 0; // ld.so will find that one itself
    return found;
  }
  vfs::Task task = make_task(search.call, place.mount);
  Result<inode::Attr> attr = vfs::resolve(task, place.at, vfs::Follow::kYes, place.itself);
  if (!attr.ok() || !S_ISREG(attr.value().mode)) return found;
  return Found{true, false, place.mount, attr.value().ino};
}

// One directory of a search list, with $ORIGIN replaced; the name behind it.
bool make_candidate(Search& search, std::string_view dir, const char* origin, std::string_view name) {
  Text text(search.candidate, kPathBytes);
  for (u64 i = 0; i < dir.size(); ++i) {
    for (std::string_view token : {std::string_view("$ORIGIN"), std::string_view("${ORIGIN}")})
      if (part(dir, i, token.size()) == token) {
        text << origin;
        i += token.size();
      }
    if (i < dir.size()) text << dir[i];
  }
  if (dir.empty()) text << ".";
  text << "/" << name;
  return !text.truncated();
}

Found look_in_list(Search& search, const char* list, const char* origin, std::string_view name) {
  if (list == nullptr) return {};
  for (const char* at = list;; ++at) {
    u64 bytes = 0;
    while (at[bytes] != ':' && at[bytes] != ';' && at[bytes] != '\0') ++bytes;
    if (make_candidate(search, std::string_view(at, bytes), origin, name)) {
      Found found = look_at(search, search.candidate);
      if (found.ours || found.stop) return found;
    }
    at += bytes;
    if (*at == '\0') return {};
  }
}

Result<void> add_needed(Search& search, Copy& copy, const char* origin);

// Copies one library, and first what it needs itself.
Result<void> add_library(Search& search, std::string_view name, const Found& found) {
  if (search.libraries.has(name) || search.depth > 16) return {};
  Copy copy = TRY(copy_file(search.call, found.mount, found.ino, name));
  // The directory of the candidate is $ORIGIN of this object; it stands in memory of its own, for the recursion.
  long room = raw_syscall(SYS_mmap, 0, kPathBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_syscall_error(room)) return Error(ENOMEM);
  char* origin = reinterpret_cast<char*>(room);
  memcpy(origin, search.candidate, kPathBytes);
  u64 end = strlen(origin);
  while (end != 0 && origin[end - 1] != '/') --end;
  origin[end != 0 ? end - 1 : 0] = '\0';
  Result<void> added = search.libraries.add(name, copy.fd);
  if (added.ok()) {
    ++search.depth;
    added = add_needed(search, copy, origin);
    --search.depth;
  }
  unmap(copy);
  raw_syscall(SYS_munmap, room, kPathBytes);
  return added;
}

// A needed name with a slash is a path, which LD_LIBRARY_PATH does not replace: in the copy it becomes its last
// component.
std::string_view cut_to_last(const char* name) {
  u64 bytes = strlen(name), at = bytes;
  while (at != 0 && name[at - 1] != '/') --at;
  std::string_view last(name + at, bytes - at);
  if (at != 0) memmove(const_cast<char*>(name), last.data(), last.size() + 1);
  return {name, last.size()};
}

Result<void> add_needed(Search& search, Copy& copy, const char* origin) {
  Dynamic dynamic = read_dynamic(copy);
  for (u32 i = 0; i < dynamic.needed_count; ++i) {
    const char* name = string_at(dynamic, dynamic.needed[i]);
    if (name == nullptr || *name == '\0') continue;
    std::string_view view(name, strlen(name));
    Found found;
    bool is_path = false;
    for (char c : view) is_path |= c == '/';
    if (is_path) {
      Text text(search.candidate, kPathBytes);
      text << view;
      found = look_at(search, search.candidate);
      if (!found.ours) continue;
      view = cut_to_last(name);
    } else {
      found = look_in_list(search, dynamic.rpath, origin, view);
      if (!found.ours && !found.stop) found = look_in_list(search, search.library_path, origin, view);
      if (!found.ours && !found.stop) found = look_in_list(search, dynamic.runpath, origin, view);
    }
    if (found.ours) TRY(add_library(search, view, found));
  }
  return {};
}

} // namespace

const char* variable_of(u64 user_envp, long count, std::string_view name) {
  for (long i = 0; i < count; ++i) {
    const char* variable;
    if (pmem::copy_guarded(&variable, reinterpret_cast<void*>(user_envp + static_cast<u64>(i) * 8), 8) != 0) return nullptr;
    if (pmemfile_preload_match(variable, name.data(), name.size()) == 1 && variable[name.size()] == '=') return variable + name.size() + 1;
  }
  return nullptr;
}

// ---- Libraries ------------------------------------------------------------------------------------------------------

bool Libraries::has(std::string_view name) const {
  u64 hash = hash_name(name);
  for (u32 i = 0; i < count_; ++i)
    if (hashes_[i] == hash) return true;
  return false;
}

Result<void> Libraries::add(std::string_view name, int memfd) {
  if (count_ == kMax) return Error(ENOMEM);
  if (dir_bytes_ == 0) {
    u64 random = 0;
    raw_syscall(SYS_getrandom, as_arg(&random), sizeof random, 1);
    for (const char* base : {"/dev/shm", "/tmp"}) {
      Text text(dir_, sizeof dir_);
      text << base << "/.pmemfile-lib-";
      text.hex(random);
      if (raw_syscall(SYS_mkdir, as_arg(dir_), 0700) == 0) {
        dir_bytes_ = text.size();
        break;
      }
    }
    if (dir_bytes_ == 0) return Error(EACCES);
  }
  raw_syscall(SYS_fcntl, memfd, F_SETFD, 0); // the next image closes it
  FixedText<32> target;
  target << "/proc/self/fd/" << memfd;
  FixedText<400> link;
  link << dir_view() << "/" << name;
  if (link.truncated()) return Error(ENAMETOOLONG);
  long made = raw_syscall(SYS_symlink, as_arg(target.c_str()), as_arg(link.c_str()));
  if (made != 0) return Error(static_cast<int>(-made));
  fds_[count_] = memfd;
  hashes_[count_++] = hash_name(name);
  return {};
}

namespace {

// Calls each(name) for every entry of the directory, "." and ".." among them.
template <class F>
void for_each_name(long directory, F each) {
  alignas(8) char entries[2048];
  long got;
  while ((got = raw_syscall(SYS_getdents64, directory, as_arg(entries), sizeof entries)) > 0) {
    for (long at = 0; at + 19 < got;) {
      u16 bytes;
      memcpy(&bytes, entries + at + 16, 2);
      if (bytes == 0) break;
      each(entries + at + 19);
      at += bytes;
    }
  }
}

bool is_old_and_own(long parent, const char* name) {
  constexpr u64 kOldSeconds = 60;
  struct stat status {};
  if (raw_syscall(SYS_newfstatat, parent, as_arg(name), as_arg(&status), AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode)) return false;
  return static_cast<long>(status.st_uid) == raw_syscall(SYS_geteuid) &&
         static_cast<u64>(status.st_ctim.tv_sec) + kOldSeconds < static_cast<u64>(inode::now_ns()) / 1000000000;
}

} // namespace

void remove_link_directory(const char* path) {
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    for_each_name(fd, [fd](const char* name) { raw_syscall(SYS_unlinkat, fd, as_arg(name), 0); });
    raw_syscall(SYS_close, fd);
  }
  raw_syscall(SYS_rmdir, as_arg(path));
}

// Directories that nobody removed: their images were killed at birth, or were a loader that only listed libraries and never came to us.
void Libraries::remove_old() {
  static constexpr std::string_view kName = ".pmemfile-lib-";
  long parent = raw_syscall(SYS_openat, AT_FDCWD, as_arg("/dev/shm"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return;
  for_each_name(parent, [parent](const char* name) {
    if (strlen(name) <= kName.size() || memcmp(name, kName.data(), kName.size()) != 0 || !is_old_and_own(parent, name)) return;
    FixedText<280> path;
    path << "/dev/shm/" << std::string_view(name, strlen(name));
    if (!path.truncated()) remove_link_directory(path.c_str());
  });
  raw_syscall(SYS_close, parent);
}

void Libraries::put_items(Text& state) const {
  if (dir_bytes_ == 0) return;
  put_item(state, kItemLibraryDir, dir_view());
  for (u32 i = 0; i < count_; ++i) {
    FixedText<16> number;
    number << static_cast<i64>(fds_[i]);
    put_item(state, kItemLibraryFd, number.view());
  }
}

void Libraries::remove() {
  for (u32 n = 0; n < count_; ++n) raw_syscall(SYS_close, fds_[n]);
  if (dir_bytes_ == 0) return;
  remove_link_directory(dir_);
  count_ = 0;
  dir_bytes_ = 0;
}

Result<ProgramCopy> copy_program(Call& call, u32 mount, Ino ino, const char* path, const char* library_path, CopyFor reader, Libraries& libraries,
                                 Text& state) {
  std::string_view name(path, strlen(path));
  for (u64 i = name.size(); i != 0; --i)
    if (name[i - 1] == '/') {
      name.remove_prefix(i);
      break;
    }
  Copy copy = TRY(copy_file(call, mount, ino, name));
  Dynamic dynamic = read_dynamic(copy);
  Result<void> result;
  if (!dynamic.is_elf && reader == CopyFor::kKernel) result = Error(ENOEXEC);
  // The path without symlinks: /proc/self/exe and $ORIGIN.
  char* exe = call.block.rooms[1].path;
  Result<u64> exe_bytes = path_of_executable(call, path, exe);
  if (result.ok() && exe_bytes.ok()) {
    if (reader == CopyFor::kKernel) put_item(state, kItemExe, std::string_view(exe, exe_bytes.value()));
    u64 end = exe_bytes.value();
    while (end != 0 && exe[end - 1] != '/') --end;
    exe[end != 0 ? end - 1 : 0] = '\0';
    Search search{call, libraries, library_path, call.block.rooms[0].todo, 0};
    if (dynamic.is_elf) result = add_needed(search, copy, exe);
  }
  unmap(copy);
  if (!result.ok()) {
    libraries.remove();
    raw_syscall(SYS_close, copy.fd);
    return Error(result.error());
  }
  libraries.put_items(state);
  bool served = dynamic.has_interpreter || dynamic.has_soname;
  return ProgramCopy{copy.fd, served ? nullptr : "a statically linked program"};
}

} // namespace pmemfile::preload
