// Contents of files against a model: random sequences of every operation on one file.
//
// PMEMFILE_TEST_SEED repeats a run; PMEMFILE_TEST_STEPS makes it longer, PMEMFILE_TEST_COMPARE=1 compares after each
// step and says what it was.
#include <map>

#include "data_support.h"

namespace pmemfile {
namespace {

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
    Mapped mapped(store_, ino_, random_() % 4 == 0);
    ASSERT_EQ(data::truncate(store_, ino_, size).error(), 0) << "step " << step_;
    model_.truncate(size);
    ASSERT_EQ(pool_.attr(ino_).flags & layout::kFlagTruncating, 0);
  }
  void punch() {
    u64 offset = place(), bytes = length();
    Mapped mapped(store_, ino_, random_() % 4 == 0);
    ASSERT_EQ(allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes), 0) << "step " << step_;
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
  int allocate(int mode, u64 offset, u64 bytes) {
    return data::fallocate(store_, ino_, mode, offset, bytes).error();
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

} // namespace
} // namespace pmemfile
