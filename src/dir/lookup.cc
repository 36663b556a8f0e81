// Lock-free finding: by name and by key.
#include "dir/leaf.h"

namespace pmemfile::dir {
namespace {

// Reads the leaf that holds `key` with `body(view, leaf)`; ENOENT if the key has no leaf. What was read counts only if both
// the shape that led to the leaf and the leaf itself did not change: then both held at one moment. A split or removal
// later than that holds the leaf's stripe, so `proof` is the leaf's sequence; without a leaf it is the shape's.
template <class Body>
Result<void> read_leaf_of(Store& store, Ino dir, u64 key, LookupProof& proof, Body&& body) {
  if (!store.inode_in_range(dir)) return Error(ESTALE);
  Reader shape(store, dir_stripe(store, dir));
  Place place;
  for (;; shape.begin()) {
    auto directory = check_directory(shape.view(), dir);
    auto placed = find_place(shape.view(), dir, key, place);
    BlockNo block = directory.ok() && placed.ok() ? place.leaf() : BlockNo{0};
    if (PMEMFILE_UNLIKELY(raw(block) == 0)) {
      proof = LookupProof{dir_stripe(store, dir), shape.sequence()};
      if (!shape.valid()) continue;
      if (!directory.ok()) return Error(directory.error());
      return Error(placed.ok() ? ENOENT : placed.error());
    }
    prefetch_tags(store, block);
    prefetch_cell(store, block, home_cell(key, place.prefix_bits));
    shm::LockKey stripe = leaf_stripe(store, block);
    Reader leaf(store, stripe);
    Result<void> result = body(leaf.view(), block);
    proof = LookupProof{stripe, leaf.sequence()};
    if (PMEMFILE_LIKELY(leaf.valid() && shape.valid())) return result;
  }
}

} // namespace

Result<void> lookup_proved(Store& store, Ino dir, std::string_view name, LookupProof& proof, Entry& entry) {
  u64 hash_key = hash_key_of(store, name);
  return read_leaf_of(store, dir, hash_key, proof, [&](const View& view, BlockNo leaf) -> Result<void> {
    Hit hit;
    TRY(find_name(view, leaf, dir, hash_key, name, hit));
    if (!hit.found) return Error(ENOENT);
    entry = hit.entry;
    return {};
  });
}

Result<Entry> lookup(Store& store, Ino dir, std::string_view name) {
  LookupProof proof;
  Entry entry;
  TRY(lookup_proved(store, dir, name, proof, entry));
  return entry;
}

Result<u32> name_of_key(Store& store, Ino dir, u64 key, char (&name)[256]) {
  if (key >= kKeyEnd) return Error(ENOENT);
  LookupProof proof;
  u32 bytes = 0;
  TRY(read_leaf_of(store, dir, key, proof, [&](const View& view, BlockNo leaf) -> Result<void> {
    TRY(check_leaf(view, leaf, dir));
    u64 entries = load_tags(view, leaf).mask_of(layout::tag_of_key(key));
    for (; entries != 0; entries &= entries - 1) {
      unsigned cell = static_cast<unsigned>(__builtin_ctzll(entries));
      if (view.load(cell_line(leaf, cell)) != key) continue;
      u64 about = view.load(cell_line(leaf, cell) + 8);
      TRY(check_cell(view, cell, about));
      bytes = about_name_bytes(about);
      copy_name(view, leaf, cell, bytes, name);
      return {};
    }
    return Error(ENOENT);
  }));
  return bytes;
}

} // namespace pmemfile::dir
