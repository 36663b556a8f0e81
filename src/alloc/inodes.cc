// Inode numbers: sixteen to a metadata block, found again through the bitmap's third plane.
#include "alloc/alloc.h"
#include "alloc/bitmap.h"
#include "shm/hints.h"

namespace pmemfile::alloc {
namespace {

using journal::Tx;

u64 mode_word(const View& view, Ino ino) { return view.load(layout::inode_offset(ino) + layout::kInodeModeWord); }

// Only blocks of inodes have the bit, and it is cleared only by who holds the stripes of all sixteen: under the stripe
// of one of them a set bit stays set.
bool holds_inodes(const View& view, BlockNo block) {
  return load_plane(view, line_of_block(block), layout::kPlaneInodesFree).test(bit_of_block(block));
}

// A free inode of the block, its stripe locked; Ino{0} if none can be had now. Begins behind the one that this process took
// last: those before are in use, mostly.
Ino take_from_block(Tx& tx, BlockNo block) {
  Store& store = tx.store();
  View view = tx.view();
  if (!store.data_block(block) || !holds_inodes(view, block)) return Ino{0};
  Store::Cursors& cursors = store.cursors(tx.slot());
  u64 first = load_relaxed(cursors.inode_index);
  for (u64 i = 0; i < layout::kInodesPerBlock; ++i) {
    unsigned index = static_cast<unsigned>((first + i) % layout::kInodesPerBlock);
    Ino ino = layout::make_ino(block, index);
    if (mode_word(view, ino) != 0 || !tx.try_lock(shm::inode_key(store.segment, ino))) continue;
    if (mode_word(view, ino) != 0 || !holds_inodes(view, block)) continue;
    store_relaxed(cursors.inode_index, u64{index + 1});
    return ino;
  }
  return Ino{0};
}

// A Tx::RetryAction, run when the block that this process allocates from seems full: clears its bit, if all sixteen are
// in use, so that nobody searches it again, and forgets it. Costs the caller a restart every sixteenth inode.
Result<void> note_full(Tx& tx) {
  Store& store = tx.store();
  Store::Cursors& cursors = store.cursors(tx.slot());
  BlockNo block{load_relaxed(cursors.inode_block)};
  store_relaxed(cursors.inode_block, u64{0});
  if (!store.data_block(block) || !holds_inodes(tx.view(), block)) return {};
  for (unsigned i = 0; i < layout::kInodesPerBlock; ++i) {
    Ino ino = layout::make_ino(block, i);
    // Busy or free after all: the bit may stay, it promises nothing.
    if (!tx.try_lock(shm::inode_key(store.segment, ino)) || mode_word(tx.view(), ino) == 0) return {};
  }
  u64 line = line_of_block(block);
  if (!holds_inodes(tx.view(), block) || !tx.try_lock(line_key(store, line))) return {};
  Bits bits = load_plane(tx.view(), line, layout::kPlaneInodesFree);
  store_plane(tx, line, layout::kPlaneInodesFree, bits & ~Bits::range(bit_of_block(block), 1));
  return tx.commit();
}

// Does another thread of this process allocate from it? Threads that make files side by side would meet in the lines of inodes and stripes.
bool is_of_others(Store& store, u32 slot, BlockNo block) {
  const Store::Cursors& own = store.cursors(slot);
  for (const Store::Cursors& cursors : store.cursor_sets)
    if (&cursors != &own && load_relaxed(cursors.inode_block) == raw(block)) return true;
  return false;
}

enum class Of : u8 { kNobody, kAnybody };

BlockNo find_inode_block(Tx& tx, u64 start, Of whose, Ino* ino) {
  BlockNo found{};
  search_lines(tx.store(), start, shm::kHintNoInodes, false, shm::kHintNoInodes, [&](u64 line) {
    Looked looked = found_nothing(tx, line);
    Bits bits = load_plane(tx.view(), line, layout::kPlaneInodesFree);
    for (u32 bit = bits.next(0); bit < 128; bit = bits.next(bit + 1)) {
      if (whose == Of::kNobody && is_of_others(tx.store(), tx.slot(), block_of(line, bit))) {
        looked = Looked::kSomething;
        continue;
      }
      *ino = take_from_block(tx, block_of(line, bit));
      if (*ino == Ino{0}) {
        // In somebody's hands, or full: when one of its inodes is freed, the bitmap does not change, and nobody would hear of it.
        looked = Looked::kSomething;
        continue;
      }
      found = block_of(line, bit);
      return Looked::kDone;
    }
    return looked;
  });
  return found;
}

Result<Ino> take_from_new_block(Tx& tx, MetaBlock fresh) {
  Store& store = tx.store();
  u64 line = line_of_block(fresh.block);
  Bits bits = load_plane(tx.view(), line, layout::kPlaneInodesFree);
  store_plane(tx, line, layout::kPlaneInodesFree, bits | Bits::range(bit_of_block(fresh.block), 1));
  journal::write_fresh_block(tx, fresh.block, fresh.was_meta, [](unsigned, u64(&)[layout::kLineWords]) {});
  Ino ino = layout::make_ino(fresh.block, 0);
  TRY(tx.lock(shm::inode_key(store.segment, ino)));
  store_relaxed(store.cursors(tx.slot()).inode_block, raw(fresh.block));
  return ino;
}

// Waits for nobody; Ino{0} if there is neither an inode nor a block to be had. The block is the one that this thread goes on with.
Result<Ino> take_unlike_others(Tx& tx, Ino near) {
  Store& store = tx.store();
  u64 start = min_of(line_of_block(layout::ino_block(near)), line_count(store) - 1);
  Ino ino{};
  BlockNo block = find_inode_block(tx, start, Of::kNobody, &ino);
  if (block == BlockNo{0}) {
    MetaBlock fresh = TRY(take_spare_meta(tx));
    if (fresh.block != BlockNo{0}) return take_from_new_block(tx, fresh);
    block = find_inode_block(tx, start, Of::kAnybody, &ino);
  }
  if (block != BlockNo{0}) store_relaxed(store.cursors(tx.slot()).inode_block, raw(block));
  return ino;
}

// Are the other inodes of its block free, and their stripes ours? Not asked of the block that this process allocates
// from: a program that makes and removes one file again and again would format a block each time.
bool whole_block_free(Tx& tx, Ino ino) {
  Store& store = tx.store();
  BlockNo block = layout::ino_block(ino);
  if (raw(block) == store.geometry.data_start_block) return false;
  // The caller's operation needs some locks, too; one that ran out of them after staging half could not go back.
  constexpr unsigned kLocksForOthers = 4;
  if (tx.locks_left() < layout::kInodesPerBlock - 1 + kLocksForOthers) return false;
  for (unsigned i = 0; i < layout::kInodesPerBlock; ++i) {
    Ino other = layout::make_ino(block, i);
    if (other != ino && mode_word(tx.view(), other) != 0) return false;
  }
  for (const Store::Cursors& cursors : store.cursor_sets)
    if (raw(block) == load_relaxed(cursors.inode_block)) return false;
  for (unsigned i = 0; i < layout::kInodesPerBlock; ++i) {
    Ino other = layout::make_ino(block, i);
    if (other == ino) continue;
    if (!tx.try_lock(shm::inode_key(store.segment, other)) || mode_word(tx.view(), other) != 0) return false;
  }
  return true;
}

} // namespace

Result<Ino> take_inode(Tx& tx, Ino near) {
  Store& store = tx.store();
  Store::Cursors& cursors = store.cursors(tx.slot());
  BlockNo cursor{load_relaxed(cursors.inode_block)};
  if (cursor != BlockNo{0}) {
    Ino ino = take_from_block(tx, cursor);
    if (ino != Ino{0}) return ino;
    return tx.retry_after(note_full);
  }
  Ino ino = TRY(take_unlike_others(tx, near));
  return ino != Ino{0} ? Result<Ino>(ino) : take_from_new_block(tx, TRY(take_meta(tx)));
}

Result<Ino> take_spare_inode(Tx& tx, Ino near) {
  Ino ino = take_from_block(tx, BlockNo{load_relaxed(tx.store().cursors(tx.slot()).inode_block)});
  return ino != Ino{0} ? Result<Ino>(ino) : take_unlike_others(tx, near);
}

Result<void> release_inode(Tx& tx, Ino ino) {
  PoolOff start = layout::inode_offset(ino);
  for (u64 offset = 0; offset < layout::kInodeBytes; offset += layout::kLineBytes) tx.store_line(start + offset, {});
  BlockNo block = layout::ino_block(ino);
  if (whole_block_free(tx, ino)) return release_meta(tx, block);
  if (holds_inodes(tx.view(), block)) return {};
  u64 line = line_of_block(block);
  TRY(tx.lock(line_key(tx.store(), line)));
  Bits bits = load_plane(tx.view(), line, layout::kPlaneInodesFree);
  store_plane(tx, line, layout::kPlaneInodesFree, bits | Bits::range(bit_of_block(block), 1));
  return {};
}

} // namespace pmemfile::alloc
