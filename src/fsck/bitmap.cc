// The allocation bitmap against what the walk found.

#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

// (used, meta) as a number: 0 free, 1 data, 2 free but formatted, 3 metadata.
constexpr u64 kFree = 0, kData = 1, kFormatted = 2, kMetadata = 3;

bool has_free_inode(Context& context, u64 block) { return context.inode_block(block).in_use != 0xffff; }

void check_formatted(Context& context, u64 block) {
  bool half_written = false; // one finding is enough
  for (unsigned i = 0; i < layout::kLinesPerBlock; ++i) {
    u64 offset = block * layout::kBlockBytes + i * layout::kLineBytes;
    layout::Line line = context.image.line(offset);
    // The next use goes on from the version, whatever else the line holds.
    if (!context.check_version(offset, 0, line) || line.valid()) continue;
    if (!half_written)
      context.find(Code::F1007, offset, 0, line.trailer,
                   layout::make_trailer(line.words, layout::trailer_version(line.trailer)));
    half_written = true;
  }
}

void check_block(Context& context, u64 block, u64 place, u64 state, bool inodes_free) {
  const layout::Geometry& geometry = context.geometry();
  if (block < geometry.data_start_block || block >= geometry.block_count) {
    if (state != kData || inodes_free) context.find(Code::F1006, place, 0, state, kData);
    return;
  }
  if ((state & 1) != 0) ++context.report.totals.blocks_used;
  Owner owner = context.owners.at(block);
  u64 offset = block * layout::kBlockBytes;
  // A set mark on a full block promises nothing; whoever searches it in vain clears it. A free inode without the mark
  // would never be found.
  bool inodes = owner == Owner::kInodes;
  if (inodes_free ? !inodes : inodes && has_free_inode(context, block))
    context.find(Code::F1004, offset, 0, inodes_free, !inodes_free);
  if (owner == Owner::kNobody) {
    if ((state & 1) != 0) context.find(Code::F1001, offset, 0, state, kFree);
    if (state == kFormatted) check_formatted(context, block);
    return;
  }
  u64 expected = owner == Owner::kData ? kData : kMetadata;
  if (state == expected) return;
  context.find((state & 1) == 0 ? Code::F1002 : Code::F1003, offset, 0, state, expected);
}

} // namespace

u64 bitmap_line_offset(const layout::Geometry& geometry, u64 index) {
  return geometry.bitmap_start_block * layout::kBlockBytes + index * layout::kLineBytes;
}

bool load_bitmap_line(Context& context, u64 index, BitmapLine& planes, bool report) {
  u64 offset = bitmap_line_offset(context.geometry(), index);
  layout::Line line = context.image.line(offset);
  if (!line.valid()) {
    // Unlike other lines, these can be made anew from everything else: the walk is complete without them.
    if (report)
      context.find(Code::F0301, offset, 0, line.trailer,
                   layout::make_trailer(line.words, layout::trailer_version(line.trailer)));
    return false;
  }
  for (unsigned i = 0; i < 2; ++i) {
    planes.used[i] = line.words[layout::kPlaneUsed + i];
    planes.meta[i] = line.words[layout::kPlaneMeta + i];
    planes.inodes_free[i] = line.words[layout::kPlaneInodesFree + i];
  }
  if (report) context.check_version(offset, 0, line);
  if (report && line.words[6] != 0) context.find(Code::F1005, offset, 0, line.words[6], 0);
  return true;
}

void check_bitmap(Context& context) {
  u64 lines = div_up(context.geometry().block_count, layout::kBlocksPerBitmapLine);
  for (u64 index = 0; index < lines; ++index) {
    if (index % 4096 == 0) context.progress("bitmap", index, lines);
    BitmapLine line;
    if (!load_bitmap_line(context, index, line, true)) continue;
    u64 place = bitmap_line_offset(context.geometry(), index);
    for (unsigned bit = 0; bit < layout::kBlocksPerBitmapLine; ++bit) {
      auto set = [&](const u64 (&plane)[2]) { return (plane[bit / 64] >> (bit % 64)) & 1; };
      check_block(context, index * layout::kBlocksPerBitmapLine + bit, place, set(line.used) | set(line.meta) << 1,
                  set(line.inodes_free) != 0);
    }
  }
  context.progress("bitmap", lines, lines);
}

} // namespace pmemfile::fsck
