// Can this program be served by preloading?

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>

#include "tools/commands.h"

namespace pmemfile::tools {
namespace {

constexpr int kMaxInterpreters = 4; // the kernel's own limit of nested scripts

struct Head {
  char bytes[4096];
  ssize_t size = 0;
};

bool read_head(const std::string& path, Head& head) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  head.size = read(fd, head.bytes, sizeof head.bytes);
  close(fd);
  return head.size > 0;
}

// The interpreter of a script; empty: not a script.
std::string interpreter(const Head& head) {
  if (head.size < 3 || head.bytes[0] != '#' || head.bytes[1] != '!') return {};
  std::string line(head.bytes + 2, static_cast<std::size_t>(head.size) - 2);
  line.resize(std::min(line.find('\n'), line.size()));
  std::size_t start = line.find_first_not_of(" \t");
  if (start == line.npos) return {};
  std::size_t end = line.find_first_of(" \t", start);
  return line.substr(start, end == line.npos ? line.npos : end - start);
}

std::string elf_reason(const std::string& path, const Head& head) {
  if (head.size < static_cast<ssize_t>(sizeof(Elf64_Ehdr)) || std::memcmp(head.bytes, ELFMAG, SELFMAG) != 0) return {};
  if (head.bytes[EI_CLASS] == ELFCLASS32)
    return fmt::format("{} is a 32-bit program: only 64-bit programs can be served", path);
  Elf64_Ehdr elf;
  std::memcpy(&elf, head.bytes, sizeof elf);
  if (elf.e_machine != EM_X86_64) return fmt::format("{} is a program for another processor", path);
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  bool dynamic = false;
  for (unsigned i = 0; i < elf.e_phnum; ++i) {
    Elf64_Phdr header;
    if (pread(fd, &header, sizeof header, static_cast<off_t>(elf.e_phoff + i * sizeof header)) != sizeof header) break;
    dynamic |= header.p_type == PT_INTERP;
  }
  close(fd);
  if (!dynamic) return fmt::format("{} is statically linked: nothing can be preloaded into it", path);
  return {};
}

std::string privilege_reason(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return {};
  if (S_ISREG(status.st_mode) &&
      (((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) ||
       ((status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0 && status.st_gid != getegid())))
    return fmt::format("{} is setuid or setgid: the loader does not preload into it", path);
  if (geteuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0)
    return fmt::format("{} has file capabilities: the loader does not preload into it", path);
  return {};
}

} // namespace

std::string unfit_reason(const std::string& path) {
  std::string current = path;
  for (int i = 0; i <= kMaxInterpreters; ++i) {
    if (std::string reason = privilege_reason(current); !reason.empty()) return reason;
    Head head;
    if (!read_head(current, head)) return {}; // executable but not readable: the kernel decides
    std::string next = interpreter(head);
    if (next.empty()) return elf_reason(current, head);
    current = next;
  }
  return {};
}

std::string find_program(const std::string& name) {
  if (name.find('/') != name.npos) return access(name.c_str(), F_OK) == 0 ? name : std::string();
  const char* path = std::getenv("PATH");
  std::string list = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  for (std::size_t start = 0; start <= list.size();) {
    std::size_t end = std::min(list.find(':', start), list.size());
    std::string candidate = list.substr(start, end - start);
    candidate = (candidate.empty() ? "." : candidate) + "/" + name;
    struct stat status{};
    if (stat(candidate.c_str(), &status) == 0 && S_ISREG(status.st_mode) && access(candidate.c_str(), X_OK) == 0)
      return candidate;
    start = end + 1;
  }
  return {};
}

} // namespace pmemfile::tools
