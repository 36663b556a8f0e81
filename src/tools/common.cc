#include "tools/common.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "fmt/format.h"
#include "layout/state.h"
#include "vfs/failure.h"

namespace pmemfile::tools {

std::optional<u64> parse_size(std::string_view text) {
  u64 value = 0;
  std::size_t at = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    u64 digit = static_cast<u64>(text[at] - '0');
    if (value > (~u64{0} - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  if (at == 0) return std::nullopt;
  if (at == text.size()) return value;
  constexpr std::string_view kSuffixes = "KMGT";
  char letter = static_cast<char>(text[at] & ~0x20);
  std::size_t power = kSuffixes.find(letter);
  std::string_view rest = text.substr(at + 1);
  if (power == kSuffixes.npos || !(rest.empty() || rest == "B" || rest == "iB" || rest == "b")) return std::nullopt;
  unsigned shift = 10 * (static_cast<unsigned>(power) + 1);
  if (value > (~u64{0} >> shift)) return std::nullopt;
  return value << shift;
}

std::string size_text(u64 bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  unsigned unit = 0;
  u64 scale = 1;
  while (unit + 1 < std::size(kUnits) && bytes >= scale * 1024) scale *= 1024, ++unit;
  if (bytes % scale == 0) return fmt::format("{} {}", bytes / scale, kUnits[unit]);
  return fmt::format("{:.1f} {}", static_cast<double>(bytes) / static_cast<double>(scale), kUnits[unit]);
}

bool parse_uuid(std::string_view text, u8 (&uuid)[16]) {
  if (text.size() != 36) return false;
  unsigned digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return false;
      continue;
    }
    char c = text[i];
    int value = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
    if (value < 0) return false;
    uuid[digits / 2] = static_cast<u8>(digits % 2 == 0 ? value << 4 : uuid[digits / 2] | value);
    ++digits;
  }
  return true;
}

std::string uuid_text(const u8 (&uuid)[16]) {
  std::string text;
  for (unsigned i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", uuid[i]);
  }
  return text;
}

std::string error_text(int errno_value) { return std::strerror(errno_value); }

std::string executable_dir() {
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0) return "/";
  std::string text(path, static_cast<std::size_t>(length));
  return text.substr(0, text.rfind('/'));
}

std::string find_library(const std::string& name) {
  std::string dir = executable_dir();
  // The build tree keeps programs and libraries together; an installed tree has bin and lib side by side.
  for (const char* where : {"/", "/src/preload/", "/../" PMEMFILE_LIBDIR "/", "/../lib/", "/../lib/x86_64-linux-gnu/", "/../lib64/"}) {
    std::string candidate = dir + where + name;
    char absolute[PATH_MAX];
    if (access(candidate.c_str(), R_OK) == 0 && realpath(candidate.c_str(), absolute) != nullptr) return absolute;
  }
  return {};
}

PoolFile::~PoolFile() {
  pmem::unmap(mapped_.medium);
  if (fd_ >= 0) close(fd_);
  if (lock_fd_ >= 0) close(lock_fd_);
}

std::optional<std::string> PoolFile::open(const std::string& path, bool writable) {
  fd_ = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (fd_ < 0) return fmt::format("cannot open {}: {}", path, error_text(errno));
  auto bytes = pmem::file_bytes(fd_);
  if (!bytes.ok()) return fmt::format("{}: neither a file nor a device-DAX node", path);
  if (bytes.value() < layout::kMinPoolBytes)
    return fmt::format("{}: {}, smaller than the smallest pool ({})", path, size_text(bytes.value()),
                       size_text(layout::kMinPoolBytes));
  auto mapped = pmem::map(fd_, 0, writable);
  if (!mapped.ok()) return fmt::format("cannot map {}: {}", path, error_text(mapped.error()));
  mapped_ = mapped.value();
  level_ = mapped_.medium.level;
  if (!writable) {
    // Only a writable mapping shows whether the file system has MAP_SYNC.
    int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
      if (auto probe = pmem::map(fd, layout::kBlockBytes, true); probe.ok()) {
        level_ = probe.value().medium.level;
        pmem::unmap(probe.value().medium);
      }
      close(fd);
    }
  }
  return std::nullopt;
}

namespace {
bool is_free(int fd, vfs::PoolLock which) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(which);
  lock.l_len = 1;
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}
} // namespace

bool PoolFile::lock_exclusively() {
  auto locked = vfs::lock_pool(fd_, F_WRLCK, false);
  if (locked.error() != EBADF) return locked.ok();
  // The file that is mapped: its path may lead to another one by now.
  lock_fd_ = ::open(fmt::format("/proc/self/fd/{}", fd_).c_str(), O_RDWR | O_CLOEXEC);
  if (lock_fd_ >= 0) return vfs::lock_pool(lock_fd_, F_WRLCK, false).ok();
  return vfs::lock_pool(fd_, F_RDLCK, false).ok() && vfs::lock_pool(fd_, F_RDLCK, false, vfs::PoolLock::kPoolAlone).ok() &&
         is_free(fd_, vfs::PoolLock::kPoolAttached);
}

bool PoolFile::is_in_use() const { return !is_free(fd_, vfs::PoolLock::kPoolUse); }

layout::GeometryFault read_geometry(const PoolFile& pool, layout::Geometry& geometry) {
  auto first_fault = layout::GeometryFault::kNone;
  for (unsigned i = 0; i < layout::kSuperblockCopies; ++i) {
    std::memcpy(&geometry, pool.bytes() + i * layout::kBlockBytes, sizeof geometry);
    auto fault = layout::check_geometry(geometry, pool.file_bytes());
    if (fault == layout::GeometryFault::kNone) return fault;
    if (i == 0) first_fault = fault;
  }
  return first_fault;
}

bool read_state(const PoolFile& pool, layout::State& state) {
  bool found = false;
  for (unsigned i = 0; i < layout::kSuperblockCopies; ++i) {
    layout::State copy;
    std::memcpy(&copy, pool.bytes() + i * layout::kBlockBytes + layout::kStateOffset, sizeof copy);
    if (!layout::state_valid(copy) || (found && copy.sequence <= state.sequence)) continue;
    state = copy;
    found = true;
  }
  return found;
}

Space count_space(const PoolFile& pool, const layout::Geometry& geometry) {
  Space space;
  space.total_blocks = geometry.block_count - geometry.data_start_block;
  const u8* lines = pool.bytes() + geometry.bitmap_start_block * layout::kBlockBytes;
  for (u64 first = 0; first < geometry.block_count; first += 64) {
    const u8* line = lines + first / layout::kBlocksPerBitmapLine * layout::kLineBytes;
    u64 used, meta, half = first / 64 % 2, valid = ~u64{0};
    std::memcpy(&used, line + (layout::kPlaneUsed + half) * 8, 8);
    std::memcpy(&meta, line + (layout::kPlaneMeta + half) * 8, 8);
    if (first < geometry.data_start_block)
      valid = geometry.data_start_block - first >= 64 ? 0 : ~u64{0} << (geometry.data_start_block - first);
    if (geometry.block_count - first < 64) valid &= (u64{1} << (geometry.block_count - first)) - 1;
    auto count = [&](u64 bits) { return static_cast<u64>(std::popcount(bits & valid)); };
    space.data_blocks += count(used & ~meta);
    space.metadata_blocks += count(used & meta);
    space.formatted_blocks += count(~used & meta);
    space.free_blocks += count(~used & ~meta);
  }
  return space;
}

} // namespace pmemfile::tools
