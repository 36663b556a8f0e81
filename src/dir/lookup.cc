// Lock-free finding: by name and by key.
#include "dir/leaf.h"

namespace pmemfile::dir {
namespace {

// Reads the leaf that holds `key` with `body(view, leaf)`; ENOENT if the key has no leaf. What was read counts only if both
// the shape that led to the leaf and the leaf itself did not change: then both held at one moment. A split or removal
// later than that holds the leaf's stripe, so `proof` is the leaf's sequence; without a leaf it is the shape's.
template <class T, class Body>
Result<T> read_leaf_of(Store& store, Ino dir, u64 key, LookupProof& proof, Body&& body) {
  if (!store.inode_in_range(dir)) return Error(ESTALE);
  Reader shape(store, dir_stripe(store, dir));
  for (;; shape.begin()) {
    auto directory = check_directory(shape.view(), dir);
    auto place = find_place(shape.view(), dir, key);
    BlockNo block = directory.ok() && place.ok() ? place.value().leaf() : BlockNo{0};
    if (PMEMFILE_UNLIKELY(raw(block) == 0)) {
      proof = LookupProof{dir_stripe(store, dir), shape.sequence()};
      if (!shape.valid()) continue;
      if (!directory.ok()) return Error(directory.error());
      return Error(place.ok() ? ENOENT : place.error());
    }
    prefetch_tags(store, block);
    shm::LockKey stripe = leaf_stripe(store, block);
    Reader leaf(store, stripe);
    Result<T> result = body(leaf.view(), block);
    proof = LookupProof{stripe, leaf.sequence()};
    if (PMEMFILE_LIKELY(leaf.valid() && shape.valid())) return result;
  }
}

} // namespace

Result<Entry> lookup_proved(Store& store, Ino dir, std::string_view name, LookupProof& proof) {
  u64 hash_key = hash_key_of(store, name);
  return read_leaf_of<Entry>(store, dir, hash_key, proof, [&](const View& view, BlockNo leaf) -> Result<Entry> {
    Hit hit = TRY(find_name(view, leaf, dir, hash_key, name));
    if (!hit.found) return Error(ENOENT);
    return hit.entry;
  });
}

Result<Entry> lookup(Store& store, Ino dir, std::string_view name) {
  LookupProof proof;
  return lookup_proved(store, dir, name, proof);
}

Result<u32> name_of_key(Store& store, Ino dir, u64 key, char (&name)[256]) {
  if (key >= kKeyEnd) return Error(ENOENT);
  LookupProof proof;
  return read_leaf_of<u32>(store, dir, key, proof, [&](const View& view, BlockNo leaf) -> Result<u32> {
    TRY(check_leaf(view, leaf, dir));
    u64 entries = load_tags(view, leaf).mask_of(layout::tag_of_key(key));
    for (; entries != 0; entries &= entries - 1) {
      unsigned cell = static_cast<unsigned>(__builtin_ctzll(entries));
      if (view.load(cell_line(leaf, cell)) != key) continue;
      u64 about = view.load(cell_line(leaf, cell) + 8);
      TRY(check_cell(view, cell, about));
      copy_name(view, leaf, cell, about_name_bytes(about), name);
      return about_name_bytes(about);
    }
    return Error(ENOENT);
  });
}

} // namespace pmemfile::dir
