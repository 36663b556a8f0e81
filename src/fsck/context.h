// What the parts of the checker share while one check runs. Internal to the fsck room.
//
// Rules: lives on the stack of check(); one thread.
#pragma once

#include <cstring>
#include <unordered_map>

#include "fsck/check.h"

namespace pmemfile::fsck {

// Bounds-checked reading of the image, with replayed lines laid over it.
class Image {
 public:
  explicit Image(std::span<const std::byte> bytes) : bytes_(bytes) {}

  u64 size() const { return bytes_.size(); }
  // Copies; what lies outside the image reads as zeros.
  void copy(u64 offset, void* to, u64 size) const;
  layout::Line line(u64 offset) const; // offset: a multiple of 64
  void replace_line(u64 offset, const layout::Line& line) { overlay_[offset] = line; }
  const std::unordered_map<u64, layout::Line>& overlay() const { return overlay_; }

 private:
  std::span<const std::byte> bytes_;
  std::unordered_map<u64, layout::Line> overlay_;
};

// What the walk found a block to be; two bits a block.
enum class Owner : u8 { kNobody, kData, kMeta, kInodes };

class Owners {
 public:
  u64 size() const { return bits_.size() * 4; } // blocks, rounded up
  void resize(u64 blocks) { bits_.assign(div_up(blocks, 4), 0); }
  Owner at(u64 block) const { return static_cast<Owner>((bits_[block / 4] >> (block % 4 * 2)) & 3); }
  void set(u64 block, Owner owner) {
    bits_[block / 4] = static_cast<u8>((bits_[block / 4] & ~(3 << (block % 4 * 2))) |
                                       static_cast<int>(owner) << (block % 4 * 2));
  }

 private:
  std::vector<u8> bits_;
};

// What the walk knows about the 16 inodes of a block.
struct InodeBlock {
  u64 block = 0;
  u16 in_use = 0, visited = 0, directories = 0, orphans = 0, roots = 0, anchored = 0, with_entries = 0;
  u32 references[layout::kInodesPerBlock] = {};
  u32 subdirectories[layout::kInodesPerBlock] = {};
};

// An inode's payload words, a private copy.
struct Inode {
  u64 ino = 0;
  u64 words[4][layout::kLineWords] = {};

  u64 offset() const { return ino * layout::kInodeBytes; }
  u32 mode() const { return words[0][0] & 0xffff; }
  u32 type() const { return mode() & 0170000; }
  u16 flags() const { return static_cast<u16>(words[0][0] >> 16); }
  u32 links() const { return static_cast<u32>(words[0][0] >> 32); }
  u64 size() const { return words[0][2]; }
  u64 blocks() const { return words[0][3]; }
  u64 identity() const { return words[1][0]; }
  u64 parent() const { return words[1][2]; }
  u64 parent_key() const { return words[1][3]; }
  u64 xattr_block() const { return words[1][4]; }
  u64 next_orphan() const { return words[1][5]; }
  u64 map(unsigned index) const { return words[2 + index / layout::kLineWords][index % layout::kLineWords]; }
};
// A line of a later version is reported: use would soon bring it to its end (layout::kMaxLineVersion, from which nothing can be
// changed). A repair begins again with lines that are half way there, so that what it leaves is far from being reported.
inline constexpr u64 kWornVersion = layout::kMaxLineVersion - (u64{1} << 40), kWornInRepair = layout::kMaxLineVersion / 2;

inline constexpr u32 kTypeFifo = 0010000, kTypeChar = 0020000, kTypeDir = 0040000, kTypeBlock = 0060000,
                     kTypeFile = 0100000, kTypeLink = 0120000, kTypeSocket = 0140000;

struct Context {
  Context(std::span<const std::byte> bytes, const Options& the_options) : image(bytes), options(the_options) {}

  Image image;
  const Options& options;
  Report report;
  Owners owners;
  std::vector<InodeBlock> inode_blocks;
  std::unordered_map<u64, u32> inode_block_index;
  std::vector<u64> pending; // inodes to visit
  // Directories whose names are looked for, and where these stand (0: not found yet).
  std::unordered_map<u64, u64> hunted;
  std::unordered_map<u64, unsigned> named_types; // of inodes with a damaged line: the type that an entry of theirs says
  u64 worn_version = kWornVersion;
  bool walk_complete = true; // false: something could not be read, so what is unowned may not be free

  const layout::Geometry& geometry() const { return report.geometry; }
  void find(Code code, u64 offset, u64 ino, u64 found, u64 expected, u64 place = 0, Cut cut = Cut::kNone);
  void progress(const char* phase, u64 done, u64 total) const {
    if (options.progress != nullptr) options.progress(options.context, phase, done, total);
  }
  bool allocatable(u64 block) const {
    return block >= geometry().data_start_block && block < geometry().block_count;
  }
  // Its version can be advanced for long; false, and a finding, if not.
  bool check_version(u64 offset, u64 ino, const layout::Line& line);
  // A line of metadata with its checksum looked at; false (and a finding) if wrong.
  bool load_line(u64 offset, u64 ino, layout::Line& line);
  // All payload words of a block of metadata; false if a line is damaged (its words are zeros then).
  bool load_block(u64 block, u64 ino, u64 (&words)[layout::kPtrsPerNode]);
  // False, with a finding, if somebody has it already or it is out of range.
  bool claim(u64 block, Owner owner, u64 place, u64 ino, Code out_of_range, Cut cut);

  bool inode_in_range(u64 ino) const { return allocatable(ino / layout::kInodesPerBlock); }
  InodeBlock& inode_block(u64 block); // made on first use
  bool load_inode(u64 ino, Inode& inode);
};

// check.cc: everything behind the superblocks; replay is the caller's.
void check_structure(Context& context);
// superblock.cc
bool check_superblocks(Context& context);
// records.cc
void replay_records(Context& context);
u64 newest_epoch(const Context& context); // of any whole record; 0: there is none
// inodes.cc
void visit_pending(Context& context);
bool reach_inode(Context& context, u64 ino, u64 place, u64 from_ino, Cut cut = Cut::kNone);
// An entry of directory `dir` at `place` names `ino`.
void note_entry(Context& context, u64 dir, u64 place, u64 key, u64 ino, unsigned type);
// maps.cc: returns the blocks owned.
u64 check_map(Context& context, const Inode& inode);
void check_symlink(Context& context, const Inode& inode);
void check_xattr(Context& context, const Inode& inode);
// trie.cc, leaf.cc
void check_directory(Context& context, const Inode& inode);
// `place`: of the pointer to it.
void check_leaf(Context& context, const Inode& dir, u64 block, u64 place, unsigned level, u64 first_key, u64 last_key);
// relations.cc
void check_orphans(Context& context);
void find_unreachable(Context& context);
void check_links(Context& context);
// bitmap.cc
struct BitmapLine {
  u64 used[2], meta[2], inodes_free[2];
};
u64 bitmap_line_offset(const layout::Geometry& geometry, u64 index);
bool load_bitmap_line(Context& context, u64 index, BitmapLine& line, bool report);
void check_bitmap(Context& context);

} // namespace pmemfile::fsck
