// Lock-free reading.

#include "data/map.h"
#include "data/vectors.h"
#include "inode/times.h"

namespace pmemfile::data {

namespace {

using journal::View;

// Zeros for holes: copied from here, because the buffer of the program may fault.
alignas(64) constexpr u8 kZeros[layout::kBlockBytes] = {};

// What is validated at once. A reader that fails on so much gets less, and takes the lock when even a block will
// not validate: on a file that is appended to all the time it would otherwise never finish.
constexpr u64 kReadChunkBytes = 256 * 1024;
constexpr unsigned kLockFreeAttempts = 8;
constexpr i64 kDayNs = i64{86400} * 1000000000;

struct Piece {
  u64 bytes = 0;
  bool fault = false;
  bool end = false; // of the file
};

// Copies [offset, offset + limit) as far as the file goes.
Result<Piece> read_piece(MapCursor& cursor, const View& view, Ino ino, u64 offset, u64 limit, Vectors& to) {
  PoolOff inode = layout::inode_offset(ino);
  if (PMEMFILE_UNLIKELY((view.load(inode + layout::kInodeIdentity) & 0xffff) != layout::kInodeMagic))
    return Error(ESTALE);
  u64 size = view.load(inode + layout::kInodeSize);
  if (PMEMFILE_UNLIKELY(size > layout::kMaxFileBytes)) return Error(kErrnoCorrupt);
  if (offset >= size) return Piece{0, false, true};
  u64 end = offset + min_of(limit, size - offset);
  u64 position = offset;
  while (position < end) {
    u64 first = position / layout::kBlockBytes, inside = position % layout::kBlockBytes;
    MapSpan span = TRY(cursor.span(first, div_up(end, layout::kBlockBytes) - first));
    u64 bytes = min_of(span.count * layout::kBlockBytes - inside, end - position);
    if (PMEMFILE_UNLIKELY(!view.store().data_blocks(span.block(), span.count) && !span.hole()))
      return Error(kErrnoCorrupt);
    u64 done = span.written() ? to.copy_from_pool(view.store().medium, journal::block_offset(span.block()) + inside, bytes)
                              : to.fill_with_zeros(bytes);
    position += done;
    if (PMEMFILE_UNLIKELY(done != bytes)) return Piece{position - offset, true, false};
  }
  return Piece{end - offset, false, end == size};
}

// A piece that would not validate, under the lock.
Result<Piece> read_locked(journal::Store& store, Ino ino, u64 offset, u64 limit, Vectors& to) {
  return journal::run_tx(store, journal::Opcode::kNone, [&](journal::Tx& tx) -> Result<Piece> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    View view(store);
    MapCursor cursor(view, ino);
    return read_piece(cursor, view, ino, offset, limit, to);
  });
}

// As relatime does: an access time that is not newer than a change is brought up to now. That it is a day old is
// looked at only when reading begins at the start of the file, to spare all other reads the clock.
void note_access(journal::Store& store, Ino ino, u64 offset) {
  if (!store.medium.writable) return;
  PoolOff inode = layout::inode_offset(ino);
  auto word = [&](u64 at) { return static_cast<i64>(load_relaxed(store.medium.word(inode + at))); };
  i64 mtime = word(layout::kInodeMtime), ctime = word(layout::kInodeCtime), atime = word(layout::kInodeAtime);
  const shm::Stripe& stripe = store.segment.stripe(shm::inode_key(store.segment, ino));
  u64 generation = inode::generation_in_place(store, ino), owner = inode::times_owner(ino, generation);
  if (i64 newer = inode::newer_time(stripe.mtime, owner); newer != 0) mtime = newer;
  if (i64 newer = inode::newer_time(stripe.ctime, owner); newer != 0) ctime = newer;
  if (i64 newer = inode::newer_time(stripe.atime, owner); newer != 0) atime = newer;
  if (PMEMFILE_LIKELY(atime > mtime && atime > ctime && offset != 0)) return;
  i64 now = inode::now_ns();
  if (atime > mtime && atime > ctime && now - atime < kDayNs) return;
  if (now != atime) inode::touch(store, ino, generation, 0, 0, now);
}

} // namespace

u64 Vectors::fill_with_zeros(u64 bytes) {
  return each(bytes, [](u8* memory, u64, u64 size) -> u64 {
    while (size != 0) {
      u64 part = min_of<u64>(size, sizeof kZeros);
      u64 missed = pmem::copy_guarded(memory, kZeros, part);
      memory += part - missed;
      size -= part - missed;
      if (missed != 0) break;
    }
    return size;
  });
}

Result<u64> read(journal::Store& store, Ino ino, u64 offset, const IoVec* vectors, u32 count) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  Vectors to(vectors, count);
  u64 want = to.total();
  if (want == 0 || offset >= layout::kMaxFileBytes) return u64{0};
  journal::Reader reader(store, shm::inode_key(store.segment, ino));
  MapCursor cursor(reader.view(), ino);
  u64 done = 0, chunk = kReadChunkBytes;
  unsigned attempts = 0;
  while (done < want) {
    Vectors attempt = to;
    bool locked = attempts >= kLockFreeAttempts && store.medium.writable;
    u64 limit = min_of(want - done, chunk);
    Result<Piece> piece = locked ? read_locked(store, ino, offset + done, limit, attempt)
                                 : read_piece(cursor, reader.view(), ino, offset + done, limit, attempt);
    if (PMEMFILE_UNLIKELY(!locked && !reader.valid())) {
      ++attempts;
      chunk = max_of(chunk / 4, layout::kBlockBytes);
      reader.begin();
      cursor.reset();
      continue;
    }
    if (!piece.ok()) {
      if (done == 0) return Error(piece.error());
      break;
    }
    done += piece.value().bytes;
    to = attempt;
    if (piece.value().fault && done == 0) return Error(to.errno_of_fault(true));
    if (piece.value().fault || piece.value().end) break;
    if (attempts != 0) {
      attempts = 0;
      chunk = kReadChunkBytes / 4;
      reader.begin();
      cursor.reset();
    }
  }
  note_access(store, ino, offset);
  return done;
}

} // namespace pmemfile::data
