#include "vfs/superblock.h"

#include "layout/state.h"
#include "pmem/map.h"

namespace pmemfile::vfs {

layout::GeometryFault read_geometry(int fd, u64 file_bytes, layout::Geometry* geometry) {
  auto fault = layout::GeometryFault::kMagic;
  for (u64 copy = 0; copy < layout::kSuperblockCopies; ++copy) {
    layout::Geometry found{};
    auto count = pmem::read_bytes(fd, copy * layout::kBlockBytes, &found, sizeof found);
    auto verdict = layout::GeometryFault::kMagic;
    if (count.ok() && count.value() == sizeof found) verdict = layout::check_geometry(found, file_bytes);
    if (verdict == layout::GeometryFault::kNone) {
      *geometry = found;
      return verdict;
    }
    // What is wrong with the first copy says more, unless there is none at all.
    if (fault == layout::GeometryFault::kMagic) fault = verdict;
  }
  return fault;
}

namespace {

PoolOff state_offset(u64 copy) { return PoolOff{copy * layout::kBlockBytes + layout::kStateOffset}; }

} // namespace

Result<layout::State> read_state(const pmem::Medium& medium) {
  layout::State best{};
  for (u64 copy = 0; copy < layout::kSuperblockCopies; ++copy) {
    layout::State state;
    __builtin_memcpy(&state, medium.at(state_offset(copy)), sizeof state);
    if (layout::state_valid(state) && state.sequence > best.sequence) best = state;
  }
  if (best.sequence == 0) return Error(kErrnoCorrupt);
  return best;
}

void write_state(const pmem::Medium& medium, layout::State state) {
  ++state.sequence;
  state.crc = layout::struct_crc(state);
  PoolOff at = state_offset(state.sequence % layout::kSuperblockCopies);
  auto* words = reinterpret_cast<const u64*>(&state);
  for (u64 i = 0; i < sizeof state / 8; ++i) pmem::store_word(medium, at + 8 * i, words[i]);
  pmem::flush(medium, at, sizeof state);
  pmem::fence(medium);
}

} // namespace pmemfile::vfs
