#include "dir/trie.h"

namespace pmemfile::dir {
namespace {

constexpr u32 kModeType = 0170000, kModeDirectory = 0040000;

// A pointer as it may stand in a node at `index`. Where `index` lies in the range of another pointer there is a 0.
bool valid_in_node(u64 pointer, unsigned index) {
  unsigned depth = layout::trie_depth(pointer);
  if (depth < 1 || depth > layout::kTrieBits) return false;
  if ((index & ((1u << (layout::kTrieBits - depth)) - 1)) != 0) return false;
  return layout::trie_kind(pointer) != layout::kTrieNode || depth == layout::kTrieBits;
}

// The pointer in `node` that covers `index`. It stands at the index itself or at one with some low bits cleared; since
// the ranges do not overlap, the first that is set is the one.
Result<void> step_down(const View& view, BlockNo node, unsigned index, Place& place) {
  for (unsigned cleared = 0; cleared <= layout::kTrieBits; ++cleared) {
    unsigned candidate = index & ~((1u << cleared) - 1) & (layout::kTrieFanout - 1);
    PoolOff word = node_word(node, candidate);
    u64 pointer = view.load(word);
    if (pointer == 0) continue;
    unsigned depth = layout::trie_depth(pointer);
    if (!valid_in_node(pointer, candidate) || depth + cleared > layout::kTrieBits) return Error(kErrnoCorrupt);
    place.pointer = pointer;
    place.word = word;
    place.index = candidate;
    place.depth = depth;
    return {};
  }
  return Error(kErrnoCorrupt);
}

} // namespace

Result<void> check_directory(const View& view, Ino dir) {
  if (!view.store().inode_in_range(dir)) return Error(ESTALE);
  u32 mode = view.load(layout::inode_offset(dir) + layout::kInodeModeWord) & 0xffff;
  if (mode == 0) return Error(ESTALE);
  if ((mode & kModeType) != kModeDirectory) return Error(ENOTDIR);
  return {};
}

Result<void> check_alive(const View& view, Ino dir) {
  TRY(check_directory(view, dir));
  if (view.load(layout::inode_offset(dir) + layout::kInodeModeWord) >> 32 == 0) return Error(ESTALE);
  u64 identity = view.load(layout::inode_offset(dir) + layout::kInodeIdentity);
  if ((identity & 0xffff) != layout::kInodeMagic) return Error(kErrnoCorrupt);
  return {};
}

Result<Place> find_place(const View& view, Ino dir, u64 key) {
  Place place;
  place.word = root_word(dir);
  place.pointer = view.load(place.word);
  for (unsigned level = 0; layout::trie_kind(place.pointer) == layout::kTrieNode; ++level) {
    BlockNo node = layout::ptr_block(place.pointer);
    if (level == layout::kTrieLevels || !view.store().data_block(node)) return Error(kErrnoCorrupt);
    TRY(step_down(view, node, layout::trie_index(key, level), place));
    place.level = level;
    place.prefix_bits = layout::kTrieBits * level + place.depth;
    place.in_node = true;
  }
  if (place.pointer == 0 || layout::trie_kind(place.pointer) == layout::kTrieEmpty) return place;
  if (layout::trie_kind(place.pointer) != layout::kTrieLeaf) return Error(kErrnoCorrupt);
  if (!view.store().data_block(layout::ptr_block(place.pointer))) return Error(kErrnoCorrupt);
  return place;
}

Result<void> check_node(const View& view, BlockNo node, Ino dir, unsigned level) {
  if (level >= layout::kTrieLevels || !view.store().data_block(node)) return Error(kErrnoCorrupt);
  PoolOff identity = block_offset(node) + layout::kNodeIdentity;
  if (view.load(identity) != (layout::kDirNodeMagic | u64{level} << 16)) return Error(kErrnoCorrupt);
  if (view.load(identity + 8) != raw(dir)) return Error(kErrnoCorrupt);
  return {};
}

} // namespace pmemfile::dir
