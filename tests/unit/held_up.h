// A pool beside somebody who is stopped with lines of the bitmap in his hands.
#pragma once

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <future>
#include <thread>
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
using namespace std::chrono_literals;

inline constexpr u32 kHandle = 3, kOther = 4;
inline constexpr u64 kBlock = layout::kBlockBytes;

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
  std::pair<shm::ProcessRef, pid_t> living_child() {
    auto ticket = pool_->prepare_child();
    EXPECT_TRUE(ticket.ok());
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      for (;;) pause();
    }
    pool_->parent_after_fork(ticket.value());
    return {ticket.value().ref, pid};
  }
  // A child that shares what is open, and is killed at once.
  shm::ProcessRef killed_child() {
    auto ticket = pool_->prepare_child();
    EXPECT_TRUE(ticket.ok());
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      raise(SIGKILL);
    }
    pool_->parent_after_fork(ticket.value());
    waitpid(pid, nullptr, 0);
    return ticket.value().ref;
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

} // namespace pmemfile::test
