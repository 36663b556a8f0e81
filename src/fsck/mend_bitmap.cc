// The allocation bitmap is made anew from what the walk found.

#include "fsck/editor.h"

namespace pmemfile::fsck {
namespace {

void mend_line(Editor& editor, Context& context, u64 index, bool only_add) {
  const layout::Geometry& geometry = context.geometry();
  u64 offset = bitmap_line_offset(geometry, index);
  layout::Line line = editor.line(offset);
  if (!line.valid()) {
    // Nothing is known: in use, as far as something unreadable might own it.
    std::memset(line.words, 0, sizeof line.words);
    if (only_add) line.words[layout::kPlaneUsed] = line.words[layout::kPlaneUsed + 1] = ~u64{0};
  }
  layout::Line right = line;
  right.words[6] = 0;
  for (unsigned bit = 0; bit < layout::kBlocksPerBitmapLine; ++bit) {
    u64 block = index * layout::kBlocksPerBitmapLine + bit, mask = u64{1} << bit % 64;
    unsigned half = bit / 64;
    auto put = [&](unsigned plane, bool value) {
      u64& word = right.words[plane + half];
      word = value ? word | mask : word & ~mask;
    };
    bool used = (line.words[layout::kPlaneUsed + half] & mask) != 0;
    if (!context.allocatable(block)) {
      put(layout::kPlaneUsed, true), put(layout::kPlaneMeta, false), put(layout::kPlaneInodesFree, false);
      continue;
    }
    Owner owner = context.owners.at(block);
    if (owner == Owner::kNobody) {
      if (!used) put(layout::kPlaneInodesFree, false);
      if (only_add || !used) continue;
      // All records are void, so that a block may go straight back to the free ones.
      put(layout::kPlaneUsed, false), put(layout::kPlaneMeta, false), put(layout::kPlaneInodesFree, false);
      continue;
    }
    put(layout::kPlaneUsed, true);
    put(layout::kPlaneMeta, owner != Owner::kData);
    if (owner != Owner::kInodes) put(layout::kPlaneInodesFree, false);
    else if (context.inode_block(block).in_use != 0xffff) put(layout::kPlaneInodesFree, true);
  }
  if (std::memcmp(right.words, line.words, sizeof line.words) != 0 || !editor.line(offset).valid() ||
      layout::trailer_version(line.trailer) >= kWornInRepair)
    editor.write_words(offset, right);
}

} // namespace

void mend_bitmap(Editor& editor, Context& context, bool only_add) {
  u64 lines = div_up(context.geometry().block_count, layout::kBlocksPerBitmapLine);
  for (u64 index = 0; index < lines; ++index) mend_line(editor, context, index, only_add);
}

} // namespace pmemfile::fsck
