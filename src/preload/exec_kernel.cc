// Programs and scripts of the kernel's file systems, looked at before they are run: can they be served, and does an
// interpreter line lead into a pool?

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "preload/exec.h"
#include "preload/paths.h"

namespace pmemfile::preload {
namespace {

constexpr u64 kLineBytes = 256;      // BINPRM_BUF_SIZE
constexpr u64 kHeaderBytes = 4096;   // headers of what linkers make lie in here
constexpr u64 kDynamicBytes = 2048;
static_assert(kHeaderBytes + kDynamicBytes <= sizeof(ThreadBlock::scratch));
constexpr long kMountedNosuid = 2;   // ST_NOSUID

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// Would the kernel give the next image AT_SECURE? ld.so then takes no library from the environment.
bool becomes_secure(int fd, const struct stat& file) {
  u32 uid, euid, gid, egid, saved;
  raw_syscall(SYS_getresuid, as_arg(&uid), as_arg(&euid), as_arg(&saved));
  raw_syscall(SYS_getresgid, as_arg(&gid), as_arg(&egid), as_arg(&saved));
  bool sets_uid = (file.st_mode & S_ISUID) != 0;
  bool sets_gid = (file.st_mode & S_ISGID) != 0 && (file.st_mode & S_IXGRP) != 0;
  // Capabilities of the file count but for root.
  bool has_capabilities = uid != 0 && raw_syscall(SYS_fgetxattr, fd, as_arg("security.capability"), 0, 0) > 0;
  if (sets_uid || sets_gid || has_capabilities) {
    bool honoured = raw_syscall(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
    struct statfs fs {};
    if (honoured && raw_syscall(SYS_fstatfs, fd, as_arg(&fs)) == 0) honoured = (fs.f_flags & kMountedNosuid) == 0;
    if (honoured && has_capabilities) return true;
    if (honoured && sets_uid) euid = file.st_uid;
    if (honoured && sets_gid) egid = file.st_gid;
  }
  return uid != euid || gid != egid;
}

bool has_soname(int fd, const Elf64_Phdr& dynamic, char* buffer) {
  u64 bytes = min_of<u64>(dynamic.p_filesz, kDynamicBytes);
  long got = raw_syscall(SYS_pread64, fd, as_arg(buffer), static_cast<long>(bytes), static_cast<long>(dynamic.p_offset));
  for (u64 at = 0; got > 0 && at + sizeof(Elf64_Dyn) <= static_cast<u64>(got); at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    memcpy(&entry, buffer + at, sizeof entry);
    if (entry.d_tag == DT_SONAME) return true;
    if (entry.d_tag == DT_NULL) break;
  }
  return false;
}

// Why this file would run without us; null if ld.so will load us. `bytes` of it stand at `buffer`.
const char* why_not_served(int fd, const struct stat& file, char* buffer, u64 bytes, bool& is_loader) {
  Elf64_Ehdr header;
  if (bytes < EI_NIDENT || memcmp(buffer, ELFMAG, SELFMAG) != 0) return nullptr; // the kernel's to judge
  if (static_cast<u8>(buffer[EI_CLASS]) != ELFCLASS64) return "a 32-bit program";
  if (bytes < sizeof header) return nullptr;
  memcpy(&header, buffer, sizeof header);
  if (header.e_machine != EM_X86_64) return "a program for another machine";
  if (becomes_secure(fd, file)) return "a program with privileges of its own";
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return nullptr;
  for (u64 i = 0; i < header.e_phnum; ++i) {
    u64 at = header.e_phoff + i * sizeof(Elf64_Phdr);
    Elf64_Phdr program;
    if (at > bytes || bytes - at < sizeof program) return nullptr; // cannot tell
    memcpy(&program, buffer + at, sizeof program);
    if (program.p_type == PT_INTERP) return nullptr;
    // A dynamic loader run as a program has a name for linking; a static program has none.
    if (program.p_type == PT_DYNAMIC && header.e_type == ET_DYN && has_soname(fd, program, buffer + kHeaderBytes)) {
      is_loader = true;
      return nullptr;
    }
  }
  return "a statically linked program";
}

} // namespace

bool parse_interpreter_line(const char* text, u64 bytes, InterpreterLine& line) {
  if (bytes < 2 || text[0] != '#' || text[1] != '!') return false;
  bytes = min_of(bytes, kLineBytes);
  u64 end = 2;
  while (end < bytes && text[end] != '\n' && text[end] != '\0') ++end;
  bool cut = end == kLineBytes;
  if (cut) --end;
  u64 at = 2;
  while (at < end && is_blank(text[at])) ++at;
  u64 name = at;
  while (at < end && !is_blank(text[at])) ++at;
  if (at == name) return false;
  if (cut && at == end) return false; // the name may be longer than what is read
  line.interpreter = std::string_view(text + name, at - name);
  while (end > at && is_blank(text[end - 1])) --end;
  while (at < end && is_blank(text[at])) ++at;
  line.argument = std::string_view(text + at, end - at);
  return true;
}

KernelProgram look_at_kernel_program(Call& call, int dirfd, const char* path, int at_flags) {
  KernelProgram program;
  struct stat file {};
  if (raw_syscall(SYS_newfstatat, dirfd, as_arg(path), as_arg(&file), at_flags) != 0 || !S_ISREG(file.st_mode)) return program;
  long fd;
  if (path[0] == '\0') {
    FixedText<40> name;
    name << "/proc/self/fd/" << dirfd;
    fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(name.c_str()), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } else {
    fd = raw_syscall(SYS_openat, dirfd, as_arg(path), O_RDONLY | O_CLOEXEC | O_NONBLOCK | ((at_flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0));
  }
  if (fd < 0) {
    // It may be executed but not read: what can be told without its contents.
    if ((file.st_mode & S_ISUID) != 0) program.why_not_served = "a program with privileges of its own";
    return program;
  }
  char* buffer = reinterpret_cast<char*>(call.block.scratch);
  long got = raw_syscall(SYS_pread64, fd, as_arg(buffer), kHeaderBytes, 0);
  if (got >= 2 && buffer[0] == '#' && buffer[1] == '!') {
    program.line_bytes = min_of(static_cast<u64>(got), kLineBytes);
    memcpy(program.line, buffer, program.line_bytes);
  } else if (got > 0) {
    program.why_not_served = why_not_served(static_cast<int>(fd), file, buffer, static_cast<u64>(got), program.is_loader);
  }
  raw_syscall(SYS_close, fd);
  return program;
}

bool leads_into_pool(Call& call, int dirfd, const char* path, int at_flags, KernelProgram& first, KernelProgram& last) {
  char interpreter[kLineBytes];
  for (unsigned depth = 0; depth <= kMaxInterpreters; ++depth) {
    last = look_at_kernel_program(call, dirfd, path, at_flags);
    if (depth == 0) first = last;
    InterpreterLine line;
    if (last.line_bytes == 0 || !parse_interpreter_line(last.line, last.line_bytes, line)) return false;
    // The kernel asks for permission first. (`path` may stand in `interpreter`.)
    if (raw_syscall(SYS_faccessat2, dirfd, as_arg(path), X_OK, at_flags | AT_EACCESS) != 0) return false;
    memcpy(interpreter, line.interpreter.data(), line.interpreter.size());
    interpreter[line.interpreter.size()] = '\0';
    Place place;
    if (locate(call, AT_FDCWD, interpreter, kFollowLast | kNeverKnown, 1, place) != 0) return false;
    if (place.ours) return true;
    path = interpreter;
    dirfd = AT_FDCWD;
    at_flags = 0;
  }
  return false;
}

} // namespace pmemfile::preload
