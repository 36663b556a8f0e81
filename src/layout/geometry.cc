#include "layout/layout.h"

namespace pmemfile::layout {
namespace {

bool same_regions(const Geometry& a, const Geometry& b) {
  return a.record_start_block == b.record_start_block && a.record_slot_count == b.record_slot_count &&
         a.orphan_block == b.orphan_block && a.bitmap_start_block == b.bitmap_start_block &&
         a.bitmap_block_count == b.bitmap_block_count && a.data_start_block == b.data_start_block;
}

bool roots_in_place(const Geometry& geometry) {
  for (unsigned i = 0; i < kRootCount; ++i)
    if (geometry.root_ino[i] != raw(make_ino(BlockNo{geometry.data_start_block}, i))) return false;
  return true;
}

} // namespace

Result<Geometry> plan_geometry(u64 pool_bytes) {
  if (pool_bytes < kMinPoolBytes) return Error(EINVAL);
  if (pool_bytes > kMaxPoolBytes) return Error(EFBIG);
  Geometry g{};
  g.magic = kMagic;
  g.version_major = kVersionMajor;
  g.version_minor = kVersionMinor;
  g.version_patch = kVersionPatch;
  g.block_count = pool_bytes / kBlockBytes;
  g.record_start_block = kSuperblockCopies;
  // One slot for each operation under way at once; a 32nd of a small pool is the most it may cost.
  g.record_slot_count = min_of<u64>(max_of<u64>(g.block_count / 32, 2), kMaxRecordSlots);
  g.orphan_block = g.record_start_block + g.record_slot_count * kRecordAreasPerSlot;
  g.bitmap_start_block = g.orphan_block + 1;
  g.bitmap_block_count = div_up(g.block_count, kBlocksPerBitmapBlock);
  g.data_start_block = g.bitmap_start_block + g.bitmap_block_count;
  // The roots are the first inodes of the first block behind the fixed regions.
  for (unsigned i = 0; i < kRootCount; ++i)
    g.root_ino[i] = raw(make_ino(BlockNo{g.data_start_block}, i));
  return g;
}

GeometryFault check_geometry(const Geometry& geometry, u64 file_bytes) {
  if (geometry.magic != kMagic) return GeometryFault::kMagic;
  if (geometry.version_major != kVersionMajor) return GeometryFault::kVersion;
  if (geometry.crc != struct_crc(geometry)) return GeometryFault::kChecksum;
  if ((geometry.feature_incompat & ~kKnownIncompat) != 0) return GeometryFault::kFeature;
  if (geometry.block_count > kMaxPoolBytes / kBlockBytes || geometry.block_count > file_bytes / kBlockBytes)
    return GeometryFault::kSize;
  // The regions follow from the size, so there is only one right answer to compare with.
  auto planned = plan_geometry(geometry.block_count * kBlockBytes);
  if (!planned.ok()) return GeometryFault::kSize;
  if (!same_regions(geometry, planned.value()) || !roots_in_place(geometry)) return GeometryFault::kRegions;
  return GeometryFault::kNone;
}

const char* geometry_fault_text(GeometryFault fault) {
  switch (fault) {
    case GeometryFault::kNone: return "valid";
    case GeometryFault::kMagic: return "not a pmemfile pool (no magic number)";
    case GeometryFault::kVersion: return "a pool of another format version";
    case GeometryFault::kChecksum: return "superblock damaged (checksum)";
    case GeometryFault::kFeature: return "the pool uses features that this version does not know";
    case GeometryFault::kSize: return "file is smaller than the pool that it holds (truncated)";
    case GeometryFault::kRegions: return "superblock damaged (regions out of place)";
  }
  return "unknown";
}

} // namespace pmemfile::layout
