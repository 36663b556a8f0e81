#include "fuzz/damage.h"

#include <bit>

namespace pmemfile::fuzz {
namespace {

using layout::kBlockBytes;
using layout::kLineBytes;
using layout::kLineWords;

class Damage {
 public:
  Damage(const StartingPool& pool, Image& image) : pool_(pool), g_(pool.geometry), image_(image) {}

  void run(const std::vector<Record>& records) {
    for (std::size_t i = 1; i < records.size(); ++i) {
      const Record& record = records[i];
      if ((record.kind & kOperationBit) != 0) continue;
      switch (record.kind % kDamageKinds) {
        case kSetWord: set_word(record, true); break;
        case kTearWord: set_word(record, false); break;
        case kCopyLine: copy_line(record); break;
        case kCopyBlock: copy_block(record); break;
        case kSetVersion: set_version(record); break;
        case kMarkBlock: mark_block(record); break;
        case kCommit: i = commit(records, i); break;
        case kGeometry: change_geometry(record); break;
        case kState: change_state(record); break;
        case kCut: cut_ = record.value; break;
        case kRawByte: put_byte(record); break;
        case kEnlist: enlist(record); break;
        case kEntry: change_entry(record); break;
      }
    }
    if (cut_ != 0) image_.resize(cut_ % (image_.size() + 1));
  }

 private:
  u64 load(u64 offset) const {
    u64 value;
    std::memcpy(&value, image_.data() + offset, 8);
    return value;
  }
  layout::Line line(u64 offset) const {
    layout::Line found;
    std::memcpy(&found, image_.data() + offset, sizeof found);
    return found;
  }
  void put(u64 offset, const void* bytes, u64 size) { std::memcpy(image_.data() + offset, bytes, size); }
  u64 blocks() const { return image_.size() / kBlockBytes; }

  // A block of one of the kinds of structures, or any one.
  u64 block_of(u8 group, u8 index) const {
    const Catalog& c = pool_.catalog;
    const std::vector<u64>* lists[] = {&c.leaves, &c.dir_nodes, &c.map_nodes, &c.xattrs, &c.data, &c.free};
    unsigned choice = group % 10;
    if (choice < 6 && !lists[choice]->empty()) return (*lists[choice])[index % lists[choice]->size()];
    if (choice == 6) return g_.orphan_block;
    if (choice == 7) return g_.bitmap_start_block;
    if (choice == 8 && !c.inodes.empty()) return c.inodes[index % c.inodes.size()] / layout::kInodesPerBlock;
    return index % blocks();
  }
  u64 ino_of(u8 index) const {
    const std::vector<u64>& inodes = pool_.catalog.inodes;
    return index < 2 * inodes.size() ? inodes[index % inodes.size()] : g_.data_start_block * layout::kInodesPerBlock + index;
  }
  // Where a payload word of some structure stands.
  u64 place(u8 group, u8 index, u16 word) const {
    if (group % 16 < 6) { // inodes, half of the time
      u64 number = word % 28;
      return ino_of(index) * layout::kInodeBytes % image_.size() + number / kLineWords * kLineBytes + number % kLineWords * 8;
    }
    return block_of(u8(group - 6), index) * kBlockBytes + layout::node_word(word % layout::kPtrsPerNode);
  }

  u64 constant(u64 choice) const {
    const u64 values[] = {0, 1, ~u64{0}, u64{1} << 63, layout::kBlockNoMask, g_.block_count, g_.block_count - 1, g_.data_start_block,
                          g_.data_start_block - 1, g_.root_ino[0], g_.root_ino[3] + 1, layout::kMaxFileBytes, layout::kMaxFileBytes + 1,
                          layout::kMaxFileBytes - 1, layout::kMaxFileBlocks, 4096, 4095, 112, 113, 0xffff, u64{1} << 32, 9 * 4096, 255, 256};
    return values[choice % (sizeof values / sizeof values[0])];
  }
  // The new value of a word.
  u64 value_of(const Record& r, u64 old) const {
    u64 other = place(u8(r.value), u8(r.value >> 8), u16(r.value >> 16));
    unsigned shift = r.extra % 64;
    switch (r.form % 16) {
      case 0: return r.value;
      case 1: return old ^ u64{1} << r.extra % 64;
      case 2: return old + r.value % 33 - 16;
      case 3: return load(other);
      case 4: return constant(r.value);
      case 5: return block_of(u8(r.value), u8(r.value >> 8));
      case 6: return layout::trie_ptr(BlockNo{block_of(u8(r.value), u8(r.value >> 8))}, r.extra % 5, r.extra / 5 % 10);
      case 7: return (old & ~(u64{0xff} << (shift & 56))) | (r.value & 0xff) << (shift & 56);
      case 8: return (old & ~(u64{0xffff} << (shift & 48))) | (r.value & 0xffff) << (shift & 48);
      case 9: return ino_of(u8(r.value));
      case 10: return (old & ~layout::kBlockNoMask) | ino_of(u8(r.value));
      case 11: return block_of(u8(r.value), u8(r.value >> 8)) | layout::kPtrUnwritten;
      case 12: return (old & ~u64{0xffff}) | (u64{r.extra} % 15 + 1) << 12 | (old & 07777); // another type
      case 13: return (old & ~(u64{0xffff} << 16)) | u64{r.extra} << 16;                    // flags
      case 14: return (old & 0xffffffff) | r.value << 32;                                    // links
      default: return 0;
    }
  }

  void finish(u64 start, layout::Line changed, u64 version) {
    changed.trailer = layout::make_trailer(changed.words, version & layout::kMaxLineVersion);
    put(start, &changed, sizeof changed);
  }
  void put_word(u64 at, u64 value) {
    u64 start = align_down(at, kLineBytes);
    put(at, &value, 8);
    finish(start, line(start), layout::trailer_version(line(start).trailer));
  }
  void set_word(const Record& r, bool right_checksum) {
    u64 at = place(r.group, r.index, r.word), value = value_of(r, load(at));
    if (right_checksum) put_word(at, value);
    else put(at, &value, 8);
  }
  void enlist(const Record& r) {
    u64 ino = ino_of(r.index), inode = ino * layout::kInodeBytes % image_.size();
    // In its list, in another one, and in another one that its flags name.
    u64 beyond = r.form <= 1 ? r.extra % layout::kOrphanLists : 0;
    u64 head = g_.orphan_block * kBlockBytes + (ino + beyond) % layout::kOrphanLists * kLineBytes;
    put_word(inode + layout::kInodeNextOrphan, load(head));
    put_word(head, ino);
    u64 mode = load(inode + layout::kInodeModeWord) | u64{r.word % 64u | layout::kFlagOrphan | (r.form == 1 ? beyond << layout::kFlagListShift : 0)} << 16;
    put_word(inode + layout::kInodeModeWord, r.group % 2 != 0 ? mode & 0xffffffff : mode); // without links
    if (r.group % 4 >= 2) put_word(inode + layout::kInodeSize, r.value % (64 * kBlockBytes));
  }
  // Leaves: the line of a cell, and its tag.
  u64 cell_line(u64 leaf, unsigned cell) const { return leaf * kBlockBytes + (layout::kLeafFirstCellLine + cell) * kLineBytes; }
  u8 tag(u64 leaf, unsigned cell) const { return u8(load(leaf * kBlockBytes + layout::leaf_tag_word(cell / 8)) >> cell % 8 * 8); }
  void set_tag(u64 leaf, unsigned cell, u8 value) {
    u64 at = leaf * kBlockBytes + layout::leaf_tag_word(cell / 8);
    put_word(at, (load(at) & ~(u64{0xff} << cell % 8 * 8)) | u64{value} << cell % 8 * 8);
  }
  // The first cell from `start` on, once round, for which it is true.
  template <class Is>
  unsigned find_cell(unsigned start, Is&& is) const {
    for (unsigned i = 0; i < layout::kLeafCells; ++i)
      if (unsigned cell = (start + i) % layout::kLeafCells; is(cell)) return cell;
    return layout::kLeafCells;
  }
  void change_entry(const Record& r) {
    if (pool_.catalog.leaves.empty()) return;
    u64 leaf = block_of(0, r.index);
    auto begins = [&](unsigned cell) { return tag(leaf, cell) != layout::kTagFree && tag(leaf, cell) != layout::kTagContinued; };
    unsigned cell = find_cell(r.word, begins), free = find_cell(r.extra, [&](unsigned c) { return tag(leaf, c) == layout::kTagFree; });
    if (cell == layout::kLeafCells) return;
    u64 line_at = cell_line(leaf, cell);
    if (r.form % 4 == 3 && free != layout::kLeafCells) { // whole only if its name fits one cell
      layout::Line copy = line(line_at);
      finish(cell_line(leaf, free), copy, layout::trailer_version(line(cell_line(leaf, free)).trailer));
      set_tag(leaf, free, tag(leaf, cell));
      return;
    }
    u64 ino = ino_of(u8(r.value)), type = load(ino * layout::kInodeBytes % image_.size() + layout::kInodeModeWord) >> 12 & 15;
    u64 about = (load(line_at + 8) & ~layout::kBlockNoMask) | ino;
    if (r.form % 2 == 0) about = (about & ~(u64{15} << 40)) | type << 40;
    put_word(line_at + 8, about);
  }
  void copy_line(const Record& r) {
    u64 from = align_down(place(u8(r.value), u8(r.value >> 8), u16(r.value >> 16)), kLineBytes);
    u64 to = align_down(place(r.group, r.index, r.word), kLineBytes);
    finish(to, line(from), layout::trailer_version(line(to).trailer));
  }
  void copy_block(const Record& r) {
    u64 from = block_of(u8(r.value), u8(r.value >> 8)) * kBlockBytes, to = block_of(r.group, r.index) * kBlockBytes;
    if (from != to) put(to, image_.data() + from, kBlockBytes);
  }
  void set_version(const Record& r) {
    u64 start = align_down(place(r.group, r.index, r.word), kLineBytes);
    finish(start, line(start), r.form % 2 != 0 ? r.value : layout::kMaxLineVersion - r.value % 4);
  }
  void mark_block(const Record& r) {
    u64 block = block_of(r.group, r.index), start = g_.bitmap_start_block * kBlockBytes + block / 128 * kLineBytes;
    layout::Line changed = line(start);
    u64 mask = u64{1} << block % 64, half = block % 128 / 64;
    for (unsigned plane = 0; plane < 3; ++plane) {
      u64& word = changed.words[2 * plane + half];
      word = (r.value >> plane & 1) != 0 ? word | mask : word & ~mask;
    }
    finish(start, changed, layout::trailer_version(changed.trailer));
  }

  // A committed record that holds what the following records would have set. Returns the last one used.
  std::size_t commit(const std::vector<Record>& records, std::size_t at) {
    const Record& r = records[at];
    u64 slot = r.index % g_.record_slot_count, sequence = 2 + r.extra;
    std::vector<u64> words(8);
    u64 lines = 0;
    while (at + 1 < records.size() && records[at + 1].kind == kSetWord && words.size() + 9 <= kBlockBytes / 8) {
      const Record& next = records[++at];
      u64 where = place(next.group, next.index, next.word), start = align_down(where, kLineBytes);
      unsigned word = unsigned(where - start) / 8;
      layout::Line changed = line(start);
      changed.words[word] = value_of(next, changed.words[word]);
      u64 version = layout::trailer_version(changed.trailer) + 1 + (r.form == 1 ? r.value % 3 : 0);
      changed.trailer = layout::make_trailer(changed.words, version & layout::kMaxLineVersion);
      words.push_back((r.form == 2 ? start / kLineBytes ^ r.value : start / kLineBytes) << 8 | u64{1} << word);
      words.push_back(r.form == 3 ? r.value : changed.trailer);
      words.push_back(changed.words[word]);
      ++lines;
    }
    if (r.form == 4) lines = r.value & 0xffff;
    words[0] = layout::kRecordMagic;
    words[1] = (r.form == 5 ? r.value & 0xffff : slot) | lines << 16 | words.size() * 8 << 32;
    words[2] = sequence;
    words[3] = state().record_epoch + (r.form == 6);
    words[4] = 1;
    u32 crc = ~u32{0};
    for (u64 word : words) crc = crc32c_word(crc, word);
    words[7] = crc;
    put((g_.record_start_block + 2 * slot + sequence % 2) * kBlockBytes, words.data(), words.size() * 8);
    return at;
  }

  layout::State state() const {
    layout::State copies[2];
    for (u64 i = 0; i < 2; ++i) std::memcpy(&copies[i], image_.data() + i * kBlockBytes + layout::kStateOffset, sizeof copies[i]);
    return copies[0].sequence >= copies[1].sequence ? copies[0] : copies[1];
  }
  void change_geometry(const Record& r) {
    layout::Geometry changed = g_;
    u64 words[sizeof changed / 8];
    std::memcpy(words, &changed, sizeof changed);
    u64 word = r.word % (sizeof words / 8);
    words[word] = value_of(r, words[word]);
    std::memcpy(&changed, words, sizeof changed);
    if (r.group % 4 != 0) changed.crc = layout::struct_crc(changed);
    for (u64 copy = 0; copy < 2; ++copy)
      if ((r.index % 4 & (copy + 1)) != 0) put(copy * kBlockBytes, &changed, sizeof changed);
  }
  void change_state(const Record& r) {
    for (u64 copy = 0; copy < 2; ++copy)
      if ((r.index % 4 & (copy + 1)) != 0) change_state(r, copy * kBlockBytes + layout::kStateOffset);
  }
  void change_state(const Record& r, u64 at) {
    u64 words[sizeof(layout::State) / 8];
    std::memcpy(words, image_.data() + at, sizeof words);
    u64 word = r.word % (sizeof words / 8);
    words[word] = value_of(r, words[word]);
    layout::State changed;
    std::memcpy(&changed, words, sizeof changed);
    if (r.group % 4 != 0) changed.crc = layout::struct_crc(changed);
    put(at, &changed, sizeof changed);
  }
  void put_byte(const Record& r) {
    image_[(u64{r.word} << 16 | r.extra) % image_.size()] = std::byte(r.value);
  }

  const StartingPool& pool_;
  const layout::Geometry& g_;
  Image& image_;
  u64 cut_ = 0;
};

} // namespace

const StartingPool& damaged_pool(const std::vector<Record>& records, Image& image) {
  const std::vector<StartingPool>& pools = starting_pools();
  const StartingPool& pool = pools[records.empty() ? 0 : records[0].group % pools.size()];
  image = pool.image;
  Damage(pool, image).run(records);
  return pool;
}

} // namespace pmemfile::fuzz
