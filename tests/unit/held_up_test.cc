// Who is stopped in the middle of a change holds lines of the bitmap: nobody else who removes, closes, opens or asks for locks waits for him.
#include "held_up.h"

namespace pmemfile::test {
namespace {

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

// All moves of directories to other parents share one lock, for their commits.
TEST_F(HeldUpTest, AMoveOfADirectoryThatIsHeldUpBeforeItsCommitDelaysNoOther) {
  for (const char* name : {"a", "b", "a/x", "c", "d", "c/y"}) ASSERT_EQ(vfs::mkdir_at(task_, at(name), 0755).error(), 0);
  Ino held = vfs::resolve(task_, at("a/x"), vfs::Follow::kNo).value().ino;
  std::future<int> first, second;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(shm::inode_key(v(), held));
    first = std::async(std::launch::async, [&, task = task_]() mutable { return vfs::rename_at(task, at("a/x"), at("b/x"), 0).error(); });
    EXPECT_EQ(first.wait_for(100ms), std::future_status::timeout);
    second = std::async(std::launch::async, [&, task = task_]() mutable { return vfs::rename_at(task, at("c/y"), at("d/y"), 0).error(); });
    EXPECT_EQ(second.wait_for(2s), std::future_status::ready);
    EXPECT_EQ(first.wait_for(0s), std::future_status::timeout);
  }
  EXPECT_EQ(first.get(), 0);
  EXPECT_EQ(second.get(), 0);
}

// An undertaker died over a dead process's handles, and whoever repairs him is stopped: until he is repaired nobody gives them away.
// Who waits for one that is stopped keeps nothing that others need: neither what he has locked on the way, nor a record slot.
class BehindAWaiterTest : public HeldUpTest {
 protected:
  // `waiters` of `body(i)` wait for the inode of "f", while "g" is made beside them.
  void waits_alone(unsigned waiters, const std::function<void(unsigned)>& body, bool locks = false) {
    make("f", 20'000);
    Ino ino = vfs::resolve(task_, at("f"), vfs::Follow::kYes).value().ino;
    std::vector<std::future<void>> waiting;
    {
      shm::VTx stopped(other_->store().segment, other_->store().waiter, 7);
      stopped.lock(locks ? shm::file_locks_key(v(), ino) : shm::inode_key(v(), ino));
      for (unsigned i = 0; i < waiters; ++i) waiting.push_back(std::async(std::launch::async, [&body, i] { body(i); }));
      std::this_thread::sleep_for(50ms);
      auto start = std::chrono::steady_clock::now();
      auto done = std::async(std::launch::async, [&] {
        for (unsigned i = 0; i < 10; ++i) EXPECT_EQ(vfs::mkdir_at(task_, at("g" + std::to_string(i)), 0755).error(), 0);
      });
      EXPECT_EQ(done.wait_for(2s), std::future_status::ready);
      EXPECT_EQ(waiting.back().wait_for(0s), std::future_status::timeout);
      auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
      EXPECT_LT(ms, 500);
      stopped.unlock_all();
      done.get();
    }
    for (auto& one : waiting) one.get();
    for (unsigned i = 0; i < 10; ++i) EXPECT_EQ(vfs::rmdir_at(task_, at("g" + std::to_string(i))).error(), 0);
    (void)unlink_path("f");
  }
};

TEST_F(BehindAWaiterTest, KeepsNoDirectory) {
  // Which of two stripes comes first depends on the inode's number.
  for (unsigned round = 0; round < 8; ++round) {
    make("n" + std::to_string(round), 1);
    waits_alone(1, [&](unsigned) { EXPECT_EQ(unlink_path("f"), 0); });
  }
}

TEST_F(BehindAWaiterTest, KeepsNoSlot) {
  unsigned slots = static_cast<unsigned>(v().header->slot_count);
  ASSERT_LE(slots, 16u);
  waits_alone(3 * slots, [&](unsigned) { EXPECT_EQ(vfs::chmod_at(task_, at("f"), vfs::Follow::kYes, false, 0600).error(), 0); });
}

TEST_F(BehindAWaiterTest, KeepsNoSlotAtFileLocks) {
  unsigned slots = static_cast<unsigned>(v().header->slot_count);
  make("f", 1);
  std::vector<vfs::Description> open_ones(3 * slots);
  for (unsigned i = 0; i < 3 * slots; ++i) open_ones[i] = open("f", O_RDWR, 100 + i);
  waits_alone(3 * slots, [&](unsigned i) { EXPECT_EQ(vfs::flock_file(task_, open_ones[i], LOCK_SH).error(), 0); }, true);
  for (unsigned i = 0; i < 3 * slots; ++i) EXPECT_EQ(close(100 + i), 0);
}

TEST_F(HeldUpTest, WhatADeadUndertakerWasAtIsRemembered) {
  auto first = living_child(), second = living_child(); // each has an entry of its own
  for (pid_t pid : {first.second, second.second}) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  shm::ProcessRef dead = first.first, undertaker = second.first;
  shm::Segment& segment = pool_->store().segment;
  shm::Process &entry = *shm::find_process(segment, dead), &his = *shm::find_process(segment, undertaker);
  u64& claims = shm::process_table(segment).claims;
  shm::Slot& slot = segment.slots[segment.header->slot_count - 1];
  ASSERT_EQ(slot.owner, 0u);
  slot.owner = pack(undertaker);
  entry.claim = pack(undertaker);
  his.claim = pack(other_->store().segment.self);
  claims += 2;
  vfs::bury(*pool_, dead, inode::Wait::kNo);
  EXPECT_EQ(entry.claim, pack(undertaker));
  vfs::repair_dead(pool_->store(), dead);
  EXPECT_EQ(entry.claim, pack(undertaker));
  his.claim = 0; // he goes on
  --claims;
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(slot.owner, 0u);
  EXPECT_EQ(entry.claim, 0u);
  EXPECT_EQ(claims, 0u);
  EXPECT_EQ(entry.state, static_cast<u32>(shm::ProcessState::kFree));
}

// A time of access whose place in V is another file's: that one's would have to go to the pool first.
TEST_F(HeldUpTest, WhoReadsGivesUpATimeRatherThanWait) {
  std::vector<std::pair<Ino, u64>> made;
  shm::LockKey key{};
  Ino first{}, second{};
  for (unsigned i = 0; raw(second) == 0 && i < 3000; ++i) {
    std::string name = "t" + std::to_string(i);
    ASSERT_EQ(vfs::mknod_at(task_, at(name), 0100644, 0).error(), 0);
    Ino ino = vfs::resolve(task_, at(name), vfs::Follow::kNo).value().ino;
    for (const auto& [other, generation] : made)
      if (shm::inode_key(v(), other) == shm::inode_key(v(), ino)) first = other, second = ino, key = shm::inode_key(v(), ino);
    made.emplace_back(ino, 0);
  }
  ASSERT_NE(raw(second), 0u);
  journal::Store& store = pool_->store();
  inode::touch(store, first, inode::generation_in_place(store, first), 0, 0, 1000);
  std::future<void> done;
  {
    shm::VTx stopped(other_->store().segment, other_->store().waiter, 40);
    stopped.lock(key);
    done = std::async(std::launch::async, [&] { inode::touch(store, second, inode::generation_in_place(store, second), 0, 0, 2000); });
    EXPECT_EQ(done.wait_for(1s), std::future_status::ready);
  }
  done.get();
  EXPECT_EQ(inode::read(store, first).value().atime_ns, 1000);
}

// Blocks that were metadata become free for data once no record names them. A process that is in the middle of something has records; what matters
// is what they say.
TEST_F(HeldUpTest, WhoIsBusyKeepsNoFormattedBlocksFromBeingUsed) {
  for (unsigned i = 0; i < 200; ++i) make("m" + std::to_string(i) + std::string(200, 'n'), 0);
  std::thread([&] { // its records name neither
    for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(vfs::chmod_at(task_, at("stays"), vfs::Follow::kYes, false, 0600 + i).error(), 0);
    journal::Tx busy(pool_->store(), journal::Opcode::kTimes);
    std::thread([&] {
      for (unsigned i = 0; i < 200; ++i) EXPECT_EQ(unlink_path("m" + std::to_string(i) + std::string(200, 'n')), 0);
      auto file = open("full", O_CREAT | O_RDWR, kHandle);
      u64 written = 0;
      for (std::string block(kBlock, 'f'); ; written += kBlock) {
        data::IoVec vector{block.data(), block.size()};
        if (!vfs::write_file(task_, file, static_cast<i64>(written), &vector, 1).ok()) break;
      }
      EXPECT_EQ(close(kHandle), 0);
      EXPECT_LT(free_blocks(), 3u);
    }).join();
  }).join();
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
  killed_child();
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
  vfs::repair_dead(pool_->store(), killed_child());
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
