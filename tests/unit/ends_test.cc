// How inodes end: who begins to use one, who takes its last link, its last user, and whoever dies or is stopped over it
// (docs/architecture.md, "Open files"). Each test is an interleaving that went wrong once.
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <thread>

#include "inode/inode.h"
#include "opens_pool.h"
#include "shm/vlog.h"
#include "vfs/names.h"
#include "vfs/open_files.h"

namespace pmemfile::test {
namespace {

constexpr u32 kHandle = 3, kOther = 4, kChilds = 5;

class EndsTest : public OpensTest {
 protected:
  pid_t fork_child(const std::function<void()>& body) {
    auto ticket = pool_->prepare_child();
    EXPECT_TRUE(ticket.ok());
    child_ = ticket.value().ref;
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      body();
      _exit(0);
    }
    pool_->parent_after_fork(ticket.value());
    return pid;
  }
  void kill_and_wait(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  // A child that stands `steps` instructions after the beginning of `body`; `over`: at its end, it had fewer. `prepare`: before it.
  pid_t stop_after(unsigned steps, const std::function<void()>& body, bool& over, const std::function<void()>& prepare = [] {}) {
    pid_t pid = fork_child([&] {
      prepare();
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);
      body();
      raise(SIGSTOP);
    });
    waitpid(pid, nullptr, 0);
    over = step(pid, steps);
    return pid;
  }
  // Runs `body` in a child that is stopped after some number of instructions, while `meanwhile` runs unless the child holds a stripe then;
  // each time from `before` to `check`.
  void stop_on_the_way(unsigned every, const std::function<void()>& before, const std::function<void()>& body,
                       const std::function<void()>& meanwhile, const std::function<void(unsigned)>& check) {
    unsigned done = 0;
    bool over = false;
    for (unsigned steps = 1; !over; steps += every) {
      before();
      pid_t pid = stop_after(steps, body, over);
      if (over || holds_nothing_that_is_waited_for()) ++done, meanwhile();
      if (!over) {
        ptrace(PTRACE_CONT, pid, nullptr, nullptr);
        waitpid(pid, nullptr, 0);
      }
      kill_and_wait(pid);
      vfs::bury_all_dead(*pool_);
      check(steps);
      if (HasFatalFailure()) return;
    }
    EXPECT_GT(done, 10u);
  }
  // Descriptions of others are passed over.
  bool holds_nothing_that_is_waited_for() const {
    for (u32 i = 0; i < v().header->description_first; ++i)
      if ((load_acquire(v().stripes[i].lock) & shm::kLockSlotMask) != 0) return false;
    return true;
  }
  Ino ino_of(std::string_view path) { return vfs::resolve(task_, at(path), vfs::Follow::kNo).value().ino; }
  Ino make(const std::string& path, u64 bytes) {
    auto file = open(path, O_CREAT | O_RDWR, kHandle);
    Ino ino = vfs::info(*pool_, file).ino;
    write(file, std::string(bytes, 'x'));
    EXPECT_EQ(close(kHandle), 0);
    return ino;
  }
  // Too large to be freed in the record that takes its name away.
  void make_fragmented(const std::string& path) {
    auto file = open(path, O_CREAT | O_RDWR, kHandle);
    for (u64 i = 0; i < 20; ++i) write(file, "x", static_cast<i64>(i * 3 * 4096 * 100));
    EXPECT_EQ(close(kHandle), 0);
  }
  // As if threads of this process were freeing as many inodes as its entry notes; and as if they were ready.
  void fill_notes() {
    for (u64& word : shm::find_process(v(), v().self)->pending) word = vfs::pending_word(root_, 77);
  }
  void clear_notes() {
    for (u64& word : shm::find_process(v(), v().self)->pending) word = 0;
  }
  void warm() {
    make("warm", 1);
    EXPECT_EQ(unlink_path("warm"), 0);
    make("stays", 1);
    before_ = free_blocks();
  }
  u64 orphans() {
    u64 count = 0;
    journal::View view(store());
    for (u64 list = 0; list < layout::kOrphanLists; ++list)
      for (u64 ino = view.load(journal::block_offset(BlockNo{store().geometry.orphan_block}) + list * layout::kLineBytes); ino != 0; ++count)
        ino = view.load(layout::inode_offset(Ino{ino}) + layout::kInodeNextOrphan);
    return count;
  }
  // Nothing of what was removed is left.
  void expect_all_freed(unsigned steps) {
    ASSERT_EQ(free_blocks(), before_) << "stopped after " << steps << " instructions";
    ASSERT_EQ(census(v()).uses, 0u) << "stopped after " << steps << " instructions";
  }
  shm::Segment& segment() { return pool_->store().segment; }
  journal::Store& store() { return pool_->store(); }

  shm::ProcessRef child_;
  u64 before_ = 0;
};

// It finds that it came too late after the remover had seen it, of the inode or of the next one of its number.
TEST_F(EndsTest, WhatIsLeftToAnOpenThatFailsIsFreed) {
  warm();
  inode::Attr before;
  stop_on_the_way(29,
                  [&] {
                    before = inode::read(store(), make("f", 50'000)).value();
                    before.generation -= 1;
                  },
                  [&] {
                    (void)vfs::make_description(*pool_, before, O_RDONLY, kChilds);
                  },
                  [&] { ASSERT_EQ(unlink_path("f"), 0); },
                  [&](unsigned steps) {
                    (void)unlink_path("f");
                    expect_all_freed(steps);
                  });
}

TEST_F(EndsTest, WhatIsLeftToAnOpenIsFreedWhereverItIsStopped) {
  warm();
  stop_on_the_way(149, [&] { make("f", 50'000); }, [&] { (void)vfs::open_at(task_, at("f"), O_RDONLY, 0, kChilds); },
                  [&] { ASSERT_EQ(unlink_path("f"), 0); },
                  [&](unsigned steps) {
                    (void)unlink_path("f");
                    expect_all_freed(steps);
                  });
}

TEST_F(EndsTest, WhatIsLeftToACloseIsFreedWhereverItIsStopped) {
  warm();
  stop_on_the_way(149, [&] { make("f", 50'000); },
                  [&] {
                    (void)vfs::open_at(task_, at("f"), O_RDONLY, 0, kChilds);
                    (void)vfs::close_handle(*pool_, kChilds);
                  },
                  [&] { ASSERT_EQ(unlink_path("f"), 0); },
                  [&](unsigned steps) {
                    (void)unlink_path("f");
                    expect_all_freed(steps);
                  });
}

// Somebody is killed in open. Whoever repairs it has looked whether the inode has a link; then the last one goes, and its remover sees the
// use of the dead one yet; then that goes.
TEST_F(EndsTest, WhatIsLeftToAnOpenThatIsBeingRepairedIsFreed) {
  warm();
  Ino ino = make("f", 50'000);
  pid_t pid = fork_child([&] {
    shm::VTx tx(segment(), store().waiter, 40);
    (void)shm::claim_use(segment(), tx, ino, 77, false);
    kill(getpid(), SIGKILL);
  });
  waitpid(pid, nullptr, 0);
  u32 slot = 0;
  while (v().slots[slot].owner != pack(child_)) ++slot;
  vfs::settle_begun(store(), slot);
  ASSERT_EQ(unlink_path("f"), 0);
  shm::repair_vlog(segment(), slot);
  vfs::settle_left(store(), slot, child_);
  vfs::bury_all_dead(*pool_);
  expect_all_freed(0);
}

// The remover of a large file dies before it is done.
TEST_F(EndsTest, WhatADeadRemoverWasFreeingIsFreed) {
  warm();
  unsigned unfinished = 0;
  bool over = false;
  for (unsigned steps = 8'000; !over; steps += steps / 2) {
    make_fragmented("f");
    kill_and_wait(stop_after(steps, [&] { (void)unlink_path("f"); }, over));
    unfinished += vfs::resolve(task_, at("f"), vfs::Follow::kNo).ok() == false && free_blocks() != before_;
    vfs::bury_all_dead(*pool_);
    (void)unlink_path("f");
    expect_all_freed(steps);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(unfinished, 0u);
}

// An inode leaves its list from the front only. Whoever frees the first takes the dead ones behind it along, unless he dies on the way.
TEST_F(EndsTest, WhatWaitsBehindAnInodeThatADeadOneFreedIsFreed) {
  constexpr size_t kFiles = layout::kOrphanLists + 1;
  std::vector<Ino> made;
  auto path = [](size_t i) { return "f" + std::to_string(i); };
  auto make_files = [&] {
    made.clear();
    while (made.size() < kFiles) made.push_back(make(path(made.size()), 5'000));
  };
  bool over = false;
  for (unsigned steps = 1; !over; steps += 401) {
    make_files();
    size_t behind = 0, front = 1;
    while (raw(made[behind]) % layout::kOrphanLists != raw(made[front]) % layout::kOrphanLists) {
      if (++behind == front) behind = 0, ++front;
      ASSERT_LT(front, kFiles);
    }
    kill_and_wait(stop_after(steps, [&] { (void)close(kChilds); }, over, [&] {
      open(path(behind), O_RDWR, kOther);
      open(path(front), O_RDWR, kChilds);
      unlink_path(path(behind));
      unlink_path(path(front));
      close(kOther);
    }));
    vfs::bury_all_dead(*pool_);
    ASSERT_EQ(orphans(), 0u) << "killed after " << steps << " instructions";
    for (size_t i = 0; i < kFiles; ++i) (void)unlink_path(path(i));
  }
}

// Recovery frees an inode, which takes the dead one behind it along, and goes on with what stood behind that.
TEST_F(EndsTest, RecoveryFreesWhatStandsBehindADeadInode) {
  pid_t pid = fork_child([&] {
    constexpr u32 kFirst = 10;
    std::vector<u32> of_one_list;
    u64 list = layout::kOrphanLists; // none
    for (u32 handle = kFirst; of_one_list.size() < 3; ++handle) {
      std::string path = "f" + std::to_string(handle);
      auto file = open(path, O_CREAT | O_RDWR, handle);
      write(file, std::string(5'000, 'x'));
      u64 its_list = raw(vfs::info(*pool_, file).ino) % layout::kOrphanLists;
      if (handle == kFirst) list = its_list;
      if (its_list != list) continue;
      unlink_path(path);
      of_one_list.push_back(handle);
    }
    close(of_one_list[1]);
    kill(getpid(), SIGKILL);
  });
  waitpid(pid, nullptr, 0);
  ASSERT_EQ(orphans(), 3u);
  pool_->detach();
  become(attach(path_));
  EXPECT_EQ(orphans(), 0u);
}

// A process's entry notes a few inodes that somebody stopped keeps from being freed; there may be more.
TEST_F(EndsTest, WhatNoEntryHasRoomToNoteIsFreed) {
  warm();
  auto file = open("f", O_CREAT | O_RDWR, kHandle);
  Ino ino = vfs::info(*pool_, file).ino;
  write(file, std::string(50'000, 'x'));
  ASSERT_EQ(unlink_path("f"), 0);
  fill_notes();
  {
    shm::VTx stopped(segment(), store().waiter, 40);
    stopped.lock(shm::inode_key(v(), ino));
    ASSERT_EQ(close(kHandle), 0);
    open("stays", O_RDONLY, kHandle);
    EXPECT_NE(free_blocks(), before_);
    close(kHandle);
  }
  clear_notes();
  usleep(30'000); // not at every open
  open("stays", O_RDONLY, kHandle);
  EXPECT_EQ(free_blocks(), before_);
  EXPECT_EQ(orphans(), 0u);
  close(kHandle);
}

// Its remover has marked it as being freed already when it finds that it cannot note it.
TEST_F(EndsTest, WhatItsRemoverHasNoRoomToNoteIsFreed) {
  warm();
  make_fragmented("f");
  fill_notes();
  ASSERT_EQ(unlink_path("f"), 0);
  EXPECT_EQ(orphans(), 1u);
  clear_notes();
  open("stays", O_RDONLY, kHandle);
  EXPECT_EQ(free_blocks(), before_);
  EXPECT_EQ(orphans(), 0u);
  close(kHandle);
}

// It loses its name between the last step of a truncation and its leaving the list, where it was marked as dead while somebody used it.
TEST_F(EndsTest, WhatLosesItsNameWhileATruncationEndsKeepsItsUser) {
  warm();
  auto file = open("f", O_CREAT | O_RDWR, kHandle);
  write(file, "still here");
  ASSERT_EQ(unlink_path("f"), 0);
  ASSERT_TRUE(inode::leave_list(store(), layout::orphan_list(vfs::info(*pool_, file).ino, layout::kFlagOrphan)).ok());
  EXPECT_EQ(read(file, 100, 0), "still here");
  EXPECT_EQ(orphans(), 1u);
  close(kHandle);
  EXPECT_EQ(free_blocks(), before_);
}

// On a full pool whatever the dead keep is found before ENOSPC is said.
TEST_F(EndsTest, WhatADeadProcessKeptIsFreeSpaceAtOnce) {
  constexpr u64 kBig = 9 << 20; // of 16
  auto file = open("f", O_CREAT | O_RDWR, kHandle);
  pid_t pid = fork_child([&] {
    write(open("big", O_CREAT | O_RDWR, kChilds), std::string(kBig, 'x'));
    unlink_path("big");
    kill(getpid(), SIGKILL);
  });
  waitpid(pid, nullptr, 0);
  u64 written = 0;
  while (u64 bytes = written < kBig ? write(file, std::string(kBig - written, 'y')) : 0) written += bytes;
  EXPECT_EQ(written, kBig);
  close(kHandle);
}

// /proc/self/fd/N of an unlinked file, while somebody is stopped who changes it.
TEST_F(EndsTest, OpenOfAnUnlinkedFileDoesNotWaitForItsStripe) {
  auto file = open("f", O_CREAT | O_RDWR, kHandle);
  Ino ino = vfs::info(*pool_, file).ino;
  ASSERT_EQ(unlink_path("f"), 0);
  std::future<int> opened;
  {
    shm::VTx stopped(segment(), store().waiter, 40);
    stopped.lock(shm::inode_key(v(), ino));
    opened = std::async(std::launch::async, [&] { return vfs::open_at(task_, vfs::At{ino, ""}, O_RDONLY, 0, kOther).error(); });
    EXPECT_EQ(opened.wait_for(std::chrono::seconds(3)), std::future_status::ready);
  }
  EXPECT_EQ(opened.get(), 0);
  close(kHandle);
  close(kOther);
}

// What it could not free, because somebody was stopped in the way, is not forgotten because another process opens something.
TEST_F(EndsTest, WhatAProcessLeftIsFreedAtItsNextOpen) {
  warm();
  vfs::Pool* other = attach(path_);
  vfs::Task others = task_;
  others.pool = other;
  auto file = open("f", O_CREAT | O_RDWR, kHandle);
  Ino ino = vfs::info(*pool_, file).ino;
  write(file, std::string(50'000, 'x'));
  ASSERT_EQ(unlink_path("f"), 0);
  {
    shm::VTx stopped(other->store().segment, other->store().waiter, 40);
    stopped.lock(shm::inode_key(v(), ino));
    ASSERT_EQ(close(kHandle), 0);
    EXPECT_NE(free_blocks(), before_);
  }
  ASSERT_EQ(vfs::open_at(others, at("stays"), O_RDONLY, 0, kHandle).error(), 0);
  ASSERT_EQ(vfs::close_handle(*other, kHandle).error(), 0);
  open("stays", O_RDONLY, kHandle);
  EXPECT_EQ(free_blocks(), before_);
  close(kHandle);
  other->detach();
}

// The lock is given back between the look of the one who wants it and his going to sleep.
TEST_F(EndsTest, AWaiterForAFileLockMissesNoUnlock) {
  auto first = open("f", O_CREAT | O_RDWR, kHandle), second = open("f", O_RDWR, kOther);
  std::atomic<unsigned> locked{0}, turn{0};
  constexpr unsigned kRounds = 2'000;
  std::thread waiter([&] {
    vfs::Task task = task_;
    for (unsigned round = 1; round <= kRounds; ++round) {
      while (turn.load() < round) std::this_thread::yield();
      if (!vfs::flock_file(task, second, LOCK_EX).ok() || !vfs::flock_file(task, second, LOCK_UN).ok()) break;
      locked = round;
    }
  });
  for (unsigned round = 1; round <= kRounds; ++round) {
    ASSERT_TRUE(vfs::flock_file(task_, first, LOCK_EX).ok());
    turn = round;
    for (unsigned spin = 0; spin < round % 400; ++spin) cpu_relax();
    ASSERT_TRUE(vfs::flock_file(task_, first, LOCK_UN).ok());
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    while (locked < round && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(locked, round) << "asleep beside a free lock";
    if (locked == round) continue;
    // Wakes it up.
    for (unsigned i = 0; i < 1000 && locked < round; ++i) {
      (void)vfs::flock_file(task_, first, LOCK_EX);
      (void)vfs::flock_file(task_, first, LOCK_UN);
      usleep(1000);
    }
    turn = kRounds;
    break;
  }
  waiter.join();
  close(kHandle);
  close(kOther);
}

} // namespace
} // namespace pmemfile::test
