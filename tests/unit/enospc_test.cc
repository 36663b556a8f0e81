// A pool that is full, at every allocation of every operation: what fails leaves the tree and the space as they were, and
// what makes room works.
//
// Each scenario of the crash tests is done with no free block, with one, with two, and so on until it succeeds: so each of
// its allocations fails once, by the real code's way of failing.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "alloc/alloc.h"
#include "crash/scenario.h"
#include "fsck/check.h"

namespace pmemfile::crash {
namespace {

class EnospcTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/dev/shm/pmemfile-enospc-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    options_.shm_dir = dir_.c_str();
    path_ = dir_ + "/pool";
  }
  void TearDown() override {
    leave();
    std::filesystem::remove_all(dir_);
  }

  void start(const Step& setup) {
    leave();
    make_pool(path_, layout::kMinPoolBytes);
    vfs::AttachFailure failure{};
    auto attached = vfs::Pool::attach(path_.c_str(), options_, &failure);
    ASSERT_TRUE(attached.ok()) << failure.text;
    pool_ = attached.value();
    actor_ = std::make_unique<Actor>(*pool_);
    actor_->in_slot(0, [&] { setup(*actor_); });
  }
  void leave() {
    actor_.reset();
    if (pool_ != nullptr) pool_->detach();
    pool_ = nullptr;
  }
  u64 free_blocks() const { return alloc::count_space(pool_->store()).free_blocks; }
  // Uses up all blocks but so many; false if there are fewer already.
  bool use_up(u64 left) {
    if (free_blocks() < left) return false;
    try {
      actor_->fill("/filling", left);
    } catch (const Impossible& impossible) {
      if (impossible.error != ENOSPC) throw;
    }
    return free_blocks() == left;
  }
  static int try_step(const std::function<void()>& step) {
    try {
      step();
    } catch (const Impossible& impossible) {
      return impossible.error;
    }
    return 0;
  }
  std::string findings() {
    leave();
    return check_image(read_image(path_), false);
  }

  std::string dir_, path_;
  vfs::AttachOptions options_;
  vfs::Pool* pool_ = nullptr;
  std::unique_ptr<Actor> actor_;
};

// A write that returned less, or that came as far as this, may have done so.
bool is_write(const std::string& name) {
  return name.find("write") != name.npos || name.find("append") != name.npos || name.find("fallocate") != name.npos ||
         name.find("zero") != name.npos || name.find("role-change") != name.npos;
}

TEST_F(EnospcTest, EveryAllocationOfEveryOperationMayFail) {
  u64 failed = 0, tried = 0;
  for (const Scenario& scenario : scenarios()) {
    // Without room for an inode they wait for the one who is stopped, who is this thread.
    if (scenario.name.ends_with("-beside-stopped")) continue;
    SCOPED_TRACE(scenario.name);
    constexpr u64 kMost = 16;
    for (u64 left = 0; left < kMost; ++left) {
      start(scenario.setup);
      if (HasFatalFailure()) return;
      if (!use_up(left)) continue; // scenarios that fill the pool themselves
      Tree before = visible_tree(*pool_);
      u64 free_before = free_blocks();
      ++tried;
      int error = try_step([&] { scenario.operations[0](*actor_); });
      if (error == 0) {
        EXPECT_EQ(findings(), "") << left << " blocks left";
        break;
      }
      ++failed;
      EXPECT_EQ(error, ENOSPC) << left << " blocks left";
      Tree after = visible_tree(*pool_);
      if (!is_write(scenario.name)) {
        EXPECT_EQ(difference(before, after), "") << left << " blocks left";
        EXPECT_EQ(free_blocks(), free_before) << left << " blocks left";
      }
      EXPECT_EQ(findings(), "") << left << " blocks left";
    }
  }
  // Most operations allocate nothing; those that do are enough to mean something.
  EXPECT_GT(failed, 20u);
  EXPECT_GT(tried, scenarios().size());
}

TEST_F(EnospcTest, WhatMakesRoomWorksOnAFullPool) {
  const char* const kNeedRoom[] = {"unlink", "rmdir", "truncate-shorter", "truncate-to", "truncate-tree", "rename-same", "rename-over",
                                   "rename-exchange", "chmod", "chown", "utimens", "removexattr-none", "punch-blocks", "overwrite"};
  for (const Scenario& scenario : scenarios()) {
    bool makes_room = false;
    for (const char* name : kNeedRoom) makes_room |= scenario.name.starts_with(name);
    if (!makes_room || scenario.name.find("atomic") != scenario.name.npos || scenario.name.ends_with("-beside-stopped")) continue;
    SCOPED_TRACE(scenario.name);
    start(scenario.setup);
    if (HasFatalFailure()) return;
    use_up(0);
    for (const Step& operation : scenario.operations) EXPECT_EQ(try_step([&] { operation(*actor_); }), 0);
    EXPECT_EQ(findings(), "");
  }
}

TEST_F(EnospcTest, AFullPoolCanBeEmptiedAgain) {
  start([](Actor&) {});
  u64 free_at_start = free_blocks();
  int error = 0, made = 0;
  actor_->make_directory("/d");
  for (; error == 0; made += error == 0)
    error = try_step([&] {
      actor_->make_file("/d/" + std::to_string(made) + std::string(100, 'n'), made % 3 == 0 ? text(5000) : "");
    });
  EXPECT_EQ(error, ENOSPC);
  EXPECT_GT(made, 20);
  actor_->fill("/rest", 0);
  // The one that failed may have got its name before its contents had no room.
  (void)try_step([&] { actor_->unlink("/d/" + std::to_string(made) + std::string(100, 'n')); });
  for (int i = 0; i < made; ++i) actor_->unlink("/d/" + std::to_string(i) + std::string(100, 'n'));
  actor_->unlink("/rest");
  actor_->remove_directory("/d");
  EXPECT_GE(free_blocks() + 2, free_at_start); // a block of inodes, one that a search may keep
  EXPECT_EQ(findings(), "");
}

} // namespace
} // namespace pmemfile::crash
