// Format version 1 of a pool, to the word. The specification with its reasons is docs/format.md.
//
// What it is: constants, structs and the pure functions that encode and check them; nothing that reads or
// writes a pool. Rules: usable in any thread, any process, inside a hook; no state.
#pragma once

#include "base/crc32c.h"
#include "base/result.h"
#include "base/types.h"

namespace pmemfile::layout {

inline constexpr u64 kBlockBytes = 4096;
inline constexpr u64 kLineBytes = 64;
inline constexpr u64 kLinesPerBlock = kBlockBytes / kLineBytes;
// Words of a metadata line that carry payload; word 7 is the trailer.
inline constexpr unsigned kLineWords = 7;
inline constexpr u64 kMinPoolBytes = 256 * 1024;
inline constexpr u64 kMaxPoolBytes = u64{256} << 40;
// Block numbers have 36 bits at the largest pool; the format keeps 40.
inline constexpr u64 kBlockNoMask = (u64{1} << 40) - 1;

// ---- Metadata lines -------------------------------------------------------------------------------------

// Trailer: bits 0..15 checksum, 16..63 version. A line of zeros is valid: empty, version 0.
inline constexpr u64 kMaxLineVersion = (u64{1} << 48) - 1;
constexpr u64 trailer_version(u64 trailer) { return trailer >> 16; }

// CRC-32C over the seven payload words and the version, start value 0, folded to 16 bits.
inline u64 make_trailer(const u64 (&words)[kLineWords], u64 version) {
  u32 crc = crc32c_word(crc32c_words(0, words, kLineWords), version);
  return (version << 16) | ((crc ^ (crc >> 16)) & 0xffff);
}

struct Line {
  u64 words[kLineWords];
  u64 trailer;

  bool valid() const { return make_trailer(words, trailer_version(trailer)) == trailer; }
};
static_assert(sizeof(Line) == kLineBytes);

// ---- Superblock: blocks 0 and 1 ---------------------------------------------------------------------------

inline constexpr u64 kMagic = 0x454c4946454d5000; // bytes 00 'P' 'M' 'E' 'F' 'I' 'L' 'E'
inline constexpr u16 kVersionMajor = 1;
inline constexpr u16 kVersionMinor = 0;
inline constexpr u16 kVersionPatch = 0;
inline constexpr unsigned kRootCount = 4;
inline constexpr u64 kSuperblockCopies = 2;

// Feature bits: unknown compatible ones are ignored, unknown read-only compatible ones allow a read-only
// attach, unknown incompatible ones refuse the pool. None is defined by version 1.0.
inline constexpr u64 kKnownCompat = 0, kKnownReadOnlyCompat = 0, kKnownIncompat = 0;

// Written once by mkfs, the same in both copies.
struct Geometry {
  u64 magic;
  u16 version_major, version_minor, version_patch, reserved0;
  u64 feature_compat, feature_read_only_compat, feature_incompat;
  u8 uuid[16];
  u64 block_count;        // of the whole pool, superblocks included
  u64 record_start_block; // areas of slot i: record_start_block + 2 i and + 2 i + 1
  u64 record_slot_count;
  u64 orphan_block;       // 64 lines, each the head of a list
  u64 bitmap_start_block;
  u64 bitmap_block_count;
  u64 data_start_block;   // first block the allocator may give
  u64 root_ino[kRootCount];
  u64 hash_key[2];        // of the directory hash
  i64 created_ns;
  u8 label[64];           // UTF-8, padded with zeros
  u64 reserved[8];
  u32 reserved1;
  u32 crc;                // CRC-32C (start value ~0) over all words before this one
};
static_assert(sizeof(Geometry) == 304 && alignof(Geometry) == 8);
static_assert(offsetof(Geometry, uuid) == 40 && offsetof(Geometry, root_ino) == 112);
static_assert(offsetof(Geometry, label) == 168 && offsetof(Geometry, crc) == 300);

// Rewritten at attach of the first process, by turns in copy 0 and 1: the valid one with the higher sequence
// counts.
struct State {
  u64 sequence;
  u64 record_epoch;    // records of another epoch are void
  u64 segment_dev, segment_ino, segment_id; // the volatile segment in force
  u64 boot_id;         // of the boot in which the pool was last attached for writing
  u64 flags;
  u64 reserved[8];
  u32 reserved1;
  u32 crc;             // as in Geometry
};
inline constexpr u64 kStateDirty = 1; // attached for writing on a page-cache medium, not fully synced since
inline constexpr u64 kStateOffset = 2048; // in the superblock's block
static_assert(sizeof(State) == 128);

template <class T>
u32 struct_crc(const T& value) {
  static_assert(offsetof(T, crc) == sizeof(T) - 4);
  auto* words = reinterpret_cast<const u64*>(&value);
  u32 crc = crc32c_words(~u32{0}, words, sizeof(T) / 8 - 1);
  return crc32c_word(crc, words[sizeof(T) / 8 - 1] & 0xffffffff);
}

// Why a superblock was not accepted; kNone means it was.
enum class GeometryFault : u8 { kNone, kMagic, kVersion, kChecksum, kFeature, kSize, kRegions };
// `file_bytes`: of the file that holds the pool.
GeometryFault check_geometry(const Geometry& geometry, u64 file_bytes);
const char* geometry_fault_text(GeometryFault fault);
// The only place that decides where the regions of a pool of this size lie. Fails with EINVAL or EFBIG.
Result<Geometry> plan_geometry(u64 pool_bytes);

// ---- Records ----------------------------------------------------------------------------------------------

inline constexpr u64 kRecordMagic = 0x314f444552454d50; // "PMEREDO1"
inline constexpr u64 kRecordAreaBytes = kBlockBytes;
inline constexpr unsigned kRecordAreasPerSlot = 2;
inline constexpr unsigned kMaxRecordSlots = 256;

struct RecordHeader {
  u64 magic;
  u64 shape;    // bits 0..15 slot, 16..31 count of lines, 32..63 bytes with header
  u64 sequence; // of the slot; area = sequence % 2
  u64 epoch;    // State::record_epoch
  u64 opcode;   // for people: what the operation was
  u64 reserved[2];
  u64 crc;      // CRC-32C (start value ~0) of all words of the record, this one as 0
};
static_assert(sizeof(RecordHeader) == kLineBytes);
// Then per line: (line offset / 64) << 8 | mask of words; the new trailer; the masked words, lowest first.
// 16 + 7 * 8 bytes at most.
inline constexpr unsigned kMaxRecordLines = (kRecordAreaBytes - sizeof(RecordHeader)) / (16 + 8 * kLineWords);
static_assert(kMaxRecordLines == 56);

// ---- Allocation bitmap --------------------------------------------------------------------------------------

// A bitmap line covers 128 blocks in three planes of two words each.
inline constexpr u64 kBlocksPerBitmapLine = 128;
inline constexpr u64 kBlocksPerBitmapBlock = kBlocksPerBitmapLine * kLinesPerBlock;
// (used, meta): 00 free, 10 data, 01 free but formatted as metadata, 11 metadata in use.
inline constexpr unsigned kPlaneUsed = 0, kPlaneMeta = 2;
// Of a metadata block in use: it holds inodes, and some of them may be free. Clear: other metadata, or no inode is.
inline constexpr unsigned kPlaneInodesFree = 4;

// ---- Inodes -------------------------------------------------------------------------------------------------

inline constexpr u64 kInodeBytes = 256;
inline constexpr u64 kInodesPerBlock = kBlockBytes / kInodeBytes;
inline constexpr u64 kInodeMagic = 0x494e; // "NI"
inline constexpr unsigned kMapWords = 14;

// Line 0
inline constexpr u64 kInodeModeWord = 0;   // bits 0..15 mode, 16..31 flags, 32..63 link count; 0: inode is free
inline constexpr u64 kInodeOwnerWord = 8;  // bits 0..31 uid, 32..63 gid
inline constexpr u64 kInodeSize = 16;      // bytes
inline constexpr u64 kInodeBlocks = 24;    // data blocks and tree nodes it owns, in 4 KiB
inline constexpr u64 kInodeMtime = 32;     // nanoseconds since 1970, signed
inline constexpr u64 kInodeCtime = 40;
inline constexpr u64 kInodeAtime = 48;
// Line 1
inline constexpr u64 kInodeIdentity = 64;  // bits 0..15 kInodeMagic, 16..63 generation
inline constexpr u64 kInodeBtime = 72;
inline constexpr u64 kInodeParent = 80;    // of a directory
inline constexpr u64 kInodeParentKey = 88; // key of its entry there
inline constexpr u64 kInodeXattrBlock = 96;
inline constexpr u64 kInodeNextOrphan = 104;
inline constexpr u64 kInodeRdev = 112;
// Lines 2 and 3: 14 words. File: block map. Directory: word 0 is the root of the trie. Symlink of at most 112
// bytes: the target.
inline constexpr u64 kInlineTargetBytes = kMapWords * 8;

constexpr u64 inode_map_word(unsigned index) { return 128 + index * 8 + (index >= kLineWords ? 8 : 0); }

// Inode flags
inline constexpr u16 kFlagOrphan = 1;     // in an orphan list
inline constexpr u16 kFlagTruncating = 2; // blocks beyond the size are still to be freed; in an orphan list
inline constexpr u16 kFlagBeyondEof = 4;  // written blocks may stand beyond the size (they were mapped)
inline constexpr u16 kFlagUnnamed = 16;   // made without a name (O_TMPFILE): may be linked although it has no links
inline constexpr u16 kFlagDead = 8;       // no links, users or contents: waits in its orphan list to come to the front
inline constexpr u16 kFlagFreeing = 32;  // an orphan whose contents somebody frees: nobody else does, until recovery
inline constexpr u16 kFlagHolder = 64; // without links, in an orphan list: its attribute block is some metadata block that waits to be freed
// Bits 8..13 of an inode in an orphan list: its list is so many beyond that of its number (orphan_list).
inline constexpr unsigned kFlagListShift = 8;
inline constexpr u16 kFlagList = 0x3f00;

constexpr BlockNo ino_block(Ino ino) { return BlockNo{raw(ino) / kInodesPerBlock}; }
constexpr PoolOff inode_offset(Ino ino) { return PoolOff{raw(ino) * kInodeBytes}; }
constexpr Ino make_ino(BlockNo block, unsigned index) { return Ino{raw(block) * kInodesPerBlock + index}; }

// ---- Block map of a file --------------------------------------------------------------------------------------

// A pointer: bits 0..39 block (0: hole), bit 63: allocated but unwritten, reads as zeros.
inline constexpr u64 kPtrUnwritten = u64{1} << 63;
constexpr BlockNo ptr_block(u64 pointer) { return BlockNo{pointer & kBlockNoMask}; }
inline constexpr unsigned kDirectCount = 9;   // map words 0..8
inline constexpr unsigned kTreeCount = 5;     // map words 9..13: trees of 1..5 levels
inline constexpr u64 kPtrsPerNode = kLinesPerBlock * kLineWords; // 448
// First file block that no tree reaches: 9 + 448 + 448^2 + ... + 448^5, 64 PiB of file.
inline constexpr u64 kMaxFileBlocks = 9 + 448ull + 448ull * 448 + 448ull * 448 * 448 +
                                      448ull * 448 * 448 * 448 + 448ull * 448 * 448 * 448 * 448;
inline constexpr u64 kMaxFileBytes = kMaxFileBlocks * kBlockBytes;
// Offset in a block of payload word `index` when all its lines carry trailers.
constexpr u64 node_word(u64 index) { return index / kLineWords * kLineBytes + index % kLineWords * 8; }

// ---- Directories ------------------------------------------------------------------------------------------------

// Key of an entry: bits 6..61 the hash of the name, bits 0..5 tell entries of one hash apart.
inline constexpr unsigned kKeyBits = 62;
inline constexpr unsigned kTrieBits = 8;      // of the key, a level
inline constexpr unsigned kTrieLevels = 7;    // 56 bits; what then still collides shares a leaf
inline constexpr u64 kTrieFanout = u64{1} << kTrieBits;
constexpr u64 key_of_hash(u64 hash) { return (hash >> 8) << 6; }
constexpr unsigned trie_index(u64 key, unsigned level) {
  return static_cast<unsigned>(key >> (kKeyBits - kTrieBits * (level + 1))) & (kTrieFanout - 1);
}
// A trie pointer: bits 0..39 block, 40..43 kind, 48..51 depth: it stands for the 2^(8 - depth) indices that
// start at its own (an index whose low 8 - depth bits are 0). Kind kTrieEmpty has no block.
inline constexpr u64 kTrieEmpty = 1, kTrieLeaf = 2, kTrieNode = 3;
constexpr u64 trie_ptr(BlockNo block, u64 kind, unsigned depth) {
  return raw(block) | kind << 40 | u64{depth} << 48;
}
constexpr u64 trie_kind(u64 pointer) { return (pointer >> 40) & 15; }
constexpr unsigned trie_depth(u64 pointer) { return static_cast<unsigned>(pointer >> 48) & 15; }
// Node: payload words 0..255 are the pointers; line 63 is its identity.
inline constexpr u64 kDirNodeMagic = 0x4e44, kDirLeafMagic = 0x4c44; // "DN", "DL"
inline constexpr u64 kNodeIdentity = 63 * kLineBytes; // word 0: bits 0..15 magic, 16..23 level; word 1: ino
// Leaf: line 0 word 0: bits 0..15 magic, 16..23 level; word 1: ino; words 2..6 of line 0 and 0..2 of line 1:
// a tag byte for each of the cells 0..61, which are the lines 2..63.
inline constexpr unsigned kLeafCells = 62;
inline constexpr unsigned kLeafFirstCellLine = 2;
inline constexpr u8 kTagFree = 0, kTagContinued = 255;
constexpr u8 tag_of_key(u64 key) { return static_cast<u8>(1 + (key >> 6) % 254); }
constexpr u64 leaf_tag_word(unsigned index) { return index < 5 ? 16 + 8 * index : 64 + 8 * (index - 5); }
// Cell: word 0 key; word 1: bits 0..39 ino, 40..43 file type (DT_*), 48..55 length of the name; words 2..6
// the first 40 bytes of the name; each further cell 56 bytes more.
inline constexpr u64 kMaxNameBytes = 255;
inline constexpr unsigned kNameBytesFirstCell = 40, kNameBytesNextCell = 56;
constexpr unsigned cells_for_name(std::size_t bytes) {
  return bytes <= kNameBytesFirstCell
             ? 1
             : 1 + static_cast<unsigned>(div_up(bytes - kNameBytesFirstCell, kNameBytesNextCell));
}

// ---- Extended attributes: one metadata block, its 448 payload words taken as bytes ---------------------------

inline constexpr u64 kXattrBytes = kPtrsPerNode * 8;
// u16 name length, u16 value length, name, value; padded to 8; a name length of 0 ends the list.

// ---- Orphans: word 0 of each line of the orphan block is the first inode of a list -----------------------------

inline constexpr unsigned kOrphanLists = kLinesPerBlock;
// The list of an inode with kFlagOrphan. That of its number, unless its head was locked when the inode was entered.
constexpr unsigned orphan_list(Ino ino, u16 flags) {
  return static_cast<unsigned>((raw(ino) + ((flags & kFlagList) >> kFlagListShift)) % kOrphanLists);
}

} // namespace pmemfile::layout
