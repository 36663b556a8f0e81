// Giving a range of a file blocks without writing to it: preallocation and materialize.
//
// Rules: hook-safe; Txs of their own, each of bounded size.
#pragma once

#include "data/extent_io.h"

namespace pmemfile::data {

enum class Fill : u8 {
  kUnwritten, // holes get blocks that read as zeros
  kZeros,     // holes and unwritten blocks become written zeros
};
// File blocks [first, end). ENOSPC leaves what was given so far.
Result<void> allocate_range(journal::Store& store, Ino ino, u64 first, u64 end, Fill fill);

} // namespace pmemfile::data
