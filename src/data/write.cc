// Writing: in place where all blocks are there, otherwise in Txs that bring new blocks and the size in.

#include "data/extent_io.h"
#include "data/vectors.h"

namespace pmemfile::data {

namespace {

using journal::View;

// One hold on the blocks of a file: who wants to take blocks away waits for its end.
constexpr u64 kOverwriteBytes = 1024 * 1024;
// One Tx copies at most this much, new blocks and old ones together, so that nobody waits long for the lock.
constexpr u64 kChunkBlocks = 256;
constexpr u64 kAtomicChunkBlocks = 128;

struct Request {
  journal::Store& store;
  Ino ino;
  u64 offset; // of what is left
  u64 left;
  Vectors from;
  WriteFlags flags;
  u64 limit_block = ~u64{0}; // a chunk must stop here: there is no room for the nodes beyond
};

// What a chunk has done; counts only once it is committed.
struct Chunk {
  u64 offset = 0;
  u64 bytes = 0;
  bool fault = false;
  bool contents_only = false; // no record was written: the times are still to be noted
  Vectors from;
};

// ---- In place ----------------------------------------------------------------------------------------------

// Publishes in the slot that blocks of this file are written to, so that nobody takes them away meanwhile.
class OverwriteHold {
 public:
  OverwriteHold(journal::Store& store, shm::LockKey key)
      : tx_(store, journal::Opcode::kOverwrite), slot_(store.segment.slots[tx_.slot()]) {
    // Full barrier: either we see the bit, or who sets it sees us.
    store_full(slot_.shared_plus_1, raw(key) + 1);
    shm::Stripe& stripe = store.segment.stripe(key);
    if (PMEMFILE_UNLIKELY(load_acquire(stripe.overwritten) == 0)) store_full(stripe.overwritten, u64{1});
    granted_ = (load_acquire(stripe.lock) & shm::kLockExcludesOverwriters) == 0;
  }
  ~OverwriteHold() { store_release(slot_.shared_plus_1, 0u); }
  bool granted() const { return granted_; }

 private:
  journal::Tx tx_;
  shm::Slot& slot_;
  bool granted_;
};

bool lies_inside(const Request& request) {
  const pmem::Medium& medium = request.store.medium;
  u64 size = load_relaxed(medium.word(layout::inode_offset(request.ino) + layout::kInodeSize));
  return size <= layout::kMaxFileBytes && request.offset < size && request.left <= size - request.offset;
}

// Copies into written blocks below the size, up to the first that is not there. 0 bytes without a fault: the other
// way has to be gone.
Result<void> overwrite(const Request& request, Chunk& chunk) {
  chunk.offset = request.offset;
  chunk.from = request.from;
  journal::Store& store = request.store;
  shm::LockKey key = shm::inode_key(store.segment, request.ino);
  OverwriteHold hold(store, key);
  // Once more: the file may have been cut before the hold was there.
  if (!hold.granted() || !lies_inside(request)) return {};
  View view(store);
  MapCursor cursor(view, request.ino);
  u64 end = request.offset + min_of(request.left, kOverwriteBytes);
  u64 position = request.offset;
  bool fault = false;
  while (position < end && !fault) {
    u64 first = position / layout::kBlockBytes, inside = position % layout::kBlockBytes;
    MapSpan span = TRY(cursor.span(first, div_up(end, layout::kBlockBytes) - first));
    if (!span.written()) break;
    if (PMEMFILE_UNLIKELY(!store.data_blocks(span.block(), span.count))) return Error(kErrnoCorrupt);
    u64 bytes = min_of(span.count * layout::kBlockBytes - inside, end - position);
    u64 done = chunk.from.copy_to_pool(store.medium, journal::block_offset(span.block()) + inside, bytes);
    position += done;
    fault = done != bytes;
  }
  chunk.bytes = position - request.offset;
  chunk.fault = fault;
  chunk.contents_only = true;
  if (chunk.bytes != 0 || fault) pmem::fence(store.medium);
  return {};
}

// ---- With a Tx ----------------------------------------------------------------------------------------------

// The body of one Tx that writes a chunk.
class ChunkWriter {
 public:
  ChunkWriter(journal::Tx& tx, Request& request)
      : tx_(tx), request_(request), view_(request.store), cursor_(view_, request.ino), from_(request.from) {}

  Result<void> run(Chunk& chunk);

 private:
  Result<u64> step();
  Result<u64> fill_hole(u64 first, u64 count);
  Result<u64> fill_unwritten(const MapSpan& span, u64 first);
  Result<u64> copy_in_place(const MapSpan& span, u64 first);
  Result<u64> replace(MapEdit& edit, const MapSpan& span, u64 first);
  Result<u64> fill(BlockNo block, u64 count, u64 first);
  Result<void> commit(MapEdit& edit);
  Result<void> give_back_replaced(MapEdit& edit);

  u64 inside() const { return position_ % layout::kBlockBytes; }

  journal::Tx& tx_;
  Request& request_;
  View view_;
  MapCursor cursor_;
  Vectors from_;
  inode::Attr attr_;
  MapEdit* edit_ = nullptr;
  u64 start_ = 0, position_ = 0, end_ = 0;
  bool replaces_ = false; // old blocks by new ones
  bool fault_ = false;
  bool contents_only_ = false;
  // Blocks that atomic overwriting replaces; freed after the last take, which must not find them.
  static constexpr u32 kMaxReplaced = 16;
  alloc::Extent replaced_[kMaxReplaced];
  u32 replaced_count_ = 0;
};

Result<void> ChunkWriter::run(Chunk& chunk) {
  shm::LockKey key = shm::inode_key(request_.store.segment, request_.ino);
  TRY(tx_.lock(key));
  TRY(load_locked(tx_, request_.ino, attr_));
  u64 start = start_ = request_.flags.append ? attr_.size : request_.offset;
  if (start >= layout::kMaxFileBytes) return Error(EFBIG);
  u64 blocks = request_.flags.atomic ? kAtomicChunkBlocks : kChunkBlocks;
  u64 last = min_of(start / layout::kBlockBytes + blocks, min_of(request_.limit_block, layout::kMaxFileBlocks));
  end_ = min_of(start + request_.left, last * layout::kBlockBytes);
  position_ = start;
  if (TRY(zero_gap(request_.store, attr_, start))) tx_.note_fresh_data();
  replaces_ = request_.flags.atomic && start < attr_.size && may_move_blocks(tx_, request_.ino, Blocks::kReplace);
  if (replaces_) TRY(tx_.exclude_overwriters(key));

  MapEdit edit(tx_, attr_);
  edit_ = &edit;
  while (position_ < end_ && !fault_) {
    auto done = step();
    if (!done.ok()) {
      int error = done.error();
      if (error == kNodesMissed) {
        // Nodes that were taken in vain cannot be given back: again, and stop before.
        if (position_ == start) return Error(ENOSPC);
        request_.limit_block = position_ / layout::kBlockBytes;
        return Error(kNodesMissed);
      }
      // What is overwritten is replaced as a whole, or not at all.
      if (error == ENOSPC && replaces_ && position_ < attr_.size) return Error(ENOSPC);
      if ((error == kEditFull || error == ENOSPC) && position_ != start) break;
      return Error(error);
    }
    position_ += done.value();
  }
  if (position_ == start) return Error(fault_ ? from_.errno_of_fault(false) : ENOSPC);
  TRY(commit(edit));
  chunk = Chunk{start, position_ - start, fault_, contents_only_, from_};
  return {};
}

// Where that would have to wait for somebody stopped they are left to an inode without a name.
Result<void> ChunkWriter::give_back_replaced(MapEdit& edit) {
  if (replaced_count_ == 0) return {};
  if (PMEMFILE_UNLIKELY(tx_.leaves()) && TRY(inode::leave_data(tx_, replaced_, replaced_count_, attr_.ino))) {
    for (u32 i = 0; i < replaced_count_; ++i) attr_.blocks -= replaced_[i].count;
    return {};
  }
  if (PMEMFILE_LIKELY(!tx_.leaves())) tx_.hurry(journal::Tx::Hurry::kOrLeave);
  for (u32 i = 0; i < replaced_count_; ++i) TRY(edit.release(replaced_[i].start, replaced_[i].count));
  tx_.hurry(journal::Tx::Hurry::kNo);
  return {};
}

Result<void> ChunkWriter::commit(MapEdit& edit) {
  TRY(give_back_replaced(edit));
  TRY(edit.finish());
  if (!edit.changed() && position_ <= attr_.size) {
    // Somebody else filled the hole meanwhile: nothing but contents has changed.
    pmem::fence(request_.store.medium);
    contents_only_ = true;
    return {};
  }
  if (position_ > attr_.size) attr_.size = position_;
  attr_.mtime_ns = attr_.ctime_ns = inode::now_ns();
  inode::store_size(tx_, attr_);
  inode::store_times(tx_, attr_);
  tx_.note_fresh_data();
  TRY(tx_.commit());
  if (PMEMFILE_UNLIKELY(tx_.leaves())) inode::forget_orphan(request_.store);
  return {};
}

// Writes at position_ as far as the map is alike; returns the bytes.
Result<u64> ChunkWriter::step() {
  u64 first = position_ / layout::kBlockBytes;
  MapSpan span = TRY(cursor_.span(first, div_up(end_, layout::kBlockBytes) - first));
  if (span.hole()) return fill_hole(first, span.count);
  if (!request_.store.data_blocks(span.block(), span.count)) return Error(kErrnoCorrupt);
  if (span.unwritten()) return fill_unwritten(span, first);
  if (replaces_ && position_ < attr_.size) return replace(*edit_, span, first);
  return copy_in_place(span, first);
}

// Copies into blocks nobody sees yet, which stand for file blocks from `first` on; what is not copied of the blocks
// used is zeroed.
Result<u64> ChunkWriter::fill(BlockNo block, u64 count, u64 first) {
  const pmem::Medium& medium = request_.store.medium;
  PoolOff start = journal::block_offset(block);
  u64 head = position_ - first * layout::kBlockBytes;
  u64 bytes = min_of(count * layout::kBlockBytes - head, end_ - position_);
  if (head != 0) pmem::zero(medium, start, head);
  u64 done = from_.copy_to_pool(medium, start + head, bytes);
  fault_ = done != bytes;
  u64 tail = (head + done) % layout::kBlockBytes;
  if (done != 0 && tail != 0) pmem::zero(medium, start + (head + done), layout::kBlockBytes - tail);
  tx_.note_fresh_data();
  return done;
}

Result<u64> ChunkWriter::fill_hole(u64 first, u64 count) {
  u64 total = div_up(start_ + request_.left, layout::kBlockBytes) - first;
  alloc::Extent extent = TRY(edit_->take(first, count, total));
  // A file that has grown beyond some blocks will probably go on.
  constexpr u64 kSmallFileBlocks = 8;
  if (first >= kSmallFileBlocks)
    pmem::expect_sequential_fill(request_.store.medium, journal::block_offset(extent.start), extent.count * layout::kBlockBytes);
  u64 head = inside();
  u64 done = TRY(fill(extent.start, extent.count, first));
  u64 used = done == 0 ? 0 : div_up(head + done, layout::kBlockBytes);
  TRY(edit_->give_back(alloc::Extent{extent.start + used, extent.count - used}));
  TRY(edit_->set(first, used, raw(extent.start)));
  return done;
}

Result<u64> ChunkWriter::fill_unwritten(const MapSpan& span, u64 first) {
  u64 count = min_of(span.count, edit_->room(first));
  if (count == 0) return Error(kEditFull);
  u64 head = inside();
  u64 done = TRY(fill(span.block(), count, first));
  TRY(edit_->set(first, done == 0 ? 0 : div_up(head + done, layout::kBlockBytes), raw(span.block())));
  return done;
}

Result<u64> ChunkWriter::copy_in_place(const MapSpan& span, u64 first) {
  u64 bytes = min_of((first + span.count) * layout::kBlockBytes - position_, end_ - position_);
  u64 done = from_.copy_to_pool(request_.store.medium, journal::block_offset(span.block()) + inside(), bytes);
  fault_ = done != bytes;
  tx_.note_fresh_data();
  return done;
}

// data=atomic: the new contents go to new blocks, with what is not written of the first and last copied over.
Result<u64> ChunkWriter::replace(MapEdit& edit, const MapSpan& span, u64 first) {
  if (replaced_count_ == kMaxReplaced) return Error(kEditFull);
  const pmem::Medium& medium = request_.store.medium;
  alloc::Extent extent = TRY(edit.take(first, span.count, span.count));
  if (!edit.may_release(span.block(), extent.count)) {
    TRY(edit.give_back(extent));
    return Error(kEditFull);
  }
  PoolOff old_start = journal::block_offset(span.block()), start = journal::block_offset(extent.start);
  u64 head = inside();
  u64 bytes = min_of(extent.count * layout::kBlockBytes - head, end_ - position_);
  if (head != 0) pmem::copy_in(medium, start, medium.at(old_start), head);
  u64 done = from_.copy_to_pool(medium, start + head, bytes);
  fault_ = done != bytes;
  u64 used = done == 0 ? 0 : div_up(head + done, layout::kBlockBytes);
  u64 copied = head + done, whole = used * layout::kBlockBytes;
  if (copied < whole) pmem::copy_in(medium, start + copied, medium.at(old_start + copied), whole - copied);
  tx_.note_fresh_data();
  TRY(edit.give_back(alloc::Extent{extent.start + used, extent.count - used}));
  TRY(edit.set(first, used, raw(extent.start)));
  if (used != 0) replaced_[replaced_count_++] = alloc::Extent{span.block(), used};
  return done;
}

Result<void> write_chunk(Request& request, Chunk& chunk) {
  for (;;) {
    auto result = run_in_order(request.store, request.ino, journal::Opcode::kWrite,
                               [&](journal::Tx& tx) -> Result<void> { return ChunkWriter(tx, request).run(chunk); });
    if (result.error() != kNodesMissed) return result;
  }
}

} // namespace

Result<Written> write(journal::Store& store, Ino ino, u64 offset, const IoVec* vectors, u32 count, WriteFlags flags) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  if (!store.medium.writable) return Error(EROFS);
  Vectors from(vectors, count);
  Request request{store, ino, offset, from.total(), from, flags};
  Written written{0, offset};
  bool touched = false;
  while (request.left != 0) {
    Chunk chunk;
    int error = 0;
    if (!flags.append && !flags.atomic && lies_inside(request)) error = overwrite(request, chunk).error();
    if (chunk.bytes == 0 && !chunk.fault && error == 0) {
      error = write_chunk(request, chunk).error();
    }
    if (chunk.fault && chunk.bytes == 0) error = chunk.from.errno_of_fault(false);
    if (error != 0 && written.bytes == 0) return Error(error);
    if (error != 0) break;
    if (written.bytes == 0) written.offset = chunk.offset;
    written.bytes += chunk.bytes;
    touched |= chunk.contents_only;
    request.offset = chunk.offset + chunk.bytes;
    request.left -= chunk.bytes;
    request.from = chunk.from;
    request.limit_block = ~u64{0};
    if (chunk.fault) break;
  }
  // Outside of all Txs: making room for the times may need one.
  if (touched) {
    u64 generation = inode::generation_in_place(store, ino);
    i64 now = inode::now_ns();
    inode::touch(store, ino, generation, now, now, 0);
  }
  return written;
}

} // namespace pmemfile::data
