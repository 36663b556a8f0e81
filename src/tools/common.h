// What the commands share: sizes and identifiers as people write them, opening a pool file without attaching.
//
// Rules: ordinary single-threaded programs; never inside a hook.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "layout/layout.h"
#include "pmem/map.h"

namespace pmemfile::tools {

// "64M", "1G", "4096": suffixes K M G T (powers of 1024), lower case too, "iB" and "B" allowed behind them.
std::optional<u64> parse_size(std::string_view text);
std::string size_text(u64 bytes);

// Of a UUID; nothing if malformed.
bool parse_uuid(std::string_view text, u8 (&uuid)[16]);
std::string uuid_text(const u8 (&uuid)[16]);

std::string error_text(int errno_value);

// Directory of the running executable.
std::string executable_dir();
// Absolute path of a library of ours, in the build tree or where it was installed; empty: not found.
std::string find_library(const std::string& name);

// A pool file mapped for looking at it. Nothing is locked or attached.
class PoolFile {
 public:
  PoolFile() = default;
  ~PoolFile();
  PoolFile(const PoolFile&) = delete;
  PoolFile& operator=(const PoolFile&) = delete;

  // On failure the text of what is wrong.
  std::optional<std::string> open(const std::string& path, bool writable);
  int fd() const { return fd_; }
  u64 file_bytes() const { return mapped_.file_bytes; }
  const u8* bytes() const { return mapped_.medium.base; }
  u8* bytes() { return mapped_.medium.base; }
  pmem::Medium& medium() { return mapped_.medium; }
  // What a writing attachment would get.
  pmem::Persistence level() const { return level_; }
  // Keeps everybody out until this object ends; false: in use. Who may only read the file keeps out those who write, by the locks of a reader
  // that is alone (docs/architecture.md, "Processes").
  bool lock_exclusively();
  bool is_in_use() const;

 private:
  int fd_ = -1, lock_fd_ = -1; // `lock_fd_`: for writing, if `fd_` is not; a write lock takes that
  pmem::Mapped mapped_;
  pmem::Persistence level_ = pmem::Persistence::kVolatile;
};

// The geometry of a pool: of the first copy that is good.
layout::GeometryFault read_geometry(const PoolFile& pool, layout::Geometry& geometry);
// The state in force; false: neither copy is valid.
bool read_state(const PoolFile& pool, layout::State& state);

struct Space {
  u64 total_blocks = 0, data_blocks = 0, metadata_blocks = 0, formatted_blocks = 0, free_blocks = 0;
};
Space count_space(const PoolFile& pool, const layout::Geometry& geometry);

} // namespace pmemfile::tools
