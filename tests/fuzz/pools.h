// Sound pools of the smallest size to start from, and where in them the structures stand.
#pragma once

#include <string>
#include <vector>

#include "layout/layout.h"

namespace pmemfile::fuzz {

using Image = std::vector<std::byte>;

// Blocks by what they hold, inodes in use by number.
struct Catalog {
  std::vector<u64> inodes, leaves, dir_nodes, map_nodes, xattrs, data, free;
};

struct StartingPool {
  std::string name;
  Image image;
  layout::Geometry geometry{};
  Catalog catalog;
};

// Made once, by the code under test.
const std::vector<StartingPool>& starting_pools();

// The long names that are in the large directory.
inline constexpr int kManyNames = 60;
std::string long_name(int i);

// Names that are in some starting pool, and some that are not.
const std::string& path_of(u8 choice);

} // namespace pmemfile::fuzz
