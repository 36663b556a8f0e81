// Block maps, symlinks, extended attributes.

#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

using layout::kPtrsPerNode;

// Blocks of file that one pointer at `height` above the data stands for.
u64 span_of(unsigned height) {
  u64 span = 1;
  for (; height != 0; --height) span *= kPtrsPerNode;
  return span;
}

class MapWalk {
 public:
  MapWalk(Context& context, const Inode& inode) : context_(context), inode_(inode) {
    u16 loose = layout::kFlagBeyondEof | layout::kFlagTruncating;
    if ((inode.flags() & loose) == 0) limit_ = div_up(min_of(inode.size(), layout::kMaxFileBytes), layout::kBlockBytes);
  }

  u64 walk() {
    u64 file_block = 0;
    for (unsigned i = 0; i < layout::kDirectCount; ++i, ++file_block)
      data(inode_.map(i), file_block, inode_.offset() + layout::inode_map_word(i));
    for (unsigned tree = 0; tree < layout::kTreeCount; ++tree) {
      unsigned index = layout::kDirectCount + tree;
      nodes(inode_.map(index), tree + 1, file_block, inode_.offset() + layout::inode_map_word(index));
      file_block += span_of(tree + 1);
    }
    return owned_;
  }
  u64 end() const { return end_; } // file block behind the last one that is there

 private:
  struct Level {
    u64 block = 0, first_file_block = 0;
    u64 next = 0; // pointer to look at
    u64 words[kPtrsPerNode];
  };

  bool defined_bits(u64 pointer, u64 place, bool node) {
    u64 allowed = layout::kBlockNoMask | (node ? 0 : layout::kPtrUnwritten);
    if ((pointer & ~allowed) == 0 && (pointer == 0 || (pointer & layout::kBlockNoMask) != 0)) return true;
    context_.find(Code::F0504, place, inode_.ino, pointer, pointer & allowed);
    context_.walk_complete = false;
    return false;
  }

  void data(u64 pointer, u64 file_block, u64 place) {
    if (pointer == 0 || !defined_bits(pointer, place, false)) return;
    if (!context_.claim(pointer & layout::kBlockNoMask, Owner::kData, place, inode_.ino, Code::F0501, Cut::kZeroWord)) return;
    ++owned_;
    end_ = file_block + 1; // visited in ascending order
    if (file_block >= limit_ && (pointer & layout::kPtrUnwritten) == 0)
      context_.find(Code::F0503, place, inode_.ino, file_block, limit_);
  }

  bool enter(u64 pointer, u64 first_file_block, u64 place, Level& level) {
    if (pointer == 0 || !defined_bits(pointer, place, true)) return false;
    u64 block = pointer & layout::kBlockNoMask;
    if (!context_.claim(block, Owner::kMeta, place, inode_.ino, Code::F0501, Cut::kZeroWord)) return false;
    ++owned_;
    level.block = block;
    level.first_file_block = first_file_block;
    level.next = 0;
    context_.load_block(block, inode_.ino, level.words);
    return true;
  }

  // A tree of `height` levels of nodes, with a stack of its own: at most five nodes.
  void nodes(u64 root, unsigned height, u64 first_file_block, u64 place) {
    if (root == 0) return; // most files: no room for nodes is made
    std::vector<Level> stack(height);
    if (!enter(root, first_file_block, place, stack[0])) return;
    unsigned depth = 0;
    for (;;) {
      Level& level = stack[depth];
      if (level.next == kPtrsPerNode) {
        if (depth-- == 0) return;
        continue;
      }
      u64 index = level.next++;
      u64 pointer = level.words[index];
      if (pointer == 0) continue;
      u64 here = level.block * layout::kBlockBytes + layout::node_word(index);
      u64 file_block = level.first_file_block + index * span_of(height - depth - 1);
      if (depth + 1 == height) data(pointer, file_block, here);
      else if (enter(pointer, file_block, here, stack[depth + 1])) ++depth;
    }
  }

  Context& context_;
  const Inode& inode_;
  u64 limit_ = ~u64{0}; // file blocks from here on must not be written ones
  u64 owned_ = 0, end_ = 0;
};

} // namespace

u64 check_map(Context& context, const Inode& inode) {
  MapWalk walk(context, inode);
  u64 owned = walk.walk();
  if (inode.size() > layout::kMaxFileBytes)
    context.find(Code::F0403, inode.offset() + layout::kInodeSize, inode.ino, inode.size(), walk.end() * layout::kBlockBytes);
  return owned;
}

void check_symlink(Context& context, const Inode& inode) {
  constexpr u64 kMaxTargetBytes = 4095; // PATH_MAX without the NUL
  u64 size = inode.size();
  if (size == 0 || size > kMaxTargetBytes)
    return context.find(Code::F0701, inode.offset() + layout::kInodeSize, inode.ino, size, kMaxTargetBytes);
  if (size > layout::kInlineTargetBytes) {
    // All of it lies in the first block.
    u64 block = inode.map(0); // a written one
    char target[kMaxTargetBytes];
    if (!context.allocatable(block)) return context.find(Code::F0701, inode.offset(), inode.ino, 0, size);
    context.image.copy(block * layout::kBlockBytes, target, size);
    if (auto* nul = static_cast<char*>(std::memchr(target, 0, size)))
      context.find(Code::F0702, block * layout::kBlockBytes, inode.ino, static_cast<u64>(nul - target), size);
    return;
  }
  u64 words[layout::kMapWords];
  for (unsigned i = 0; i < layout::kMapWords; ++i) words[i] = inode.map(i);
  auto* text = reinterpret_cast<const char*>(words);
  if (auto* nul = static_cast<const char*>(std::memchr(text, 0, size)))
    context.find(Code::F0702, inode.offset() + 128, inode.ino, static_cast<u64>(nul - text), size);
}

void check_xattr(Context& context, const Inode& inode) {
  u64 block = inode.xattr_block();
  if (!context.claim(block, Owner::kMeta, inode.offset() + layout::kInodeXattrBlock, inode.ino, Code::F0802, Cut::kZeroWord)) return;
  u64 words[kPtrsPerNode];
  if (!context.load_block(block, inode.ino, words) || (inode.flags() & layout::kFlagHolder) != 0) return;
  auto* bytes = reinterpret_cast<const u8*>(words);
  u64 at = 0;
  while (at + 4 <= layout::kXattrBytes) {
    u64 name = bytes[at] | bytes[at + 1] << 8, value = bytes[at + 2] | bytes[at + 3] << 8;
    if (name == 0) return;
    if (name > layout::kMaxNameBytes || at + 4 + name + value > layout::kXattrBytes ||
        std::memchr(bytes + at + 4, 0, name) != nullptr) {
      context.find(Code::F0801, block * layout::kBlockBytes, inode.ino, at, layout::kXattrBytes);
      return;
    }
    at += align_up(4 + name + value, 8);
  }
}

} // namespace pmemfile::fsck
