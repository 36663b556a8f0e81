// The checker against planted damage: each kind is found under its code, and a sound pool is clean.
#include "fsck/repair.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <set>

#include "tools/lost_found.h"
#include "vfs/pool.h"

namespace pmemfile {
namespace {

using fsck::Code;
using Image = std::vector<std::byte>;

// A pool with something of everything, as an image.
class FsckTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    char dir[] = "/dev/shm/pmemfile-fsck-XXXXXX";
    ASSERT_NE(mkdtemp(dir), nullptr);
    std::string path = std::string(dir) + "/pool";
    vfs::Pool::MakeOptions make;
    make.bytes = 1 << 20;
    vfs::AttachFailure failure{};
    ASSERT_TRUE(vfs::Pool::make(path.c_str(), make, &failure).ok()) << failure.text;
    vfs::AttachOptions options;
    options.shm_dir = dir;
    // Attached a second time under a new segment, so that no record is left that would mend the damage.
    for (int i = 0; i < 2; ++i) {
      auto pool = vfs::Pool::attach(path.c_str(), options, &failure);
      ASSERT_TRUE(pool.ok()) << failure.text;
      if (i == 0) fill(*pool.value());
      pool.value()->detach();
      remove_segments(dir);
    }
    int fd = open(path.c_str(), O_RDONLY);
    good_ = new Image(1 << 20);
    ASSERT_EQ(read(fd, good_->data(), good_->size()), static_cast<ssize_t>(good_->size()));
    close(fd);
    (void)system((std::string("rm -rf ") + dir).c_str());
  }
  static void remove_segments(const std::string& dir) { (void)system(("rm -f " + dir + "/pmemfile-*").c_str()); }

  // Entries of `dir` that name `old` name another one.
  static void name_instead(Image& image, Ino dir, Ino old, Ino other) {
    for (u64 leaf = 0; leaf < image.size(); leaf += layout::kBlockBytes) {
      if ((word(image, leaf) & 0xffff) != layout::kDirLeafMagic || word(image, leaf + 8) != pmemfile::raw(dir)) continue;
      for (unsigned entry = 0; entry < layout::kLeafCells; ++entry) {
        u64 about = leaf + (2 + entry) * 64 + 8;
        if ((word(image, about) & layout::kBlockNoMask) == pmemfile::raw(old))
          set_word(image, about, (word(image, about) & ~layout::kBlockNoMask) | pmemfile::raw(other));
      }
    }
  }

  static void fill(vfs::Pool& pool) {
    vfs::Credentials credentials{.capabilities = ~u64{0}};
    vfs::Task task;
    task.pool = &pool;
    task.credentials = &credentials;
    task.root = Ino{pool.store().geometry.root_ino[0]};
    auto at = [&](const char* path) { return vfs::At{task.root, path}; };
    ASSERT_TRUE(vfs::mkdir_at(task, at("/d"), 0755).ok());
    ASSERT_TRUE(vfs::mkdir_at(task, at("/d/e"), 0755).ok());
    ASSERT_TRUE(vfs::mknod_at(task, at("/f"), S_IFREG | 0644, 0).ok());
    ASSERT_TRUE(vfs::link_at(task, at("/f"), at("/d/f2"), vfs::Follow::kNo, false).ok());
    ASSERT_TRUE(vfs::symlink_at(task, "target", at("/s")).ok());
    ASSERT_TRUE(vfs::symlink_at(task, std::string(200, 'l'), at("/l")).ok());
    ASSERT_TRUE(vfs::setxattr_at(task, at("/f"), vfs::Follow::kNo, false, "user.a", "v", 1, 0).ok());
    for (int i = 0; i < 40; ++i)
      ASSERT_TRUE(vfs::link_at(task, at("/f"), at(("/d/" + std::to_string(i) + std::string(150, 'n')).c_str()),
                               vfs::Follow::kNo, false).ok());
    file_ = vfs::resolve(task, at("/f"), vfs::Follow::kNo).value().ino;
    directory_ = vfs::resolve(task, at("/d"), vfs::Follow::kNo).value().ino;
    inner_ = vfs::resolve(task, at("/d/e"), vfs::Follow::kNo).value().ino;
    std::string contents(12 * 4096, 'x');
    data::IoVec vector{contents.data(), contents.size()};
    ASSERT_TRUE(data::write(pool.store(), file_, 0, &vector, 1, {}).ok());
  }

  static u64 word(const Image& image, u64 offset) {
    u64 value;
    memcpy(&value, image.data() + offset, 8);
    return value;
  }
  // Changes a metadata word and makes the line's checksum right again: damage that only relations show.
  static void set_word(Image& image, u64 offset, u64 value) {
    memcpy(image.data() + offset, &value, 8);
    layout::Line line;
    u64 start = offset / 64 * 64;
    memcpy(&line, image.data() + start, 64);
    line.trailer = layout::make_trailer(line.words, layout::trailer_version(line.trailer));
    memcpy(image.data() + start, &line, 64);
  }
  static layout::Geometry geometry() {
    layout::Geometry g;
    memcpy(&g, good_->data(), sizeof g);
    return g;
  }
  static u64 inode_at(Ino ino, u64 field) { return pmemfile::raw(layout::inode_offset(ino)) + field; }
  static u64 root_leaf(Ino dir) { return word(*good_, inode_at(dir, layout::inode_map_word(0))) & layout::kBlockNoMask; }

  // The file keeps its links and stands in its orphan list, with the flag; no directory has a name for it.
  static Image listed_without_a_name(u16 flag) {
    Image image = *good_;
    for (Ino dir : {Ino{geometry().root_ino[0]}, directory_}) set_word(image, inode_at(dir, layout::inode_map_word(0)), 0);
    set_word(image, geometry().orphan_block * 4096 + pmemfile::raw(file_) % layout::kOrphanLists * 64, pmemfile::raw(file_));
    u64 mode = inode_at(file_, layout::kInodeModeWord);
    set_word(image, mode, word(image, mode) | u64{layout::kFlagOrphan} << 16 | u64{flag} << 16);
    return image;
  }

  static std::set<Code> errors(const Image& image) {
    std::set<Code> codes;
    for (const fsck::Finding& finding : fsck::check(image).findings)
      if (fsck::code_info(finding.code).severity != fsck::Severity::kNote) codes.insert(finding.code);
    return codes;
  }
  static void expect(const Image& image, Code code) {
    std::set<Code> found = errors(image);
    std::string all;
    for (Code one : found) all += std::string(fsck::code_info(one).name) + " ";
    EXPECT_TRUE(found.count(code)) << "expected " << fsck::code_info(code).name << ", found " << all;
  }

  static Image* good_;
  static Ino file_, directory_, inner_;
};
Image* FsckTest::good_;
Ino FsckTest::file_, FsckTest::directory_, FsckTest::inner_;

TEST_F(FsckTest, SoundPoolIsClean) {
  fsck::Report report = fsck::check(*good_);
  for (const fsck::Finding& finding : report.findings) ADD_FAILURE() << fsck::to_text(finding);
  EXPECT_EQ(report.totals.directories, 6u);
}

// Nothing is built on a line whose version cannot be advanced: such a pool could not even be attached.
TEST_F(FsckTest, LinesNearTheEndOfTheirVersionsAreRenewed) {
  layout::Geometry g = geometry();
  u64 formatted = 0; // a block that is free and formatted
  auto plane = [&](unsigned first, u64 block) {
    return word(*good_, g.bitmap_start_block * 4096 + block / 128 * 64 + (first + block % 128 / 64) * 8) >> block % 64 & 1;
  };
  for (u64 block = g.data_start_block; block < g.block_count; ++block)
    if (plane(layout::kPlaneUsed, block) == 0 && plane(layout::kPlaneMeta, block) != 0) formatted = block;
  Image formatted_image = *good_;
  if (formatted == 0) {
    formatted = g.block_count - 1;
    u64 at = g.bitmap_start_block * 4096 + formatted / 128 * 64 + (layout::kPlaneMeta + formatted % 128 / 64) * 8;
    set_word(formatted_image, at, word(formatted_image, at) | u64{1} << formatted % 64);
  }
  for (u64 offset : {inode_at(file_, 0), root_leaf(Ino{g.root_ino[0]}) * 4096 + 64, g.bitmap_start_block * 4096, g.orphan_block * 4096,
                     formatted * 4096 + 128})
    for (u64 version : {layout::kMaxLineVersion, layout::kMaxLineVersion - 1, layout::kMaxLineVersion / 2 + 1}) {
      SCOPED_TRACE(offset);
      Image image = formatted_image;
      layout::Line line;
      memcpy(&line, image.data() + offset, 64);
      line.trailer = layout::make_trailer(line.words, version);
      memcpy(image.data() + offset, &line, 64);
      if (version >= layout::kMaxLineVersion - 1) expect(image, Code::F0302);
      fsck::Report report;
      fsck::repair(image, report);
      EXPECT_LT(layout::trailer_version(word(image, offset + 56)), u64{2});
      EXPECT_TRUE(fsck::check(image).clean());
    }
}

TEST_F(FsckTest, OneSuperblockCopyIsEnoughAndNoneIsFatal) {
  Image image = *good_;
  image[40] ^= std::byte{1};
  expect(image, Code::F0101);
  EXPECT_FALSE(fsck::check(image).fatal);
  image[4096 + 40] ^= std::byte{1};
  expect(image, Code::F0102);
  EXPECT_TRUE(fsck::check(image).fatal);
}

TEST_F(FsckTest, TruncatedPoolIsFatal) {
  Image image = *good_;
  image.resize(image.size() / 2);
  EXPECT_TRUE(fsck::check(image).fatal);
}

TEST_F(FsckTest, FlippedBitInMetadataIsFound) {
  Image image = *good_;
  image[inode_at(file_, layout::kInodeSize)] ^= std::byte{1};
  expect(image, Code::F0301);
}

TEST_F(FsckTest, DamagedInodeFieldsAreFound) {
  struct {
    u64 field, value;
    Code code;
  } cases[] = {
      {layout::kInodeIdentity, 0, Code::F0401},
      {layout::kInodeModeWord, u64{0170000} | u64{42} << 32, Code::F0402},
      {layout::kInodeModeWord, u64{0100644} | u64{41} << 32, Code::F0405},
      {layout::kInodeModeWord, u64{0100644} | u64{1 << 15} << 16 | u64{42} << 32, Code::F0407},
      {layout::kInodeModeWord, u64{0100644} | u64{1} << 16 | u64{42} << 32, Code::F0410},
      {layout::kInodeModeWord, u64{0040755} | u64{2} << 32, Code::F0616},
      {layout::kInodeModeWord, 0, Code::F0615},
      {layout::kInodeSize, ~u64{0} >> 1, Code::F0403},
      {layout::kInodeSize, 4096, Code::F0503},
      {layout::kInodeBlocks, 3, Code::F0404},
      {layout::kInodeXattrBlock, 1 << 20, Code::F0802},
      {layout::inode_map_word(0), 1 << 20, Code::F0501},
      {layout::inode_map_word(0), u64{1} << 50 | 40, Code::F0504},
  };
  for (const auto& one : cases) {
    Image image = *good_;
    set_word(image, inode_at(file_, one.field), one.value);
    expect(image, one.code);
  }
}

TEST_F(FsckTest, BlockOwnedTwiceIsFound) {
  Image image = *good_;
  set_word(image, inode_at(file_, layout::inode_map_word(1)), word(image, inode_at(file_, layout::inode_map_word(0))));
  expect(image, Code::F0502);
  expect(image, Code::F1001); // the one that lost its pointer
}

TEST_F(FsckTest, DamagedDirectoriesAreFound) {
  u64 cell = root_leaf(inner_);
  EXPECT_EQ(cell, 0u); // empty: no block
  Image image = *good_;
  set_word(image, inode_at(inner_, layout::kInodeParent), pmemfile::raw(file_));
  expect(image, Code::F0618);
  image = *good_;
  set_word(image, inode_at(inner_, layout::kInodeParentKey), 64);
  expect(image, Code::F0619);
  image = *good_;
  set_word(image, inode_at(directory_, layout::inode_map_word(0)), u64{9} << 40);
  expect(image, Code::F0601);
  image = *good_;
  set_word(image, inode_at(directory_, layout::inode_map_word(0)), 0);
  expect(image, Code::F0408); // what was in it
}

TEST_F(FsckTest, DamagedLeavesAreFound) {
  // The root directory is one leaf.
  Ino root{geometry().root_ino[0]};
  u64 leaf = root_leaf(root) * 4096;
  u64 tags = word(*good_, leaf + layout::leaf_tag_word(0));
  ASSERT_NE(tags & 0xff, 0u);
  // Another one of those that a key can have: neither "free" nor "continued".
  u64 other_tag = (tags & ~u64{0xff}) | ((tags & 0xff) % 254 + 1);
  u64 cell = leaf + 2 * 64;
  struct {
    u64 offset, value;
    Code code;
  } cases[] = {
      {leaf, 0x1234, Code::F0604},
      {leaf + 8, 1, Code::F0605},
      {leaf + layout::leaf_tag_word(0), other_tag, Code::F0608},
      {leaf + layout::leaf_tag_word(0), tags | 0xff, Code::F0614},
      {cell, word(*good_, cell) ^ (u64{1} << 20), Code::F0609},
      {cell + 8, word(*good_, cell + 8) & ~(u64{0xff} << 48), Code::F0613},
      {cell + 8, (word(*good_, cell + 8) & ~layout::kBlockNoMask) | (u64{1} << 39), Code::F0413},
      {cell + 16, word(*good_, cell + 16) ^ 1, Code::F0609},
      {cell + 16, word(*good_, cell + 16) | (u64{1} << 63), Code::F0621},
  };
  for (const auto& one : cases) {
    Image image = *good_;
    set_word(image, one.offset, one.value);
    expect(image, one.code);
  }
}

TEST_F(FsckTest, WrongBitmapIsFound) {
  layout::Geometry g = geometry();
  u64 line = g.bitmap_start_block * 4096;
  u64 file_block = word(*good_, inode_at(file_, layout::inode_map_word(0))) & layout::kBlockNoMask;
  auto flip = [&](unsigned plane, u64 block, Code code) {
    Image image = *good_;
    u64 at = line + block / 128 * 64 + (plane + block % 128 / 64) * 8;
    set_word(image, at, word(image, at) ^ u64{1} << block % 64);
    expect(image, code);
  };
  flip(layout::kPlaneUsed, file_block, Code::F1002);
  flip(layout::kPlaneMeta, file_block, Code::F1003);
  flip(layout::kPlaneInodesFree, file_block, Code::F1004);
  flip(layout::kPlaneUsed, g.block_count - 1, Code::F1001);
  flip(layout::kPlaneUsed, 0, Code::F1006);
  Image image = *good_;
  set_word(image, line + 48, 1);
  expect(image, Code::F1005);
}

TEST_F(FsckTest, OrphanListsAreFollowed) {
  layout::Geometry g = geometry();
  u64 list = pmemfile::raw(file_) % layout::kOrphanLists;
  Image image = *good_;
  set_word(image, g.orphan_block * 4096 + list * 64, pmemfile::raw(file_));
  expect(image, Code::F0904);
  set_word(image, inode_at(file_, layout::kInodeNextOrphan), pmemfile::raw(file_));
  expect(image, Code::F0902);
  image = *good_;
  set_word(image, g.orphan_block * 4096 + (list + 1) % 64 * 64, pmemfile::raw(file_));
  expect(image, Code::F0903);
  image = *good_;
  set_word(image, g.orphan_block * 4096, 5);
  expect(image, Code::F0901);
  // One that says it has no contents is freed without them.
  image = *good_;
  set_word(image, g.orphan_block * 4096 + list * 64, pmemfile::raw(file_));
  // One that does not say that it stands in the list would never leave it, whatever it is there for.
  set_word(image, inode_at(file_, layout::kInodeModeWord), u64{0100644} | u64{layout::kFlagTruncating} << 16 | u64{42} << 32);
  expect(image, Code::F0904);
  u64 flags = layout::kFlagOrphan | layout::kFlagDead;
  set_word(image, inode_at(file_, layout::kInodeModeWord), u64{0100644} | flags << 16 | u64{42} << 32);
  expect(image, Code::F0905);
}

// An inode that holds a block to be freed has nothing of its own, and no name: its block is no list of attributes.
TEST_F(FsckTest, ANamedHolderOfABlockIsDamage) {
  Image image = *good_;
  u64 mode = inode_at(file_, layout::kInodeModeWord);
  set_word(image, mode, word(image, mode) | u64{layout::kFlagHolder} << 16);
  expect(image, Code::F0410);
  fsck::Report report;
  (void)fsck::repair(image, report);
  EXPECT_TRUE(fsck::check(image).clean());
}

// A bit of the mode has flipped, and the checksum tells. What it makes of the type nobody believes against the name.
TEST_F(FsckTest, WhatHasADamagedTypeIsWhatItsNameSays) {
  for (Ino ino : {file_, directory_, Ino{geometry().root_ino[0]}})
    for (unsigned bit : {010000u, 020000u, 0100000u, 040000u}) {
      Image image = *good_;
      u64 mode = inode_at(ino, layout::kInodeModeWord), right = word(image, mode), flipped = right ^ bit;
      __builtin_memcpy(image.data() + mode, &flipped, sizeof flipped);
      expect(image, Code::F0301);
      fsck::Report report;
      fsck::Repair repaired = fsck::repair(image, report);
      EXPECT_EQ(word(image, mode), right) << "bit " << bit;
      EXPECT_TRUE(repaired.lost.empty());
      EXPECT_TRUE(fsck::check(image).clean());
      for (unsigned i = 0; i < layout::kMapWords; ++i)
        EXPECT_EQ(word(image, inode_at(ino, layout::inode_map_word(i))), word(*good_, inode_at(ino, layout::inode_map_word(i))));
    }
}

// Recovery brings such a truncation to its end, or refuses the pool.
TEST_F(FsckTest, ADirectoryThatIsBeingTruncatedIsDamage) {
  Image image = *good_;
  set_word(image, geometry().orphan_block * 4096 + pmemfile::raw(directory_) % layout::kOrphanLists * 64, pmemfile::raw(directory_));
  u64 mode = inode_at(directory_, layout::kInodeModeWord);
  set_word(image, mode, word(image, mode) | u64{layout::kFlagOrphan | layout::kFlagTruncating} << 16);
  expect(image, Code::F0407);
  fsck::Report report;
  (void)fsck::repair(image, report);
  EXPECT_TRUE(fsck::check(image).clean());
}

// Nobody could open it.
TEST_F(FsckTest, ARootThatIsBeingFreedIsDamage) {
  Image image = *good_;
  Ino root{geometry().root_ino[0]};
  set_word(image, geometry().orphan_block * 4096 + pmemfile::raw(root) % layout::kOrphanLists * 64, pmemfile::raw(root));
  u64 mode = inode_at(root, layout::kInodeModeWord);
  set_word(image, mode, word(image, mode) | u64{layout::kFlagOrphan | layout::kFlagFreeing} << 16);
  expect(image, Code::F0410);
  fsck::Report report;
  (void)fsck::repair(image, report);
  EXPECT_TRUE(fsck::check(image).clean());
}

// The same in the list of another number, in front of a truncation: what its flags say of the list stays, or the rest would be cut off.
TEST_F(FsckTest, WhatStandsBehindARootThatIsBeingFreedStaysInItsList) {
  Image image = *good_;
  Ino root{geometry().root_ino[0]};
  u64 list = (pmemfile::raw(root) + 5) % layout::kOrphanLists, file_away = (list - pmemfile::raw(file_)) % layout::kOrphanLists;
  set_word(image, geometry().orphan_block * 4096 + list * 64, pmemfile::raw(root));
  set_word(image, inode_at(root, layout::kInodeNextOrphan), pmemfile::raw(file_));
  auto flag = [&](Ino ino, u64 flags) {
    set_word(image, inode_at(ino, layout::kInodeModeWord), word(image, inode_at(ino, layout::kInodeModeWord)) | flags << 16);
  };
  flag(file_, layout::kFlagOrphan | layout::kFlagTruncating | file_away << layout::kFlagListShift);
  u64 mode = inode_at(file_, layout::kInodeModeWord), truncating = word(image, mode);
  flag(root, layout::kFlagOrphan | layout::kFlagFreeing | u64{5} << layout::kFlagListShift);
  expect(image, Code::F0410);
  fsck::Report report;
  (void)fsck::repair(image, report);
  EXPECT_TRUE(fsck::check(image).clean());
  EXPECT_EQ(word(image, mode), truncating);
}

// Damage, repair, and a second check that finds nothing; the pieces put back give the damage again.
void expect_mended(Image image) {
  Image damaged = image;
  fsck::Report report;
  fsck::Repair repair = fsck::repair(image, report);
  EXPECT_TRUE(repair.lost.empty());
  EXPECT_FALSE(repair.structure_damaged);
  for (const fsck::Finding& finding : fsck::check(image).findings)
    if (fsck::code_info(finding.code).severity != fsck::Severity::kNote && finding.code != Code::F0408)
      ADD_FAILURE() << fsck::to_text(finding);
  for (const auto& [offset, piece] : repair.originals) memcpy(image.data() + offset, piece.data(), piece.size());
  EXPECT_TRUE(image == damaged) << "the undo pieces are not whole";
}

TEST_F(FsckTest, WhatCanBeDerivedIsRepaired) {
  layout::Geometry g = geometry();
  u64 line = g.bitmap_start_block * 4096;
  u64 file_block = word(*good_, inode_at(file_, layout::inode_map_word(0))) & layout::kBlockNoMask;
  auto change = [&](u64 offset, u64 value) {
    Image image = *good_;
    set_word(image, offset, value);
    ASSERT_FALSE(errors(image).empty());
    expect_mended(image);
  };
  change(inode_at(file_, layout::kInodeModeWord), u64{0100644} | u64{7} << 32);
  change(inode_at(file_, layout::kInodeModeWord), u64{0100644} | u64{1} << 16 | u64{42} << 32);
  change(inode_at(directory_, layout::kInodeModeWord), u64{0040755} | u64{7} << 32);
  change(inode_at(file_, layout::kInodeBlocks), 3);
  for (unsigned plane : {layout::kPlaneUsed, layout::kPlaneMeta, layout::kPlaneInodesFree})
    for (u64 block : {file_block, g.block_count - 1, u64{0}}) {
      u64 at = line + block / 128 * 64 + (plane + block % 128 / 64) * 8;
      Image image = *good_;
      set_word(image, at, word(image, at) ^ u64{1} << block % 64);
      if (!errors(image).empty()) expect_mended(image);
    }
  Image image = *good_;
  image[line] ^= std::byte{4}; // a bitmap line of wrong checksum
  expect_mended(image);
  image = *good_;
  image[4096 + 50] ^= std::byte{1};
  expect_mended(image);
}

// Repaired, nothing is found again but inodes that are to be named; a second repair changes nothing of that.
fsck::Repair expect_repaired(Image& image, const std::string& what) {
  SCOPED_TRACE(what);
  EXPECT_FALSE(fsck::check(image).clean());
  fsck::Report report;
  fsck::Repair repair = fsck::repair(image, report);
  EXPECT_FALSE(repair.structure_damaged);
  EXPECT_EQ(repair.mended.size(), repair.repaired);
  for (int round = 0; round < 2; ++round) {
    u64 lost = 0;
    for (const fsck::Finding& finding : fsck::check(image).findings) {
      if (finding.code == Code::F0408) ++lost;
      else if (fsck::code_info(finding.code).severity != fsck::Severity::kNote) ADD_FAILURE() << fsck::to_text(finding);
    }
    EXPECT_EQ(lost, repair.lost.size());
    Image before = image;
    fsck::Repair second = fsck::repair(image, report);
    EXPECT_EQ(second.lost, repair.lost);
    // The state of the superblock counts on, nothing else changes.
    for (const auto& [offset, piece] : second.originals) EXPECT_LT(offset, 2 * 4096u) << "round " << round;
  }
  return repair;
}

TEST_F(FsckTest, EveryKindOfDamageIsRepaired) {
  layout::Geometry g = geometry();
  Ino root{g.root_ino[0]};
  u64 leaf = root_leaf(root) * 4096, cell = leaf + 2 * 64;
  u64 node = word(*good_, inode_at(directory_, layout::inode_map_word(0)));
  ASSERT_EQ(layout::trie_kind(node), layout::kTrieNode);
  u64 trie = (node & layout::kBlockNoMask) * 4096;
  u64 tree = word(*good_, inode_at(file_, layout::inode_map_word(9))) * 4096;
  u64 xattr = word(*good_, inode_at(file_, layout::kInodeXattrBlock)) * 4096;
  u64 orphans = g.orphan_block * 4096, tags = word(*good_, leaf + layout::leaf_tag_word(0));
  struct {
    const char* what;
    u64 offset, value;
  } cases[] = {
      {"identity", inode_at(file_, layout::kInodeIdentity), 0},
      {"type", inode_at(file_, layout::kInodeModeWord), u64{0170000} | u64{42} << 32},
      {"flags", inode_at(file_, layout::kInodeModeWord), u64{0100644} | u64{1 << 15} << 16 | u64{42} << 32},
      {"dead flag", inode_at(file_, layout::kInodeModeWord), u64{0100644} | u64{8} << 16 | u64{42} << 32},
      {"other type", inode_at(file_, layout::kInodeModeWord), u64{0040755} | u64{2} << 32},
      {"freed", inode_at(file_, layout::kInodeModeWord), 0},
      {"size", inode_at(file_, layout::kInodeSize), ~u64{0} >> 1},
      {"size of a directory", inode_at(directory_, layout::kInodeSize), ~u64{0} >> 1},
      {"short size", inode_at(file_, layout::kInodeSize), 4096},
      {"attribute block", inode_at(file_, layout::kInodeXattrBlock), 1 << 20},
      {"attribute list", xattr, 0xffffffff},
      {"pointer out of range", inode_at(file_, layout::inode_map_word(0)), 1 << 20},
      {"undefined bits", inode_at(file_, layout::inode_map_word(0)), u64{1} << 50 | 40},
      {"block twice", inode_at(file_, layout::inode_map_word(1)), word(*good_, inode_at(file_, layout::inode_map_word(0)))},
      {"pointer in a node", tree, 3},
      {"root is a file", inode_at(root, layout::kInodeModeWord), u64{0100644} | u64{1} << 32},
      {"root is free", inode_at(Ino{g.root_ino[2]}, layout::kInodeModeWord), 0},
      {"parent", inode_at(inner_, layout::kInodeParent), pmemfile::raw(file_)},
      {"parent key", inode_at(inner_, layout::kInodeParentKey), 64},
      {"trie pointer", inode_at(directory_, layout::inode_map_word(0)), u64{9} << 40},
      {"trie gone", inode_at(directory_, layout::inode_map_word(0)), 0},
      {"trie of another", inode_at(inner_, layout::inode_map_word(0)), node},
      {"trie of itself", trie, node | u64{8} << 48},
      {"hole in a node", trie, 0},
      {"node level", trie + layout::kNodeIdentity, 0x1234},
      {"node of whom", trie + layout::kNodeIdentity + 8, 1},
      {"leaf identity", leaf, 0x1234},
      {"leaf of whom", leaf + 8, 1},
      {"tag", leaf + layout::leaf_tag_word(0), (tags & ~u64{0xff}) | ((tags & 0xff) % 254 + 1)},
      {"continuation", leaf + layout::leaf_tag_word(0), tags | 0xff},
      {"key", cell, word(*good_, cell) ^ (u64{1} << 20)},
      {"no name", cell + 8, word(*good_, cell + 8) & ~(u64{0xff} << 48)},
      {"inode out of range", cell + 8, (word(*good_, cell + 8) & ~layout::kBlockNoMask) | (u64{1} << 39)},
      {"entry of a root", cell + 8, (word(*good_, cell + 8) & ~layout::kBlockNoMask) | g.root_ino[1]},
      {"entry of a directory twice", cell + 8, (word(*good_, cell + 8) & ~layout::kBlockNoMask) | pmemfile::raw(inner_)},
      {"name", cell + 16, word(*good_, cell + 16) ^ 1},
      {"list of nothing", orphans, 5},
      {"list of a stranger", orphans + (pmemfile::raw(file_) + 1) % 64 * 64, pmemfile::raw(file_)},
      {"list of a linked one", orphans + pmemfile::raw(file_) % 64 * 64, pmemfile::raw(file_)},
  };
  for (const auto& one : cases) {
    Image image = *good_;
    set_word(image, one.offset, one.value);
    expect_repaired(image, one.what);
  }
}

TEST_F(FsckTest, WhatOnlyTheRepairBringsToLightIsToldToo) {
  auto tells = [](const std::vector<fsck::Finding>& findings, Code code) {
    return std::any_of(findings.begin(), findings.end(), [&](const fsck::Finding& finding) { return finding.code == code; });
  };
  // Names lead to a free inode only when the one that cannot be has been freed.
  Image image = *good_;
  set_word(image, inode_at(file_, layout::kInodeModeWord), u64{0170000} | u64{42} << 32);
  EXPECT_FALSE(tells(fsck::check(image).findings, Code::F0615));
  EXPECT_TRUE(tells(expect_repaired(image, "type").mended, Code::F0615));
}

TEST_F(FsckTest, DamagedLinesAreBelievedAsFarAsTheRestBearsThemOut) {
  Image image = *good_;
  image[inode_at(file_, layout::kInodeMtime)] ^= std::byte{1};
  EXPECT_TRUE(expect_repaired(image, "a time").lost.empty());
  EXPECT_EQ(word(image, inode_at(file_, layout::kInodeSize)), word(*good_, inode_at(file_, layout::kInodeSize)));
  image = *good_;
  image[root_leaf(Ino{geometry().root_ino[0]}) * 4096 + 2 * 64 + 16] ^= std::byte{1}; // of a name
  expect_repaired(image, "a name");
  // A whole block of zeros, of ones.
  for (u8 value : {0, 255})
    for (u64 block = geometry().orphan_block; block < 64; ++block) {
      image = *good_;
      std::fill_n(image.begin() + static_cast<long>(block * 4096), 4096, std::byte{value});
      if (!fsck::check(image).clean()) expect_repaired(image, "block " + std::to_string(block) + " of " + std::to_string(value));
    }
}

TEST_F(FsckTest, ALineDamagedMakesNoSetUserIdProgram) {
  Image image = *good_;
  u64 mode = inode_at(file_, layout::kInodeModeWord);
  image[mode + 1] ^= std::byte{04000 >> 8};
  expect_repaired(image, "set-user-id");
  EXPECT_EQ(word(image, mode) & 06000, 0u);
}

TEST_F(FsckTest, TwoFilesThatShareABlockBothKeepTheContents) {
  Image image = *good_;
  u64 first = word(image, inode_at(file_, layout::inode_map_word(0)));
  set_word(image, inode_at(file_, layout::inode_map_word(1)), first);
  expect_repaired(image, "shared block");
  u64 second = word(image, inode_at(file_, layout::inode_map_word(1)));
  EXPECT_NE(second, first);
  ASSERT_NE(second, 0u);
  EXPECT_EQ(memcmp(image.data() + first * 4096, image.data() + second * 4096, 4096), 0);
}

TEST_F(FsckTest, DirectoriesInARingAreLostAndFound) {
  Image image = *good_;
  Ino root{geometry().root_ino[0]};
  // /d/e takes /d's place in itself: d is in e, e is in d, and the root has neither.
  name_instead(image, root, directory_, file_);
  set_word(image, inode_at(inner_, layout::inode_map_word(0)), word(image, inode_at(directory_, layout::inode_map_word(0))));
  fsck::Repair repair = expect_repaired(image, "ring");
  EXPECT_FALSE(repair.lost.empty());
}

// The list leads to it, until the pool comes to rest: what has links leaves it then.
TEST_F(FsckTest, ARingThatAnOrphanListLeadsToIsOne) {
  Image image = *good_;
  // /d is named by itself alone, as its /d/e.
  name_instead(image, Ino{geometry().root_ino[0]}, directory_, file_);
  name_instead(image, directory_, inner_, directory_);
  set_word(image, inode_at(directory_, layout::kInodeParent), pmemfile::raw(directory_));
  set_word(image, inode_at(directory_, layout::kInodeParentKey), word(image, inode_at(inner_, layout::kInodeParentKey)));
  set_word(image, geometry().orphan_block * 4096 + pmemfile::raw(directory_) % layout::kOrphanLists * 64, pmemfile::raw(directory_));
  u64 mode = inode_at(directory_, layout::kInodeModeWord);
  set_word(image, mode, word(image, mode) | u64{layout::kFlagOrphan} << 16);
  fsck::Report report = fsck::check(image);
  EXPECT_TRUE(std::any_of(report.findings.begin(), report.findings.end(), [](const auto& f) { return f.code == Code::F0409; }));
  fsck::Repair repair = expect_repaired(image, "a ring in a list");
  EXPECT_EQ(std::count(repair.lost.begin(), repair.lost.end(), pmemfile::raw(directory_)), 1);
}

TEST_F(FsckTest, APoolOfUnknownFeaturesIsNotChanged) {
  Image image = *good_;
  layout::Geometry g = geometry();
  g.feature_read_only_compat = u64{1} << 40;
  g.crc = layout::struct_crc(g);
  for (u64 copy : {0, 1}) memcpy(image.data() + copy * 4096, &g, sizeof g);
  image[inode_at(file_, layout::kInodeSize)] ^= std::byte{1};
  Image before = image;
  fsck::Report report;
  EXPECT_TRUE(fsck::repair(image, report).unknown_features);
  EXPECT_TRUE(image == before);
}

TEST_F(FsckTest, BothStatesLostAreMadeAnew) {
  Image image = *good_;
  for (u64 copy : {0, 1}) image[copy * 4096 + layout::kStateOffset + 8] ^= std::byte{1};
  EXPECT_TRUE(fsck::check(image).fatal);
  expect_repaired(image, "states");
}

TEST_F(FsckTest, LostInodesAreReported) {
  Image image = *good_;
  // The root directory becomes empty.
  set_word(image, inode_at(Ino{geometry().root_ino[0]}, layout::inode_map_word(0)), 0);
  fsck::Report report;
  fsck::Repair repair = fsck::repair(image, report);
  EXPECT_EQ(repair.lost.size(), 3u); // the directory and both symlinks; the file has names in the directory
}

// The extended attributes of a lost file look like a block of inodes: they are the file's, and no block of more lost inodes.
TEST_F(FsckTest, WhatALostFileOwnsHoldsNoInodes) {
  Image image = *good_;
  set_word(image, inode_at(Ino{geometry().root_ino[0]}, layout::inode_map_word(0)), 0);
  u64 block = word(image, inode_at(file_, layout::kInodeXattrBlock));
  std::copy_n(image.begin() + static_cast<long>(pmemfile::raw(file_) / layout::kInodesPerBlock * 4096), 4096, image.begin() + static_cast<long>(block * 4096));
  fsck::Repair repair = expect_repaired(image, "attributes like inodes");
  EXPECT_EQ(repair.lost.size(), 3u);
}

// It was on its way to a smaller size when its directory was damaged. Without links recovery would free it.
TEST_F(FsckTest, AFileThatIsBeingTruncatedAndLosesItsNameIsLostAndFound) {
  Image image = listed_without_a_name(layout::kFlagTruncating);
  expect(image, Code::F0408);
  fsck::Repair repair = expect_repaired(image, "a truncated file");
  EXPECT_EQ(std::count(repair.lost.begin(), repair.lost.end(), pmemfile::raw(file_)), 1);
}

// The same of one that was being freed, if it had links: nobody could open what keeps that flag.
TEST_F(FsckTest, AListedFileWithLinksAndNoNameIsFreedByNobody) {
  Image image = listed_without_a_name(layout::kFlagFreeing);
  expect_repaired(image, "a file that was being freed");
  EXPECT_EQ(word(image, inode_at(file_, layout::kInodeModeWord)) >> 16 & 0xffff, layout::kFlagOrphan);
}

// It was kept in its list, to be freed by recovery, which refuses the pool instead; it keeps what is in it.
TEST_F(FsckTest, AnOrphanedDirectoryWithEntriesLeavesItsList) {
  Image image = *good_;
  set_word(image, inode_at(Ino{geometry().root_ino[0]}, layout::inode_map_word(0)), 0);
  set_word(image, geometry().orphan_block * 4096 + pmemfile::raw(directory_) % layout::kOrphanLists * 64, pmemfile::raw(directory_));
  set_word(image, inode_at(directory_, layout::kInodeModeWord), u64{0040755} | u64{layout::kFlagOrphan} << 16);
  expect(image, Code::F0906);
  fsck::Repair repair = expect_repaired(image, "a directory in a list");
  EXPECT_EQ(std::count(repair.lost.begin(), repair.lost.end(), pmemfile::raw(directory_)), 1);
}

// Blocks may stand beyond the end of a file that was mapped, if its flag says so: who gave it a name took the flag away.
TEST_F(FsckTest, ALostFileKeepsItsBlocksBeyondTheEnd) {
  Image image = *good_;
  for (Ino dir : {Ino{geometry().root_ino[0]}, directory_}) set_word(image, inode_at(dir, layout::inode_map_word(0)), 0);
  set_word(image, inode_at(file_, layout::kInodeModeWord), u64{0100644} | u64{layout::kFlagBeyondEof} << 16 | u64{1} << 32);
  set_word(image, inode_at(file_, layout::kInodeSize), 5);
  fsck::Repair repair = expect_repaired(image, "a mapped file");
  char dir[] = "/dev/shm/pmemfile-fsck-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  std::string path = std::string(dir) + "/pool";
  int fd = open(path.c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(write(fd, image.data(), image.size()), static_cast<ssize_t>(image.size()));
  vfs::AttachOptions options;
  options.shm_dir = dir;
  vfs::AttachFailure failure{};
  auto pool = vfs::Pool::attach(path.c_str(), options, &failure);
  ASSERT_TRUE(pool.ok()) << failure.text;
  EXPECT_EQ(tools::name_lost_inodes(*pool.value(), repair.lost), repair.lost.size());
  pool.value()->detach();
  ASSERT_EQ(pread(fd, image.data(), image.size(), 0), static_cast<ssize_t>(image.size()));
  close(fd);
  (void)system((std::string("rm -rf ") + dir).c_str());
  for (const fsck::Finding& finding : fsck::check(image).findings)
    if (fsck::code_info(finding.code).severity != fsck::Severity::kNote) ADD_FAILURE() << fsck::to_text(finding);
}

// A block of somebody who is lost himself looks like a block of inodes: only as long as it was not marked in use it was not taken for one.
TEST_F(FsckTest, WhatTheNewMarksBringToLightIsRepairedToo) {
  Image image = *good_;
  layout::Geometry g = geometry();
  set_word(image, inode_at(Ino{g.root_ino[0]}, layout::inode_map_word(0)), 0);
  u64 xattr = word(image, inode_at(file_, layout::kInodeXattrBlock)), inodes = pmemfile::raw(file_) / layout::kInodesPerBlock;
  memcpy(image.data() + xattr * 4096, image.data() + inodes * 4096, 4096);
  for (unsigned plane : {layout::kPlaneUsed, layout::kPlaneMeta, layout::kPlaneInodesFree}) {
    u64 at = g.bitmap_start_block * 4096 + xattr / 128 * 64 + (plane + xattr % 128 / 64) * 8;
    set_word(image, at, word(image, at) & ~(u64{1} << xattr % 64));
  }
  expect_repaired(image, "a copy of the inodes");
}

// Random damage with right checksums: whatever it finds, it ends and stays within the image (run it under ASan).
TEST_F(FsckTest, RandomDamageNeverHurtsTheChecker) {
  u64 seed = std::random_device{}();
  RecordProperty("seed", std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 3000; ++round) {
    Image image = *good_;
    int changes = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < changes; ++i) {
      u64 offset = random() % (64 * 4096) / 8 * 8; // where metadata lies
      u64 old_value = word(image, offset), value = old_value;
      switch (random() % 4) {
        case 0: value = random(); break;
        case 1: value ^= u64{1} << random() % 64; break;
        case 2: value = word(image, random() % (64 * 4096) / 8 * 8); break;
        case 3: value = old_value + random() % 5 - 2; break;
      }
      if (offset >= 2 * 4096) set_word(image, offset, value);
      else memcpy(image.data() + offset, &value, 8);
    }
    fsck::Report report = fsck::check(image);
    if (round % 4 == 0) (void)fsck::repair(image, report);
    ASSERT_LE(report.findings.size(), 1000000u) << "seed " << seed << " round " << round;
  }
}

} // namespace
} // namespace pmemfile
