// Directories: the shape of the trie.

#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

using layout::kTrieFanout;

constexpr u64 kPointerBits = layout::kBlockNoMask | u64{15} << 40 | u64{15} << 48;

class TrieWalk {
 public:
  TrieWalk(Context& context, const Inode& dir) : context_(context), dir_(dir) {}

  void walk() {
    u64 place = dir_.offset() + layout::inode_map_word(0);
    u64 root = dir_.map(0);
    if (root != 0) visit(root, 0, 0, place, true);
    while (depth_ != 0) step();
  }

 private:
  struct Level {
    u64 block = 0;
    u64 first_key = 0; // of index 0
    unsigned level = 0;
    unsigned next = 0;
    u64 words[layout::kPtrsPerNode];
  };

  static u64 keys_of_index(unsigned level) { // keys below one index of a node of this level
    return u64{1} << (layout::kKeyBits - layout::kTrieBits * (level + 1));
  }

  void not_canonical(const Level& level, unsigned index) {
    u64 place = level.block * layout::kBlockBytes + layout::node_word(index);
    context_.find(Code::F0606, place, dir_.ino, level.words[index], 0, place, Cut::kZeroWord);
  }

  void step() {
    Level& top = stack_[depth_ - 1];
    if (top.next >= kTrieFanout) {
      --depth_;
      return;
    }
    unsigned index = top.next;
    u64 pointer = top.words[index];
    u64 place = top.block * layout::kBlockBytes + layout::node_word(index);
    if (pointer == 0) {
      context_.find(Code::F0607, place, dir_.ino, 0, index);
      ++top.next;
      return;
    }
    unsigned depth = layout::trie_depth(pointer);
    unsigned width = depth <= layout::kTrieBits ? 1u << (layout::kTrieBits - depth) : 1;
    if (depth == 0 || depth > layout::kTrieBits || index % width != 0) {
      context_.find(Code::F0606, place, dir_.ino, pointer, index, place, Cut::kZeroWord);
      context_.walk_complete = false;
      ++top.next;
      return;
    }
    // The others of the range that this pointer stands for are not set.
    for (unsigned i = index + 1; i < index + width; ++i)
      if (top.words[i] != 0)
        not_canonical(top, i);
    top.next += width;
    visit(pointer, top.level, top.first_key + index * keys_of_index(top.level), place, false);
  }

  // A pointer in a node of `level` (or the root, as if in a level of one index that covers everything).
  void visit(u64 pointer, unsigned level, u64 first_key, u64 place, bool root) {
    u64 kind = layout::trie_kind(pointer), block = pointer & layout::kBlockNoMask;
    unsigned depth = layout::trie_depth(pointer);
    bool shaped = (pointer & ~kPointerBits) == 0 && kind >= layout::kTrieEmpty && kind <= layout::kTrieNode &&
                  (root ? depth == 0 : true) && (kind != layout::kTrieEmpty || block == 0) &&
                  (kind != layout::kTrieNode || root || depth == layout::kTrieBits);
    if (!shaped) {
      context_.find(Code::F0601, place, dir_.ino, pointer, 0, place, Cut::kEmptyPointer);
      context_.walk_complete = false;
      return;
    }
    if (kind == layout::kTrieEmpty) return;
    if (!context_.claim(block, Owner::kMeta, place, dir_.ino, Code::F0602, Cut::kEmptyPointer)) return;
    if (kind == layout::kTrieLeaf) {
      u64 keys = root ? u64{1} << layout::kKeyBits
                      : keys_of_index(level) << (layout::kTrieBits - depth);
      check_leaf(context_, dir_, block, place, level, first_key, first_key + (keys - 1));
      return;
    }
    enter(block, root ? 0 : level + 1, first_key, place, pointer);
  }

  void enter(u64 block, unsigned level, u64 first_key, u64 place, u64 pointer) {
    if (level >= layout::kTrieLevels) {
      context_.find(Code::F0601, place, dir_.ino, pointer, 0, place, Cut::kEmptyPointer);
      context_.walk_complete = false;
      return;
    }
    if (stack_.size() == depth_) stack_.emplace_back();
    Level& top = stack_[depth_];
    top.block = block;
    top.first_key = first_key;
    top.level = level;
    top.next = 0;
    if (!context_.load_block(block, dir_.ino, top.words)) return;
    constexpr u64 kIdentity = (layout::kLinesPerBlock - 1) * layout::kLineWords;
    u64 offset = block * layout::kBlockBytes + layout::kNodeIdentity;
    u64 identity = layout::kDirNodeMagic | u64{level} << 16;
    if (top.words[kIdentity] != identity)
      context_.find(Code::F0603, offset, dir_.ino, top.words[kIdentity], identity);
    if (top.words[kIdentity + 1] != dir_.ino)
      context_.find(Code::F0605, offset + 8, dir_.ino, top.words[kIdentity + 1], dir_.ino, place,
                    Cut::kEmptyPointer);
    ++depth_;
  }

  Context& context_;
  const Inode& dir_;
  std::vector<Level> stack_; // as deep as it had to be so far
  unsigned depth_ = 0;
};

} // namespace

void check_directory(Context& context, const Inode& inode) { TrieWalk(context, inode).walk(); }

} // namespace pmemfile::fsck
