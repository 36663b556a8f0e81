// One entry: find and lock its place, add, remove, replace it in an operation.
#include "alloc/alloc.h"
#include "dir/leaf.h"

namespace pmemfile::dir {
namespace {

// The leaf of `key`, its stripe held; 0 if there is none, then the directory's stripe is held instead, so that none
// comes into being.
Result<BlockNo> lock_leaf(Tx& tx, Ino dir, u64 identity, u64 key, u32& prefix_bits) {
  Store& store = tx.store();
  shm::LockKey shape_key = dir_stripe(store, dir);
  if (!tx.holds(shape_key)) {
    // Not taking the directory's stripe is what lets many create names in one directory at once.
    Reader shape(store, shape_key);
    BlockNo locked{0};
    for (;; shape.begin()) {
      auto alive = check_alive(shape.view(), dir, identity);
      Place place;
      auto placed = find_place(shape.view(), dir, key, place);
      if (!alive.ok() || !placed.ok()) {
        if (shape.valid()) return Error(alive.ok() ? placed.error() : alive.error());
        continue;
      }
      BlockNo leaf = place.leaf();
      if (raw(leaf) == 0) break;
      prefix_bits = place.prefix_bits;
      // The stripe of a leaf that is not ours any more cannot be given back alone: start over without it.
      if (raw(locked) != 0 && leaf != locked) return Error(journal::kRetryTx);
      prefetch_tags(store, leaf);
      prefetch_cell(store, leaf, home_cell(key, prefix_bits));
      TRY(tx.lock(leaf_stripe(store, leaf)));
      if (shape.valid()) return leaf;
      locked = leaf;
    }
    TRY(tx.lock(shape_key));
  }
  TRY(check_alive(tx.view(), dir, identity));
  Place place = TRY(find_place(tx.view(), dir, key));
  prefix_bits = place.prefix_bits;
  if (raw(place.leaf()) != 0) TRY(tx.lock(leaf_stripe(store, place.leaf())));
  return place.leaf();
}

// Stages the words of a cell and of those that continue it.
void store_cell(Tx& tx, BlockNo leaf, unsigned cell, u64 key, u64 about, std::string_view name) {
  tx.store(cell_line(leaf, cell), key);
  tx.store(cell_line(leaf, cell) + 8, about);
  unsigned words = static_cast<unsigned>(div_up(name.size(), 8));
  for (unsigned i = 0; i < words; ++i) tx.store(name_word_offset(leaf, cell, i), name_word(name, i));
}

void store_tags(Tx& tx, BlockNo leaf, Tags& tags, unsigned cell, unsigned count, u8 first, u8 further) {
  for (unsigned i = 0; i < count; ++i) tags.set(cell + i, i == 0 ? first : further);
  for (unsigned word = cell / 8; word <= (cell + count - 1) / 8; ++word)
    tx.store(tag_word(leaf, word), tags.words[word]);
}

// The lowest key of this hash that no entry of the leaf has. ENOSPC when all 64 are taken.
Result<u64> free_key(const View& view, BlockNo leaf, const Tags& tags, u64 hash_key) {
  u64 taken = 0;
  u64 entries = tags.mask_of(layout::tag_of_key(hash_key));
  for (; PMEMFILE_UNLIKELY(entries != 0); entries &= entries - 1) {
    u64 key = view.load(cell_line(leaf, static_cast<unsigned>(__builtin_ctzll(entries))));
    if (key >> 6 == hash_key >> 6) taken |= u64{1} << (key & 63);
  }
  if (~taken == 0) return Error(ENOSPC);
  return hash_key | static_cast<u64>(__builtin_ctzll(~taken));
}

// A key without a leaf gets one that holds the new entry from the start.
Result<u64> insert_into_new_leaf(Tx& tx, const Place& place, Slot& slot, std::string_view name, u64 about) {
  alloc::MetaBlock leaf = TRY(alloc::take_meta(tx));
  unsigned cells = layout::cells_for_name(name.size());
  Tags tags{};
  unsigned first = find_run(kCellMask, cells, home_cell(slot.hash_key, place.prefix_bits));
  for (unsigned i = 0; i < cells; ++i) tags.set(first + i, i == 0 ? layout::tag_of_key(slot.hash_key) : layout::kTagContinued);
  journal::write_fresh_block(tx, leaf.block, leaf.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    fill_leaf_head(line, words, slot.dir, place.level, tags);
    unsigned cell = line - layout::kLeafFirstCellLine - first; // of the entry; huge for lines before it
    if (cell >= cells) return;
    unsigned at = cell == 0 ? 0 : 5 + (cell - 1) * layout::kLineWords; // first word of the name in this cell
    unsigned word = cell == 0 ? 2 : 0;
    if (cell == 0) words[0] = slot.hash_key, words[1] = about;
    for (; word < layout::kLineWords && 8 * at < name.size(); ++word, ++at) words[word] = name_word(name, at);
  });
  tx.store(place.word, layout::trie_ptr(leaf.block, layout::kTrieLeaf, place.depth));
  return slot.hash_key;
}

} // namespace

Result<void> lock_entry(Tx& tx, Ino dir, std::string_view name, Slot& slot, u64 identity) {
  if (!tx.store().inode_in_range(dir)) return Error(ESTALE);
  slot.dir = dir;
  slot.hash_key = hash_key_of(tx.store(), name);
  slot.leaf = TRY(lock_leaf(tx, dir, identity, slot.hash_key, slot.prefix_bits));
  slot.found = false;
  if (raw(slot.leaf) == 0) return {};
  Hit hit;
  TRY(find_name(tx.view(), slot.leaf, dir, slot.hash_key, name, hit));
  slot.found = hit.found;
  slot.cell = hit.cell;
  slot.entry = hit.entry;
  return {};
}

Result<u64> insert(Tx& tx, Slot& slot, std::string_view name, Ino ino, u8 type) {
  u64 about = make_about(ino, type, name.size());
  if (raw(slot.leaf) == 0) {
    Place place = TRY(find_place(tx.view(), slot.dir, slot.hash_key));
    if (raw(place.leaf()) == 0) return insert_into_new_leaf(tx, place, slot, name, about);
    // This operation itself made the leaf, for another name.
    TRY(tx.lock(leaf_stripe(tx.store(), place.leaf())));
    slot.leaf = place.leaf();
    slot.prefix_bits = place.prefix_bits;
  }
  Tags tags = load_tags(tx.view(), slot.leaf);
  unsigned cells = layout::cells_for_name(name.size());
  unsigned cell = find_run(tags.free_cells(), cells, home_cell(slot.hash_key, slot.prefix_bits));
  if (cell == layout::kLeafCells) return Error(kNeedsRoom);
  u64 key = TRY(free_key(tx.view(), slot.leaf, tags, slot.hash_key));
  store_cell(tx, slot.leaf, cell, key, about, name);
  store_tags(tx, slot.leaf, tags, cell, cells, layout::tag_of_key(key), layout::kTagContinued);
  return key;
}

Result<void> remove(Tx& tx, const Slot& slot) {
  View view = tx.view();
  u64 about = view.load(cell_line(slot.leaf, slot.cell) + 8);
  TRY(check_cell(view, slot.cell, about));
  unsigned cells = layout::cells_for_name(about_name_bytes(about));
  Tags tags = load_tags(view, slot.leaf);
  for (unsigned i = 1; i < cells; ++i)
    if (tags.at(slot.cell + i) != layout::kTagContinued) return Error(kErrnoCorrupt);
  store_tags(tx, slot.leaf, tags, slot.cell, cells, layout::kTagFree, layout::kTagFree);
  return {};
}

Result<void> replace(Tx& tx, const Slot& slot, Ino ino, u8 type) {
  PoolOff word = cell_line(slot.leaf, slot.cell) + 8;
  tx.store(word, make_about(ino, type, about_name_bytes(tx.load(word))));
  return {};
}

} // namespace pmemfile::dir
