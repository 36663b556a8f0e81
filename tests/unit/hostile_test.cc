// A pool that is damaged while it is attached: an answer at once, and the right one. What fuzzers found (docs/fuzzing.md).

#include "inode/inode.h"
#include "opens_pool.h"

namespace pmemfile::test {
namespace {

class HostileTest : public OpensTest {
 protected:
  // Its last bitmap line speaks of blocks beyond the end, too.
  HostileTest() : OpensTest((8 << 20) + 64 * layout::kBlockBytes) {}
  // Stores a word of a metadata line past everything, with the line's checksum right.
  void damage(PoolOff at, u64 value) {
    u8* base = pool_->store().medium.base;
    memcpy(base + pmemfile::raw(at), &value, sizeof value);
    layout::Line line;
    u64 start = align_down(pmemfile::raw(at), layout::kLineBytes);
    memcpy(&line, base + start, sizeof line);
    line.trailer = layout::make_trailer(line.words, layout::trailer_version(line.trailer));
    memcpy(base + start, &line, sizeof line);
  }
  void put_into_wrong_orphan_list(Ino ino) {
    u64 wrong_list = (pmemfile::raw(ino) + 1) % layout::kOrphanLists;
    damage(layout::inode_offset(ino) + layout::kInodeModeWord, u64{0100644} | u64{layout::kFlagOrphan} << 16 | u64{1} << 32);
    damage(PoolOff{pool_->store().geometry.orphan_block * layout::kBlockBytes + wrong_list * layout::kLineBytes}, pmemfile::raw(ino));
  }
  Ino ino_of(std::string_view path) { return vfs::resolve(task_, at(path), vfs::Follow::kNo).value().ino; }
};

// A thousand times over before, and then ESTALE.
TEST_F(HostileTest, AnEntryOfAFreeInodeIsDamageAndNoRace) {
  ASSERT_TRUE(vfs::mkdir_at(task_, at("d"), 0755).ok());
  ASSERT_TRUE(vfs::symlink_at(task_, "d", at("s")).ok());
  ASSERT_TRUE(vfs::mknod_at(task_, at("f"), S_IFREG | 0644, 0).ok());
  for (const char* name : {"d", "s", "f"}) damage(layout::inode_offset(ino_of(name)) + layout::kInodeModeWord, 0);
  EXPECT_EQ(vfs::resolve(task_, at("f"), vfs::Follow::kNo).error(), kErrnoCorrupt);
  EXPECT_EQ(vfs::resolve(task_, at("d/x"), vfs::Follow::kNo).error(), kErrnoCorrupt);
  EXPECT_EQ(vfs::resolve(task_, at("s"), vfs::Follow::kYes).error(), kErrnoCorrupt);
}

// It was taken off the list where it belongs, and so never off this one: for ever.
TEST_F(HostileTest, AnOrphanListThatBeginsWithAnotherListsInodeIsDamage) {
  ASSERT_TRUE(vfs::mknod_at(task_, at("f"), S_IFREG | 0644, 0).ok());
  put_into_wrong_orphan_list(ino_of("f"));
  auto visit = [](void*, Ino) -> Result<void> { return {}; };
  EXPECT_EQ(inode::empty_orphans(pool_->store(), visit, nullptr).error(), kErrnoCorrupt);
}

// They were taken: what was stored there went over the superblock, or behind the end of the mapping.
TEST_F(HostileTest, BlocksOfFixedRegionsAndBeyondTheEndAreNeverTaken) {
  ASSERT_TRUE(vfs::mknod_at(task_, at("f"), S_IFREG | 0644, 0).ok());
  const layout::Geometry& g = pool_->store().geometry;
  u64 last_line = (g.block_count - 1) / layout::kBlocksPerBitmapLine;
  u64 free_before = free_blocks();
  for (unsigned plane : {layout::kPlaneUsed, layout::kPlaneMeta})
    for (u64 line : {u64{0}, last_line})
      for (unsigned half : {0u, 1u}) {
        u64 first = line * layout::kBlocksPerBitmapLine + half * 64;
        u64 fixed = g.data_start_block <= first ? 0 : std::min<u64>(64, g.data_start_block - first); // blocks of the fixed regions
        u64 keep = fixed == 64 ? 0 : ~u64{0} << fixed;
        if (line == last_line && half == 1) keep = 0;
        PoolOff at{g.bitmap_start_block * layout::kBlockBytes + line * layout::kLineBytes + (plane + half) * 8};
        damage(at, pool_->store().medium.word(at) & keep);
      }
  EXPECT_EQ(free_blocks(), free_before);
  std::vector<u8> fixed(pool_->store().medium.base, pool_->store().medium.base + 2 * layout::kBlockBytes);
  vfs::Description file = open("f", O_RDWR, 0);
  u64 written = 0;
  std::string block(layout::kBlockBytes, 'x');
  for (;; written += block.size()) {
    data::IoVec vector{block.data(), block.size()};
    if (!vfs::write_file(task_, file, static_cast<i64>(written), &vector, 1).ok()) break;
  }
  EXPECT_LE(written, free_before * layout::kBlockBytes);
  EXPECT_EQ(memcmp(fixed.data(), pool_->store().medium.base, fixed.size()), 0);
}

std::size_t open_descriptors() {
  std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// It kept its token, and with it V's memory, for as long as the process lived.
TEST_F(HostileTest, ARefusedAttachLeavesNoDescriptor) {
  ASSERT_TRUE(vfs::mknod_at(task_, at("f"), S_IFREG | 0644, 0).ok());
  put_into_wrong_orphan_list(ino_of("f"));
  pool_->detach();
  pool_ = nullptr;
  for (const auto& entry : std::filesystem::directory_iterator(shm_dir_of(path_))) std::filesystem::remove(entry);
  std::size_t before = open_descriptors();
  vfs::AttachFailure failure{};
  vfs::AttachOptions options;
  std::string shm_dir = shm_dir_of(path_);
  options.shm_dir = shm_dir.c_str();
  EXPECT_EQ(vfs::Pool::attach(path_.c_str(), options, &failure).error(), kErrnoCorrupt) << failure.text;
  EXPECT_EQ(open_descriptors(), before);
}

} // namespace
} // namespace pmemfile::test
