// Mending the structure: what a finding says is made consistent by taking away as little as possible.
//
// A line of a wrong checksum is believed as far as everything else bears it out: its checksum is made right, and what is
// wrong in it is then found and cut like any other damage. What a cut leaves without a name goes into lost+found.

#include <algorithm>

#include "fsck/editor.h"

namespace pmemfile::fsck {
namespace {

using layout::kBlockBytes;
using layout::kLineBytes;

bool in_bitmap(const layout::Geometry& geometry, u64 offset) {
  u64 block = offset / kBlockBytes;
  return block >= geometry.bitmap_start_block && block < geometry.data_start_block;
}

constexpr u64 kSetIds = 06000; // set-user-id and set-group-id

void renew(Editor& editor, Context& context, const Finding& finding) {
  editor.renew_line(finding.offset);
  // Damage must not make a program that runs with its owner's rights.
  u64 block = finding.offset / kBlockBytes;
  if (finding.code != Code::F0301 || finding.offset % layout::kInodeBytes != 0) return;
  if (block >= context.owners.size() || context.owners.at(block) != Owner::kInodes) return;
  u64 mode = editor.word(finding.offset) & ~kSetIds;
  // Nor make something else of it than its name, or its being a root, says: its contents would be taken for what they are not, and go.
  u64 ino = finding.offset / layout::kInodeBytes;
  const auto& roots = context.geometry().root_ino;
  if (auto named = context.named_types.find(ino); named != context.named_types.end())
    mode = (mode & ~u64{0170000}) | u64{named->second} << 12;
  else if (std::find(std::begin(roots), std::end(roots), ino) != std::end(roots))
    mode = (mode & ~u64{0170000}) | kTypeDir;
  editor.set_word(finding.offset, mode);
}

void clear_inode(Editor& editor, u64 ino) {
  for (u64 line = 0; line < layout::kInodeBytes; line += kLineBytes) editor.zero_line(ino * layout::kInodeBytes + line);
}

// An empty directory, as mkfs makes it.
void make_root(Editor& editor, u64 ino) {
  constexpr u64 kMode = kTypeDir | 0755 | u64{2} << 32;
  u64 offset = ino * layout::kInodeBytes;
  clear_inode(editor, ino);
  editor.set_word(offset + layout::kInodeIdentity, layout::kInodeMagic | u64{1} << 16);
  editor.set_word(offset + layout::kInodeParent, ino);
  editor.set_word(offset + layout::kInodeModeWord, kMode);
}

void give_identity(Editor& editor, u64 ino) {
  u64 offset = ino * layout::kInodeBytes;
  u64 generation = layout::trailer_version(editor.line(offset).trailer);
  editor.set_word(offset + layout::kInodeIdentity, layout::kInodeMagic | generation << 16);
}

u8 tag_at(const Editor& editor, u64 block, unsigned cell) {
  return static_cast<u8>(editor.word(block * kBlockBytes + layout::leaf_tag_word(cell / 8)) >> (8 * (cell % 8)));
}
void set_tag(Editor& editor, u64 block, unsigned cell, u8 tag) {
  u64 offset = block * kBlockBytes + layout::leaf_tag_word(cell / 8);
  unsigned shift = 8 * (cell % 8);
  editor.set_word(offset, (editor.word(offset) & ~(u64{255} << shift)) | u64{tag} << shift);
}
unsigned cell_of(u64 place) {
  return static_cast<unsigned>(place % kBlockBytes / kLineBytes) - layout::kLeafFirstCellLine;
}
// The entry whose first cell is at `place`, with the cells that continue it.
void drop_entry(Editor& editor, u64 place) {
  u64 block = place / kBlockBytes;
  unsigned cell = cell_of(place);
  do set_tag(editor, block, cell++, layout::kTagFree);
  while (cell < layout::kLeafCells && tag_at(editor, block, cell) == layout::kTagContinued);
}

void empty_pointer(Editor& editor, const Context& context, u64 place) {
  unsigned depth = layout::trie_depth(editor.word(place));
  bool in_node = context.owners.at(place / kBlockBytes) != Owner::kInodes && depth >= 1 && depth <= layout::kTrieBits;
  editor.set_word(place, in_node ? layout::trie_ptr(BlockNo{0}, layout::kTrieEmpty, depth) : 0);
}

bool cut(Editor& editor, const Context& context, const Finding& finding) {
  switch (finding.cut) {
    case Cut::kNone: return false;
    case Cut::kZeroWord: editor.set_word(finding.place, 0); return true;
    case Cut::kEmptyPointer: empty_pointer(editor, context, finding.place); return true;
    case Cut::kDropEntry: drop_entry(editor, finding.place); return true;
  }
  return false;
}

// A free block, taken at once; 0 if there is none or the walk does not know.
u64 take_free(Context& context) {
  const layout::Geometry& g = context.geometry();
  for (u64 block = g.data_start_block; block < g.block_count; ++block)
    if (context.owners.at(block) == Owner::kNobody) {
      context.owners.set(block, Owner::kData);
      return block;
    }
  return 0;
}

// Two files own one block: nobody knows whose it is, so that each keeps the contents.
bool separate(Editor& editor, Context& context, const Finding& finding) {
  bool both_data = finding.found == u64(Owner::kData) && finding.expected == u64(Owner::kData);
  u64 copy = both_data && context.walk_complete ? take_free(context) : 0;
  if (copy == 0) return cut(editor, context, finding);
  std::byte contents[kBlockBytes];
  std::memcpy(contents, editor.image().data() + finding.offset, sizeof contents);
  editor.write(copy * kBlockBytes, contents, sizeof contents);
  editor.set_word(finding.place, (editor.word(finding.place) & ~layout::kBlockNoMask) | copy);
  return true;
}

// What cannot be a target is no symlink; one with a NUL in it ends there.
void mend_symlink(Editor& editor, const Finding& finding) {
  u64 inode = finding.ino * layout::kInodeBytes, size = finding.found;
  if (finding.code == Code::F0701 || size == 0) return clear_inode(editor, finding.ino);
  if (size <= layout::kInlineTargetBytes && finding.expected > layout::kInlineTargetBytes) {
    u64 words[layout::kMapWords] = {};
    std::memcpy(words, editor.image().data() + finding.offset, size);
    for (unsigned i = 0; i < layout::kMapWords; ++i) editor.set_word(inode + layout::inode_map_word(i), words[i]);
  }
  editor.set_word(inode + layout::kInodeSize, size);
}

void set_flags(Editor& editor, u64 ino, u16 clear, u16 set) {
  u64 offset = ino * layout::kInodeBytes + layout::kInodeModeWord;
  editor.set_word(offset, (editor.word(offset) & ~(u64{clear} << 16)) | u64{set} << 16);
}

// Its list goes on with its successor.
void take_off_list(Editor& editor, const Context& context, u64 ino) {
  u16 flags = static_cast<u16>(editor.word(ino * layout::kInodeBytes + layout::kInodeModeWord) >> 16);
  u64 place = context.geometry().orphan_block * kBlockBytes + layout::orphan_list(Ino{ino}, flags) * kLineBytes;
  for (u64 steps = context.geometry().block_count * layout::kInodesPerBlock; steps != 0; --steps) {
    u64 next = editor.word(place);
    if (next == 0 || !context.inode_in_range(next)) return;
    u64 after = next * layout::kInodeBytes + layout::kInodeNextOrphan;
    if (next == ino) return editor.set_word(place, editor.word(after));
    place = after;
  }
}

void zero_inode_map(Editor& editor, u64 ino) {
  for (unsigned i = 0; i < layout::kMapWords; ++i) editor.set_word(ino * layout::kInodeBytes + layout::inode_map_word(i), 0);
}

bool mend_inode(Editor& editor, Context& context, const Finding& finding) {
  const auto& roots = context.geometry().root_ino;
  bool root = std::find(std::begin(roots), std::end(roots), finding.ino) != std::end(roots);
  u64 inode = finding.ino * layout::kInodeBytes;
  switch (finding.code) {
    case Code::F0401: give_identity(editor, finding.ino); return true;
    case Code::F0402: root ? make_root(editor, finding.ino) : clear_inode(editor, finding.ino); return true;
    case Code::F0403: editor.set_word(inode + layout::kInodeSize, finding.expected); return true;
    case Code::F0406: clear_inode(editor, finding.ino); return true;
    case Code::F0407: set_flags(editor, finding.ino, static_cast<u16>(finding.found & ~finding.expected), 0); return true;
    case Code::F0410: {
      // The list that it does stand in stays its own.
      const InodeBlock& block = context.inode_block(finding.ino / layout::kInodesPerBlock);
      u16 list = (block.orphans >> finding.ino % layout::kInodesPerBlock & 1) != 0 ? u16{0} : layout::kFlagList;
      set_flags(editor, finding.ino, layout::kFlagOrphan | list | layout::kFlagTruncating | layout::kFlagFreeing | layout::kFlagHolder | layout::kFlagDead, 0);
      return true;
    }
    case Code::F0411: zero_inode_map(editor, finding.ino); return true;
    case Code::F0412: make_root(editor, finding.ino); return true;
    // Contents are worth more than a size that does not fit them.
    case Code::F0503: editor.set_word(inode + layout::kInodeSize, (finding.found + 1) * kBlockBytes); return true;
    case Code::F0904: set_flags(editor, finding.ino, 0, layout::kFlagOrphan); return true;
    case Code::F0905: set_flags(editor, finding.ino, layout::kFlagDead, 0); return true;
    case Code::F0906: take_off_list(editor, context, finding.ino); return true;
    default: return false;
  }
}

bool mend_entry(Editor& editor, const Finding& finding) {
  u64 block = finding.offset / kBlockBytes;
  switch (finding.code) {
    case Code::F0608: set_tag(editor, block, cell_of(finding.offset), static_cast<u8>(finding.expected)); return true;
    // Should the right key not belong into this leaf, the entry goes the next time round.
    case Code::F0609: editor.set_word(finding.offset, finding.expected); return true;
    case Code::F0616: {
      u64 about = editor.word(finding.offset + 8);
      editor.set_word(finding.offset + 8, (about & ~(u64{15} << 40)) | finding.expected << 40);
      return true;
    }
    case Code::F0618: case Code::F0619: case Code::F0621: editor.set_word(finding.offset, finding.expected); return true;
    default: drop_entry(editor, finding.offset); return true;
  }
}

} // namespace

Stage stage_of(const Finding& finding, const layout::Geometry& geometry) {
  if (code_info(finding.code).severity != Severity::kError) return Stage::kNever;
  switch (finding.code) {
    case Code::F0301: case Code::F0302: return in_bitmap(geometry, finding.offset) ? Stage::kCounts : Stage::kLines;
    case Code::F0401: case Code::F0402: case Code::F0406: case Code::F0407: case Code::F0411: case Code::F0412: case Code::F0413:
    case Code::F0501: case Code::F0504: case Code::F0601: case Code::F0602: case Code::F0603: case Code::F0604: case Code::F0605:
    case Code::F0606: case Code::F0607: case Code::F0801: case Code::F0802: case Code::F0901:
      return Stage::kShape;
    case Code::F0502: return Stage::kOwners;
    case Code::F0404: case Code::F0405: case Code::F0408: case Code::F1001: case Code::F1002: case Code::F1003: case Code::F1004:
    case Code::F1005: case Code::F1006:
      return Stage::kCounts;
    // Superblocks and records are mended before anything is looked at.
    case Code::F0101: case Code::F0103: case Code::F0201: case Code::F0202: case Code::F0203: case Code::F0204: return Stage::kNever;
    default: return Stage::kEntries;
  }
}

bool mend(Editor& editor, Context& context, const Finding& finding) {
  switch (finding.code) {
    case Code::F0301: case Code::F0302: renew(editor, context, finding); return true;
    case Code::F0409: {
      // The next walk finds where the name stands; without it the directory is one of those to be given a new name.
      u64& place = context.hunted[finding.ino];
      if (place != 0) drop_entry(editor, place);
      return true;
    }
    case Code::F0413: case Code::F0501: case Code::F0601: case Code::F0602: case Code::F0605: case Code::F0606: case Code::F0802:
    case Code::F0901: case Code::F0902: case Code::F0903:
      return cut(editor, context, finding);
    case Code::F0502: return separate(editor, context, finding);
    case Code::F0504: editor.set_word(finding.offset, (finding.expected & layout::kBlockNoMask) == 0 ? 0 : finding.expected); return true;
    case Code::F0603: case Code::F0604: editor.set_word(finding.offset, finding.expected); return true;
    case Code::F0607:
      editor.set_word(finding.offset, layout::trie_ptr(BlockNo{0}, layout::kTrieEmpty, layout::kTrieBits));
      return true;
    case Code::F0701: case Code::F0702: mend_symlink(editor, finding); return true;
    case Code::F0801: editor.set_word(finding.offset + layout::node_word(finding.found / 8), 0); return true;
    default: break;
  }
  if (finding.code >= Code::F0608 && finding.code <= Code::F0621) return mend_entry(editor, finding);
  return mend_inode(editor, context, finding);
}

void mend_counts(Editor& editor, Context& context, const Finding& finding) {
  u64 inode = finding.ino * layout::kInodeBytes;
  u64 mode_word = editor.word(inode + layout::kInodeModeWord);
  auto set_links = [&](u64 links) { editor.set_word(inode + layout::kInodeModeWord, (mode_word & 0xffffffff) | links << 32); };
  if (finding.code == Code::F0404) editor.set_word(inode + layout::kInodeBlocks, finding.expected);
  if (finding.code == Code::F0405) set_links(finding.expected);
  if (finding.code == Code::F0408) {
    // As it has to be once it has a name again. What stands in a list leaves it at the next attachment with the flags that it has.
    mode_word &= ~(u64{layout::kFlagDead | layout::kFlagFreeing | layout::kFlagHolder} << 16);
    const InodeBlock& block = context.inode_block(finding.ino / layout::kInodesPerBlock);
    bool directory = (mode_word & 0170000) == kTypeDir;
    set_links(directory ? 2 + block.subdirectories[finding.ino % layout::kInodesPerBlock] : 1);
  }
}

} // namespace pmemfile::fsck
