// Space: which blocks are free, data or metadata (the bitmap of docs/format.md).
//
// All takers stage their bitmap lines in the caller's Tx, so that space and what points to it commit together.
// The stripes of bitmap lines are the last class in the lock order: take inodes and leaves before.
// Rules: hook-safe; no state but hints in V.
#pragma once

#include "journal/tx.h"

namespace pmemfile::alloc {

struct Extent {
  BlockNo start{};
  u64 count = 0;
};

// Takes up to `want` (>= 1) consecutive free blocks, as many as one run near `goal` gives, at least one: the caller
// comes back for the rest with another call or another Tx. `goal` BlockNo{0}: anywhere; runs of 512 blocks asked
// for at `aligned` start at a multiple of 512. ENOSPC when nothing is free. Content is undefined.
Result<Extent> take_data(journal::Tx& tx, u64 want, BlockNo goal, bool aligned = false);

struct MetaBlock {
  BlockNo block{};
  bool was_meta = false; // pass on to write_fresh_block
};
// Takes one block for metadata. The caller writes it with write_fresh_block before the commit.
Result<MetaBlock> take_meta(journal::Tx& tx);
// The same without waiting for anybody; the block is 0 if there is none to be had.
Result<MetaBlock> take_spare_meta(journal::Tx& tx);
// Takes that back in the same Tx, if nothing was written to the block: released, it would pass for formatted.
void untake_meta(journal::Tx& tx, const MetaBlock& block);
// May this block be given back without waiting? Then its line of the bitmap is held.
bool try_lock_to_release(journal::Tx& tx, BlockNo block);

// Gives blocks back. Data blocks become free; a metadata block becomes free-but-formatted (see docs/format.md).
// kRecordFull when the run spans more bitmap lines than the record has room for: free in smaller steps.
Result<void> release_data(journal::Tx& tx, Extent extent);
Result<void> release_meta(journal::Tx& tx, BlockNo block);

// Takes a free inode number (its lines are all zero but for trailers) and the stripe of that inode. The caller
// fills lines 0 and 1 in the same Tx. `near`: the parent's, for locality.
Result<Ino> take_inode(journal::Tx& tx, Ino near);
// The same without a restart, and without waiting for somebody else's lock as long as there is a free inode or block elsewhere; Ino{0} if
// there is none.
Result<Ino> take_spare_inode(journal::Tx& tx, Ino near);
// Frees the inode: zeroes its lines in the Tx. The caller holds its stripe and has freed what it owned.
Result<void> release_inode(journal::Tx& tx, Ino ino);

struct SpaceCount {
  u64 total_blocks = 0, free_blocks = 0;
  u64 inodes_used = 0; // exact only from count_space
};
// Scans the whole bitmap: for fsck, mkfs and the first statfs of an attachment, never on a path of a file call.
SpaceCount count_space(const journal::Store& store);
// What statfs reports: kept in V, exact at rest.
u64 free_blocks(const journal::Store& store);
// Are there at least so many? Looks where this thread allocates, and no further than it has to.
bool has_free_blocks(journal::Store& store, u64 count);

} // namespace pmemfile::alloc
