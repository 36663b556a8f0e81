// What the tests of directories share: a pool of their own, and names added and removed as vfs does it, without inodes.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "alloc/alloc.h"
#include "dir/dir.h"
#include "vfs/pool.h"

namespace pmemfile {

using journal::Opcode;
using journal::Store;
using journal::Tx;

// PMEMFILE_TEST_SEED repeats a run.
inline u64 seed() {
  static u64 value = [] {
    const char* text = std::getenv("PMEMFILE_TEST_SEED");
    u64 chosen = text != nullptr ? std::strtoull(text, nullptr, 0) : std::random_device{}();
    std::printf("PMEMFILE_TEST_SEED=%llu\n", static_cast<unsigned long long>(chosen));
    return chosen;
  }();
  return value;
}

// A pool and its volatile segment, in a folder of their own that goes with the test.
inline vfs::Pool* attach(const std::string& folder) {
  vfs::AttachFailure failure{};
  vfs::AttachOptions options;
  options.shm_dir = folder.c_str();
  auto pool = vfs::Pool::attach((folder + "/pool").c_str(), options, &failure);
  EXPECT_TRUE(pool.ok()) << failure.text << " errno " << pool.error();
  return pool.ok() ? pool.value() : nullptr;
}

class TestPool {
 public:
  explicit TestPool(u64 bytes, bool attach_now = true) {
    char folder[] = "/dev/shm/pmemfile-dir-test-XXXXXX";
    EXPECT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    vfs::Pool::MakeOptions options;
    options.bytes = bytes;
    options.sparse = true;
    vfs::AttachFailure failure{};
    auto made = vfs::Pool::make((folder_ + "/pool").c_str(), options, &failure);
    EXPECT_TRUE(made.ok()) << failure.text << " errno " << made.error();
    root = Ino{made.value().root_ino[0]};
    if (attach_now) pool = attach(folder_);
  }
  ~TestPool() {
    if (pool != nullptr) pool->detach();
    std::filesystem::remove_all(folder_);
  }
  Store& store() { return pool->store(); }
  const std::string& folder() const { return folder_; }

  vfs::Pool* pool = nullptr;
  Ino root{};

 private:
  std::string folder_;
};

// A fresh empty directory, made of nothing but the words that the dir room reads.
inline Ino make_dir(Store& store, Ino near) {
  auto made = journal::run_tx(store, Opcode::kMkdir, [&](Tx& tx) -> Result<Ino> {
    Ino ino = TRY(alloc::take_inode(tx, near));
    PoolOff at = layout::inode_offset(ino);
    tx.store(at + layout::kInodeModeWord, 0040755 | u64{2} << 32);
    tx.store(at + layout::kInodeIdentity, layout::kInodeMagic | u64{7} << 16);
    TRY(tx.commit());
    return ino;
  });
  EXPECT_TRUE(made.ok()) << made.error();
  return made.value();
}

// What vfs does to make and remove a name, without the inode.
inline int add(Store& store, Ino dir, std::string_view name, Ino ino, u8 type = 8, u64* key_out = nullptr) {
  for (;;) {
    auto result = journal::run_tx(store, Opcode::kCreate, [&](Tx& tx) -> Result<u64> {
      dir::Slot slot;
      TRY(dir::lock_entry(tx, dir, name, slot));
      if (slot.found) return Error(EEXIST);
      u64 key = TRY(dir::insert(tx, slot, name, ino, type));
      TRY(tx.commit());
      return key;
    });
    if (result.ok() && key_out != nullptr) *key_out = result.value();
    if (result.error() != dir::kNeedsRoom) return result.error();
    auto room = dir::make_room(store, dir, name);
    if (!room.ok()) return room.error();
  }
}

inline int take_away(Store& store, Ino dir, std::string_view name) {
  return journal::run_tx(store, Opcode::kUnlink, [&](Tx& tx) -> Result<void> {
           dir::Slot slot;
           TRY(dir::lock_entry(tx, dir, name, slot));
           if (!slot.found) return Error(ENOENT);
           TRY(dir::remove(tx, slot));
           return tx.commit();
         }).error();
}

inline int point_elsewhere(Store& store, Ino dir, std::string_view name, Ino ino, u8 type) {
  return journal::run_tx(store, Opcode::kRename, [&](Tx& tx) -> Result<void> {
           dir::Slot slot;
           TRY(dir::lock_entry(tx, dir, name, slot));
           if (!slot.found) return Error(ENOENT);
           TRY(dir::replace(tx, slot, ino, type));
           return tx.commit();
         }).error();
}

struct Seen {
  std::string name;
  u64 ino = 0;
  u8 type = 0;
  u64 cookie = 0;
};

inline std::vector<Seen> list_all(Store& store, Ino dir, u64 cookie = 0, std::size_t limit = ~std::size_t{0}) {
  struct Context {
    std::vector<Seen> seen;
    std::size_t limit;
  } context{{}, limit};
  auto result = dir::list(
      store, dir, cookie,
      [](void* opaque, const dir::Listed& entry) {
        auto& c = *static_cast<Context*>(opaque);
        if (c.seen.size() == c.limit) return false;
        c.seen.push_back({std::string(entry.name), raw(entry.ino), entry.type, entry.cookie});
        return true;
      },
      &context);
  EXPECT_TRUE(result.ok()) << result.error();
  return context.seen;
}

// Inode numbers that pass the range check; the dir room does not look at what is there.
inline Ino some_ino(const Store& store, u64 number) {
  u64 first = store.geometry.data_start_block * layout::kInodesPerBlock;
  return Ino{first + number % ((store.geometry.block_count - store.geometry.data_start_block) * layout::kInodesPerBlock)};
}

inline u64 hash_key(const Store& store, std::string_view name) {
  return layout::key_of_hash(siphash13(store.hash_key(), name.data(), name.size()));
}

struct Shape {
  unsigned leaves = 0, nodes = 0, empties = 0, deepest_level = 0;
};
inline void measure(Store& store, u64 pointer, unsigned level, Shape& shape) {
  u64 kind = layout::trie_kind(pointer);
  if (pointer == 0) return;
  if (kind == layout::kTrieEmpty) ++shape.empties;
  if (kind == layout::kTrieLeaf) ++shape.leaves, shape.deepest_level = std::max(shape.deepest_level, level);
  if (kind != layout::kTrieNode) return;
  ++shape.nodes;
  for (unsigned i = 0; i < 256; ++i)
    measure(store, store.medium.word(journal::block_offset(layout::ptr_block(pointer)) + layout::node_word(i)),
            level + (shape.nodes > 0 ? 1 : 0), shape);
}
inline Shape shape_of(Store& store, Ino dir) {
  Shape shape;
  measure(store, store.medium.word(layout::inode_offset(dir) + layout::inode_map_word(0)), 0, shape);
  return shape;
}

// Every line of every block of the trie has a right trailer.
inline void expect_valid_lines(Store& store, u64 pointer) {
  u64 kind = layout::trie_kind(pointer);
  if (pointer == 0 || kind == layout::kTrieEmpty) return;
  journal::View view(store);
  PoolOff block = journal::block_offset(layout::ptr_block(pointer));
  for (unsigned i = 0; i < layout::kLinesPerBlock; ++i)
    ASSERT_TRUE(view.load_line(block + i * layout::kLineBytes).valid());
  if (kind != layout::kTrieNode) return;
  for (unsigned i = 0; i < 256; ++i) expect_valid_lines(store, view.load(block + layout::node_word(i)));
}
inline void expect_valid_lines(Store& store, Ino dir) {
  expect_valid_lines(store, store.medium.word(layout::inode_offset(dir) + layout::inode_map_word(0)));
}

inline u64 used_blocks(Store& store) {
  alloc::SpaceCount count = alloc::count_space(store);
  return count.total_blocks - count.free_blocks;
}

} // namespace pmemfile
