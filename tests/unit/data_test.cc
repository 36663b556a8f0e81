// Contents of files: at the edges of space and memory, with several threads at once, and what they cost.
//
// PMEMFILE_TEST_SEED repeats a run. The model test is data_model_test.cc.
#include <sys/mman.h>
#include <ucontext.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "data_support.h"
#include "pmem/fault.h"

namespace pmemfile {
namespace {

TEST(Data, GathersAndScattersVectors) {
  TestPool pool(8 << 20);
  Ino ino = pool.create();
  std::string a(5000, 'a'), b(1, 'b'), c(9000, 'c');
  data::IoVec out[] = {{a.data(), a.size()}, {nullptr, 0}, {b.data(), b.size()}, {c.data(), c.size()}};
  EXPECT_EQ(data::write(pool.store(), ino, 100, out, 4, {}).value().bytes, 14001u);
  std::string x(7000, '?'), y(8000, '?');
  data::IoVec in[] = {{x.data(), x.size()}, {y.data(), y.size()}};
  EXPECT_EQ(data::read(pool.store(), ino, 0, in, 2).value(), 14101u);
  expect_same((x + y).substr(0, 14101), std::string(100, '\0') + a + b + c, 0, 0);
}

TEST(Data, RefusesWhatTheKernelRefuses) {
  TestPool pool(8 << 20);
  Ino ino = pool.create();
  Store& store = pool.store();
  ASSERT_EQ(write_file(store, ino, 0, std::string(100, 'x')).error(), 0);
  auto allocate = [&](int mode, u64 offset, u64 bytes) { return data::fallocate(store, ino, mode, offset, bytes).error(); };
  EXPECT_EQ(allocate(0, 0, 0), EINVAL);
  EXPECT_EQ(allocate(0, ~u64{0} - 5, 10), EINVAL);
  EXPECT_EQ(allocate(0x1000, 0, 1), EOPNOTSUPP);
  EXPECT_EQ(allocate(FALLOC_FL_PUNCH_HOLE, 0, 1), EOPNOTSUPP);
  EXPECT_EQ(allocate(FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, kBlock), EINVAL);
  EXPECT_EQ(allocate(FALLOC_FL_COLLAPSE_RANGE, 1, kBlock), EINVAL);
  EXPECT_EQ(allocate(FALLOC_FL_COLLAPSE_RANGE, 0, kBlock), EINVAL);
  EXPECT_EQ(allocate(FALLOC_FL_INSERT_RANGE, 0, kBlock - 1), EINVAL);
  EXPECT_EQ(allocate(FALLOC_FL_INSERT_RANGE, kBlock, kBlock), EINVAL);
  EXPECT_EQ(allocate(0, (u64{1} << 62), 10), EFBIG);
  EXPECT_EQ(data::truncate(store, ino, layout::kMaxFileBytes + 1).error(), EFBIG);
  EXPECT_EQ(write_file(store, ino, layout::kMaxFileBytes, "x").error(), EFBIG);
  EXPECT_EQ(write_file(store, ino, layout::kMaxFileBytes - 1, "xy").value().bytes, 1u);
  EXPECT_EQ(read_file(store, ino, layout::kMaxFileBytes - 1, 5), "x");
  EXPECT_EQ(pool.attr(ino).blocks, count_blocks(store, ino));
  EXPECT_EQ(data::seek_data(store, ino, 5000).value(), layout::kMaxFileBytes - kBlock);
}

// ---- Mapped files ---------------------------------------------------------------------------------------------

TEST(Data, KeepsBlocksOfMappedFilesInPlace) {
  TestPool pool(8 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  ASSERT_EQ(write_file(store, ino, 0, std::string(20 * kBlock, 'x')).error(), 0);
  data::Run before[8], after[8];
  u32 count = data::runs(store, ino, 0, 20, before, 8).value();
  {
    Mapped mapped(store, ino);
    ASSERT_EQ(data::truncate(store, ino, 100).error(), 0);
    ASSERT_EQ(data::truncate(store, ino, 20 * kBlock).error(), 0);
    auto refused = data::fallocate(store, ino, FALLOC_FL_COLLAPSE_RANGE, 0, kBlock);
    EXPECT_EQ(refused.error(), EOPNOTSUPP);
  }
  ASSERT_EQ(data::runs(store, ino, 0, 20, after, 8).value(), count);
  for (u32 i = 0; i < count; ++i) EXPECT_EQ(before[i].block, after[i].block);
  expect_same(read_file(store, ino, 0, 20 * kBlock), std::string(100, 'x') + std::string(20 * kBlock - 100, '\0'), 0, 0);
  // An unpinned cut gives everything back.
  ASSERT_EQ(data::truncate(store, ino, 0).error(), 0);
  EXPECT_EQ(pool.attr(ino).blocks, 0u);
}

// Who begins to map and who takes blocks away race: what is seen with the use in place stays, whichever comes first.
TEST(Data, BlocksThatWereSeenMappedStayBesideWhoTakesThemAway) {
  TestPool pool(16 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  constexpr u64 kBlocks = 24;
  store.atomic_data = true;
  std::string contents(kBlocks * kBlock, 'x');
  ASSERT_EQ(write_file(store, ino, 0, contents).error(), 0);
  std::atomic<bool> ends{false};
  std::thread taker([&] {
    std::mt19937_64 random(seed());
    while (!ends) {
      u64 first = random() % kBlocks;
      switch (random() % 4) {
        case 0: EXPECT_EQ(data::truncate(store, ino, first * kBlock).error(), 0); break;
        case 1: EXPECT_EQ(data::fallocate(store, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first * kBlock, 3 * kBlock).error(), 0); break;
        case 2: (void)data::fallocate(store, ino, FALLOC_FL_COLLAPSE_RANGE, first * kBlock, kBlock); break; // EINVAL, or it is mapped
        default: break;
      }
      EXPECT_EQ(write_file(store, ino, 0, contents, {.atomic = true}).error(), 0);
    }
  });
  u64 kept = 0;
  for (unsigned round = 0; round < 4000; ++round) {
    Mapped mapped(store, ino);
    u64 before[kBlocks], after[kBlocks];
    // What lies beyond may wait to be freed; nobody maps it.
    u64 end = div_up(inode::read(store, ino).value().size, kBlock);
    auto look = [&](u64 (&blocks)[kBlocks]) {
      data::Run found[kBlocks];
      u32 count = data::runs(store, ino, 0, kBlocks, found, kBlocks).value();
      for (u64& block : blocks) block = 0;
      for (u32 i = 0; i < count; ++i)
        for (u64 j = 0; j < found[i].count; ++j) blocks[found[i].file_block + j] = raw(found[i].block) == 0 ? 0 : raw(found[i].block) + j;
    };
    look(before);
    for (unsigned spin = 0; spin < round % 64 * 50; ++spin) cpu_relax();
    look(after);
    for (u64 i = 0; i < end; ++i) {
      kept += before[i] != 0;
      if (before[i] != 0) { ASSERT_EQ(after[i], before[i]) << "round " << round << " block " << i; }
    }
  }
  EXPECT_GT(kept, 0u);
  ends = true;
  taker.join();
}

TEST(Data, ZeroesWhatAMappingWroteBeyondTheEnd) {
  TestPool pool(8 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  ASSERT_EQ(write_file(store, ino, 0, std::string(100, 'x')).error(), 0);
  ASSERT_EQ(data::materialize(store, ino, 0, 3 * kBlock).error(), 0);
  EXPECT_EQ(pool.attr(ino).size, 100u);
  data::Run runs[3];
  u32 count = data::runs(store, ino, 0, 3, runs, 3).value();
  for (u32 i = 0; i < count; ++i) {
    ASSERT_NE(runs[i].block, BlockNo{0});
    u64 skip = i == 0 ? 100 : 0;
    std::memset(store.medium.at(journal::block_offset(runs[i].block)) + skip, 'j', runs[i].count * kBlock - skip);
  }
  ASSERT_EQ(write_file(store, ino, 2 * kBlock + 7, "end").error(), 0);
  expect_same(read_file(store, ino, 0, 4 * kBlock),
              std::string(100, 'x') + std::string(2 * kBlock + 7 - 100, '\0') + "end", 0, 0);
}

// ---- Space ----------------------------------------------------------------------------------------------------

TEST(Data, RunsOutOfSpaceWithoutLosingAnything) {
  TestPool pool(256 * 1024);
  Store& store = pool.store();
  std::vector<Ino> files{pool.create(), pool.create()};
  u64 free_before = pool.free_blocks();
  std::mt19937_64 random(seed());
  for (u64 left = 0; left < free_before; ++left) {
    // Leave `left` blocks free, then try each operation that needs some.
    std::string filler((free_before - left) * kBlock, 'f');
    auto filled = write_file(store, files[0], 0, filler);
    ASSERT_TRUE(filled.ok() || filled.error() == ENOSPC);
    std::string base = random_bytes(random, 3000);
    auto first = write_file(store, files[1], 0, base);
    u64 size = first.ok() ? 3000 : 0;
    u64 free_now = pool.free_blocks();
    for (u64 wanted : {u64{0}, u64{1}, free_now / 2, free_now, free_now + 1, free_now * 2 + 2})
      EXPECT_EQ(alloc::has_free_blocks(store, wanted), wanted <= free_now) << wanted << " of " << free_now;
    std::string more = random_bytes(random, 14 * kBlock);
    auto written = write_file(store, files[1], size, more);
    u64 wrote = written.ok() ? written.value().bytes : 0;
    if (!written.ok()) {
      EXPECT_EQ(written.error(), ENOSPC);
      EXPECT_EQ(pool.free_blocks(), free_now);
    }
    EXPECT_EQ(pool.attr(files[1]).size, size + wrote);
    expect_same(read_file(store, files[1], 0, 100000), base.substr(0, size) + more.substr(0, wrote), 0, left);
    for (u64 far : {data::tree_first(2), data::tree_first(3), data::tree_first(5)}) {
      u64 blocks = pool.attr(files[1]).blocks;
      u64 free_here = pool.free_blocks();
      auto sparse = write_file(store, files[1], far * kBlock, "far");
      if (!sparse.ok()) {
        EXPECT_EQ(sparse.error(), ENOSPC);
        EXPECT_EQ(pool.free_blocks(), free_here);
        EXPECT_EQ(pool.attr(files[1]).blocks, blocks);
      }
    }
    int error = data::fallocate(store, files[1], 0, 0, free_before * kBlock).error();
    EXPECT_TRUE(error == ENOSPC || error == 0) << error;
    EXPECT_EQ(pool.attr(files[1]).blocks, count_blocks(store, files[1]));
    for (Ino file : files) {
      ASSERT_EQ(data::truncate(store, file, 0).error(), 0);
      ASSERT_EQ(pool.attr(file).blocks, 0u);
    }
    ASSERT_EQ(pool.free_blocks(), free_before) << "left " << left;
  }
}

TEST(Data, TruncatesAFragmentedFileInSteps) {
  TestPool pool(512 << 20);
  Store& store = pool.store();
  Ino one = pool.create(), two = pool.create();
  u64 free_before = pool.free_blocks();
  // Two files that grow by turns lie between each other.
  std::string bytes(kBlock, 'b');
  for (u64 block = 0; block < 6000; ++block) {
    ASSERT_EQ(write_file(store, one, block * kBlock, bytes).error(), 0);
    ASSERT_EQ(write_file(store, two, block * 50 * kBlock, bytes).error(), 0);
  }
  ASSERT_EQ(pool.attr(two).blocks, count_blocks(store, two));
  ASSERT_EQ(data::truncate(store, two, 5000 * 50 * kBlock).error(), 0);
  ASSERT_EQ(pool.attr(two).blocks, count_blocks(store, two));
  ASSERT_EQ(read_file(store, two, 4999 * 50 * kBlock, kBlock), bytes);
  ASSERT_EQ(data::truncate(store, two, 0).error(), 0);
  ASSERT_EQ(pool.attr(two).blocks, 0u);
  ASSERT_EQ(pool.attr(two).flags & layout::kFlagTruncating, 0);
  pool.remove(one);
  pool.remove(two);
  EXPECT_EQ(pool.free_blocks(), free_before);
}

TEST(Data, FinishesATruncationThatWasLeft) {
  TestPool pool(64 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  ASSERT_EQ(write_file(store, ino, 0, std::string(1000 * kBlock, 'b')).error(), 0);
  // The first commit of a shrinking in steps, and then a death.
  ASSERT_EQ(journal::run_tx(store, Opcode::kTruncate, [&](Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    inode::Attr attr = TRY(inode::load(tx.view(), ino));
    attr.size = 10 * kBlock + 5;
    attr.flags |= layout::kFlagTruncating;
    TRY(inode::add_orphan(tx, attr));
    inode::store_mode(tx, attr);
    inode::store_size(tx, attr);
    return tx.commit();
  }).error(), 0);
  ASSERT_EQ(write_file(store, ino, 500 * kBlock, "x").error(), 0);
  EXPECT_EQ(pool.attr(ino).flags, 0);
  expect_same(read_file(store, ino, 10 * kBlock, 600 * kBlock),
              "bbbbb" + std::string(490 * kBlock - 5, '\0') + "x", 0, 0);
  EXPECT_EQ(pool.attr(ino).blocks, count_blocks(store, ino));
}

// ---- Buffers that fault -----------------------------------------------------------------------------------------

void on_fault(int, siginfo_t*, void* context) {
  auto& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  u64 fixup = pmem::fault_fixup(static_cast<u64>(rip));
  if (fixup == 0) abort();
  rip = static_cast<greg_t>(fixup);
}

class FaultingBuffer {
 public:
  FaultingBuffer() {
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &old_);
    base_ = static_cast<char*>(mmap(nullptr, 64 * kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    munmap(base_ + 32 * kBlock, 32 * kBlock);
    std::memset(base_, 'u', 32 * kBlock);
  }
  ~FaultingBuffer() {
    munmap(base_, 32 * kBlock);
    sigaction(SIGSEGV, &old_, nullptr);
  }
  char* before_end(u64 bytes) { return base_ + 32 * kBlock - bytes; }

 private:
  char* base_;
  struct sigaction old_{};
};

TEST(Data, CountsWhatWasDoneBeforeABufferFaults) {
  TestPool pool(8 << 20);
  Store& store = pool.store();
  FaultingBuffer buffer;
  for (bool atomic : {false, true})
    for (u64 size : {u64{0}, u64{100}, 20 * kBlock})
      for (u64 good : {u64{0}, u64{1}, u64{1000}, kBlock, 9 * kBlock, 10 * kBlock + 17}) {
        Ino ino = pool.create();
        std::string old(size, 'o');
        ASSERT_EQ(write_file(store, ino, 0, old).error(), 0);
        data::IoVec vector{buffer.before_end(good), 16 * kBlock};
        auto written = data::write(store, ino, 50, &vector, 1, data::WriteFlags{.atomic = atomic});
        u64 done = written.ok() ? written.value().bytes : 0;
        EXPECT_EQ(written.error(), done == 0 ? EFAULT : 0);
        EXPECT_LE(done, good);
        EXPECT_GE(done + 64, good);
        std::string expected = old;
        if (done != 0) expected.resize(std::max(size, 50 + done));
        if (done != 0) expected.replace(50, done, std::string(done, 'u'));
        EXPECT_EQ(pool.attr(ino).size, expected.size());
        expect_same(read_file(store, ino, 0, 100000), expected, 0, good);
        EXPECT_EQ(pool.attr(ino).blocks, count_blocks(store, ino));
        ASSERT_EQ(data::truncate(store, ino, 60 * kBlock).error(), 0);
        expect_same(read_file(store, ino, 0, 60 * kBlock), expected + std::string(60 * kBlock - expected.size(), '\0'), 0, good);
        pool.remove(ino);
      }
}

// The hole ends at what is the end when it is made, not when it was asked for.
TEST(Data, APunchedHoleEndsAtTheEndThatItFinds) {
  TestPool pool(1 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  ASSERT_EQ(write_file(store, ino, 0, std::string(5000, 'o')).error(), 0);
  std::thread puncher;
  ASSERT_EQ(journal::run_tx(store, Opcode::kWrite, [&](Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    puncher = std::thread([&] { EXPECT_EQ(data::fallocate(store, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kBlock, 5000 - kBlock).error(), 0); });
    usleep(100'000);
    // An append, which has the lock before it.
    data::Run run[1];
    EXPECT_EQ(data::runs(store, ino, 1, 1, run, 1).value(), 1u);
    pmem::copy_in(store.medium, journal::block_offset(run[0].block) + (5000 - kBlock), "appended", 8);
    inode::Attr attr = TRY(inode::load(tx.view(), ino));
    attr.size = 5008;
    inode::store_size(tx, attr);
    return tx.commit();
  }).error(), 0);
  puncher.join();
  EXPECT_EQ(read_file(store, ino, 0, 6000), std::string(kBlock, 'o') + std::string(5000 - kBlock, '\0') + "appended");
}

// Between the look of an operation and its end another process may overwrite the file: its time is newer, and counts.
TEST(Data, ATimeThatComesDuringAnOperationStays) {
  TestPool pool(1 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  u64 generation = inode::generation_in_place(store, ino);
  inode::touch(store, ino, generation, 1000, 1000, 0);
  ASSERT_EQ(journal::run_tx(store, Opcode::kSetAttr, [&](Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    inode::Attr attr = TRY(inode::load(tx.view(), ino));
    inode::touch(store, ino, generation, 2000, 2000, 0);
    attr.ctime_ns = 1500;
    inode::store_times(tx, attr);
    return tx.commit();
  }).error(), 0);
  EXPECT_EQ(pool.attr(ino).mtime_ns, 2000);
  EXPECT_EQ(pool.attr(ino).ctime_ns, 2000);
}

// Where the new blocks have no room beside the old ones, nothing is overwritten: a part would be neither.
TEST(Data, AnAtomicOverwriteWithoutRoomLeavesEverything) {
  TestPool pool(1 << 20);
  Store& store = pool.store();
  Ino ino = pool.create(), full = pool.create();
  std::string old(5 * kBlock, 'o'), fresh(5 * kBlock, 'n');
  ASSERT_EQ(write_file(store, ino, 0, old).error(), 0);
  for (u64 at = 0; pool.free_blocks() > 3; at += kBlock) ASSERT_EQ(write_file(store, full, at, std::string(kBlock, 'f')).error(), 0);
  u64 free = pool.free_blocks();
  EXPECT_EQ(write_file(store, ino, 0, fresh, {.atomic = true}).error(), ENOSPC);
  EXPECT_EQ(read_file(store, ino, 0, 6 * kBlock), old);
  EXPECT_EQ(pool.free_blocks(), free);
  EXPECT_EQ(write_file(store, ino, kBlock, fresh.substr(0, 3 * kBlock), {.atomic = true}).error(), 0);
  // What is appended may come in pieces: the first frees what the next needs.
  ASSERT_EQ(data::truncate(store, ino, 100).error(), 0);
  while (pool.free_blocks() > 3) ASSERT_EQ(write_file(store, full, pool.attr(full).size, std::string(kBlock, 'f')).error(), 0);
  EXPECT_EQ(write_file(store, ino, 0, fresh.substr(0, 4 * kBlock), {.atomic = true}).value().bytes, 4 * kBlock);
}

// The last block, which is looked at for what a mapping shows behind the end.
TEST(Data, ABadBlockCostsTheMappingAndNotThePool) {
  TestPool pool(8 << 20);
  Store& store = pool.store();
  FaultingBuffer handler;
  Ino ino = pool.create();
  ASSERT_EQ(write_file(store, ino, 0, std::string(2 * kBlock + 100, 'x')).error(), 0);
  data::Run run;
  ASSERT_EQ(data::runs(store, ino, 2, 1, &run, 1).value(), 1u);
  void* bad = store.medium.at(journal::block_offset(run.block));
  ASSERT_EQ(mprotect(bad, kBlock, PROT_NONE), 0);
  EXPECT_EQ(data::materialize(store, ino, 0, 3 * kBlock).error(), EIO);
  EXPECT_EQ(data::materialize(store, ino, 0, 2 * kBlock).error(), 0);
  ASSERT_EQ(mprotect(bad, kBlock, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(data::materialize(store, ino, 0, 3 * kBlock).error(), 0);
}

TEST(Data, ReadsIntoABufferThatFaults) {
  TestPool pool(8 << 20);
  Ino ino = pool.create();
  ASSERT_EQ(write_file(pool.store(), ino, 0, std::string(5 * kBlock, 'd')).error(), 0);
  ASSERT_EQ(data::truncate(pool.store(), ino, 20 * kBlock).error(), 0);
  FaultingBuffer buffer;
  for (u64 good : {u64{0}, u64{100}, 3 * kBlock, 7 * kBlock + 9}) {
    data::IoVec vector{buffer.before_end(good), 16 * kBlock};
    auto done = data::read(pool.store(), ino, 0, &vector, 1);
    EXPECT_EQ(done.error(), good == 0 ? EFAULT : 0);
    EXPECT_LE(done.value_or(0), good);
    EXPECT_GE(done.value_or(0) + 64, good);
  }
}

// ---- Several at once --------------------------------------------------------------------------------------------

TEST(Data, AppendsOfManyThreadsDoNotMix) {
  TestPool pool(64 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  // Records that straddle blocks, leaves of the map and trees.
  constexpr unsigned kThreads = 4, kAppends = 100;
  constexpr u64 kBytes = 33333;
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      for (unsigned i = 0; i < kAppends; ++i) {
        std::string bytes(kBytes, static_cast<char>('a' + thread));
        EXPECT_EQ(write_file(store, ino, 0, bytes, {.append = true}).value_or({}).bytes, kBytes);
      }
    });
  for (auto& thread : threads) thread.join();
  std::string all = read_file(store, ino, 0, kThreads * kAppends * kBytes + 1);
  ASSERT_EQ(all.size(), kThreads * kAppends * kBytes);
  unsigned counts[kThreads] = {};
  for (u64 at = 0; at < all.size(); at += kBytes) {
    ASSERT_EQ(all.substr(at, kBytes), std::string(kBytes, all[at]));
    ++counts[all[at] - 'a'];
  }
  for (unsigned count : counts) EXPECT_EQ(count, kAppends);
  EXPECT_EQ(pool.attr(ino).blocks, count_blocks(store, ino));
}

// Each thread owns every fourth block of one file; beside them one cuts and regrows the end, and one reads.
TEST(Data, OverwritersReadersAndTruncationShareAFile) {
  TestPool pool(64 << 20);
  Store& store = pool.store();
  Ino ino = pool.create(), other = pool.create();
  constexpr u64 kFixed = 64, kTail = 600;
  ASSERT_EQ(write_file(store, ino, 0, std::string(kFixed * kBlock, 'a')).error(), 0);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 2; ++thread)
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(seed() + thread);
      while (!stop) {
        u64 block = random() % (kFixed / 2) * 2 + thread;
        char letter = static_cast<char>('a' + random() % 26);
        std::string bytes(kBlock, letter);
        EXPECT_EQ(write_file(store, ino, block * kBlock, bytes).value_or({}).bytes, kBlock);
        std::string got = read_file(store, ino, block * kBlock, kBlock);
        if (got != bytes) stop = true;
        EXPECT_EQ(got, bytes);
      }
    });
  threads.emplace_back([&] {
    // Writes into the tail that is being cut: never may it land in the other file.
    std::mt19937_64 random(seed() + 7);
    std::string bytes(3 * kBlock, 't');
    while (!stop) {
      u64 block = kFixed + random() % kTail;
      EXPECT_EQ(write_file(store, ino, block * kBlock, bytes, {.atomic = random() % 4 == 0}).error(), 0);
    }
  });
  threads.emplace_back([&] {
    std::string all;
    while (!stop) {
      all = read_file(store, ino, 0, (kFixed + kTail + 3) * kBlock);
      for (u64 at = kFixed * kBlock; at < all.size(); at += kBlock / 2)
        if (all[at] != 't' && all[at] != 0) {
          ADD_FAILURE() << "byte " << at << " is " << int(all[at]);
          stop = true;
          break;
        }
    }
  });
  // Takes the blocks that are given up and fills them with something else.
  std::string others(100 * kBlock, 'o');
  for (unsigned round = 0; round < 400 && !stop; ++round) {
    EXPECT_EQ(data::truncate(store, ino, kFixed * kBlock + round % 3 * 100).error(), 0);
    EXPECT_EQ(write_file(store, other, 0, others).error(), 0);
    std::string got = read_file(store, other, 0, others.size());
    if (got != others) {
      ADD_FAILURE() << "foreign bytes in round " << round;
      break;
    }
    EXPECT_EQ(data::truncate(store, other, 0).error(), 0);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(pool.attr(ino).blocks, count_blocks(store, ino));
}

// ---- Damage -------------------------------------------------------------------------------------------------------

// Map words of any value, with valid checksums: nodes that point to themselves, to other files, out of the pool.
TEST(Data, AnswersOnAMapOfGarbage) {
  std::mt19937_64 random(seed());
  for (unsigned round = 0; round < 60; ++round) {
    TestPool pool(2 << 20);
    Store& store = pool.store();
    Ino ino = pool.create(), other = pool.create();
    ASSERT_EQ(write_file(store, other, 0, std::string(30 * kBlock, 'o')).error(), 0);
    ASSERT_EQ(write_file(store, ino, 0, std::string(30 * kBlock, 'x')).error(), 0);
    ASSERT_EQ(write_file(store, ino, data::tree_first(2) * kBlock, "x").error(), 0);
    journal::View view(store);
    u64 leaf = view.load(data::root_offset(ino, 1)), root = view.load(data::root_offset(ino, 2));
    const u64 values[] = {0, leaf, root, view.load(data::root_offset(other, 1)), random() % 600, random(), 1,
                          layout::kPtrUnwritten | leaf, layout::kBlockNoMask};
    auto any = [&] { return values[random() % std::size(values)]; };
    ASSERT_EQ(journal::run_tx(store, Opcode::kNone, [&](Tx& tx) -> Result<void> {
      TRY(tx.lock(shm::inode_key(store.segment, ino)));
      for (unsigned word = 0; word < layout::kMapWords; ++word)
        if (random() % 2 == 0) tx.store(data::map_word_offset(ino, word), any());
      for (unsigned i = 0; i < 8; ++i)
        tx.store(data::node_word_offset(BlockNo{random() % 2 == 0 ? leaf : root}, random() % layout::kPtrsPerNode), any());
      return tx.commit();
    }).error(), 0);
    for (unsigned step = 0; step < 12; ++step) {
      u64 offset = random() % 2 == 0 ? random() % (40 * kBlock) : random() % layout::kMaxFileBytes;
      std::string bytes(random() % (20 * kBlock) + 1, 'n');
      data::IoVec vector{bytes.data(), bytes.size()};
      switch (random() % 8) {
        case 0: (void)data::read(store, ino, offset, &vector, 1); break;
        case 1: (void)data::write(store, ino, offset, &vector, 1, {.atomic = random() % 2 == 0}); break;
        case 2: {
          Mapped mapped(store, ino, random() % 2 == 0);
          (void)data::truncate(store, ino, offset);
          break;
        }
        case 3: (void)data::seek_data(store, ino, random() % (40 * kBlock)); break;
        case 4: (void)data::fallocate(store, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes.size()); break;
        case 5: (void)data::fallocate(store, ino, FALLOC_FL_COLLAPSE_RANGE, 0, kBlock); break;
        case 6: (void)data::materialize(store, ino, random() % (40 * kBlock), bytes.size()); break;
        default: (void)data::fallocate(store, ino, 0, random() % (40 * kBlock), bytes.size()); break;
      }
    }
    (void)data::finish_truncate(store, ino);
    (void)data::free_contents(store, ino, inode::generation_in_place(store, ino));
  }
}

// ---- Costs --------------------------------------------------------------------------------------------------------

TEST(Data, OverwriteHasOneFenceAndAppendTwo) {
  FenceCounter counter;
  TestPool pool(8 << 20, &counter.recorder);
  Store& store = pool.store();
  Ino ino = pool.create();
  std::string bytes(kBlock, 'x');
  for (unsigned i = 0; i < 20; ++i) {
    u64 before = counter.fences;
    ASSERT_EQ(write_file(store, ino, 0, bytes, {.append = true}).error(), 0);
    EXPECT_EQ(counter.fences - before, 2u);
  }
  u64 before = counter.fences;
  ASSERT_EQ(write_file(store, ino, 3 * kBlock + 5, bytes).error(), 0);
  EXPECT_EQ(counter.fences - before, 1u);
  before = counter.fences;
  ASSERT_EQ(data::truncate(store, ino, 5 * kBlock).error(), 0);
  EXPECT_EQ(counter.fences - before, 1u);
  before = counter.fences;
  read_file(store, ino, 0, 5 * kBlock);
  EXPECT_EQ(counter.fences - before, 0u);
}

template <class Body>
double ns_each(unsigned times, Body&& body) {
  auto start = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < times; ++i) body(i);
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / times;
}

// Prints; asserts nothing.
TEST(Data, ReportsItsSpeed) {
  TestPool pool(512 << 20);
  Store& store = pool.store();
  Ino ino = pool.create();
  std::string block(kBlock, 'x'), big(1 << 20, 'y'), in(1 << 20, '?');
  data::IoVec small{in.data(), 64}, page{in.data(), kBlock}, large{in.data(), in.size()};
  double append = ns_each(20000, [&](unsigned) { (void)write_file(store, ino, 0, block, {.append = true}); });
  double again = ns_each(20000, [&](unsigned i) { (void)write_file(store, ino, i * kBlock, block); });
  std::string tiny(64, 'z');
  double tiny_write = ns_each(100000, [&](unsigned i) { (void)write_file(store, ino, i % 1000 * 64, tiny); });
  double read_small = ns_each(200000, [&](unsigned i) { (void)data::read(store, ino, 64 + i % 1000 * 64, &small, 1); });
  double read_page = ns_each(100000, [&](unsigned i) { (void)data::read(store, ino, kBlock + i % 1000 * kBlock, &page, 1); });
  double read_large = ns_each(200, [&](unsigned i) { (void)data::read(store, ino, i % 8 << 20, &large, 1); });
  double write_large = ns_each(200, [&](unsigned i) { (void)write_file(store, ino, i % 8 << 20, big); });
  double cut = ns_each(10000, [&](unsigned i) { (void)data::truncate(store, ino, (70 << 20) + i % 2 * 100); });
  std::printf("ns: append 4K %.0f, overwrite 4K %.0f, 64 B %.0f, read 64 B %.0f, 4K %.0f, 1M read %.0f write %.0f, "
              "truncate %.0f\n",
              append, again, tiny_write, read_small, read_page, read_large, write_large, cut);
}

} // namespace
} // namespace pmemfile
