#include "tools/undo.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "fmt/format.h"

namespace pmemfile::tools {
namespace {

struct Header {
  char magic[8];
  u64 block_count;
  u8 uuid[16];
  u64 pieces;
};
struct Entry {
  u64 offset;
  fsck::Piece piece;
};
constexpr char kMagic[8] = {'P', 'M', 'E', 'U', 'N', 'D', 'O', '1'};

bool write_all(int fd, const void* bytes, std::size_t size) {
  auto* at = static_cast<const char*>(bytes);
  while (size != 0) {
    ssize_t done = write(fd, at, size);
    if (done <= 0) return false;
    at += done, size -= static_cast<std::size_t>(done);
  }
  return true;
}

} // namespace

std::optional<std::string> write_undo(const std::string& path, const layout::Geometry& geometry,
                                      const std::map<u64, fsck::Piece>& originals) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fmt::format("cannot make the undo file {}: {}", path, error_text(errno));
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.block_count = geometry.block_count;
  std::memcpy(header.uuid, geometry.uuid, sizeof header.uuid);
  header.pieces = originals.size();
  std::vector<Entry> entries;
  for (const auto& [offset, piece] : originals) entries.push_back({offset, piece});
  bool good = write_all(fd, &header, sizeof header) && write_all(fd, entries.data(), entries.size() * sizeof(Entry)) &&
              fsync(fd) == 0;
  int error = errno;
  close(fd);
  if (!good) return fmt::format("cannot write the undo file {}: {}", path, error_text(error));
  return std::nullopt;
}

std::optional<std::string> apply_undo(const std::string& path, PoolFile& pool) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fmt::format("cannot open the undo file {}: {}", path, error_text(errno));
  Header header{};
  std::map<u64, fsck::Piece> pieces;
  bool good = read(fd, &header, sizeof header) == sizeof header && std::memcmp(header.magic, kMagic, sizeof kMagic) == 0;
  for (u64 i = 0; good && i < header.pieces; ++i) {
    Entry entry;
    good = read(fd, &entry, sizeof entry) == sizeof entry && entry.offset % fsck::kPieceBytes == 0 &&
           entry.offset <= pool.file_bytes() - fsck::kPieceBytes;
    if (good) pieces[entry.offset] = entry.piece;
  }
  close(fd);
  if (!good) return fmt::format("{} is not a whole undo file of this pool", path);
  layout::Geometry geometry;
  if (read_geometry(pool, geometry) == layout::GeometryFault::kNone &&
      (std::memcmp(geometry.uuid, header.uuid, sizeof header.uuid) != 0 || geometry.block_count != header.block_count))
    return fmt::format("{} belongs to another pool ({})", path, uuid_text(header.uuid));
  store_pieces(pool, pieces);
  return std::nullopt;
}

void store_pieces(PoolFile& pool, const std::map<u64, fsck::Piece>& pieces) {
  pmem::Medium& medium = pool.medium();
  for (const auto& [offset, piece] : pieces) {
    for (u64 at = 0; at < fsck::kPieceBytes; at += 8) {
      u64 word;
      std::memcpy(&word, piece.data() + at, 8);
      pmem::store_word(medium, PoolOff{offset + at}, word);
    }
    pmem::flush(medium, PoolOff{offset}, fsck::kPieceBytes);
  }
  pmem::fence(medium);
  (void)pmem::sync(medium, PoolOff{0}, medium.bytes);
}

} // namespace pmemfile::tools
