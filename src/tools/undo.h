// The undo file of a repair: what was there before, in pieces of 64 bytes.
#pragma once

#include <string>

#include "fsck/repair.h"
#include "tools/common.h"

namespace pmemfile::tools {

// Written and synced before the pool is changed. Nothing: done; else what went wrong.
std::optional<std::string> write_undo(const std::string& path, const layout::Geometry& geometry,
                                      const std::map<u64, fsck::Piece>& originals);
// Puts everything back.
std::optional<std::string> apply_undo(const std::string& path, PoolFile& pool);
// Stores pieces of `image` into the pool and makes them durable.
void store_pieces(PoolFile& pool, const std::map<u64, fsck::Piece>& pieces);

} // namespace pmemfile::tools
