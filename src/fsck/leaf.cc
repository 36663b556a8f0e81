// Leaves of directories: tags, cells, names, and what the entries lead to.

#include <memory>
#include <string_view>

#include "base/siphash.h"
#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

using layout::kLeafCells;

struct Entry {
  u64 key = 0, ino = 0;
  unsigned type = 0, cell = 0;
  std::string_view name;
};

struct Leaf {
  u64 offset = 0;
  layout::Line lines[layout::kLinesPerBlock];
  bool good[layout::kLinesPerBlock];
  u8 tags[kLeafCells + 2]; // the tag words have room for two more, which stay 0
  char names[kLeafCells][layout::kMaxNameBytes + 1];
  Entry entries[kLeafCells];
  unsigned count = 0;

  u64 cell_offset(unsigned cell) const { return offset + (layout::kLeafFirstCellLine + cell) * layout::kLineBytes; }
};

void load(Context& context, const Inode& dir, Leaf& leaf) {
  for (unsigned i = 0; i < layout::kLinesPerBlock; ++i)
    leaf.good[i] = context.load_line(leaf.offset + i * layout::kLineBytes, dir.ino, leaf.lines[i]);
  for (unsigned word = 0; word < 8; ++word) {
    u64 offset = layout::leaf_tag_word(word);
    u64 value = leaf.lines[offset / layout::kLineBytes].words[offset % layout::kLineBytes / 8];
    std::memcpy(leaf.tags + word * 8, &value, 8);
  }
}

// Names are compared by words, so what stands behind one in its last word has to be zero.
void check_padding(Context& context, const Inode& dir, Leaf& leaf, unsigned cell, unsigned length) {
  constexpr unsigned kFirst = layout::kNameBytesFirstCell / 8, kNext = layout::kNameBytesNextCell / 8;
  if (length % 8 == 0) return;
  unsigned last = length / 8;
  unsigned further = last < kFirst ? 0 : (last - kFirst) / kNext + 1;
  unsigned word = last < kFirst ? 2 + last : (last - kFirst) % kNext;
  u64 found = leaf.lines[layout::kLeafFirstCellLine + cell + further].words[word];
  u64 right = found & ((u64{1} << 8 * (length % 8)) - 1);
  if (found != right) context.find(Code::F0621, leaf.cell_offset(cell + further) + 8 * word, dir.ino, found, right);
}

// The name of the entry that begins in `cell`; its number of cells, 0 if malformed.
unsigned read_name(Context& context, const Inode& dir, Leaf& leaf, unsigned cell, Entry& entry) {
  const layout::Line& line = leaf.lines[layout::kLeafFirstCellLine + cell];
  unsigned length = static_cast<unsigned>(line.words[1] >> 48) & 0xff;
  unsigned cells = layout::cells_for_name(length);
  if (length == 0) return context.find(Code::F0613, leaf.cell_offset(cell), dir.ino, 0, 1), 0;
  if (cell + cells > kLeafCells) return context.find(Code::F0614, leaf.cell_offset(cell), dir.ino, cell, cells), 0;
  char* name = leaf.names[cell];
  for (unsigned done = 0, i = 0; i < cells; ++i) {
    if (i != 0 && leaf.tags[cell + i] != layout::kTagContinued)
      return context.find(Code::F0614, leaf.cell_offset(cell), dir.ino, i, cells), 0;
    if (!leaf.good[layout::kLeafFirstCellLine + cell + i]) return 0;
    const layout::Line& part = leaf.lines[layout::kLeafFirstCellLine + cell + i];
    unsigned room = i == 0 ? layout::kNameBytesFirstCell : layout::kNameBytesNextCell;
    unsigned take = min_of(room, length - done);
    std::memcpy(name + done, &part.words[i == 0 ? 2 : 0], take);
    done += take;
  }
  check_padding(context, dir, leaf, cell, length);
  entry.name = std::string_view(name, length);
  if (std::memchr(name, 0, length) != nullptr || std::memchr(name, '/', length) != nullptr || entry.name == "." ||
      entry.name == "..")
    return context.find(Code::F0613, leaf.cell_offset(cell), dir.ino, length, 0), 0;
  return cells;
}

void check_entry(Context& context, const Inode& dir, Leaf& leaf, const Entry& entry, u64 first_key, u64 last_key) {
  u64 place = leaf.cell_offset(entry.cell);
  if (leaf.tags[entry.cell] != layout::tag_of_key(entry.key))
    context.find(Code::F0608, place, dir.ino, leaf.tags[entry.cell], layout::tag_of_key(entry.key));
  const layout::Geometry& geometry = context.geometry();
  u64 hash = siphash13(SipKey{geometry.hash_key[0], geometry.hash_key[1]}, entry.name.data(), entry.name.size());
  u64 right = layout::key_of_hash(hash);
  if (entry.key >> 6 != right >> 6) context.find(Code::F0609, place, dir.ino, entry.key, right);
  if (entry.key < first_key || entry.key > last_key) context.find(Code::F0610, place, dir.ino, entry.key, first_key);
  for (unsigned i = 0; i < leaf.count; ++i) {
    const Entry& other = leaf.entries[i];
    if (other.key == entry.key) context.find(Code::F0611, place, dir.ino, entry.key, other.key);
    // Equal names have equal hashes and so stand in one leaf.
    if (other.name == entry.name) context.find(Code::F0612, place, dir.ino, entry.key, other.key);
  }
}

} // namespace

void check_leaf(Context& context, const Inode& dir, u64 block, u64 place, unsigned level, u64 first_key, u64 last_key) {
  auto storage = std::make_unique<Leaf>();
  Leaf& leaf = *storage;
  leaf.offset = block * layout::kBlockBytes;
  load(context, dir, leaf);
  if (!leaf.good[0] || !leaf.good[1]) return; // reported; without tags nothing can be told apart
  u64 identity = layout::kDirLeafMagic | u64{level} << 16;
  if (leaf.lines[0].words[0] != identity)
    context.find(Code::F0604, leaf.offset, dir.ino, leaf.lines[0].words[0], identity);
  if (leaf.lines[0].words[1] != dir.ino)
    context.find(Code::F0605, leaf.offset + 8, dir.ino, leaf.lines[0].words[1], dir.ino, place,
                 Cut::kEmptyPointer);
  for (unsigned cell = 0; cell < kLeafCells;) {
    if (leaf.tags[cell] == layout::kTagFree) {
      ++cell;
      continue;
    }
    if (leaf.tags[cell] == layout::kTagContinued) {
      context.find(Code::F0614, leaf.cell_offset(cell), dir.ino, cell, 0);
      ++cell;
      continue;
    }
    const layout::Line& line = leaf.lines[layout::kLeafFirstCellLine + cell];
    Entry entry;
    entry.key = line.words[0];
    entry.ino = line.words[1] & layout::kBlockNoMask;
    entry.type = static_cast<unsigned>(line.words[1] >> 40) & 15;
    entry.cell = cell;
    unsigned cells = leaf.good[layout::kLeafFirstCellLine + cell] ? read_name(context, dir, leaf, cell, entry) : 0;
    if (cells == 0) {
      context.walk_complete = false;
      ++cell;
      while (cell < kLeafCells && leaf.tags[cell] == layout::kTagContinued) ++cell;
      continue;
    }
    check_entry(context, dir, leaf, entry, first_key, last_key);
    leaf.entries[leaf.count++] = entry;
    note_entry(context, dir.ino, leaf.cell_offset(cell), entry.key, entry.ino, entry.type);
    cell += cells;
  }
}

} // namespace pmemfile::fsck
