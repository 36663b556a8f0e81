// Becoming smaller: dropping empty leaves and nodes, proving that a directory is empty, giving a trie back.
#include "alloc/alloc.h"
#include "dir/leaf.h"
#include "inode/inode.h"

namespace pmemfile::dir {
namespace {

// Leaves dropped in one operation: with their bitmap lines and the directory they stay below kMaxHeldLocks.
constexpr unsigned kLeavesPerStep = 8;
static_assert(1 + 2 * kLeavesPerStep <= shm::kMaxHeldLocks);

// Empty leaves that may be locked to prove a directory empty; the caller of lock_empty holds many other stripes.
constexpr unsigned kMaxEmptyLeaves = 4;

enum class Step : u8 { kMore, kEmpty, kEntries };

bool is_empty_pointer(u64 pointer) { return pointer == 0 || layout::trie_kind(pointer) == layout::kTrieEmpty; }

bool leaf_is_empty(const View& view, BlockNo leaf) { return load_tags(view, leaf).free_cells() == kCellMask; }

// Where a pointer stood that is dropped now.
struct Dropped {
  PoolOff word{};
  BlockNo block{};
  u64 replacement = 0;
};

// What somebody stopped keeps from being freed goes to an inode without a name, unless the Tx is one that gives up then.
enum class Beside : u8 { kLeave, kOrFail };

Result<void> drop(Tx& tx, Ino dir, const Dropped& what, Beside beside) {
  tx.store(what.word, what.replacement);
  return beside == Beside::kLeave ? inode::release_or_leave(tx, what.block, dir) : alloc::release_meta(tx, what.block);
}

Result<void> commit(Tx& tx) {
  TRY(tx.commit());
  if (PMEMFILE_UNLIKELY(tx.leaves())) inode::forget_orphan(tx.store());
  return {};
}

u64 empty_pointer(u64 pointer) {
  return layout::trie_ptr(BlockNo{0}, layout::kTrieEmpty, layout::trie_depth(pointer));
}

Result<Step> drop_root_leaf(Tx& tx, Ino dir, u64 pointer, Beside beside) {
  BlockNo leaf = layout::ptr_block(pointer);
  if (!tx.store().data_block(leaf)) return Error(kErrnoCorrupt);
  TRY(tx.lock(leaf_stripe(tx.store(), leaf)));
  TRY(check_leaf(tx.view(), leaf, dir));
  if (!leaf_is_empty(tx.view(), leaf)) return Step::kEntries;
  TRY(drop(tx, dir, Dropped{root_word(dir), leaf, 0}, beside));
  TRY(commit(tx));
  return Step::kEmpty;
}

// Drops the empty leaves of `node` from `index` on, up to the first that is not empty, is busy, or is a node.
Result<Step> drop_leaves(Tx& tx, Ino dir, BlockNo node, unsigned index, Beside beside) {
  Store& store = tx.store();
  Dropped found[kLeavesPerStep];
  unsigned count = 0;
  bool entries = false;
  unsigned most = tx.leaves() ? 1 : kLeavesPerStep; // the record has room for few inodes
  for (; index < layout::kTrieFanout && count < most; ++index) {
    PoolOff word = node_word(node, index);
    u64 pointer = tx.load(word);
    if (is_empty_pointer(pointer)) continue;
    if (layout::trie_kind(pointer) != layout::kTrieLeaf) break;
    BlockNo leaf = layout::ptr_block(pointer);
    if (!store.data_block(leaf)) return Error(kErrnoCorrupt);
    if (count == 0) {
      TRY(tx.lock(leaf_stripe(store, leaf)));
    } else if (!tx.holds(leaf_stripe(store, leaf)) && !tx.try_lock(leaf_stripe(store, leaf))) {
      break; // not worth waiting: the next step begins with it
    }
    TRY(check_leaf(tx.view(), leaf, dir));
    entries = !leaf_is_empty(tx.view(), leaf);
    if (entries) break;
    found[count++] = Dropped{word, leaf, empty_pointer(pointer)};
  }
  for (unsigned i = 0; i < count; ++i) TRY(drop(tx, dir, found[i], beside));
  if (count != 0) TRY(commit(tx));
  return entries ? Step::kEntries : Step::kMore;
}

// Index of the first pointer in `node` that leads to a block; kTrieFanout if there is none.
unsigned first_in_use(const View& view, BlockNo node) {
  unsigned index = 0;
  while (index < layout::kTrieFanout && is_empty_pointer(view.load(node_word(node, index)))) ++index;
  return index;
}

// Takes away what stands first in the order of keys: some leaves of one node, or a node without any.
Result<Step> prune_once(Tx& tx, Ino dir, Beside beside) {
  TRY(tx.lock(dir_stripe(tx.store(), dir)));
  TRY(check_directory(tx.view(), dir));
  PoolOff word = root_word(dir);
  u64 pointer = tx.load(word);
  if (is_empty_pointer(pointer)) return Step::kEmpty;
  if (layout::trie_kind(pointer) == layout::kTrieLeaf) return drop_root_leaf(tx, dir, pointer, beside);
  for (unsigned level = 0; level < layout::kTrieLevels; ++level) {
    if (layout::trie_kind(pointer) != layout::kTrieNode) break;
    BlockNo node = layout::ptr_block(pointer);
    TRY(check_node(tx.view(), node, dir, level));
    unsigned index = first_in_use(tx.view(), node);
    if (index == layout::kTrieFanout) {
      TRY(drop(tx, dir, Dropped{word, node, level == 0 ? 0 : empty_pointer(pointer)}, beside));
      TRY(commit(tx));
      return level == 0 ? Step::kEmpty : Step::kMore;
    }
    word = node_word(node, index);
    pointer = tx.load(word);
    if (layout::trie_kind(pointer) == layout::kTrieLeaf) return drop_leaves(tx, dir, node, index, beside);
  }
  return Error(kErrnoCorrupt);
}

// The pool cannot hold more leaves and nodes than blocks, and each step that goes on frees at least one.
Result<Step> prune(Store& store, Ino dir, Beside beside) {
  if (!store.inode_in_range(dir)) return Error(ESTALE);
  for (u64 i = 0; i < store.geometry.block_count; ++i) {
    Step step = TRY(journal::run_tx(store, journal::Opcode::kFree,
                                    [&](Tx& tx) -> Result<Step> {
                                      if (beside == Beside::kOrFail) tx.hurry(Tx::Hurry::kOrFail);
                                      return prune_once(tx, dir, beside);
                                    }));
    if (step != Step::kMore) return step;
  }
  return Error(kErrnoCorrupt);
}

// Calls body(leaf) for each leaf in order of keys, as long as it returns no error. The shape is held.
template <class Body>
Result<void> for_each_leaf(const View& view, Ino dir, Body&& body) {
  u64 steps_left = view.store().geometry.block_count * (layout::kTrieFanout + 1);
  for (u64 key = 0; key < kKeyEnd;) {
    if (steps_left-- == 0) return Error(kErrnoCorrupt); // nodes that lead back to themselves
    Place place = TRY(find_place(view, dir, key));
    if (raw(place.leaf()) != 0) TRY(body(place.leaf()));
    key = place.first_key(key) + place.span();
  }
  return {};
}

bool seen_empty(Store& store, BlockNo leaf) {
  return journal::read_consistent(store, leaf_stripe(store, leaf),
                                  [&](const View& view) { return leaf_is_empty(view, leaf); });
}

} // namespace

Result<void> lock_empty(Tx& tx, Ino dir) {
  Store& store = tx.store();
  TRY(tx.lock(dir_stripe(store, dir)));
  TRY(check_directory(tx.view(), dir));
  // First without locks: most directories that are not empty are found out here, at their first leaf.
  unsigned leaves = 0;
  TRY(for_each_leaf(tx.view(), dir, [&](BlockNo leaf) -> Result<void> {
    if (!seen_empty(store, leaf)) return Error(ENOTEMPTY);
    if (++leaves > kMaxEmptyLeaves) return Error(journal::kRecordFull);
    return {};
  }));
  return for_each_leaf(tx.view(), dir, [&](BlockNo leaf) -> Result<void> {
    TRY(tx.lock(leaf_stripe(store, leaf)));
    TRY(check_leaf(tx.view(), leaf, dir));
    if (!leaf_is_empty(tx.view(), leaf)) return Error(ENOTEMPTY);
    return {};
  });
}

Result<void> shrink(Store& store, Ino dir) {
  TRY(prune(store, dir, Beside::kLeave));
  return {};
}

Result<void> free_trie(Store& store, Ino dir) {
  Step end = TRY(prune(store, dir, Beside::kOrFail));
  if (end == Step::kEntries) return Error(kErrnoCorrupt); // names in a directory that nothing leads to
  return {};
}

Result<void> release_trie(Tx& tx, Ino dir) {
  PoolOff word = root_word(dir);
  u64 pointer = tx.load(word);
  if (pointer == 0) return {};
  if (layout::trie_kind(pointer) == layout::kTrieNode) return Error(journal::kRecordFull);
  if (layout::trie_kind(pointer) == layout::kTrieLeaf) {
    BlockNo leaf = layout::ptr_block(pointer);
    if (!tx.store().data_block(leaf)) return Error(kErrnoCorrupt);
    TRY(tx.lock(leaf_stripe(tx.store(), leaf)));
    TRY(check_leaf(tx.view(), leaf, dir));
    if (!leaf_is_empty(tx.view(), leaf)) return Error(kErrnoCorrupt);
    TRY(alloc::release_meta(tx, leaf));
  }
  tx.store(word, 0);
  return {};
}

} // namespace pmemfile::dir
