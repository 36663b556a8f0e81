// What the tests of the data room share: a pool of their own, files in it, and an independent count of their blocks.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <linux/falloc.h>

#include "alloc/alloc.h"
#include "data/data.h"
#include "data/map.h"
#include "shm/opens.h"
#include "vfs/pool.h"

namespace pmemfile {

using journal::Opcode;
using journal::Store;
using journal::Tx;

constexpr u64 kBlock = layout::kBlockBytes;

inline u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

inline u64 seed() {
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

// As long as it lives somebody maps the file.
class Mapped {
 public:
  Mapped(Store& store, Ino ino, bool really = true) : store_(store), really_(really) {
    if (!really) return;
    shm::VTx tx(store.segment, store.waiter, 0);
    word_ = shm::claim_use(store.segment, tx, ino, 0, true);
    shm::deny_moving(store.segment, ino);
    tx.commit();
    if (shm::is_being_replaced(store.segment, ino)) tx.lock(shm::inode_key(store.segment, ino));
  }
  ~Mapped() {
    if (!really_) return;
    shm::VTx tx(store_.segment, store_.waiter, 0);
    tx.release(*word_);
    tx.commit();
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;

 private:
  Store& store_;
  bool really_;
  u64* word_ = nullptr;
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
        ASSERT_EQ(data::free_contents(store(), ino, inode::generation_in_place(store(), ino)).error(), 0);
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
inline u64 count_below(const Store& store, u64 pointer, unsigned level) {
  if (pointer == 0) return 0;
  u64 count = 1;
  if (level == 0) return count;
  journal::View view(store);
  for (u64 index = 0; index < layout::kPtrsPerNode; ++index)
    count += count_below(store, view.load(PoolOff{(pointer & layout::kBlockNoMask) * kBlock + layout::node_word(index)}),
                         level - 1);
  return count;
}
inline u64 count_blocks(const Store& store, Ino ino) {
  journal::View view(store);
  u64 count = 0;
  for (unsigned word = 0; word < layout::kMapWords; ++word)
    count += count_below(store, view.load(layout::inode_offset(ino) + layout::inode_map_word(word)),
                         word < layout::kDirectCount ? 0 : word - layout::kDirectCount + 1);
  return count;
}

inline std::string read_file(Store& store, Ino ino, u64 offset, u64 bytes) {
  std::string out(bytes, '?');
  data::IoVec vector{out.data(), out.size()};
  auto done = data::read(store, ino, offset, &vector, 1);
  EXPECT_EQ(done.error(), 0);
  out.resize(done.value_or(0));
  return out;
}

inline Result<data::Written> write_file(Store& store, Ino ino, u64 offset, const std::string& bytes, data::WriteFlags flags = {}) {
  data::IoVec vector{const_cast<char*>(bytes.data()), bytes.size()};
  return data::write(store, ino, offset, &vector, 1, flags);
}

inline std::string random_bytes(std::mt19937_64& random, u64 bytes) {
  std::string out(bytes, '\0');
  for (u64 i = 0; i < bytes; i += 8) {
    u64 word = random() | 0x0101010101010101; // never zeros
    std::memcpy(out.data() + i, &word, std::min<u64>(8, bytes - i));
  }
  return out;
}

// Says where two texts part without printing them.
inline void expect_same(const std::string& got, const std::string& expected, u64 offset, u64 step) {
  ASSERT_EQ(got.size(), expected.size()) << "at " << offset << " step " << step;
  if (got == expected) return;
  u64 at = static_cast<u64>(std::mismatch(got.begin(), got.end(), expected.begin()).first - got.begin());
  FAIL() << "step " << step << ": byte " << offset + at << " is " << int(u8(got[at])) << ", not " << int(u8(expected[at]));
}

} // namespace pmemfile
