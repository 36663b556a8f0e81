// Inodes: identity, mode, flags; reaching them through names.

#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

using layout::kInodesPerBlock;

constexpr u16 kKnownFlags = layout::kFlagOrphan | layout::kFlagTruncating | layout::kFlagBeyondEof | layout::kFlagDead |
                            layout::kFlagUnnamed | layout::kFlagFreeing | layout::kFlagHolder | layout::kFlagList;

// What has no size to be cut to cannot be brought to its end, and its pool not be attached.
u16 possible_flags(u32 type) { return type == kTypeFile ? kKnownFlags : kKnownFlags & ~layout::kFlagTruncating; }

bool known_type(u32 type) {
  switch (type) {
    case kTypeFifo: case kTypeChar: case kTypeDir: case kTypeBlock: case kTypeFile: case kTypeLink: case kTypeSocket:
      return true;
    default:
      return false;
  }
}

// Reads a whole block of inodes once: who is in use, and whether the free ones are empty.
void scan_block(Context& context, InodeBlock& block) {
  for (unsigned i = 0; i < kInodesPerBlock; ++i) {
    Inode inode;
    u64 ino = block.block * kInodesPerBlock + i;
    if (!context.load_inode(ino, inode)) {
      block.in_use |= u16(1u << i); // unreadable: not to be called free
      continue;
    }
    if (inode.mode() != 0) {
      block.in_use |= u16(1u << i);
      ++context.report.totals.inodes_used;
      continue;
    }
    for (unsigned line = 0; line < 4; ++line)
      for (unsigned word = 0; word < layout::kLineWords; ++word)
        if (inode.words[line][word] != 0) {
          context.find(Code::F0406, inode.offset() + line * layout::kLineBytes + word * 8, ino,
                       inode.words[line][word], 0);
          line = 4;
          break;
        }
  }
}

void check_empty_map(Context& context, const Inode& inode) {
  for (unsigned i = 0; i < layout::kMapWords; ++i)
    if (inode.map(i) != 0) {
      context.find(Code::F0411, inode.offset() + layout::inode_map_word(i), inode.ino, inode.map(i), 0);
      return;
    }
}

void visit_inode(Context& context, u64 ino) {
  Inode inode;
  if (!context.load_inode(ino, inode)) return;
  if (inode.mode() == 0) return; // whoever led here has said so
  if ((inode.identity() & 0xffff) != layout::kInodeMagic)
    context.find(Code::F0401, inode.offset() + layout::kInodeIdentity, ino, inode.identity() & 0xffff,
                 layout::kInodeMagic);
  if (u16 possible = possible_flags(inode.type()); (inode.flags() & ~possible) != 0)
    context.find(Code::F0407, inode.offset(), ino, inode.flags(), inode.flags() & possible);
  if (!known_type(inode.type())) {
    context.find(Code::F0402, inode.offset(), ino, inode.mode(), 0);
    context.walk_complete = false;
    return;
  }
  u64 owned = 0;
  if (inode.type() != kTypeFile && inode.type() != kTypeLink && inode.size() > layout::kMaxFileBytes)
    context.find(Code::F0403, inode.offset() + layout::kInodeSize, ino, inode.size(), 0);
  if (inode.type() == kTypeDir) {
    ++context.report.totals.directories;
    check_directory(context, inode); // the blocks of its trie are not counted: inserts do not touch the inode
  } else if (inode.type() == kTypeFile) {
    owned = check_map(context, inode);
  } else if (inode.type() == kTypeLink) {
    if (inode.size() > layout::kInlineTargetBytes) owned = check_map(context, inode);
    check_symlink(context, inode);
  } else {
    check_empty_map(context, inode);
  }
  if (inode.blocks() != owned)
    context.find(Code::F0404, inode.offset() + layout::kInodeBlocks, ino, inode.blocks(), owned);
  if (inode.xattr_block() != 0) check_xattr(context, inode);
}

} // namespace

InodeBlock& Context::inode_block(u64 block) {
  auto [position, fresh] = inode_block_index.try_emplace(block, static_cast<u32>(inode_blocks.size()));
  if (fresh) {
    inode_blocks.emplace_back();
    inode_blocks.back().block = block;
  }
  return inode_blocks[position->second];
}

bool Context::load_inode(u64 ino, Inode& inode) {
  inode.ino = ino;
  bool whole = true;
  for (unsigned i = 0; i < 4; ++i) {
    layout::Line line = image.line(inode.offset() + i * layout::kLineBytes);
    whole &= line.valid();
    std::memcpy(inode.words[i], line.words, sizeof line.words);
  }
  return whole;
}

// Makes `ino` known and queues it; false if it is out of range or its block belongs to somebody else.
bool reach_inode(Context& context, u64 ino, u64 place, u64 from_ino, Cut cut) {
  if (!context.inode_in_range(ino)) {
    context.find(Code::F0413, place, from_ino, ino, 0, place, cut);
    context.walk_complete = false;
    return false;
  }
  u64 number = ino / kInodesPerBlock;
  Owner owner = context.owners.at(number);
  if (owner != Owner::kInodes) {
    if (!context.claim(number, Owner::kInodes, place, from_ino, Code::F0413, cut)) return false;
    // Every line of the block is looked at here, once.
    for (unsigned i = 0; i < layout::kLinesPerBlock; ++i) {
      layout::Line line;
      context.load_line(number * layout::kBlockBytes + i * layout::kLineBytes, number * kInodesPerBlock + i / 4, line);
    }
    scan_block(context, context.inode_block(number));
  }
  InodeBlock& block = context.inode_block(number);
  u16 bit = u16(1u << (ino % kInodesPerBlock));
  if ((block.visited & bit) == 0) {
    block.visited |= bit;
    context.pending.push_back(ino);
  }
  return true;
}

void visit_pending(Context& context) {
  u64 done = 0;
  while (!context.pending.empty()) {
    u64 ino = context.pending.back();
    context.pending.pop_back();
    visit_inode(context, ino);
    if (++done % 4096 == 0) context.progress("inodes", done, done + context.pending.size());
  }
}

void note_entry(Context& context, u64 dir, u64 place, u64 key, u64 ino, unsigned type) {
  context.inode_block(dir / kInodesPerBlock).with_entries |= u16(1u << (dir % kInodesPerBlock));
  if (!reach_inode(context, ino, place, dir, Cut::kDropEntry)) return;
  if (auto hunted = context.hunted.find(ino); hunted != context.hunted.end()) hunted->second = place;
  unsigned index = ino % kInodesPerBlock;
  u16 bit = u16(1u << index);
  InodeBlock& block = context.inode_block(ino / kInodesPerBlock);
  Inode child;
  if (!context.load_inode(ino, child)) { // reported with its line
    context.named_types.emplace(ino, type);
    return;
  }
  if (child.mode() == 0) return context.find(Code::F0615, place, dir, ino, 0);
  if (type != child.type() >> 12) context.find(Code::F0616, place, dir, type, child.type() >> 12);
  ++block.references[index];
  if (child.type() != kTypeDir) return;
  if ((block.roots & bit) != 0) context.find(Code::F0620, place, dir, ino, 0);
  if ((block.directories & bit) != 0) return context.find(Code::F0617, place, dir, ino, 0);
  block.directories |= bit;
  ++context.inode_block(dir / kInodesPerBlock).subdirectories[dir % kInodesPerBlock];
  if (child.parent() != dir)
    context.find(Code::F0618, child.offset() + layout::kInodeParent, ino, child.parent(), dir);
  if (child.parent_key() != key)
    context.find(Code::F0619, child.offset() + layout::kInodeParentKey, ino, child.parent_key(), key);
}

} // namespace pmemfile::fsck
