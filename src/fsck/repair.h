// Repair of what can be derived from the rest: superblock copies, replay, link counts, block counts, the bitmap.
//
// What it is: works on a private copy of the image and remembers every 64-byte piece that it changed, so that the
// caller can write an undo file first and the changes afterwards. Never takes anything away that something unreadable
// might own: where the structure itself is damaged, marks are only added.
// Rules: an ordinary program's code; the pool must be in nobody's use.
#pragma once

#include <array>
#include <map>

#include "fsck/check.h"

namespace pmemfile::fsck {

inline constexpr u64 kPieceBytes = 64;
using Piece = std::array<std::byte, kPieceBytes>;

struct Repair {
  std::map<u64, Piece> originals; // by offset: what was there before
  bool unknown_features = false;  // the pool may only be read by this version: nothing was changed
  u64 repaired = 0;               // findings mended
  std::vector<Finding> mended;    // these, up to Options::max_findings of them: also what only the repair brought to light
  bool structure_damaged = false; // so that only additions were made
  std::vector<u64> lost;          // inodes without a name, to be put into lost+found by the running code
};

// Changes `image` in place. The report is that of the check it began with.
Repair repair(std::span<std::byte> image, Report& report, const Options& options = {});

} // namespace pmemfile::fsck
