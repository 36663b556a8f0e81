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
  const u64* in_place = view.block_in_place(block_offset(node));
  u64 pointer = 0;
  unsigned cleared = 0;
  if (PMEMFILE_LIKELY(in_place != nullptr)) {
    // Mostly it is one of the first three. Which, nobody can predict: all are read, and none decides a branch.
    auto at = [&](unsigned which) { return load_relaxed(in_place[layout::node_word(which) / 8]); };
    u64 first = at(index), second = at(index & ~1u), third = at(index & ~3u);
    u64 no_first = u64{0} - u64{first == 0}, no_second = no_first & (u64{0} - u64{second == 0});
    pointer = first | (second & no_first) | (third & no_second);
    cleared = static_cast<unsigned>((no_first & 1) + (no_second & 1));
  }
  unsigned candidate = index & ~0u << cleared;
  for (; pointer == 0; ++cleared, candidate &= ~0u << cleared) {
    if (cleared > layout::kTrieBits) return Error(kErrnoCorrupt);
    u64 offset = layout::node_word(candidate);
    pointer = PMEMFILE_LIKELY(in_place != nullptr) ? load_relaxed(in_place[offset / 8]) : view.load(block_offset(node) + offset);
    if (pointer != 0) break;
  }
  unsigned depth = layout::trie_depth(pointer);
  if (!valid_in_node(pointer, candidate) || depth + cleared > layout::kTrieBits) return Error(kErrnoCorrupt);
  place.pointer = pointer;
  place.word = node_word(node, candidate);
  place.index = candidate;
  place.depth = depth;
  return {};
}

} // namespace

Result<void> check_directory(const View& view, Ino dir) {
  if (!view.store().inode_in_range(dir)) return Error(ESTALE);
  u32 mode = view.load(layout::inode_offset(dir) + layout::kInodeModeWord) & 0xffff;
  if (mode == 0) return Error(ESTALE);
  if ((mode & kModeType) != kModeDirectory) return Error(ENOTDIR);
  return {};
}

Result<void> check_alive(const View& view, Ino dir, u64 identity) {
  TRY(check_directory(view, dir));
  if (view.load(layout::inode_offset(dir) + layout::kInodeModeWord) >> 32 == 0) return Error(ESTALE);
  u64 its = view.load(layout::inode_offset(dir) + layout::kInodeIdentity);
  if ((its & 0xffff) != layout::kInodeMagic) return Error(kErrnoCorrupt);
  if (PMEMFILE_UNLIKELY(identity != 0 && its != identity)) return Error(ESTALE);
  return {};
}

Result<void> find_place(const View& view, Ino dir, u64 key, Place& place) {
  place = Place{};
  place.word = root_word(dir);
  u64 pointer = view.load(place.word);
  for (unsigned level = 0; layout::trie_kind(pointer) == layout::kTrieNode; ++level) {
    BlockNo node = layout::ptr_block(pointer);
    if (level == layout::kTrieLevels || !view.store().data_block(node)) return Error(kErrnoCorrupt);
    TRY(step_down(view, node, layout::trie_index(key, level), place));
    pointer = place.pointer;
    place.level = level;
    place.prefix_bits = layout::kTrieBits * level + place.depth;
    place.in_node = true;
  }
  place.pointer = pointer;
  if (pointer == 0 || layout::trie_kind(pointer) == layout::kTrieEmpty) return {};
  if (layout::trie_kind(pointer) != layout::kTrieLeaf) return Error(kErrnoCorrupt);
  if (!view.store().data_block(layout::ptr_block(pointer))) return Error(kErrnoCorrupt);
  return {};
}

Result<void> check_node(const View& view, BlockNo node, Ino dir, unsigned level) {
  if (level >= layout::kTrieLevels || !view.store().data_block(node)) return Error(kErrnoCorrupt);
  PoolOff identity = block_offset(node) + layout::kNodeIdentity;
  if (view.load(identity) != (layout::kDirNodeMagic | u64{level} << 16)) return Error(kErrnoCorrupt);
  if (view.load(identity + 8) != raw(dir)) return Error(kErrnoCorrupt);
  return {};
}

} // namespace pmemfile::dir
