// Contents of files: against a model, at the edges of space and memory, and with several threads at once.
//
// PMEMFILE_TEST_SEED repeats a run; PMEMFILE_TEST_STEPS makes the random ones longer,
// PMEMFILE_TEST_COMPARE=1 compares after each step and says what it was.
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <linux/falloc.h>

#include "alloc/alloc.h"
#include "data/data.h"
#include "data/map.h"
#include "pmem/fault.h"
#include "vfs/pool.h"

namespace pmemfile {
namespace {

using journal::Opcode;
using journal::Store;
using journal::Tx;

constexpr u64 kBlock = layout::kBlockBytes;

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

u64 seed() {
  static u64 value = [] {
    u64 chosen = number_from("PMEMFILE_TEST_SEED", std::random_device{}());
    std::printf("PMEMFILE_TEST_SEED=%llu\n", static_cast<unsigned long long>(chosen));
    return chosen;
  }();
  return value;
}

// Counts fences when it is asked to.
struct FenceCounter {
  u64 fences = 0;
  pmem::Recorder recorder{[](void*, u64, const void*, u64, bool) {}, [](void*, u64, u64) {},
                          [](void* self) { ++static_cast<FenceCounter*>(self)->fences; }, this};
};

class TestPool {
 public:
  explicit TestPool(u64 bytes, const pmem::Recorder* recorder = nullptr)
      : path_("/dev/shm/pmemfile-data-test-" + std::to_string(getpid())) {
    unlink(path_.c_str());
    vfs::Pool::MakeOptions options;
    options.bytes = bytes;
    options.sparse = true;
    vfs::AttachFailure failure{};
    auto made = vfs::Pool::make(path_.c_str(), options, &failure);
    EXPECT_TRUE(made.ok()) << failure.text << " errno " << made.error();
    root_ = Ino{made.value().root_ino[0]};
    vfs::AttachOptions attach;
    attach.recorder = recorder;
    auto pool = vfs::Pool::attach(path_.c_str(), attach, &failure);
    EXPECT_TRUE(pool.ok()) << failure.text << " errno " << pool.error();
    pool_ = pool.ok() ? pool.value() : nullptr;
  }
  ~TestPool() {
    if (pool_ != nullptr) pool_->detach();
    unlink(path_.c_str());
  }
  Store& store() { return pool_->store(); }

  Ino create() {
    auto made = journal::run_tx(store(), Opcode::kCreate, [&](Tx& tx) -> Result<Ino> {
      inode::NewInode what;
      what.mode = S_IFREG | 0644;
      Ino ino = TRY(inode::create(tx, what, root_));
      TRY(tx.commit());
      return ino;
    });
    EXPECT_EQ(made.error(), 0);
    return made.value();
  }
  // As unlink of a file without users does it.
  void remove(Ino ino) {
    for (bool done = false; !done;) {
      auto removed = journal::run_tx(store(), Opcode::kUnlink, [&](Tx& tx) -> Result<void> {
        TRY(tx.lock(shm::inode_key(store().segment, ino)));
        inode::Attr attr = TRY(inode::load(tx.view(), ino));
        TRY(data::release_contents(tx, attr));
        TRY(alloc::release_inode(tx, ino));
        return tx.commit();
      });
      done = removed.error() != journal::kRecordFull;
      if (done)
        ASSERT_EQ(removed.error(), 0);
      else
        ASSERT_EQ(data::free_contents(store(), ino).error(), 0);
    }
  }
  u64 free_blocks() { return alloc::count_space(store()).free_blocks; }
  inode::Attr attr(Ino ino) { return inode::read(store(), ino).value(); }

 private:
  std::string path_;
  Ino root_{};
  vfs::Pool* pool_ = nullptr;
};

// Blocks that the map of a file refers to, counted without the code under test.
u64 count_below(const Store& store, u64 pointer, unsigned level) {
  if (pointer == 0) return 0;
  u64 count = 1;
  if (level == 0) return count;
  journal::View view(store);
  for (u64 index = 0; index < layout::kPtrsPerNode; ++index)
    count += count_below(store, view.load(PoolOff{(pointer & layout::kBlockNoMask) * kBlock + layout::node_word(index)}),
                         level - 1);
  return count;
}
u64 count_blocks(const Store& store, Ino ino) {
  journal::View view(store);
  u64 count = 0;
  for (unsigned word = 0; word < layout::kMapWords; ++word)
    count += count_below(store, view.load(layout::inode_offset(ino) + layout::inode_map_word(word)),
                         word < layout::kDirectCount ? 0 : word - layout::kDirectCount + 1);
  return count;
}

// What a file should hold: sparse, by block.
class Model {
 public:
  u64 size = 0;

  void write(u64 offset, const std::string& bytes) {
    if (bytes.empty()) return;
    each(offset, bytes.size(), [&](u64 block, u64 inside, u64 done, u64 count) {
      std::memcpy(block_of(block).data() + inside, bytes.data() + done, count);
    });
    size = std::max(size, offset + bytes.size());
  }
  void zero(u64 offset, u64 bytes) {
    each(offset, bytes, [&](u64 block, u64 inside, u64, u64 count) {
      auto found = blocks_.find(block);
      if (found != blocks_.end()) std::memset(found->second.data() + inside, 0, count);
    });
  }
  void truncate(u64 new_size) {
    if (new_size < size) {
      blocks_.erase(blocks_.lower_bound((new_size + kBlock - 1) / kBlock), blocks_.end());
      if (new_size % kBlock != 0) zero(new_size, kBlock - new_size % kBlock);
    }
    size = new_size;
  }
  std::string read(u64 offset, u64 bytes) {
    if (offset >= size) return {};
    std::string out(std::min(bytes, size - offset), '\0');
    each(offset, out.size(), [&](u64 block, u64 inside, u64 done, u64 count) {
      auto found = blocks_.find(block);
      if (found != blocks_.end()) std::memcpy(out.data() + done, found->second.data() + inside, count);
    });
    return out;
  }
  void collapse(u64 offset, u64 bytes) {
    std::map<u64, std::string> moved;
    for (auto& [block, text] : blocks_) {
      if (block * kBlock < offset) moved[block] = text;
      if (block * kBlock >= offset + bytes) moved[block - bytes / kBlock] = text;
    }
    blocks_ = moved;
    size -= bytes;
  }
  void insert(u64 offset, u64 bytes) {
    std::map<u64, std::string> moved;
    for (auto& [block, text] : blocks_) moved[block * kBlock < offset ? block : block + bytes / kBlock] = text;
    blocks_ = moved;
    size += bytes;
  }

 private:
  std::string& block_of(u64 block) { return blocks_.try_emplace(block, kBlock, '\0').first->second; }
  template <class Body>
  void each(u64 offset, u64 bytes, Body&& body) {
    for (u64 done = 0; done < bytes;) {
      u64 inside = (offset + done) % kBlock, count = std::min(kBlock - inside, bytes - done);
      body((offset + done) / kBlock, inside, done, count);
      done += count;
    }
  }
  std::map<u64, std::string> blocks_;
};

std::string read_file(Store& store, Ino ino, u64 offset, u64 bytes) {
  std::string out(bytes, '?');
  data::IoVec vector{out.data(), out.size()};
  auto done = data::read(store, ino, offset, &vector, 1);
  EXPECT_EQ(done.error(), 0);
  out.resize(done.value_or(0));
  return out;
}

Result<data::Written> write_file(Store& store, Ino ino, u64 offset, const std::string& bytes, data::WriteFlags flags = {}) {
  data::IoVec vector{const_cast<char*>(bytes.data()), bytes.size()};
  return data::write(store, ino, offset, &vector, 1, flags);
}

std::string random_bytes(std::mt19937_64& random, u64 bytes) {
  std::string out(bytes, '\0');
  for (u64 i = 0; i < bytes; i += 8) {
    u64 word = random() | 0x0101010101010101; // never zeros
    std::memcpy(out.data() + i, &word, std::min<u64>(8, bytes - i));
  }
  return out;
}

// Says where two texts part without printing them.
void expect_same(const std::string& got, const std::string& expected, u64 offset, u64 step) {
  ASSERT_EQ(got.size(), expected.size()) << "at " << offset << " step " << step;
  if (got == expected) return;
  u64 at = static_cast<u64>(std::mismatch(got.begin(), got.end(), expected.begin()).first - got.begin());
  FAIL() << "step " << step << ": byte " << offset + at << " is " << int(u8(got[at])) << ", not " << int(u8(expected[at]));
}

// ---- The model ------------------------------------------------------------------------------------------------

// Places around which the random operations gather: the start, and where each tree of the map begins.
const u64 kPlaces[] = {0, data::tree_first(1) * kBlock, data::tree_first(2) * kBlock, data::tree_first(3) * kBlock,
                       data::tree_first(4) * kBlock, (data::tree_first(4) + 1000000) * kBlock};
constexpr u64 kAround = 3 * 1024 * 1024;

class ModelRun {
 public:
  ModelRun(TestPool& pool, u64 random_seed, unsigned places)
      : pool_(pool), store_(pool.store()), ino_(pool.create()), random_(random_seed), places_(places) {}
  ~ModelRun() { pool_.remove(ino_); }

  void step(u64 number) {
    step_ = number;
    u64 kind = random_() % 16;
    if (number_from("PMEMFILE_TEST_COMPARE", 0) == 1)
      std::printf("step %lu kind %lu size %lu\n", number, kind, model_.size);
    switch (kind) {
      case 0: case 1: case 2: case 3: return write(place(), {});
      case 4: return write(place(), data::WriteFlags{.atomic = true});
      case 5: return write(0, data::WriteFlags{.append = true});
      case 6: return truncate();
      case 7: return punch();
      case 8: return zero_range();
      case 9: return preallocate();
      case 10: return materialize();
      case 11: return move();
      case 12: return seek();
      default: return compare(place(), length());
    }
  }
  void compare_all() {
    for (unsigned i = 0; i < places_; ++i) compare(kPlaces[i] > kAround ? kPlaces[i] - kAround : 0, 3 * kAround);
    ASSERT_EQ(pool_.attr(ino_).blocks, count_blocks(store_, ino_)) << "step " << step_;
  }

 private:
  u64 place() {
    u64 base = kPlaces[random_() % places_];
    u64 offset = base + random_() % kAround;
    if (random_() % 2 == 0) offset = base + random_() % (64 * kBlock);
    u64 before = random_() % (16 * kBlock);
    offset -= std::min(offset, before);
    return random_() % 3 == 0 ? offset / kBlock * kBlock : offset;
  }
  u64 length() {
    switch (random_() % 4) {
      case 0: return 1 + random_() % 200;
      case 1: return kBlock * (1 + random_() % 8);
      case 2: return 1 + random_() % (40 * kBlock);
      default: return 1 + random_() % (600 * kBlock);
    }
  }
  void write(u64 offset, data::WriteFlags flags) {
    std::string bytes = random_bytes(random_, length());
    if (flags.append) offset = model_.size;
    auto written = write_file(store_, ino_, flags.append ? 12345 : offset, bytes, flags);
    ASSERT_EQ(written.error(), 0) << "step " << step_;
    ASSERT_EQ(written.value().bytes, bytes.size());
    ASSERT_EQ(written.value().offset, offset);
    model_.write(offset, bytes);
    compare(offset, bytes.size() + 100);
  }
  void truncate() {
    u64 size = place();
    bool pinned = random_() % 4 == 0;
    ASSERT_EQ(data::truncate(store_, ino_, size, pinned).error(), 0) << "step " << step_;
    model_.truncate(size);
    ASSERT_EQ(pool_.attr(ino_).flags & layout::kFlagTruncating, 0);
  }
  void punch() {
    u64 offset = place(), bytes = length();
    bool pinned = random_() % 4 == 0;
    ASSERT_EQ(allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes, pinned), 0) << "step " << step_;
    model_.zero(offset, bytes);
  }
  void zero_range() {
    u64 offset = place(), bytes = length();
    bool keep = random_() % 2 == 0;
    ASSERT_EQ(allocate(FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0), offset, bytes), 0) << "step " << step_;
    model_.zero(offset, bytes);
    if (!keep) model_.size = std::max(model_.size, offset + bytes);
  }
  void preallocate() {
    u64 offset = place(), bytes = length();
    bool keep = random_() % 2 == 0;
    ASSERT_EQ(allocate(keep ? FALLOC_FL_KEEP_SIZE : 0, offset, bytes), 0) << "step " << step_;
    if (!keep) model_.size = std::max(model_.size, offset + bytes);
  }
  void materialize() {
    u64 offset = place(), bytes = length();
    ASSERT_EQ(data::materialize(store_, ino_, offset, bytes).error(), 0) << "step " << step_;
    data::Run runs[8];
    u64 first = offset / kBlock, end = (offset + bytes + kBlock - 1) / kBlock;
    while (first < end) {
      u32 count = data::runs(store_, ino_, first, end - first, runs, 8).value();
      ASSERT_NE(count, 0u);
      for (u32 i = 0; i < count; ++i) {
        ASSERT_EQ(runs[i].file_block, first);
        ASSERT_NE(runs[i].block, BlockNo{0});
        ASSERT_FALSE(runs[i].unwritten);
        first += runs[i].count;
      }
    }
  }
  void move() {
    u64 offset = place() / kBlock * kBlock, bytes = (1 + random_() % 100) * kBlock;
    if (random_() % 2 == 0) {
      bool fits = offset + bytes < model_.size;
      int error = allocate(FALLOC_FL_COLLAPSE_RANGE, offset, bytes);
      if (error == EOPNOTSUPP && fits) return;
      ASSERT_EQ(error, fits ? 0 : EINVAL) << "step " << step_;
      if (fits) model_.collapse(offset, bytes);
    } else {
      bool fits = offset < model_.size;
      int error = allocate(FALLOC_FL_INSERT_RANGE, offset, bytes);
      if (error == EOPNOTSUPP && fits) return;
      ASSERT_EQ(error, fits ? 0 : EINVAL) << "step " << step_;
      if (fits) model_.insert(offset, bytes);
    }
    ++moves_;
  }
  void seek() {
    u64 offset = place();
    auto found = data::seek_data(store_, ino_, offset), hole = data::seek_hole(store_, ino_, offset);
    if (offset >= model_.size) {
      ASSERT_EQ(found.error(), ENXIO);
      ASSERT_EQ(hole.error(), ENXIO);
      return;
    }
    ASSERT_EQ(hole.error(), 0);
    ASSERT_LE(hole.value(), model_.size);
    ASSERT_GE(hole.value(), offset);
    u64 data_at = found.error() == ENXIO ? model_.size : found.value();
    ASSERT_GE(data_at, offset);
    // What lies before the data must be zeros.
    u64 bytes = std::min<u64>(data_at - offset, kAround);
    expect_same(model_.read(offset, bytes), std::string(bytes, '\0'), offset, step_);
  }
  int allocate(int mode, u64 offset, u64 bytes, bool pinned = false) {
    return data::fallocate(store_, ino_, mode, offset, bytes, pinned).error();
  }
  void compare(u64 offset, u64 bytes) {
    ASSERT_EQ(pool_.attr(ino_).size, model_.size) << "step " << step_;
    expect_same(read_file(store_, ino_, offset, bytes), model_.read(offset, bytes), offset, step_);
  }

 public:
  u64 moves_ = 0;

 private:
  TestPool& pool_;
  Store& store_;
  Ino ino_;
  std::mt19937_64 random_;
  unsigned places_;
  Model model_;
  u64 step_ = 0;
};

void run_model(unsigned places, u64 salt) {
  TestPool pool(512 << 20);
  u64 free_before = pool.free_blocks();
  u64 steps = number_from("PMEMFILE_TEST_STEPS", 400);
  u64 every = number_from("PMEMFILE_TEST_COMPARE", 50); // 1: find the step that went wrong
  for (u64 round = 0; round < 3; ++round) {
    ModelRun run(pool, seed() + salt + round, places);
    for (u64 step = 0; step < steps; ++step) {
      run.step(step);
      if (step % every == every - 1) run.compare_all();
      if (testing::Test::HasFatalFailure()) return;
    }
    run.compare_all();
    EXPECT_NE(run.moves_, 0u);
  }
  // Blocks of inodes stay with the inodes; nothing else may be missing.
  EXPECT_GE(pool.free_blocks() + 1, free_before);
}

TEST(Data, BehavesLikeTheModelNearTheStart) { run_model(2, 0); }
TEST(Data, BehavesLikeTheModelWithSparseFilesInFourTrees) { run_model(6, 100); }

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
  auto allocate = [&](int mode, u64 offset, u64 bytes) { return data::fallocate(store, ino, mode, offset, bytes, false).error(); };
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
  EXPECT_EQ(data::truncate(store, ino, layout::kMaxFileBytes + 1, false).error(), EFBIG);
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
  ASSERT_EQ(data::truncate(store, ino, 100, true).error(), 0);
  ASSERT_EQ(data::truncate(store, ino, 20 * kBlock, true).error(), 0);
  ASSERT_EQ(data::runs(store, ino, 0, 20, after, 8).value(), count);
  for (u32 i = 0; i < count; ++i) EXPECT_EQ(before[i].block, after[i].block);
  expect_same(read_file(store, ino, 0, 20 * kBlock), std::string(100, 'x') + std::string(20 * kBlock - 100, '\0'), 0, 0);
  // An unpinned cut gives everything back.
  ASSERT_EQ(data::truncate(store, ino, 0, false).error(), 0);
  EXPECT_EQ(pool.attr(ino).blocks, 0u);
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
    int error = data::fallocate(store, files[1], 0, 0, free_before * kBlock, false).error();
    EXPECT_TRUE(error == ENOSPC || error == 0) << error;
    EXPECT_EQ(pool.attr(files[1]).blocks, count_blocks(store, files[1]));
    for (Ino file : files) {
      ASSERT_EQ(data::truncate(store, file, 0, false).error(), 0);
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
  ASSERT_EQ(data::truncate(store, two, 5000 * 50 * kBlock, false).error(), 0);
  ASSERT_EQ(pool.attr(two).blocks, count_blocks(store, two));
  ASSERT_EQ(read_file(store, two, 4999 * 50 * kBlock, kBlock), bytes);
  ASSERT_EQ(data::truncate(store, two, 0, false).error(), 0);
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
        ASSERT_EQ(data::truncate(store, ino, 60 * kBlock, false).error(), 0);
        expect_same(read_file(store, ino, 0, 60 * kBlock), expected + std::string(60 * kBlock - expected.size(), '\0'), 0, good);
        pool.remove(ino);
      }
}

TEST(Data, ReadsIntoABufferThatFaults) {
  TestPool pool(8 << 20);
  Ino ino = pool.create();
  ASSERT_EQ(write_file(pool.store(), ino, 0, std::string(5 * kBlock, 'd')).error(), 0);
  ASSERT_EQ(data::truncate(pool.store(), ino, 20 * kBlock, false).error(), 0);
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
    EXPECT_EQ(data::truncate(store, ino, kFixed * kBlock + round % 3 * 100, false).error(), 0);
    EXPECT_EQ(write_file(store, other, 0, others).error(), 0);
    std::string got = read_file(store, other, 0, others.size());
    if (got != others) {
      ADD_FAILURE() << "foreign bytes in round " << round;
      break;
    }
    EXPECT_EQ(data::truncate(store, other, 0, false).error(), 0);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(pool.attr(ino).blocks, count_blocks(store, ino));
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
  ASSERT_EQ(data::truncate(store, ino, 5 * kBlock, false).error(), 0);
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
  double cut = ns_each(10000, [&](unsigned i) { (void)data::truncate(store, ino, (70 << 20) + i % 2 * 100, false); });
  std::printf("ns: append 4K %.0f, overwrite 4K %.0f, 64 B %.0f, read 64 B %.0f, 4K %.0f, 1M read %.0f write %.0f, "
              "truncate %.0f\n",
              append, again, tiny_write, read_small, read_page, read_large, write_large, cut);
}

} // namespace
} // namespace pmemfile
