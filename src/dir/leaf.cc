#include "dir/leaf.h"

namespace pmemfile::dir {
namespace {

// Words 2 ... 6 of the first cell are the name's first; what is longer goes on in the next cells.
bool names_equal(const View& view, BlockNo leaf, unsigned cell, const u64* first, std::string_view name) {
  constexpr unsigned kFirst = layout::kNameBytesFirstCell / 8;
  unsigned words = static_cast<unsigned>(div_up(name.size(), 8));
  for (unsigned i = 0; i < min_of(words, kFirst); ++i)
    if (load_relaxed(first[2 + i]) != name_word(name, i)) return false;
  for (unsigned i = kFirst; i < words; ++i)
    if (view.load(name_word_offset(leaf, cell, i)) != name_word(name, i)) return false;
  return true;
}

} // namespace

Tags load_tags(const View& view, BlockNo leaf) {
  layout::Line room[2];
  const u64* head = view.words(block_offset(leaf), room[0]);
  const u64* next = view.words(block_offset(leaf) + layout::kLineBytes, room[1]);
  Tags tags;
  for (unsigned i = 0; i < 5; ++i) tags.words[i] = load_relaxed(head[2 + i]);
  for (unsigned i = 5; i < kTagWords; ++i) tags.words[i] = load_relaxed(next[i - 5]);
  return tags;
}

Result<void> check_leaf(const View& view, BlockNo leaf, Ino dir) {
  PoolOff line = block_offset(leaf);
  if ((view.load(line) & 0xffff) != layout::kDirLeafMagic || view.load(line + 8) != raw(dir))
    return Error(kErrnoCorrupt);
  return {};
}

Result<void> find_name(const View& view, BlockNo leaf, Ino dir, u64 hash_key, std::string_view name, Hit& hit) {
  layout::Line room[3];
  const u64* head = view.words(block_offset(leaf), room[0]);
  if ((load_relaxed(head[0]) & 0xffff) != layout::kDirLeafMagic || load_relaxed(head[1]) != raw(dir)) return Error(kErrnoCorrupt);
  const u64* next = view.words(block_offset(leaf) + layout::kLineBytes, room[1]);
  Tags tags;
  for (unsigned i = 0; i < kTagWords; ++i) tags.words[i] = load_relaxed(i < 5 ? head[2 + i] : next[i - 5]);
  hit.found = false;
  // One mask of all cells rather than a branch for each eight: where a name stands nobody can predict.
  for (u64 cells = tags.mask_of(layout::tag_of_key(hash_key)); cells != 0; cells &= cells - 1) {
    unsigned cell = static_cast<unsigned>(__builtin_ctzll(cells));
    const u64* words = view.words(cell_line(leaf, cell), room[2]);
    u64 key = load_relaxed(words[0]);
    if (key >> 6 != hash_key >> 6) continue;
    u64 about = load_relaxed(words[1]);
    if (about_name_bytes(about) != name.size()) continue;
    TRY(check_cell(view, cell, about));
    if (!names_equal(view, leaf, cell, words, name)) continue;
    hit.found = true;
    hit.cell = cell;
    hit.entry = Entry{key, about_ino(about), about_type(about)};
    return {};
  }
  return {};
}

void copy_name(const View& view, BlockNo leaf, unsigned cell, unsigned bytes, char* to) {
  for (unsigned i = 0; 8 * i < bytes; ++i) {
    u64 word = view.load(name_word_offset(leaf, cell, i));
    __builtin_memcpy(to + 8 * i, &word, 8);
  }
}

void fill_leaf_head(unsigned index, u64 (&words)[layout::kLineWords], Ino dir, unsigned level, const Tags& tags) {
  if (index == 0) {
    words[0] = layout::kDirLeafMagic | u64{level} << 16;
    words[1] = raw(dir);
    for (unsigned i = 0; i < 5; ++i) words[2 + i] = tags.words[i];
  } else if (index == 1) {
    for (unsigned i = 5; i < kTagWords; ++i) words[i - 5] = tags.words[i];
  }
}

} // namespace pmemfile::dir
