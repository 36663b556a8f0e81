// Trie: from a key to the leaf that holds it, and the words that say so.
//
// What it is: the shape of a directory as docs/format.md ("Directories") defines it; internal to the room.
// Locks: the shape (map word 0 of the inode, nodes) is guarded by the directory's inode stripe. Who takes a leaf out of
// its place holds the leaf's stripe, too: so whoever holds a leaf's stripe and finds the shape unchanged since it found
// the leaf knows that the leaf stays.
// Rules: hook-safe. Every word read is checked here before it is used; nothing loops without a bound.
#pragma once

#include "dir/dir.h"

namespace pmemfile::dir {

using journal::block_offset;
using journal::Reader;
using journal::Store;
using journal::Tx;
using journal::View;

inline constexpr u64 kKeyEnd = u64{1} << layout::kKeyBits; // first number that is no key
// Bits of a key that the trie can tell apart; entries that agree in all of them share a leaf.
inline constexpr unsigned kTrieKeyBits = layout::kTrieBits * layout::kTrieLevels;

inline shm::LockKey dir_stripe(const Store& store, Ino dir) { return shm::inode_key(store.segment, dir); }
inline shm::LockKey leaf_stripe(const Store& store, BlockNo leaf) { return shm::leaf_key(store.segment, leaf); }

inline u64 hash_key_of(const Store& store, std::string_view name) {
  return layout::key_of_hash(siphash13(store.hash_key(), name.data(), name.size()));
}
inline PoolOff root_word(Ino dir) { return layout::inode_offset(dir) + layout::inode_map_word(0); }
inline PoolOff node_word(BlockNo node, unsigned index) { return block_offset(node) + layout::node_word(index); }

// The trie pointer that stands for a key.
struct Place {
  u64 pointer = 0;
  PoolOff word{};      // where it stands
  u32 index = 0;       // its own index in the node; 0 for the root
  u32 level = 0;       // of the node; 0 for the root
  u32 depth = 0;       // 0 for the root, 1 ... 8 in a node
  u32 prefix_bits = 0; // leading bits that all keys of this place share
  bool in_node = false;

  BlockNo leaf() const {
    return layout::trie_kind(pointer) == layout::kTrieLeaf ? layout::ptr_block(pointer) : BlockNo{0};
  }
  // Keys of this place: [first_key(key), first_key(key) + span()), for any `key` of it.
  u64 span() const { return u64{1} << (layout::kKeyBits - prefix_bits); }
  u64 first_key(u64 key) const { return align_down(key, span()); }
};

// ESTALE: the inode is free; ENOTDIR.
Result<void> check_directory(const View& view, Ino dir);
// The same for who wants to add or remove names: a removed directory that is still open is ESTALE as well.
Result<void> check_alive(const View& view, Ino dir, u64 identity = 0);
// Into the caller's room, as each lookup needs it; with an error nothing of it counts.
Result<void> find_place(const View& view, Ino dir, u64 key, Place& place);
inline Result<Place> find_place(const View& view, Ino dir, u64 key) {
  Place place;
  TRY(find_place(view, dir, key, place));
  return place;
}
// Before a node is changed: is it what its pointer says? EUCLEAN.
Result<void> check_node(const View& view, BlockNo node, Ino dir, unsigned level);

} // namespace pmemfile::dir
