// Growth: a leaf without room is rewritten as two leaves, each with half of its keys.
//
// The old leaf stays as it was and is given back, or left to be, in the same operation. So an entry stands, unchanged, wherever the shape
// that a reader saw leads it, however far a stopped writer came with applying.
#include "alloc/alloc.h"
#include "dir/leaf.h"
#include "inode/inode.h"

namespace pmemfile::dir {
namespace {

// Which cells of an old leaf go into a new one, and where to.
struct Selection {
  static constexpr u8 kNothing = layout::kLeafCells;
  Tags tags{};
  u8 source[layout::kLeafCells]; // of each new cell
  unsigned cells = 0;            // in use
};

// A split halves the keys of a place, so this many are enough for any two keys that a split can part.
constexpr unsigned kMaxSplits = kTrieKeyBits;

// Where `count` cells of an entry go: near its home, or, when a long name would find no run that way, without gaps.
unsigned place_of(const Selection& out, u64 key, unsigned prefix_bits, unsigned count, bool packed) {
  if (!packed) return find_run(out.tags.free_cells(), count, home_cell(key, prefix_bits));
  return out.cells + count <= layout::kLeafCells ? out.cells : layout::kLeafCells;
}

// Entries whose key has the bits of `mask` as in `value`. False: they found no room; packed they do.
Result<bool> select(const View& view, BlockNo leaf, u64 mask, u64 value, unsigned prefix_bits, bool packed, Selection& out) {
  out.tags = Tags{};
  out.cells = 0;
  for (u8& source : out.source) source = Selection::kNothing;
  Tags tags = load_tags(view, leaf);
  for (u64 entries = tags.entries(); entries != 0; entries &= entries - 1) {
    unsigned cell = static_cast<unsigned>(__builtin_ctzll(entries));
    u64 key = view.load(cell_line(leaf, cell));
    if ((key & mask) != value) continue;
    u64 about = view.load(cell_line(leaf, cell) + 8);
    TRY(check_cell(view, cell, about));
    unsigned count = layout::cells_for_name(about_name_bytes(about));
    unsigned to = place_of(out, key, prefix_bits, count, packed);
    if (to == layout::kLeafCells) return packed ? Result<bool>(Error(kErrnoCorrupt)) : Result<bool>(false); // entries that overlap
    for (unsigned i = 0; i < count; ++i) {
      out.tags.set(to + i, tags.at(cell + i));
      out.source[to + i] = static_cast<u8>(cell + i);
    }
    out.cells += count;
  }
  return true;
}

Result<void> select(const View& view, BlockNo leaf, u64 mask, u64 value, unsigned prefix_bits, Selection& out) {
  if (TRY(select(view, leaf, mask, value, prefix_bits, false, out))) return {};
  TRY(select(view, leaf, mask, value, prefix_bits, true, out));
  return {};
}

// A new leaf with the selected entries; the pointer to it, or an empty one if there are none.
Result<u64> write_leaf(Tx& tx, Ino dir, BlockNo old, unsigned level, unsigned depth, const Selection& what) {
  if (what.cells == 0) return layout::trie_ptr(BlockNo{0}, layout::kTrieEmpty, depth);
  alloc::MetaBlock leaf = TRY(alloc::take_meta(tx));
  View view = tx.view();
  journal::write_fresh_block(tx, leaf.block, leaf.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    fill_leaf_head(line, words, dir, level, what.tags);
    if (line < layout::kLeafFirstCellLine || what.source[line - layout::kLeafFirstCellLine] == Selection::kNothing) return;
    PoolOff from = cell_line(old, what.source[line - layout::kLeafFirstCellLine]);
    for (unsigned i = 0; i < layout::kLineWords; ++i) words[i] = view.load(from + 8 * i);
  });
  return layout::trie_ptr(leaf.block, layout::kTrieLeaf, depth);
}

Result<u64> write_node(Tx& tx, Ino dir, unsigned level, unsigned depth, u64 low, u64 high) {
  alloc::MetaBlock node = TRY(alloc::take_meta(tx));
  constexpr u64 kHalf = layout::kTrieFanout / 2;
  journal::write_fresh_block(tx, node.block, node.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    if (line == 0) words[0] = low;
    if (line == kHalf / layout::kLineWords) words[kHalf % layout::kLineWords] = high;
    if (line == layout::kNodeIdentity / layout::kLineBytes) {
      words[0] = layout::kDirNodeMagic | u64{level} << 16;
      words[1] = raw(dir);
    }
  });
  return layout::trie_ptr(node.block, layout::kTrieNode, depth);
}

Result<void> split(Tx& tx, Ino dir, const Place& place, u64 key) {
  BlockNo old = place.leaf();
  u64 bit = place.span() / 2, first = place.first_key(key);
  u64 mask = (kKeyEnd - 1) & ~(bit - 1);
  Selection low, high;
  TRY(select(tx.view(), old, mask, first, place.prefix_bits + 1, low));
  TRY(select(tx.view(), old, mask, first + bit, place.prefix_bits + 1, high));
  if (low.cells + high.cells != layout::kLeafCells - static_cast<unsigned>(__builtin_popcountll(
                                     load_tags(tx.view(), old).free_cells())))
    return Error(kErrnoCorrupt); // keys that do not belong here: they would be lost
  bool deeper = !place.in_node || place.depth == layout::kTrieBits;
  unsigned level = deeper && place.in_node ? place.level + 1 : place.level;
  unsigned depth = deeper ? 1 : place.depth + 1;
  u64 low_pointer = TRY(write_leaf(tx, dir, old, level, depth, low));
  u64 high_pointer = TRY(write_leaf(tx, dir, old, level, depth, high));
  if (deeper) {
    tx.store(place.word, TRY(write_node(tx, dir, level, place.depth, low_pointer, high_pointer)));
  } else {
    BlockNo node{raw(place.word) / layout::kBlockBytes};
    TRY(check_node(tx.view(), node, dir, place.level));
    tx.store(place.word, low_pointer);
    tx.store(node_word(node, place.index + (layout::kTrieFanout >> depth)), high_pointer);
  }
  return inode::release_or_leave(tx, old, dir);
}

// The free cells are enough but scattered.
Result<void> compact(Tx& tx, Ino dir, const Place& place) {
  Selection all;
  if (!TRY(select(tx.view(), place.leaf(), 0, 0, place.prefix_bits, true, all))) return Error(kErrnoCorrupt);
  tx.store(place.word, TRY(write_leaf(tx, dir, place.leaf(), place.level, place.depth, all)));
  return inode::release_or_leave(tx, place.leaf(), dir);
}

// One step; true if there was room already.
Result<bool> grow_once(Tx& tx, Ino dir, std::string_view name) {
  Store& store = tx.store();
  u64 key = hash_key_of(store, name);
  TRY(tx.lock(dir_stripe(store, dir)));
  TRY(check_alive(tx.view(), dir));
  Place place = TRY(find_place(tx.view(), dir, key));
  if (raw(place.leaf()) == 0) return true; // insert makes the leaf
  TRY(tx.lock(leaf_stripe(store, place.leaf())));
  TRY(check_leaf(tx.view(), place.leaf(), dir));
  u64 free_cells = load_tags(tx.view(), place.leaf()).free_cells();
  unsigned free_count = static_cast<unsigned>(__builtin_popcountll(free_cells));
  unsigned wanted = layout::cells_for_name(name.size());
  if (find_run(free_cells, wanted) != layout::kLeafCells) return true;
  bool splittable = place.prefix_bits < kTrieKeyBits;
  // Half empty and yet without a run: two leaves would not be needed.
  if (free_count >= wanted && (!splittable || free_count >= layout::kLeafCells / 2)) {
    TRY(compact(tx, dir, place));
  } else if (splittable) {
    TRY(split(tx, dir, place, key));
  } else {
    return Error(ENOSPC); // more names of one hash than a leaf can hold
  }
  TRY(tx.commit());
  if (PMEMFILE_UNLIKELY(tx.leaves())) inode::forget_orphan(store);
  return false;
}

} // namespace

Result<void> make_room(Store& store, Ino dir, std::string_view name) {
  if (!store.inode_in_range(dir)) return Error(ESTALE);
  for (unsigned i = 0; i <= kMaxSplits; ++i) {
    bool enough = TRY(journal::run_tx(store, journal::Opcode::kSplit,
                                      [&](Tx& tx) -> Result<bool> { return grow_once(tx, dir, name); }));
    if (enough) return {};
  }
  return {}; // others fill it as fast: the caller comes again
}

} // namespace pmemfile::dir
