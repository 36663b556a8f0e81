// COLLAPSE_RANGE and INSERT_RANGE: one commit that turns a stretch of the block map round.
//
// Both move pointers in a circle: what is collapsed ends up behind the end of the file, from where a truncation that
// anyone may continue frees it; what is inserted is the hole that stood there. The nodes concerned are written anew, so
// that the record holds only their roots and the bitmap. A file whose nodes are too many for one record, and one that is
// mapped (its blocks must not move), is refused with EOPNOTSUPP: callers then copy.
#pragma once

#include "data/extent_io.h"

namespace pmemfile::data {

Result<void> collapse_range(journal::Store& store, Ino ino, u64 offset, u64 bytes);
Result<void> insert_range(journal::Store& store, Ino ino, u64 offset, u64 bytes);

} // namespace pmemfile::data
