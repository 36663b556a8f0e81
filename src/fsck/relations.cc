// Between inodes: orphan lists, what nothing leads to, link counts.

#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

using layout::kInodesPerBlock;

bool has_contents(const Inode& inode) {
  if (inode.blocks() != 0 || inode.xattr_block() != 0) return true;
  if (inode.type() == kTypeDir) return inode.map(0) != 0;
  if (inode.type() != kTypeFile && inode.size() <= layout::kInlineTargetBytes) return false;
  for (unsigned i = 0; i < layout::kMapWords; ++i)
    if (inode.map(i) != 0) return true;
  return false;
}

void check_list(Context& context, unsigned list) {
  u64 place = context.geometry().orphan_block * layout::kBlockBytes + list * layout::kLineBytes;
  layout::Line head;
  if (!context.load_line(place, 0, head)) return;
  u64 ino = head.words[0];
  // Each inode is entered once, so the walk ends.
  while (ino != 0) {
    if (!reach_inode(context, ino, place, 0, Cut::kZeroWord)) {
      context.find(Code::F0901, place, 0, ino, 0, place, Cut::kZeroWord);
      return;
    }
    InodeBlock& block = context.inode_block(ino / kInodesPerBlock);
    u16 bit = u16(1u << (ino % kInodesPerBlock));
    Inode inode;
    bool readable = context.load_inode(ino, inode);
    unsigned named = layout::orphan_list(Ino{ino}, inode.flags());
    if ((block.orphans & bit) != 0) return context.find(Code::F0902, place, ino, list, named, place, Cut::kZeroWord);
    block.orphans |= bit;
    if (!readable) return;
    if (inode.mode() == 0) return context.find(Code::F0901, place, 0, ino, 0, place, Cut::kZeroWord);
    ++context.report.totals.orphans;
    if (named != list)
      context.find(Code::F0903, inode.offset(), ino, list, named, place, Cut::kZeroWord);
    if ((inode.flags() & layout::kFlagOrphan) == 0)
      context.find(Code::F0904, inode.offset(), ino, inode.flags(), layout::kFlagOrphan);
    // Who leaves its list as a dead one is not looked at again.
    if ((inode.flags() & layout::kFlagDead) != 0 && has_contents(inode))
      context.find(Code::F0905, inode.offset(), ino, inode.flags(), inode.flags() & ~layout::kFlagDead);
    place = inode.offset() + layout::kInodeNextOrphan;
    ino = inode.next_orphan();
  }
}

// Does a block that is marked as metadata in use, and that nobody owns, hold inodes?
bool looks_like_inodes(const Context& context, u64 block, bool marked_inodes_free) {
  if (marked_inodes_free) return true;
  for (unsigned i = 0; i < kInodesPerBlock; ++i) {
    u64 offset = block * layout::kBlockBytes + i * layout::kInodeBytes;
    layout::Line attributes = context.image.line(offset), identity = context.image.line(offset + layout::kLineBytes);
    if (attributes.valid() && identity.valid() && (identity.words[0] & 0xffff) == layout::kInodeMagic &&
        (attributes.words[0] & 0xffff) != 0)
      return true;
  }
  return false;
}

void adopt_inode_blocks(Context& context) {
  u64 lines = div_up(context.geometry().block_count, layout::kBlocksPerBitmapLine);
  for (u64 index = 0; index < lines; ++index) {
    BitmapLine line;
    if (!load_bitmap_line(context, index, line, false)) continue;
    for (unsigned bit = 0; bit < layout::kBlocksPerBitmapLine; ++bit) {
      u64 block = index * layout::kBlocksPerBitmapLine + bit;
      auto set = [&](const u64 (&plane)[2]) { return (plane[bit / 64] >> (bit % 64) & 1) != 0; };
      if (!set(line.used) || !set(line.meta) || !context.allocatable(block)) continue;
      if (context.owners.at(block) != Owner::kNobody) continue;
      if (!looks_like_inodes(context, block, set(line.inodes_free))) continue;
      // Reaching any inode claims and scans the block; a free one adds nothing else.
      InodeBlock& made = context.inode_block(block);
      made.visited = 0xffff; // nothing is visited before all are known
      reach_inode(context, block * kInodesPerBlock, block * layout::kBlockBytes, 0);
      context.inode_block(block).visited = 0;
    }
  }
}

template <class Body>
void for_each_inode(Context& context, Body&& body) {
  for (std::size_t i = 0; i < context.inode_blocks.size(); ++i)
    for (unsigned index = 0; index < kInodesPerBlock; ++index) body(i, index, u16(1u << index));
}

// Reaches the inodes in use that nothing has led to, of the blocks that are known to hold inodes.
void reach_lost(Context& context, std::vector<u64>& lost) {
  std::size_t known = lost.size();
  for_each_inode(context, [&](std::size_t i, unsigned index, u16 bit) {
    InodeBlock& block = context.inode_blocks[i];
    if ((block.in_use & bit) != 0 && (block.visited & bit) == 0) lost.push_back(block.block * kInodesPerBlock + index);
  });
  for (std::size_t i = known; i < lost.size(); ++i) reach_inode(context, lost[i], lost[i] * layout::kInodeBytes, lost[i]);
  visit_pending(context);
}

// A lost directory with a name: climbs to what it hangs on. True if that is no inode without a name, so it is a ring.
bool hangs_on_ring(Context& context, u64 start) {
  std::vector<u64> path;
  u64 ino = start;
  bool ring = false;
  for (;;) {
    if (!context.inode_in_range(ino) || context.owners.at(ino / kInodesPerBlock) != Owner::kInodes) break;
    InodeBlock& block = context.inode_block(ino / kInodesPerBlock);
    unsigned index = ino % kInodesPerBlock;
    u16 bit = u16(1u << index);
    // `anchored` ends every later climb here; on the way it marks this climb's own path.
    if ((block.anchored & bit) != 0) {
      for (u64 seen : path) ring |= seen == ino;
      break;
    }
    block.anchored |= bit;
    path.push_back(ino);
    Inode inode;
    if (block.references[index] == 0 || !context.load_inode(ino, inode)) break;
    ino = inode.parent();
  }
  return ring;
}

} // namespace

void check_orphans(Context& context) {
  for (InodeBlock& block : context.inode_blocks) block.anchored = block.visited;
  for (unsigned list = 0; list < layout::kOrphanLists; ++list) check_list(context, list);
  visit_pending(context);
}

// What has links leaves its list when the pool comes to rest, and must hang on something else then. At this point what the roots lead to is anchored.
static void find_listed_rings(Context& context) {
  for_each_inode(context, [&](std::size_t i, unsigned index, u16 bit) {
    const InodeBlock& block = context.inode_blocks[i];
    if ((block.orphans & bit) == 0 || (block.anchored & bit) != 0 || block.references[index] == 0) return;
    Inode inode;
    u64 ino = block.block * kInodesPerBlock + index;
    if (context.load_inode(ino, inode) && inode.type() == kTypeDir && hangs_on_ring(context, ino))
      context.find(Code::F0409, inode.offset() + layout::kInodeParent, ino, inode.parent(), 0);
  });
}

void find_unreachable(Context& context) {
  find_listed_rings(context);
  // What the roots and the lists lead to is no part of a ring.
  for (InodeBlock& block : context.inode_blocks) block.anchored = block.visited;
  std::vector<u64> lost;
  // Before anything is adopted: what these own holds no inodes, whatever it looks like.
  reach_lost(context, lost);
  adopt_inode_blocks(context);
  reach_lost(context, lost);
  for (u64 ino : lost) {
    InodeBlock& block = context.inode_block(ino / kInodesPerBlock);
    Inode inode;
    if (!context.load_inode(ino, inode)) continue;
    if (block.references[ino % kInodesPerBlock] == 0)
      context.find(Code::F0408, inode.offset(), ino, inode.mode(), 0);
    else if (inode.type() == kTypeDir && hangs_on_ring(context, ino))
      context.find(Code::F0409, inode.offset() + layout::kInodeParent, ino, inode.parent(), 0);
  }
}

void check_links(Context& context) {
  for_each_inode(context, [&](std::size_t i, unsigned index, u16 bit) {
    const InodeBlock& block = context.inode_blocks[i];
    if ((block.in_use & block.visited & bit) == 0) return;
    Inode inode;
    u64 ino = block.block * kInodesPerBlock + index;
    if (!context.load_inode(ino, inode)) return;
    u32 references = block.references[index];
    bool root = (block.roots & bit) != 0, listed = (block.orphans & bit) != 0;
    if (root && inode.type() != kTypeDir) context.find(Code::F0412, inode.offset(), ino, inode.mode(), kTypeDir);
    u32 expected = references;
    if (inode.type() == kTypeDir) expected = root || references != 0 ? 2 + block.subdirectories[index] : 0;
    bool lost = !root && !listed && references == 0; // F0408 has said it
    // What a list holds until its last user is gone has no links. This one had a name, and was being truncated.
    if (!root && listed && references == 0 && inode.links() != 0) {
      context.find(Code::F0408, inode.offset(), ino, inode.mode(), 0);
      lost = true;
    }
    if (inode.links() != expected && !lost)
      context.find(Code::F0405, inode.offset(), ino, inode.links(), expected);
    // Recovery frees what has no links, and refuses a pool where a directory would take its entries along.
    if (listed && inode.links() == 0 && (block.with_entries & bit) != 0)
      context.find(Code::F0906, inode.offset(), ino, inode.links(), 0);
    // Flags of what is in a list, and those of an inode without a name: a root is reached without one.
    constexpr u16 kNameless = layout::kFlagDead | layout::kFlagFreeing | layout::kFlagHolder;
    bool stale = !listed && (inode.flags() & (layout::kFlagOrphan | layout::kFlagList | layout::kFlagTruncating | kNameless)) != 0;
    if (stale || ((root || references != 0) && (inode.flags() & kNameless) != 0))
      context.find(Code::F0410, inode.offset(), ino, inode.flags(), 0);
  });
  // A root must be in use at all.
  for (u64 ino : context.geometry().root_ino) {
    Inode inode;
    if (context.load_inode(ino, inode) && inode.mode() == 0) context.find(Code::F0412, inode.offset(), ino, 0, kTypeDir);
  }
}

} // namespace pmemfile::fsck
