// Where data lies: SEEK_DATA, SEEK_HOLE, and the runs that mmap needs. Lock-free.

#include "data/map.h"
#include "data/data.h"

namespace pmemfile::data {

namespace {

using journal::View;

// Stretches of the map that are looked at before the reader validates.
constexpr unsigned kSpansAtOnce = 64;

struct Seek {
  u64 position = 0;
  bool found = false;
};

// Goes on from `position`; `data`: what is looked for.
Result<Seek> seek_piece(const View& view, Ino ino, u64 position, bool data) {
  PoolOff inode = layout::inode_offset(ino);
  if ((view.load(inode + layout::kInodeIdentity) & 0xffff) != layout::kInodeMagic) return Error(ESTALE);
  u64 size = view.load(inode + layout::kInodeSize);
  if (size > layout::kMaxFileBytes) return Error(kErrnoCorrupt);
  MapCursor cursor(view, ino);
  for (unsigned spans = 0; spans < kSpansAtOnce; ++spans) {
    // The end of the file counts as a hole.
    if (position >= size) return data ? Result<Seek>(Error(ENXIO)) : Result<Seek>(Seek{size, true});
    u64 first = position / layout::kBlockBytes;
    MapSpan span = TRY(cursor.span(first, div_up(size, layout::kBlockBytes) - first));
    if (span.written() == data) return Seek{position, true};
    position = (first + span.count) * layout::kBlockBytes;
  }
  return Seek{position, false};
}

Result<u64> seek(journal::Store& store, Ino ino, u64 offset, bool data) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  shm::LockKey key = shm::inode_key(store.segment, ino);
  WalkBound bound(store);
  auto inside = journal::read_consistent(store, key, [&](const View& view) -> Result<bool> {
    return offset < view.load(layout::inode_offset(ino) + layout::kInodeSize);
  });
  if (!TRY(inside)) return Error(ENXIO);
  for (Seek at{offset, false};;) {
    at = TRY(journal::read_consistent(store, key, [&](const View& view) { return seek_piece(view, ino, at.position, data); }));
    if (at.found) return at.position;
    TRY(bound.step());
  }
}

Result<u32> runs_once(const View& view, Ino ino, u64 first, u64 end, Run* out, u32 capacity) {
  MapCursor cursor(view, ino);
  u32 filled = 0;
  while (first < end && filled < capacity) {
    MapSpan span = TRY(cursor.span(first, end - first));
    if (!span.hole() && !view.store().data_blocks(span.block(), span.count)) return Error(kErrnoCorrupt);
    out[filled++] = Run{first, span.count, span.block(), span.unwritten()};
    first += span.count;
  }
  return filled;
}

} // namespace

Result<u64> seek_data(journal::Store& store, Ino ino, u64 offset) { return seek(store, ino, offset, true); }
Result<u64> seek_hole(journal::Store& store, Ino ino, u64 offset) { return seek(store, ino, offset, false); }

Result<u32> runs(journal::Store& store, Ino ino, u64 first_block, u64 block_count, Run* out, u32 capacity) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  if (first_block >= layout::kMaxFileBlocks) return u32{0};
  u64 end = first_block + min_of(block_count, layout::kMaxFileBlocks - first_block);
  return journal::read_consistent(store, shm::inode_key(store.segment, ino), [&](const View& view) {
    return runs_once(view, ino, first_block, end, out, capacity);
  });
}

} // namespace pmemfile::data
