// The same of what takes blocks away from objects that stay: files made shorter, holes, ranges, leaves; and of who maps them.
#include "held_up.h"

namespace pmemfile::test {
namespace {

TEST_F(HeldUpTest, Truncate) {
  for (bool scattered : {false, true}) {
    if (scattered) make_scattered("f");
    else make("f", 20'000);
    auto file = open("f", O_RDWR, kOther);
    EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(vfs::truncate_file(task_, file, 100).error(), 0); },
                                   [&] { EXPECT_EQ(read(file, 4096, 0), std::string(scattered ? 1 : 100, 'x') + std::string(scattered ? 99 : 0, '\0')); }));
    // Another process's next open may free it as well, but only ours knows of it.
    open("stays", O_RDONLY, kHandle);
    EXPECT_EQ(close(kHandle), 0);
    EXPECT_EQ(free_blocks(), before_ - 1);
    EXPECT_EQ(close(kOther), 0);
    EXPECT_EQ(unlink_path("f"), 0);
    expect_all_freed_at_next_open();
  }
}

TEST_F(HeldUpTest, WhatWasTruncatedCanBeWrittenAtOnce) {
  make("f", 20'000);
  auto file = open("f", O_RDWR, kOther);
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(vfs::truncate_file(task_, file, 100).error(), 0); }));
  write(file, "end", 30'000);
  EXPECT_EQ(read(file, 40'000, 0), std::string(100, 'x') + std::string(29'900, '\0') + "end");
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
  expect_all_freed_at_next_open();
}

// What shells do for `> file`.
TEST_F(HeldUpTest, WhatWasEmptiedIsWrittenWithoutWaiting) {
  for (bool scattered : {false, true}) {
    if (scattered) make_scattered("f");
    else make("f", 20'000);
    Ino ino = vfs::resolve(task_, at("f"), vfs::Follow::kNo).value().ino;
    std::future<void> done;
    {
      shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
      data::Run found[32];
      auto count = data::runs(pool_->store(), ino, 0, 20 * 450, found, 32);
      ASSERT_TRUE(count.ok());
      u64 line = ~u64{0};
      for (u32 i = 0; i < count.value(); ++i)
        if (u64 its = raw(found[i].block) / layout::kBlocksPerBitmapLine; found[i].block != BlockNo{0} && its != line)
          stopped.lock(shm::bitmap_key(v(), line = its));
      done = std::async(std::launch::async, [&] {
        auto file = open("f", O_WRONLY | O_TRUNC, kOther);
        write(file, "new");
        EXPECT_EQ(close(kOther), 0);
        EXPECT_EQ(read(open("f", O_RDONLY, kOther), 100, 0), "new");
        EXPECT_EQ(close(kOther), 0);
      });
      EXPECT_EQ(done.wait_for(2s), std::future_status::ready);
      std::filesystem::copy_file(path_, path_ + "-cut-off");
    }
    done.get();
    expect_recovers(path_ + "-cut-off", before_ - 1);
    EXPECT_EQ(unlink_path("f"), 0);
    expect_all_freed_at_next_open();
  }
}

// Blocks that are replaced and given back on the way: a leaf that is split, a list of attributes, contents under data=atomic.
TEST_F(HeldUpTest, WhatReplacesBlocksWaitsForNobody) {
  constexpr unsigned kNames = 70; // more than a leaf holds
  make("f", 14'000);
  auto set = [&](std::string value) {
    return vfs::setxattr_at(task_, at("f"), vfs::Follow::kYes, false, "user.a", value.data(), value.size(), 0).error();
  };
  EXPECT_EQ(set("one"), 0);
  ASSERT_EQ(vfs::mkdir_at(task_, at("d"), 0755).error(), 0);
  make("d/0", 0);
  pool_->store().atomic_data = true;
  std::future<void> done;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::bitmap_key(v(), 0)); // of two; all that there is stands there
    done = std::async(std::launch::async, [&] {
      for (unsigned i = 1; i < kNames; ++i) make("d/" + std::to_string(i), 0);
      EXPECT_EQ(set("two"), 0);
      write(open("f", O_RDWR, kOther), std::string(13'000, 'y'), 100);
      EXPECT_EQ(close(kOther), 0);
    });
    EXPECT_EQ(done.wait_for(2s), std::future_status::ready);
    std::filesystem::copy_file(path_, path_ + "-cut-off");
  }
  done.get();
  EXPECT_EQ(read(open("f", O_RDONLY, kOther), 20'000, 0), std::string(100, 'x') + std::string(13'000, 'y') + std::string(900, 'x'));
  EXPECT_EQ(close(kOther), 0);
  char value[4];
  EXPECT_EQ(vfs::getxattr_at(task_, at("f"), vfs::Follow::kYes, false, "user.a", value, sizeof value).value(), 3u);
  EXPECT_EQ(std::string(value, 3), "two");
  expect_recovers(path_ + "-cut-off", free_blocks_after_an_open());
  for (unsigned i = 0; i < kNames; ++i) EXPECT_EQ(unlink_path("d/" + std::to_string(i)), 0);
  EXPECT_EQ(vfs::rmdir_at(task_, at("d")).error(), 0);
  EXPECT_EQ(unlink_path("f"), 0);
  // A block of inodes more may be in use than before.
  EXPECT_GE(free_blocks_after_an_open() + 1, before_);
  fsck::Report report = check_file(path_);
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.totals.orphans, 0u);
}

// Blocks that stand in trees which the new size, or the hole, covers in part or whole.
class HeldUpShorterTest : public HeldUpTest, public ::testing::WithParamInterface<u64> {};

TEST_P(HeldUpShorterTest, IsWrittenWithoutWaiting) {
  u64 size = GetParam();
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  for (u64 block : {0, 3, 20, 22, 40, 440, 500, 699, 701, 899, 902, 1400}) write(file, "x", static_cast<i64>(block * kBlock));
  beside_holder_of_line_0([&] {
    EXPECT_EQ(vfs::truncate_file(task_, file, size).error(), 0);
    write(file, "end", static_cast<i64>(size + kBlock));
  });
  for (u64 block : {0, 3, 20, 22, 40, 440, 500, 699, 701, 899, 902})
    EXPECT_EQ(read(file, 2, static_cast<i64>(block * kBlock)).starts_with("x"), block * kBlock < size) << size << ' ' << block;
  EXPECT_EQ(read(file, 9, static_cast<i64>(size + kBlock)), "end");
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
  EXPECT_GE(free_blocks_after_an_open() + 1, before_);
}

INSTANTIATE_TEST_SUITE_P(Sizes, HeldUpShorterTest, ::testing::Values(100, 21 * kBlock + 5, 700 * kBlock, 900 * kBlock + 1));

struct Hole {
  u64 first, end;
};

class HeldUpHoleTest : public HeldUpTest, public ::testing::WithParamInterface<Hole> {};

TEST_P(HeldUpHoleTest, IsPunchedWithoutWaiting) {
  Hole hole = GetParam();
  const u64 blocks[] = {0, 3, 20, 22, 40, 440, 500, 699, 701, 899, 902, 1400};
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  for (u64 block : blocks) write(file, "x", static_cast<i64>(block * kBlock));
  beside_holder_of_line_0([&] {
    EXPECT_EQ(vfs::fallocate_file(task_, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole.first * kBlock, (hole.end - hole.first) * kBlock).error(), 0);
  });
  for (u64 block : blocks)
    EXPECT_EQ(read(file, 1, static_cast<i64>(block * kBlock)) == "x", block < hole.first || block >= hole.end) << hole.first << ' ' << block;
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
  EXPECT_GE(free_blocks_after_an_open() + 1, before_);
}

INSTANTIATE_TEST_SUITE_P(Holes, HeldUpHoleTest,
                         ::testing::Values(Hole{1, 5}, Hole{22, 100}, Hole{3, 600}, Hole{500, 902}, Hole{600, 1401}, Hole{30, 1000}, Hole{0, 2000}));

class HeldUpRangeTest : public HeldUpTest, public ::testing::WithParamInterface<int> {};

TEST_P(HeldUpRangeTest, IsCollapsedOrInsertedWithoutWaiting) {
  int mode = GetParam();
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  for (u64 block : {0, 3, 20, 22, 40, 440}) write(file, std::to_string(block), static_cast<i64>(block * kBlock));
  beside_holder_of_line_0([&] { EXPECT_EQ(vfs::fallocate_file(task_, file, mode, 3 * kBlock, 18 * kBlock).error(), 0); });
  EXPECT_EQ(read(file, 2, static_cast<i64>((mode == FALLOC_FL_COLLAPSE_RANGE ? 4 : 40) * kBlock)), "22");
  write(file, "end");
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
  EXPECT_GE(free_blocks_after_an_open() + 1, before_);
}

INSTANTIATE_TEST_SUITE_P(Modes, HeldUpRangeTest, ::testing::Values(FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE));

// Whoever is stopped while he takes blocks away finds out that he may not, when he goes on.
TEST_F(HeldUpTest, WhoMapsWaitsForNobodyWhoTakesBlocksAway) {
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  write(file, std::string(20'000, 'x'));
  Ino ino = vfs::resolve(task_, at("f"), vfs::Follow::kNo).value().ino;
  std::promise<void> stands, goes_on;
  auto taker = std::async(std::launch::async, [&] {
    bool first = true;
    return journal::run_tx(other_->store(), journal::Opcode::kTruncate, [&](journal::Tx& tx) -> Result<bool> {
      TRY(tx.lock(shm::inode_key(tx.store().segment, ino)));
      tx.announce_moving(ino);
      if (shm::is_mapped(tx.store().segment, ino)) return false;
      for (unsigned i = 0; i < layout::kDirectCount; ++i) tx.store(data::map_word_offset(ino, i), 0);
      if (first) {
        first = false;
        stands.set_value();
        goes_on.get_future().wait();
      }
      TRY(tx.commit());
      return true;
    });
  });
  stands.get_future().wait();
  auto mapper = std::async(std::launch::async, [&] {
    EXPECT_EQ(vfs::pin_mapping(*pool_, file, kHandle).error(), 0);
    data::Run found[8];
    auto count = data::runs(pool_->store(), ino, 0, 5, found, 8);
    EXPECT_TRUE(count.ok() && count.value() != 0 && found[0].block != BlockNo{0});
  });
  EXPECT_EQ(mapper.wait_for(2s), std::future_status::ready);
  goes_on.set_value();
  mapper.get();
  Result<bool> taken = taker.get();
  EXPECT_TRUE(taken.ok() && !taken.value());
  EXPECT_TRUE(read(file, 30'000, 0) == std::string(20'000, 'x'));
  EXPECT_EQ(vfs::unpin_mapping(*pool_, kHandle).error(), 0);
  EXPECT_EQ(close(kOther), 0);
}

// All of what mmap(MAP_SHARED) does with a file that has no holes.
TEST_F(HeldUpTest, WhoMapsAWholeFileWaitsForNobodyAtIt) {
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  write(file, std::string(20'000, 'x'));
  Ino ino = vfs::resolve(task_, at("f"), vfs::Follow::kNo).value().ino;
  std::future<void> mapper;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::inode_key(v(), ino));
    mapper = std::async(std::launch::async, [&] {
      EXPECT_EQ(vfs::pin_mapping(*pool_, file, kHandle).error(), 0);
      EXPECT_EQ(data::materialize(pool_->store(), ino, 0, 20'000).error(), 0);
      data::Run found[8];
      EXPECT_TRUE(data::runs(pool_->store(), ino, 0, 5, found, 8).ok());
    });
    EXPECT_EQ(mapper.wait_for(2s), std::future_status::ready);
  }
  mapper.get();
  EXPECT_EQ(vfs::unpin_mapping(*pool_, kHandle).error(), 0);
  EXPECT_EQ(close(kOther), 0);
}

// More nodes than one record can leave to inodes without names: then it waits, and is done all the same.
class HeldUpManyNodesTest : public HeldUpTest, public ::testing::WithParamInterface<int> {};

TEST_P(HeldUpManyNodesTest, AreMoved) {
  constexpr i64 kLeaves = 12, kPerLeaf = 448;
  int mode = GetParam();
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  write(file, "x", 0);
  auto place = [](i64 leaf) { return 20 + kPerLeaf * leaf; };
  for (i64 leaf = 0; leaf < kLeaves; ++leaf) write(file, std::to_string(leaf), place(leaf) * static_cast<i64>(kBlock));
  std::future<void> done;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::bitmap_key(v(), 0));
    done = std::async(std::launch::async, [&] { EXPECT_EQ(vfs::fallocate_file(task_, file, mode, 3 * kBlock, 8 * kBlock).error(), 0); });
    done.wait_for(100ms);
  }
  done.get();
  i64 shift = mode == FALLOC_FL_COLLAPSE_RANGE ? -8 : 8;
  for (i64 leaf = 0; leaf < kLeaves; ++leaf)
    EXPECT_EQ(read(file, std::to_string(leaf).size(), (place(leaf) + shift) * static_cast<i64>(kBlock)), std::to_string(leaf));
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
  EXPECT_GE(free_blocks_after_an_open() + 2, before_);
  EXPECT_TRUE(check_file(path_).clean());
}

INSTANTIATE_TEST_SUITE_P(Modes, HeldUpManyNodesTest, ::testing::Values(FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE));

// Its empty leaves go before its name.
TEST_F(HeldUpTest, ADirectoryThatOnceWasLargeIsRemovedWithoutWaiting) {
  constexpr unsigned kNames = 1000;
  ASSERT_EQ(vfs::mkdir_at(task_, at("d"), 0755).error(), 0);
  make("f", 0);
  for (unsigned i = 0; i < kNames; ++i) ASSERT_EQ(vfs::link_at(task_, at("f"), at("d/" + std::to_string(i)), vfs::Follow::kNo, false).error(), 0);
  for (unsigned i = 0; i < kNames; ++i) ASSERT_EQ(unlink_path("d/" + std::to_string(i)), 0);
  beside_holder_of_line_0([&] { EXPECT_EQ(vfs::rmdir_at(task_, at("d")).error(), 0); });
  EXPECT_EQ(unlink_path("f"), 0);
  EXPECT_GE(free_blocks_after_an_open() + 2, before_);
}

// One that was made shorter first, and is not brought to that size yet.
TEST_F(HeldUpTest, WhatIsUnfinishedIsEmptiedWithoutWaiting) {
  make("f", 20'000);
  auto file = open("f", O_RDWR, kOther);
  EXPECT_TRUE(runs_beside_holder([&] {
    EXPECT_EQ(vfs::truncate_file(task_, file, 100).error(), 0);
    EXPECT_EQ(vfs::truncate_file(task_, file, 0).error(), 0);
  }));
  write(file, "new", 0);
  EXPECT_EQ(read(file, 100, 0), "new");
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
  expect_all_freed_at_next_open();
  EXPECT_EQ(check_file(path_).totals.orphans, 0u);
}

// When all inodes that there are have an owner, one is made for what is left.
TEST_F(HeldUpTest, ABlockIsFoundForAHolder) {
  make("f", 0);
  auto set = [&](std::string value) {
    return vfs::setxattr_at(task_, at("f"), vfs::Follow::kYes, false, "user.a", value.data(), value.size(), 0).error();
  };
  EXPECT_EQ(set("one"), 0);
  use_up_inodes();
  std::future<void> done;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::bitmap_key(v(), 0));
    done = std::async(std::launch::async, [&] { EXPECT_EQ(set("two"), 0); });
    EXPECT_EQ(done.wait_for(2s), std::future_status::ready);
  }
  done.get();
  free_blocks_after_an_open();
  fsck::Report report = check_file(path_);
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.totals.orphans, 0u);
}

// The last free block was wanted for a node, and then there was none for an inode.
TEST_F(HeldUpTest, ABlockTakenInVainIsFreeAgain) {
  constexpr u32 kFill = 5;
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  for (u64 block : {0, 20, 22, 40}) write(file, "x", static_cast<i64>(block * kBlock));
  auto fill = open("fill", O_CREAT | O_RDWR, kFill);
  use_up_inodes();
  std::string block(kBlock, 'f');
  data::IoVec vector{block.data(), block.size()};
  u64 bytes = 0;
  for (Result<u64> written = 0; written.ok(); bytes += written.value_or(0)) written = vfs::write_file(task_, fill, -1, &vector, 1);
  EXPECT_EQ(vfs::truncate_file(task_, fill, bytes - kBlock).error(), 0);
  EXPECT_EQ(free_blocks(), 1u);
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::bitmap_key(v(), 0));
    auto done = std::async(std::launch::async, [&] { EXPECT_EQ(vfs::truncate_file(task_, file, 21 * kBlock).error(), 0); });
    EXPECT_EQ(done.wait_for(2s), std::future_status::ready);
  }
  {
    // Nobody has formatted it, so nobody may take it for formatted.
    journal::Tx tx(pool_->store(), journal::Opcode::kCreate);
    auto taken = alloc::take_spare_meta(tx);
    ASSERT_TRUE(taken.ok());
    EXPECT_NE(taken.value().block, BlockNo{0});
    EXPECT_FALSE(taken.value().was_meta);
  }
  EXPECT_TRUE(check_file(path_).clean());
  EXPECT_EQ(vfs::truncate_file(task_, file, 21 * kBlock).error(), 0); // finishes it
  EXPECT_EQ(free_blocks(), 3u);
  EXPECT_TRUE(check_file(path_).clean());
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(close(kFill), 0);
}

// Who looks for space and finds that somebody has its line in his hands, or takes it and fails for another reason, does not learn that there
// is none.
TEST_F(HeldUpTest, WhatCouldNotBeHadIsNotForgotten) {
  auto fill = open("fill", O_CREAT | O_RDWR, kOther);
  std::string block(kBlock, 'f');
  data::IoVec vector{block.data(), block.size()};
  u64 bytes = 0;
  for (Result<u64> written = 0; written.ok(); bytes += written.value_or(0)) written = vfs::write_file(task_, fill, -1, &vector, 1);
  EXPECT_EQ(vfs::truncate_file(task_, fill, bytes - kBlock).error(), 0);
  journal::Store& store = pool_->store();
  auto take_one = [&] {
    journal::Tx tx(store, journal::Opcode::kWrite);
    auto taken = alloc::take_spare_meta(tx);
    return taken.ok() && taken.value().block != BlockNo{0};
  };
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    for (u64 line = 0; line < 2; ++line) stopped.lock(shm::bitmap_key(v(), line));
    EXPECT_FALSE(take_one());
  }
  EXPECT_TRUE(take_one());
  {
    journal::Tx tx(store, journal::Opcode::kWrite);
    EXPECT_NE(alloc::take_spare_meta(tx).value().block, BlockNo{0});
    EXPECT_EQ(alloc::take_spare_meta(tx).value().block, BlockNo{0});
  }
  EXPECT_TRUE(take_one());
  EXPECT_EQ(alloc::free_blocks(store), 1u);
  write(fill, block, static_cast<i64>(bytes - kBlock));
  EXPECT_EQ(alloc::free_blocks(store), 0u);
  EXPECT_EQ(close(kOther), 0);
}

// An open file that loses its name, and one that is truncated in steps, go into a list of orphans: into another one than that of their number
// if somebody stopped holds it. A pool that is cut off meanwhile is as good as any.
TEST_F(HeldUpTest, WhoseListIsHeldGoesIntoAnother) {
  make_scattered("g");
  write(open("f", O_CREAT | O_RDWR, kOther), std::string(20'000, 'x'));
  auto number = [&](const char* path) { return vfs::resolve(task_, at(path), vfs::Follow::kNo).value().ino; };
  u32 lists[] = {layout::orphan_list(number("f"), 0), layout::orphan_list(number("g"), 0)};
  ASSERT_NE(lists[0], lists[1]);
  std::string cut_off = path_ + "-cut-off";
  std::future<void> done;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    for (u32 list : lists) stopped.lock(shm::orphan_key(v(), list));
    done = std::async(std::launch::async, [&] {
      EXPECT_EQ(unlink_path("f"), 0);
      auto file = open("g", O_RDWR, kHandle);
      EXPECT_EQ(vfs::truncate_file(task_, file, 0).error(), 0);
      EXPECT_EQ(close(kHandle), 0);
    });
    EXPECT_EQ(done.wait_for(2s), std::future_status::ready);
    std::filesystem::copy_file(path_, cut_off);
  }
  done.get();
  EXPECT_EQ(unlink_path("g"), 0);
  EXPECT_EQ(close(kOther), 0);
  expect_all_freed_at_next_open();

  expect_recovers(cut_off, before_);
}

} // namespace
} // namespace pmemfile::test
