// Who is stopped in the middle of a change holds lines of the bitmap: nobody else who gives back blocks waits for him.
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <future>
#include <vector>

#include "data/data.h"
#include "data/map.h"
#include "fsck/check.h"
#include "inode/inode.h"
#include "opens_pool.h"
#include "shm/opens.h"
#include "shm/process.h"
#include "shm/vlog.h"
#include "vfs/names.h"
#include "vfs/repair.h"

namespace pmemfile::test {
namespace {

using namespace std::chrono_literals;

constexpr u32 kHandle = 3, kOther = 4;
constexpr u64 kBlock = layout::kBlockBytes;

class HeldUpTest : public OpensTest {
 protected:
  HeldUpTest() : OpensTest(1 << 20) {
    make("warm", 1);
    EXPECT_EQ(unlink_path("warm"), 0);
    make("stays", 1);
    before_ = free_blocks();
    other_ = attach(path_);
  }
  ~HeldUpTest() override { other_->detach(); }

  void make(const std::string& path, u64 bytes) {
    auto file = open(path, O_CREAT | O_RDWR, kHandle);
    if (bytes != 0) write(file, std::string(bytes, 'x'));
    EXPECT_EQ(close(kHandle), 0);
  }
  // Too large to be freed in the record that takes its name away.
  void make_scattered(const std::string& path) {
    auto file = open(path, O_CREAT | O_RDWR, kHandle);
    for (u64 i = 0; i < 20; ++i) write(file, "x", static_cast<i64>(i * 450 * 4096));
    EXPECT_EQ(close(kHandle), 0);
  }
  // Runs `body` while another process holds all lines of the bitmap; true if it ended before they were given back.
  bool runs_beside_holder(const std::function<void()>& body, const std::function<void()>& then = [] {}) {
    std::future<void> done;
    bool in_time = false;
    {
      shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
      for (u64 line = 0; line < pool_->store().geometry.block_count / layout::kBlocksPerBitmapLine; ++line)
        stopped.lock(shm::bitmap_key(v(), line));
      done = std::async(std::launch::async, body);
      in_time = done.wait_for(2s) == std::future_status::ready;
      if (in_time) then();
    }
    done.get();
    return in_time;
  }
  // Of two; all that there is stands there. `body` ends beside him; what a power failure leaves then is sound and comes to rest.
  void beside_holder_of_line_0(const std::function<void()>& body) {
    std::future<void> done;
    {
      shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
      stopped.lock(shm::bitmap_key(v(), 0));
      done = std::async(std::launch::async, body);
      EXPECT_EQ(done.wait_for(2s), std::future_status::ready);
      std::filesystem::copy_file(path_, path_ + "-cut-off");
    }
    done.get();
    expect_recovers(path_ + "-cut-off", free_blocks_after_an_open());
    fsck::Report report = check_file(path_);
    EXPECT_TRUE(report.clean());
    EXPECT_EQ(report.totals.orphans, 0u);
  }
  static fsck::Report check_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> image{std::istreambuf_iterator<char>(file), {}};
    return fsck::check(std::as_bytes(std::span(image)));
  }
  // What a power failure left: sound, with orphans, and without them once it is attached.
  // A block of inodes that a process keeps for its next file goes, too.
  void expect_recovers(const std::string& cut_off, u64 free) {
    fsck::Report report = check_file(cut_off);
    EXPECT_TRUE(report.clean());
    EXPECT_GE(report.totals.orphans, 1u);
    std::filesystem::create_directory(shm_dir_of(cut_off));
    vfs::Pool* again = attach(cut_off);
    u64 recovered = alloc::count_space(again->store()).free_blocks;
    EXPECT_TRUE(recovered == free || recovered == free + 1) << recovered << " and " << free;
    again->detach();
    std::filesystem::remove_all(shm_dir_of(cut_off));
    std::filesystem::remove(cut_off);
  }
  // The next one needs a block more.
  void use_up_inodes() {
    for (unsigned i = 0; i < 100; ++i) {
      make("n" + std::to_string(i), 0);
      journal::Tx tx(pool_->store(), journal::Opcode::kCreate);
      Ino spare = alloc::take_spare_inode(tx, root_).value();
      if (layout::ino_block(spare) != layout::ino_block(root_) && tx.lines_left() < layout::kMaxRecordLines) return;
    }
    FAIL();
  }
  u64 free_blocks_after_an_open() {
    usleep(30'000); // of a coarse clock; one that tried in vain is followed by some that do not try
    open("stays", O_RDONLY, kHandle);
    EXPECT_EQ(close(kHandle), 0);
    return free_blocks();
  }
  // But for a block of inodes that another thread has begun.
  void expect_all_freed_at_next_open() {
    u64 free = free_blocks_after_an_open();
    EXPECT_TRUE(free == before_ || free + 1 == before_) << free << " of " << before_;
  }

  u64 before_ = 0;
  vfs::Pool* other_ = nullptr;
};

TEST_F(HeldUpTest, Unlink) {
  make("f", 20'000);
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(unlink_path("f"), 0); }, [&] {
    EXPECT_NE(free_blocks(), before_);
    EXPECT_EQ(open_error("f", O_RDONLY, kOther), ENOENT);
  }));
  expect_all_freed_at_next_open();
}

TEST_F(HeldUpTest, UnlinkOfWhatIsFreedInSteps) {
  make_scattered("f");
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(unlink_path("f"), 0); }));
  expect_all_freed_at_next_open();
}

TEST_F(HeldUpTest, RenameOver) {
  make("f", 20'000);
  make("g", 20'000);
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(vfs::rename_at(task_, at("g"), at("f"), 0).error(), 0); }));
  EXPECT_EQ(unlink_path("f"), 0);
  expect_all_freed_at_next_open();
}

TEST_F(HeldUpTest, RmdirAndItsLeaf) {
  ASSERT_EQ(vfs::mkdir_at(task_, at("d"), 0755).error(), 0);
  make("d/f", 1);
  ASSERT_EQ(unlink_path("d/f"), 0);
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(vfs::rmdir_at(task_, at("d")).error(), 0); }));
  expect_all_freed_at_next_open();
}

TEST_F(HeldUpTest, LastClose) {
  write(open("f", O_CREAT | O_RDWR, kOther), std::string(20'000, 'x'));
  ASSERT_EQ(unlink_path("f"), 0);
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(close(kOther), 0); }));
  expect_all_freed_at_next_open();
}

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

// Each of several is waited for once.
TEST_F(HeldUpTest, SeveralWhoAreStoppedAreRemembered) {
  journal::Store& mine = pool_->store();
  shm::VTx one(other_->store().segment, other_->store().waiter, 40), two(other_->store().segment, other_->store().waiter, 41);
  one.lock(shm::bitmap_key(v(), 0));
  two.lock(shm::bitmap_key(v(), 1));
  auto start = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < 20; ++i) {
    journal::Tx tx(mine, journal::Opcode::kFree);
    EXPECT_FALSE(tx.lock_soon(shm::bitmap_key(v(), i % 2)));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, 120ms); // 8 ms for each look would be 160
  one.unlock_all();
  two.unlock_all();
}

// What a dead process shared with a living one stays locked, and the dead one cannot be buried wholly: who asks gets an answer.
TEST_F(HeldUpTest, WhoAsksForALockDoesNotAskForEver) {
  make("f", 1);
  make("g", 20'000);
  int to_parent[2];
  ASSERT_EQ(pipe(to_parent), 0);
  pid_t sharer = 0;
  int error = -1;
  std::future<void> asker;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::bitmap_key(v(), 0));
    stopped.lock(shm::bitmap_key(v(), 1));
    auto ticket = pool_->prepare_child();
    ASSERT_TRUE(ticket.ok());
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      auto file = open("f", O_RDWR, 10);
      if (vfs::flock_file(task_, file, LOCK_EX).error() != 0) _exit(1);
      auto second = pool_->prepare_child();
      pid_t child = fork();
      if (child == 0) {
        pool_->become_child(second.value());
        for (;;) pause();
      }
      pool_->parent_after_fork(second.value());
      (void)unlink_path("g");
      if (::write(to_parent[1], &child, sizeof child) < 0) _exit(1);
      raise(SIGKILL);
    }
    pool_->parent_after_fork(ticket.value());
    waitpid(pid, nullptr, 0);
    ASSERT_EQ(::read(to_parent[0], &sharer, sizeof sharer), static_cast<ssize_t>(sizeof sharer));
    asker = std::async(std::launch::async, [&] {
      auto file = open("f", O_RDWR, kOther);
      error = vfs::flock_file(task_, file, LOCK_EX | LOCK_NB).error();
      EXPECT_EQ(close(kOther), 0);
    });
    EXPECT_EQ(asker.wait_for(2s), std::future_status::ready);
  }
  asker.get();
  EXPECT_EQ(error, EAGAIN);
  kill(sharer, SIGKILL);
  ::close(to_parent[0]);
  ::close(to_parent[1]);
}

// In a child, up to where its record is durable and does not count yet.
class BehindItsRecordTest : public OpensTest {
 protected:
  BehindItsRecordTest() : OpensTest(16 << 20) { task_.umask = 0; }
  void kill_at_fence(unsigned fences, const std::function<void()>& body) {
    auto ticket = pool_->prepare_child();
    ASSERT_TRUE(ticket.ok());
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      pmem::Recorder recorder{[](void*, u64, const void*, u64, bool) {}, [](void*, u64, u64) {},
                              [](void* left) {
                                if (--*static_cast<unsigned*>(left) == 0) raise(SIGKILL);
                              },
                              &fences};
      pool_->store().medium.recorder = &recorder;
      body();
      _exit(0);
    }
    pool_->parent_after_fork(ticket.value());
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  void detach_and_attach() {
    pool_->detach();
    become(attach(path_));
  }
};

// Both together would lie below each other.
TEST_F(BehindItsRecordTest, AMoveOfADirectoryByADeadOneDoesNotComeTrueAfterAnother) {
  for (const char* name : {"p", "r", "p/a", "p/a/y", "r/b", "r/b/x"}) ASSERT_EQ(vfs::mkdir_at(task_, at(name), 0755).error(), 0);
  // So that no new leaf is written before the record.
  for (const char* name : {"p/f", "p/a/f", "p/a/y/f", "r/f", "r/b/f", "r/b/x/f"}) ASSERT_EQ(vfs::mknod_at(task_, at(name), 0100644, 0).error(), 0);
  kill_at_fence(1, [&] { (void)vfs::rename_at(task_, at("p/a"), at("r/b/x/a"), 0); });
  EXPECT_EQ(vfs::rename_at(task_, at("r/b"), at("p/a/y/b"), 0).error(), 0);
  detach_and_attach();
  EXPECT_TRUE(vfs::resolve(task_, at("p/a/y/b/x"), vfs::Follow::kNo).ok());
}

TEST_F(BehindItsRecordTest, AnAtomicWriteByADeadOneDoesNotUndoWhatWasStoredThroughAMapping) {
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  write(file, std::string(4096, 'o'));
  Ino ino = vfs::resolve(task_, at("f"), vfs::Follow::kNo).value().ino;
  kill_at_fence(2, [&] {
    std::string text(100, 'n');
    data::IoVec vector{text.data(), text.size()};
    (void)data::write(pool_->store(), ino, 0, &vector, 1, {.atomic = true});
  });
  ASSERT_EQ(vfs::pin_mapping(*pool_, file, kHandle).error(), 0);
  data::Run run;
  ASSERT_EQ(data::runs(pool_->store(), ino, 0, 1, &run, 1).value_or(0), 1u);
  pmem::store_word(pool_->store().medium, journal::block_offset(run.block) + 2048, 0x6d6d6d6d6d6d6d6d);
  EXPECT_EQ(read(file, 8, 2048), "mmmmmmmm");
  EXPECT_EQ(vfs::unpin_mapping(*pool_, kHandle).error(), 0);
  EXPECT_EQ(close(kOther), 0);
  detach_and_attach();
  file = open("f", O_RDONLY, kOther);
  EXPECT_EQ(read(file, 8, 2048), "mmmmmmmm");
  EXPECT_EQ(close(kOther), 0);
}

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

// What it left is free space, also for others.
TEST_F(HeldUpTest, WhatAnotherProcessLeftIsNoLackOfSpace) {
  make("f", 20'000);
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(unlink_path("f"), 0); }));
  vfs::Task others = task_;
  others.pool = other_;
  auto filled = vfs::open_at(others, at("fill"), O_CREAT | O_RDWR, 0644, kOther);
  ASSERT_TRUE(filled.ok());
  std::string block(4096, 'x');
  data::IoVec vector{block.data(), block.size()};
  u64 written = 0;
  while (vfs::write_file(others, filled.value().description, -1, &vector, 1).ok()) ++written;
  EXPECT_GT(written + 10, before_);
  ASSERT_EQ(vfs::close_handle(*other_, kOther).error(), 0);
  EXPECT_EQ(unlink_path("fill"), 0);
  expect_all_freed_at_next_open();
}

// He has waited once for what is in the way; not again for each file.
TEST_F(HeldUpTest, ManyUnlinksWaitForItOnce) {
  constexpr unsigned kFiles = 40;
  for (unsigned i = 0; i < kFiles; ++i) make("f" + std::to_string(i), 5'000);
  std::chrono::steady_clock::duration taken{};
  EXPECT_TRUE(runs_beside_holder([&] {
    auto start = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < kFiles; ++i) EXPECT_EQ(unlink_path("f" + std::to_string(i)), 0);
    taken = std::chrono::steady_clock::now() - start;
  }));
  EXPECT_LT(taken, 200ms); // 8 ms for each would be 320
  usleep(30'000);
  open("stays", O_RDONLY, kHandle);
  EXPECT_EQ(close(kHandle), 0);
  EXPECT_GE(free_blocks() + 1, before_); // this process's block of inodes may have changed
}

// As many as its entry notes, and more: what is not in the way is freed all the same.
TEST_F(HeldUpTest, WhatIsNotInTheWayIsFreedBesideAllThatIs) {
  for (unsigned i = 0; i < 8; ++i) make("f" + std::to_string(i), 5'000);
  write(open("g", O_CREAT | O_RDWR, kOther), std::string(20'000, 'x'));
  EXPECT_EQ(unlink_path("g"), 0);
  EXPECT_TRUE(runs_beside_holder([&] {
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(unlink_path("f" + std::to_string(i)), 0);
  }));
  u64 before = free_blocks();
  EXPECT_EQ(close(kOther), 0);
  EXPECT_GE(free_blocks(), before + 5);
  expect_all_freed_at_next_open();
}

// A truncated file that loses its name and stays open.
TEST_F(HeldUpTest, WhatATruncatedFileWithoutANameLeftIsFreed) {
  make_scattered("f");
  auto file = open("f", O_RDWR, kOther);
  EXPECT_TRUE(runs_beside_holder([&] {
    EXPECT_EQ(vfs::truncate_file(task_, file, 0).error(), 0);
    EXPECT_EQ(unlink_path("f"), 0);
  }));
  expect_all_freed_at_next_open();
  EXPECT_EQ(close(kOther), 0);
  expect_all_freed_at_next_open();
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

// Each of those that are in the way is passed by at no cost, so that all others have their turn.
TEST_F(HeldUpTest, WhatStandsBehindManyThatAreInTheWayIsFreed) {
  constexpr unsigned kFiles = 8;
  for (unsigned i = 0; i < kFiles; ++i) make("f" + std::to_string(i), 20'000);
  EXPECT_TRUE(runs_beside_holder([&] {
    for (unsigned i = 0; i < kFiles; ++i) {
      auto file = open("f" + std::to_string(i), O_RDWR, kOther);
      EXPECT_EQ(vfs::truncate_file(task_, file, 100).error(), 0);
      EXPECT_EQ(close(kOther), 0);
    }
  }));
  std::vector<Ino> inodes; // in the order of their lists; all but the last are in the way
  EXPECT_TRUE(inode::look_at_orphans(
      pool_->store(), [](void* found, Ino ino, const inode::Links&) { static_cast<std::vector<Ino>*>(found)->push_back(ino); }, &inodes));
  ASSERT_EQ(inodes.size(), kFiles);
  u64 before = free_blocks();
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    for (unsigned i = 0; i + 1 < kFiles; ++i) stopped.lock(shm::inode_key(v(), inodes[i]));
    usleep(30'000);
    open("stays", O_RDONLY, kHandle);
    EXPECT_EQ(close(kHandle), 0);
    EXPECT_EQ(free_blocks(), before + 4);
  }
  usleep(30'000);
  open("stays", O_RDONLY, kHandle);
  EXPECT_EQ(close(kHandle), 0);
  EXPECT_EQ(free_blocks(), before + 4 * kFiles);
}

// As if it had been killed before it said so.
TEST_F(HeldUpTest, WhatATruncaterLeftAndDidNotSayIsFoundAtABurial) {
  make("f", 20'000);
  auto file = open("f", O_RDWR, kOther);
  EXPECT_TRUE(runs_beside_holder([&] { EXPECT_EQ(vfs::truncate_file(task_, file, 0).error(), 0); }));
  store_full(shm::process_table(pool_->store().segment).forgotten, u64{0});
  auto ticket = pool_->prepare_child();
  ASSERT_TRUE(ticket.ok());
  pid_t pid = fork();
  if (pid == 0) {
    pool_->become_child(ticket.value());
    raise(SIGKILL);
  }
  pool_->parent_after_fork(ticket.value());
  waitpid(pid, nullptr, 0);
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(free_blocks(), before_);
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
}

// A description that a dead process shared, or the locks of its file, are in the hands of somebody stopped: who opens does not wait for them.
TEST_F(HeldUpTest, WhoOpensBuriesWhatIsNotInTheWay) {
  auto file = open("f", O_CREAT | O_RDWR, kOther);
  auto unburied = [&] {
    u64 count = 0;
    for (u32 i = 0; i < v().header->process_count; ++i)
      count += load_acquire(shm::process_entry(v(), i).state) == static_cast<u32>(shm::ProcessState::kUnburied);
    return count;
  };
  auto ticket = pool_->prepare_child();
  ASSERT_TRUE(ticket.ok());
  pid_t pid = fork();
  if (pid == 0) {
    pool_->become_child(ticket.value());
    raise(SIGKILL);
  }
  pool_->parent_after_fork(ticket.value());
  waitpid(pid, nullptr, 0);
  vfs::repair_dead(pool_->store(), ticket.value().ref);
  ASSERT_EQ(unburied(), 1u);
  std::future<void> opener;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::description_key(v(), static_cast<u32>(file)));
    opener = std::async(std::launch::async, [&] {
      for (int i = 0; i < 3; ++i) {
        open("stays", O_RDONLY, kHandle);
        EXPECT_EQ(close(kHandle), 0);
      }
    });
    EXPECT_EQ(opener.wait_for(2s), std::future_status::ready);
    EXPECT_EQ(unburied(), 1u);
  }
  opener.get();
  usleep(30'000);
  open("stays", O_RDONLY, kHandle);
  EXPECT_EQ(close(kHandle), 0);
  EXPECT_EQ(unburied(), 0u);
  EXPECT_EQ(close(kOther), 0);
  EXPECT_EQ(unlink_path("f"), 0);
}

// Who gives up waiting for an overwriter leaves it to be waited for by the next one.
TEST_F(HeldUpTest, AnOverwriterThatWasLeftIsWaitedFor) {
  make("f", 20'000);
  Ino ino = vfs::resolve(task_, at("f"), vfs::Follow::kNo).value().ino;
  journal::Store& store = pool_->store();
  shm::LockKey key = shm::inode_key(v(), ino);
  shm::VTx overwriter(other_->store().segment, other_->store().waiter, 40);
  store_full(v().slots[overwriter.slot()].shared_plus_1, raw(key) + 1);
  store_full(v().stripe(key).overwritten, u64{1});
  auto exclude = [&](journal::Tx::Hurry hurry) {
    return journal::run_tx(store, journal::Opcode::kFree, [&](journal::Tx& tx) -> Result<void> {
      TRY(tx.lock(key));
      tx.hurry(hurry);
      return tx.exclude_overwriters(key);
    }).error();
  };
  EXPECT_EQ(exclude(journal::Tx::Hurry::kOrFail), EAGAIN);
  auto patient = std::async(std::launch::async, exclude, journal::Tx::Hurry::kNo);
  EXPECT_EQ(patient.wait_for(100ms), std::future_status::timeout);
  store_full(v().slots[overwriter.slot()].shared_plus_1, 0u);
  EXPECT_EQ(patient.get(), 0);
}

// Whoever has left it and ends: the next one who opens, attaches or buries finds it.
TEST_F(HeldUpTest, WhatItsRemoverLeftWhenItEnded) {
  make("f", 20'000);
  make("g", 20'000);
  auto file = open("g", O_RDWR, kOther);
  EXPECT_TRUE(runs_beside_holder([&] {
    EXPECT_EQ(unlink_path("f"), 0);
    EXPECT_EQ(vfs::truncate_file(task_, file, 0).error(), 0);
    EXPECT_EQ(close(kOther), 0);
    pool_->detach();
    pool_ = nullptr;
  }));
  become(attach(path_));
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(unlink_path("g"), 0);
  expect_all_freed_at_next_open();
}

} // namespace
} // namespace pmemfile::test
