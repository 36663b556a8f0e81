// Reading a directory in order of keys, a leaf's worth of validated private copies at a time.
//
// A key never changes and the cursor is a key: so whatever is split, added or removed meanwhile, an entry that is there
// all the time lies exactly once in the keys that the cursor passes over.
#include "dir/leaf.h"

namespace pmemfile::dir {
namespace {

constexpr u64 kFirstCookie = 3; // 0 is the start, 1 and 2 belong to "." and ".."
// Names copied at once: most leaves fit; the rest of a leaf of long names is read in a second round.
constexpr unsigned kBatchNameBytes = 1024;
static_assert(kBatchNameBytes >= layout::kMaxNameBytes + 1);

struct Batch {
  u64 keys[layout::kLeafCells];  // in order of cells
  u8 cells[layout::kLeafCells];
  u8 order[layout::kLeafCells];  // in order of keys: which of them
  u64 about[layout::kLeafCells]; // in order of keys
  char names[kBatchNameBytes];   // in order of keys, each padded to eight bytes
  unsigned found = 0;            // entries of the leaf at or behind the cursor
  unsigned count = 0;            // of them copied
  u64 next = 0;                  // cursor behind this batch
};

// Keys of one leaf are even over its range: one pass into 64 buckets leaves them nearly sorted.
void sort_keys(Batch& batch, unsigned prefix_bits) {
  constexpr unsigned kBucketBits = 6;
  unsigned shift = layout::kKeyBits - min_of(prefix_bits + kBucketBits, layout::kKeyBits);
  auto bucket = [&](unsigned i) { return (batch.keys[i] >> shift) & 63; };
  u8 start[64] = {};
  for (unsigned i = 0; i < batch.found; ++i) ++start[bucket(i)];
  u8 sum = 0;
  for (u8& count : start) {
    u8 own = count;
    count = sum;
    sum = static_cast<u8>(sum + own);
  }
  for (unsigned i = 0; i < batch.found; ++i) batch.order[start[bucket(i)]++] = static_cast<u8>(i);
  for (unsigned i = 1; i < batch.found; ++i) {
    u8 moved = batch.order[i];
    unsigned at = i;
    for (; at > 0 && batch.keys[batch.order[at - 1]] > batch.keys[moved]; --at) batch.order[at] = batch.order[at - 1];
    batch.order[at] = moved;
  }
}

// Copies what of the leaf stands at or behind `cursor`, as much as has room.
Result<void> collect(const View& view, Ino dir, const Place& place, u64 cursor, Batch& batch) {
  BlockNo leaf = place.leaf();
  TRY(check_leaf(view, leaf, dir));
  u64 first = place.first_key(cursor), end = first + place.span();
  batch.found = batch.count = 0;
  batch.next = end;
  u64 used_cells = load_tags(view, leaf).entries();
  for (u64 entries = used_cells; entries != 0; entries &= entries - 1)
    __builtin_prefetch(view.store().medium.at(cell_line(leaf, static_cast<unsigned>(__builtin_ctzll(entries)))));
  for (u64 entries = used_cells; entries != 0; entries &= entries - 1) {
    unsigned cell = static_cast<unsigned>(__builtin_ctzll(entries));
    u64 key = view.load(cell_line(leaf, cell));
    if (key < first || key >= end) return Error(kErrnoCorrupt);
    if (key < cursor) continue;
    batch.keys[batch.found] = key;
    batch.cells[batch.found++] = static_cast<u8>(cell);
  }
  sort_keys(batch, place.prefix_bits);
  unsigned used = 0;
  for (; batch.count < batch.found; ++batch.count) {
    unsigned which = batch.order[batch.count], cell = batch.cells[which];
    u64 about = view.load(cell_line(leaf, cell) + 8);
    TRY(check_cell(view, cell, about));
    unsigned bytes = about_name_bytes(about);
    unsigned room = static_cast<unsigned>(align_up(bytes, 8));
    if (used + room > kBatchNameBytes) {
      batch.next = batch.keys[which];
      break;
    }
    batch.about[batch.count] = about;
    copy_name(view, leaf, cell, bytes, batch.names + used);
    used += room;
  }
  return {};
}

// The next batch from `cursor` on; empty ones are possible.
Result<void> read_batch(Store& store, Ino dir, u64 cursor, Batch& batch) {
  Reader shape(store, dir_stripe(store, dir));
  for (;; shape.begin()) {
    auto directory = check_directory(shape.view(), dir);
    auto place = find_place(shape.view(), dir, cursor);
    if (!directory.ok() || !place.ok()) {
      if (!shape.valid()) continue;
      return Error(directory.ok() ? place.error() : directory.error());
    }
    BlockNo block = place.value().leaf();
    if (raw(block) == 0) {
      batch.found = batch.count = 0;
      batch.next = place.value().first_key(cursor) + place.value().span();
      if (shape.valid()) return {};
      continue;
    }
    Reader leaf(store, leaf_stripe(store, block));
    auto result = collect(leaf.view(), dir, place.value(), cursor, batch);
    if (PMEMFILE_LIKELY(leaf.valid() && shape.valid())) return result;
  }
}

// False if the visitor had enough.
bool deliver(const Batch& batch, Visitor visit, void* context) {
  const char* name = batch.names;
  for (unsigned i = 0; i < batch.count; ++i) {
    u64 about = batch.about[i];
    unsigned bytes = about_name_bytes(about);
    Listed entry{std::string_view(name, bytes), about_ino(about), about_type(about),
                 batch.keys[batch.order[i]] + kFirstCookie};
    if (!visit(context, entry)) return false;
    name += align_up(bytes, 8);
  }
  return true;
}

} // namespace

Result<void> list(Store& store, Ino dir, u64 cookie, Visitor visit, void* context) {
  if (!store.inode_in_range(dir)) return Error(ESTALE);
  u64 cursor = cookie < kFirstCookie ? 0 : cookie - kFirstCookie + 1;
  // No pool has more places than this: nodes that lead back to themselves end here.
  u64 empty_left = store.geometry.block_count * (layout::kTrieFanout + 1);
  Batch batch;
  while (cursor < kKeyEnd) {
    TRY(read_batch(store, dir, cursor, batch));
    if (batch.count == 0 && empty_left-- == 0) return Error(kErrnoCorrupt);
    if (!deliver(batch, visit, context)) return {};
    cursor = batch.next;
  }
  return {};
}

} // namespace pmemfile::dir
