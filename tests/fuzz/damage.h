// Doing to an image what an input's records say.
#pragma once

#include "fuzz/pools.h"
#include "fuzz/record.h"

namespace pmemfile::fuzz {

// The starting pool that the input names, with all damage done. `image` is never longer than the starting pool's.
const StartingPool& damaged_pool(const std::vector<Record>& records, Image& image);

} // namespace pmemfile::fuzz
