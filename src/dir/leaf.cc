#include "dir/leaf.h"

namespace pmemfile::dir {
namespace {

bool names_equal(const View& view, BlockNo leaf, unsigned cell, std::string_view name) {
  unsigned words = static_cast<unsigned>(div_up(name.size(), 8));
  for (unsigned i = 0; i < words; ++i)
    if (view.load(name_word_offset(leaf, cell, i)) != name_word(name, i)) return false;
  return true;
}

} // namespace

Tags load_tags(const View& view, BlockNo leaf) {
  Tags tags;
  for (unsigned i = 0; i < kTagWords; ++i) tags.words[i] = view.load(tag_word(leaf, i));
  return tags;
}

Result<void> check_leaf(const View& view, BlockNo leaf, Ino dir) {
  PoolOff line = block_offset(leaf);
  if ((view.load(line) & 0xffff) != layout::kDirLeafMagic || view.load(line + 8) != raw(dir))
    return Error(kErrnoCorrupt);
  return {};
}

Result<void> check_cell(const View& view, unsigned cell, u64 about) {
  unsigned bytes = about_name_bytes(about);
  if (bytes == 0 || cell + layout::cells_for_name(bytes) > layout::kLeafCells) return Error(kErrnoCorrupt);
  if (!view.store().inode_in_range(about_ino(about))) return Error(kErrnoCorrupt);
  return {};
}

Result<Hit> find_name(const View& view, BlockNo leaf, Ino dir, u64 hash_key, std::string_view name) {
  TRY(check_leaf(view, leaf, dir));
  u8 tag = layout::tag_of_key(hash_key);
  Hit hit;
  for (unsigned word = 0; word < kTagWords; ++word) {
    u64 matches = match_tag(view.load(tag_word(leaf, word)), tag);
    for (; PMEMFILE_UNLIKELY(matches != 0); matches &= matches - 1) {
      unsigned cell = 8 * word + static_cast<unsigned>(__builtin_ctzll(matches)) / 8;
      if (cell >= layout::kLeafCells) break;
      u64 key = view.load(cell_line(leaf, cell));
      if (key >> 6 != hash_key >> 6) continue;
      u64 about = view.load(cell_line(leaf, cell) + 8);
      if (about_name_bytes(about) != name.size()) continue;
      TRY(check_cell(view, cell, about));
      if (!names_equal(view, leaf, cell, name)) continue;
      hit.found = true;
      hit.cell = cell;
      hit.entry = Entry{key, about_ino(about), about_type(about)};
      return hit;
    }
  }
  return hit;
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
