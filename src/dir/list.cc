// Reading a directory in order of keys, a leaf's worth of validated private copies at a time.
//
// A key never changes and the cursor is a key: so whatever is split, added or removed meanwhile, an entry that is there
// all the time lies exactly once in the keys that the cursor passes over.
#include "dir/leaf.h"

namespace pmemfile::dir {
namespace {

constexpr u64 kFirstCookie = 3; // 0 is the start, 1 and 2 belong to "." and ".."
// Names copied at once: most leaves fit; the rest of a leaf of long names is read in a second round.
constexpr unsigned kBatchNameBytes = 2048;
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

// Entries stand near the home of their keys (leaf.h), so the cells are nearly in order, if they are not quite. Those of a leaf
// that knows nothing of that, or was packed, are even over its range: one pass into 64 buckets leaves them nearly sorted.
void sort_keys(Batch& batch, unsigned prefix_bits, unsigned descents) {
  constexpr unsigned kFewDescents = 12;
  for (unsigned i = 0; i < batch.found; ++i) batch.order[i] = static_cast<u8>(i);
  if (descents == 0) return;
  if (descents > kFewDescents) {
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
  }
  for (unsigned i = 1; i < batch.found; ++i) {
    u8 moved = batch.order[i];
    unsigned at = i;
    for (; at > 0 && batch.keys[batch.order[at - 1]] > batch.keys[moved]; --at) batch.order[at] = batch.order[at - 1];
    batch.order[at] = moved;
  }
}

// How the words of a leaf are read. In place that is one load; a writer's record is laid over them word by word.
struct InPlace {
  const u64* words;
  u64 operator()(unsigned index) const { return load_relaxed(words[index]); }
};
struct ThroughView {
  const View& view;
  PoolOff start;
  u64 operator()(unsigned index) const { return view.load(start + 8 * index); }
};
constexpr unsigned cell_word(unsigned cell) {
  return (layout::kLeafFirstCellLine + cell) * static_cast<unsigned>(layout::kLineBytes / 8);
}

template <class Words>
void put_name(const Words& words, unsigned cell, unsigned bytes, char* to) {
  constexpr unsigned kFirst = layout::kNameBytesFirstCell / 8;
  unsigned count = static_cast<unsigned>(div_up(bytes, 8)), from = cell_word(cell) + 2;
  for (unsigned i = 0; i < min_of(count, kFirst); ++i) {
    u64 word = words(from + i);
    __builtin_memcpy(to + 8 * i, &word, 8);
  }
  for (unsigned i = kFirst; i < count; ++i) {
    u64 word = words(cell_word(cell + 1 + (i - kFirst) / layout::kLineWords) + (i - kFirst) % layout::kLineWords);
    __builtin_memcpy(to + 8 * i, &word, 8);
  }
}

// Copies what of the leaf stands at or behind `cursor`, as much as has room.
template <class Words>
Result<void> collect(const View& view, const Words& words, u64 used_cells, const Place& place, u64 cursor, Batch& batch) {
  u64 first = place.first_key(cursor), end = first + place.span(), last = 0;
  unsigned descents = 0;
  batch.found = batch.count = 0;
  batch.next = end;
  for (u64 entries = used_cells; entries != 0; entries &= entries - 1) {
    unsigned cell = static_cast<unsigned>(__builtin_ctzll(entries));
    u64 key = words(cell_word(cell));
    if (PMEMFILE_UNLIKELY(key - first >= place.span())) return Error(kErrnoCorrupt);
    if (key < cursor) continue;
    descents += key < last;
    last = key;
    batch.keys[batch.found] = key;
    batch.cells[batch.found++] = static_cast<u8>(cell);
  }
  sort_keys(batch, place.prefix_bits, descents);
  unsigned used = 0;
  for (; batch.count < batch.found; ++batch.count) {
    unsigned which = batch.order[batch.count], cell = batch.cells[which];
    u64 about = words(cell_word(cell) + 1);
    TRY(check_cell(view, cell, about));
    unsigned bytes = about_name_bytes(about);
    unsigned room = static_cast<unsigned>(align_up(bytes, 8));
    if (used + room > kBatchNameBytes) {
      batch.next = batch.keys[which];
      break;
    }
    batch.about[batch.count] = about;
    put_name(words, cell, bytes, batch.names + used);
    used += room;
  }
  return {};
}

Result<void> collect(const View& view, Ino dir, const Place& place, u64 cursor, Batch& batch) {
  BlockNo leaf = place.leaf();
  TRY(check_leaf(view, leaf, dir));
  u64 used_cells = load_tags(view, leaf).entries();
  PoolOff start = block_offset(leaf);
  if (const u64* in_place = view.block_in_place(start); PMEMFILE_LIKELY(in_place != nullptr))
    return collect(view, InPlace{in_place}, used_cells, place, cursor, batch);
  return collect(view, ThroughView{view, start}, used_cells, place, cursor, batch);
}

// What stands behind this place is read next: asks for all of it.
void prefetch_next(const View& view, Ino dir, const Place& place, u64 cursor) {
  u64 next = place.first_key(cursor) + place.span();
  Place behind;
  if (next >= kKeyEnd || !find_place(view, dir, next, behind).ok() || raw(behind.leaf()) == 0) return;
  const u8* leaf = view.store().medium.at(block_offset(behind.leaf()));
  for (unsigned line = 0; line < layout::kLinesPerBlock; ++line) __builtin_prefetch(leaf + line * layout::kLineBytes);
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
    prefetch_next(shape.view(), dir, place.value(), cursor);
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
  // No pool has more places than this, and no sound directory so many empty ones side by side: nodes that lead back to
  // themselves, or to one node in many ways, end here.
  constexpr u64 kMostEmpty = 1 << 22;
  u64 most = min_of(store.geometry.block_count * (layout::kTrieFanout + 1), kMostEmpty), empty_left = most;
  Batch batch;
  while (cursor < kKeyEnd) {
    TRY(read_batch(store, dir, cursor, batch));
    if (batch.count != 0) empty_left = most;
    else if (empty_left-- == 0) return Error(kErrnoCorrupt);
    if (!deliver(batch, visit, context)) return {};
    cursor = batch.next;
  }
  return {};
}

} // namespace pmemfile::dir
