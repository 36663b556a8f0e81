// The pool file of a fuzzer: filled anew for each execution, attached by the real code.
#pragma once

#include "fuzz/pools.h"
#include "vfs/pool.h"

namespace pmemfile::fuzz {

class World {
 public:
  static World& get();
  // Puts an image into the pool file.
  void fill(const Image& image);
  // What is in the pool file now.
  void read_back(Image& image) const;
  // Null: refused. The mapping stands between pages that nobody may touch.
  vfs::Pool* attach(bool read_only = false);
  void detach(vfs::Pool* pool);

 private:
  World();
  void reserve();

  std::string path_;
  int fd_ = -1;
  std::byte* mapped_ = nullptr;
  u64 bytes_ = 0;
  std::byte* guarded_ = nullptr;
};

// Counts executions and those whose input was believed; says so at exit.
void count_execution(const char* target, bool past_validation);

} // namespace pmemfile::fuzz
