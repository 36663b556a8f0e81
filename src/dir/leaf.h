// Leaf: a block of up to 62 cells with names; what is in it and how a name is found.
//
// What it is: reading and staging of one leaf, internal to the room. Layout: docs/format.md ("Directories").
// Locks: all of a leaf is guarded by the leaf's stripe; readers validate it.
// Rules: hook-safe; general registers only: the tags of eight cells are compared in one word.
#pragma once

#include "dir/trie.h"

namespace pmemfile::dir {

inline constexpr unsigned kTagWords = 8;
inline constexpr u64 kCellMask = (u64{1} << layout::kLeafCells) - 1;
inline constexpr u64 kEachByte = 0x0101010101010101, kHighBits = 0x8080808080808080;

inline PoolOff tag_word(BlockNo leaf, unsigned index) { return block_offset(leaf) + layout::leaf_tag_word(index); }
inline PoolOff cell_line(BlockNo leaf, unsigned cell) {
  return block_offset(leaf) + (layout::kLeafFirstCellLine + cell) * layout::kLineBytes;
}
// Where word `index` (eight bytes) of the name in `cell` stands.
inline PoolOff name_word_offset(BlockNo leaf, unsigned cell, unsigned index) {
  constexpr unsigned kFirst = layout::kNameBytesFirstCell / 8;
  if (index < kFirst) return cell_line(leaf, cell) + 16 + 8 * index;
  unsigned rest = index - kFirst;
  return cell_line(leaf, cell + 1 + rest / layout::kLineWords) + 8 * (rest % layout::kLineWords);
}

// Bytes 8 index ... 8 index + 7 of the name, padded with zeros; never reads beyond the name.
inline u64 name_word(std::string_view name, unsigned index) {
  std::size_t at = std::size_t{8} * index, left = name.size() - at;
  u64 word = 0;
  if (left >= 8) {
    __builtin_memcpy(&word, name.data() + at, 8);
    return word;
  }
  if (name.size() >= 8) {
    __builtin_memcpy(&word, name.data() + name.size() - 8, 8);
    return word >> (8 * (8 - left));
  }
  for (std::size_t i = 0; i < left; ++i) word |= u64{static_cast<u8>(name[at + i])} << (8 * i);
  return word;
}

// Word 1 of a cell.
constexpr u64 make_about(Ino ino, u8 type, std::size_t name_bytes) {
  return raw(ino) | u64{type} << 40 | u64{name_bytes} << 48;
}
constexpr Ino about_ino(u64 about) { return Ino{about & layout::kBlockNoMask}; }
constexpr u8 about_type(u64 about) { return static_cast<u8>(about >> 40 & 15); }
constexpr unsigned about_name_bytes(u64 about) { return static_cast<unsigned>(about >> 48 & 255); }

// High bit of each byte of `word` that is zero. Exact: the shorter form that borrows from the byte above would take a
// freed cell, which still holds its name, for one in use.
inline u64 high_bits_of_zeros(u64 word) { return ~(((word & ~kHighBits) + ~kHighBits) | word) & kHighBits; }
// One bit a byte: is it zero?
inline u64 zero_bytes(u64 word) { return (high_bits_of_zeros(word) >> 7) * 0x0102040810204080 >> 56; }

// Private copy of a leaf's tags.
struct Tags {
  u64 words[kTagWords];

  u8 at(unsigned cell) const { return static_cast<u8>(words[cell / 8] >> (8 * (cell % 8))); }
  void set(unsigned cell, u8 tag) {
    unsigned shift = 8 * (cell % 8);
    words[cell / 8] = (words[cell / 8] & ~(u64{255} << shift)) | u64{tag} << shift;
  }
  u64 mask_of(u8 tag) const { // a bit for each cell
    u64 mask = 0;
    for (unsigned i = 0; i < kTagWords; ++i) mask |= zero_bytes(words[i] ^ (kEachByte * tag)) << (8 * i);
    return mask & kCellMask;
  }
  u64 free_cells() const { return mask_of(layout::kTagFree); }
  u64 entries() const { return ~mask_of(layout::kTagFree) & ~mask_of(layout::kTagContinued) & kCellMask; }
};
Tags load_tags(const View& view, BlockNo leaf);
// Is it a leaf of this directory? EUCLEAN.
Result<void> check_leaf(const View& view, BlockNo leaf, Ino dir);

// In a large directory the leaf is in no cache: asks for its first lines while its stripe is being read.
inline void prefetch_tags(const Store& store, BlockNo leaf) {
  __builtin_prefetch(store.medium.at(block_offset(leaf)));
  __builtin_prefetch(store.medium.at(block_offset(leaf) + layout::kLineBytes));
}
inline void prefetch_cell(const Store& store, BlockNo leaf, unsigned cell) {
  __builtin_prefetch(store.medium.at(cell_line(leaf, cell)));
}

// Where an entry stands if nothing is in its way: a leaf's cells stand for its range of keys. So a lookup can fetch the cell
// together with the tags, before it knows where the name is, and a listing finds the keys nearly in order. Nothing relies on it.
// In a directory of one leaf all homes are the first cell: what is in use stays together, and so do its tags.
inline unsigned home_cell(u64 key, unsigned prefix_bits) {
  if (prefix_bits == 0) return 0;
  u64 inside = key << (64 - layout::kKeyBits + prefix_bits); // prefix_bits <= kTrieKeyBits
  return static_cast<unsigned>((inside >> 32) * layout::kLeafCells >> 32);
}

// First of `count` free cells side by side, from `home` on if there are such, else the nearest before; kLeafCells if there
// are none.
inline unsigned find_run(u64 free_cells, unsigned count, unsigned home = 0) {
  for (unsigned i = 1; i < count; ++i) free_cells &= free_cells >> 1;
  if (free_cells == 0) return layout::kLeafCells;
  u64 behind = free_cells & (~u64{0} << home);
  return static_cast<unsigned>(behind != 0 ? __builtin_ctzll(behind) : 63 - __builtin_clzll(free_cells));
}

struct Hit {
  bool found = false;
  u32 cell = 0;
  Entry entry;
};
// Sets `hit.found`, and the rest if it is so. EUCLEAN.
Result<void> find_name(const View& view, BlockNo leaf, Ino dir, u64 hash_key, std::string_view name, Hit& hit);
// EUCLEAN if an entry that begins in `cell` cannot be: too long for what follows, or an inode out of range.
inline Result<void> check_cell(const View& view, unsigned cell, u64 about) {
  unsigned bytes = about_name_bytes(about);
  if (bytes == 0 || cell + layout::cells_for_name(bytes) > layout::kLeafCells) return Error(kErrnoCorrupt);
  if (!view.store().inode_in_range(about_ino(about))) return Error(kErrnoCorrupt);
  return {};
}
// `to` has room for the bytes rounded up to eight.
void copy_name(const View& view, BlockNo leaf, unsigned cell, unsigned bytes, char* to);

// What becomes of the words of line `index` of a new leaf: identity and tags (lines 0 and 1).
void fill_leaf_head(unsigned index, u64 (&words)[layout::kLineWords], Ino dir, unsigned level, const Tags& tags);

} // namespace pmemfile::dir
