// Directories: against a model, at the edges of the format, and with several threads and processes at once.
//
// PMEMFILE_TEST_SEED repeats a run; PMEMFILE_DIR_ENTRIES sets the size of the timed directory.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "alloc/alloc.h"
#include "dir/dir.h"
#include "vfs/pool.h"

namespace pmemfile {
namespace {

using journal::Opcode;
using journal::Store;
using journal::Tx;

u64 seed() {
  static u64 value = [] {
    const char* text = std::getenv("PMEMFILE_TEST_SEED");
    u64 chosen = text != nullptr ? std::strtoull(text, nullptr, 0) : std::random_device{}();
    std::printf("PMEMFILE_TEST_SEED=%llu\n", static_cast<unsigned long long>(chosen));
    return chosen;
  }();
  return value;
}

vfs::Pool* attach(const std::string& path) {
  vfs::AttachFailure failure{};
  auto pool = vfs::Pool::attach(path.c_str(), vfs::AttachOptions{}, &failure);
  EXPECT_TRUE(pool.ok()) << failure.text << " errno " << pool.error();
  return pool.ok() ? pool.value() : nullptr;
}

class TestPool {
 public:
  explicit TestPool(u64 bytes, bool attach_now = true) : path_("/dev/shm/pmemfile-dir-test-" + std::to_string(getpid())) {
    unlink(path_.c_str());
    vfs::Pool::MakeOptions options;
    options.bytes = bytes;
    options.sparse = true;
    vfs::AttachFailure failure{};
    auto made = vfs::Pool::make(path_.c_str(), options, &failure);
    EXPECT_TRUE(made.ok()) << failure.text << " errno " << made.error();
    root = Ino{made.value().root_ino[0]};
    if (attach_now) pool = attach(path_);
  }
  ~TestPool() {
    if (pool != nullptr) pool->detach();
    unlink(path_.c_str());
  }
  Store& store() { return pool->store(); }
  const std::string& path() const { return path_; }

  vfs::Pool* pool = nullptr;
  Ino root{};

 private:
  std::string path_;
};

// A fresh empty directory, made of nothing but the words that the dir room reads.
Ino make_dir(Store& store, Ino near) {
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
int add(Store& store, Ino dir, std::string_view name, Ino ino, u8 type = 8, u64* key_out = nullptr) {
  for (;;) {
    auto result = journal::run_tx(store, Opcode::kCreate, [&](Tx& tx) -> Result<u64> {
      dir::Slot slot = TRY(dir::lock_entry(tx, dir, name));
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

int take_away(Store& store, Ino dir, std::string_view name) {
  return journal::run_tx(store, Opcode::kUnlink, [&](Tx& tx) -> Result<void> {
           dir::Slot slot = TRY(dir::lock_entry(tx, dir, name));
           if (!slot.found) return Error(ENOENT);
           TRY(dir::remove(tx, slot));
           return tx.commit();
         }).error();
}

int point_elsewhere(Store& store, Ino dir, std::string_view name, Ino ino, u8 type) {
  return journal::run_tx(store, Opcode::kRename, [&](Tx& tx) -> Result<void> {
           dir::Slot slot = TRY(dir::lock_entry(tx, dir, name));
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

std::vector<Seen> list_all(Store& store, Ino dir, u64 cookie = 0, std::size_t limit = ~std::size_t{0}) {
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
Ino some_ino(const Store& store, u64 number) {
  u64 first = store.geometry.data_start_block * layout::kInodesPerBlock;
  return Ino{first + number % ((store.geometry.block_count - store.geometry.data_start_block) * layout::kInodesPerBlock)};
}

u64 hash_key(const Store& store, std::string_view name) {
  return layout::key_of_hash(siphash13(store.hash_key(), name.data(), name.size()));
}

struct Shape {
  unsigned leaves = 0, nodes = 0, empties = 0, deepest_level = 0;
};
void measure(Store& store, u64 pointer, unsigned level, Shape& shape) {
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
Shape shape_of(Store& store, Ino dir) {
  Shape shape;
  measure(store, store.medium.word(layout::inode_offset(dir) + layout::inode_map_word(0)), 0, shape);
  return shape;
}

// Every line of every block of the trie has a right trailer.
void expect_valid_lines(Store& store, u64 pointer) {
  u64 kind = layout::trie_kind(pointer);
  if (pointer == 0 || kind == layout::kTrieEmpty) return;
  journal::View view(store);
  PoolOff block = journal::block_offset(layout::ptr_block(pointer));
  for (unsigned i = 0; i < layout::kLinesPerBlock; ++i)
    ASSERT_TRUE(view.load_line(block + i * layout::kLineBytes).valid());
  if (kind != layout::kTrieNode) return;
  for (unsigned i = 0; i < 256; ++i) expect_valid_lines(store, view.load(block + layout::node_word(i)));
}
void expect_valid_lines(Store& store, Ino dir) {
  expect_valid_lines(store, store.medium.word(layout::inode_offset(dir) + layout::inode_map_word(0)));
}

u64 used_blocks(Store& store) {
  alloc::SpaceCount count = alloc::count_space(store);
  return count.total_blocks - count.free_blocks;
}

using Model = std::map<std::string, std::pair<u64, u8>>;

void expect_same(Store& store, Ino dir, const Model& model) {
  auto seen = list_all(store, dir);
  ASSERT_EQ(seen.size(), model.size());
  u64 before = 0;
  for (const Seen& entry : seen) {
    auto found = model.find(entry.name);
    ASSERT_NE(found, model.end()) << entry.name;
    EXPECT_EQ(found->second, std::make_pair(entry.ino, entry.type));
    EXPECT_GT(entry.cookie, before);
    before = entry.cookie;
  }
}

TEST(Dir, EmptyDirectoryHasNoBlocksAndNoNames) {
  TestPool t(4 << 20);
  u64 used = used_blocks(t.store());
  Ino dir = make_dir(t.store(), t.root);
  EXPECT_EQ(dir::lookup(t.store(), dir, "x").error(), ENOENT);
  EXPECT_TRUE(list_all(t.store(), dir).empty());
  EXPECT_EQ(take_away(t.store(), dir, "x"), ENOENT);
  EXPECT_EQ(used_blocks(t.store()), used);
}

TEST(Dir, FirstNameMakesTheLeafInItsOwnOperation) {
  TestPool t(4 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  u64 used = used_blocks(store);
  for (unsigned length : {1u, 7u, 8u, 40u, 41u, 96u, 97u, 255u}) {
    std::string name(length, 'a');
    ASSERT_EQ(add(store, dir, name, some_ino(store, 5), 4), 0);
    auto found = dir::lookup(store, dir, name);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().ino, some_ino(store, 5));
    EXPECT_EQ(found.value().type, 4);
    EXPECT_EQ(add(store, dir, name, some_ino(store, 6)), EEXIST);
    ASSERT_EQ(take_away(store, dir, name), 0);
    EXPECT_EQ(dir::lookup(store, dir, name).error(), ENOENT);
    ASSERT_TRUE(dir::shrink(store, dir).ok());
    EXPECT_EQ(used_blocks(store), used);
  }
}

TEST(Dir, WhatIsNoDirectoryIsToldApart) {
  TestPool t(4 << 20);
  Store& store = t.store();
  auto file = journal::run_tx(store, Opcode::kCreate, [&](Tx& tx) -> Result<Ino> {
    Ino ino = TRY(alloc::take_inode(tx, t.root));
    tx.store(layout::inode_offset(ino) + layout::kInodeModeWord, 0100644 | u64{1} << 32);
    tx.store(layout::inode_offset(ino) + layout::kInodeIdentity, layout::kInodeMagic);
    tx.store(layout::inode_offset(ino) + layout::inode_map_word(0), store.geometry.data_start_block + 3);
    TRY(tx.commit());
    return ino;
  });
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(dir::lookup(store, file.value(), "x").error(), ENOTDIR);
  EXPECT_EQ(add(store, file.value(), "x", t.root), ENOTDIR);
  Ino unused{raw(file.value()) + 1};
  EXPECT_EQ(dir::lookup(store, unused, "x").error(), ESTALE);
  EXPECT_EQ(add(store, unused, "x", t.root), ESTALE);
  EXPECT_EQ(dir::lookup(store, Ino{1}, "x").error(), ESTALE);
  EXPECT_EQ(dir::lookup(store, Ino{~u64{0} >> 8}, "x").error(), ESTALE);
}

TEST(Dir, RemovedButOpenDirectoryTakesNoNames) {
  TestPool t(4 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  auto removed = journal::run_tx(store, Opcode::kRmdir, [&](Tx& tx) -> Result<void> {
    TRY(dir::lock_empty(tx, dir));
    tx.store(layout::inode_offset(dir) + layout::kInodeModeWord, 0040755);
    return tx.commit();
  });
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(dir::lookup(store, dir, "x").error(), ENOENT);
  EXPECT_TRUE(list_all(store, dir).empty());
  EXPECT_EQ(add(store, dir, "x", t.root), ESTALE);
  EXPECT_EQ(dir::make_room(store, dir, "x").error(), ESTALE);
}

std::string random_name(std::mt19937_64& random) {
  // Short ones most of the time, out of few enough that many operations meet an existing name.
  unsigned length = random() % 4 != 0 ? 1 + random() % 12 : 1 + random() % 255;
  std::string name = std::to_string(random() % 4000);
  while (name.size() < length) name.push_back(static_cast<char>('a' + name.size() % 26));
  name.resize(std::min<std::size_t>(name.size(), 255));
  return name;
}

TEST(Dir, DoesWhatAMapDoes) {
  TestPool t(256 << 20);
  Store& store = t.store();
  std::mt19937_64 random(seed());
  u64 used = used_blocks(store);
  Ino dir = make_dir(store, t.root);
  used = std::max(used, used_blocks(store));
  Model model;
  unsigned step = 0;
  for (unsigned phase = 0; phase < 6; ++phase) {
    for (unsigned i = 0; i < 60000; ++i, ++step) {
      std::string name = random_name(random);
      auto in_model = model.find(name);
      Ino ino = some_ino(store, random());
      u8 type = static_cast<u8>(1 + random() % 12);
      unsigned what = random() % 100;
      // Growing and shrinking phases by turns.
      if (what < (phase % 2 == 0 ? 45u : 15u)) {
        ASSERT_EQ(add(store, dir, name, ino, type), in_model == model.end() ? 0 : EEXIST) << step;
        if (in_model == model.end()) model.emplace(name, std::make_pair(raw(ino), type));
      } else if (what < 60) {
        ASSERT_EQ(take_away(store, dir, name), in_model == model.end() ? ENOENT : 0) << step;
        if (in_model != model.end()) model.erase(in_model);
      } else if (what < 70) {
        ASSERT_EQ(point_elsewhere(store, dir, name, ino, type), in_model == model.end() ? ENOENT : 0) << step;
        if (in_model != model.end()) in_model->second = {raw(ino), type};
      } else {
        auto found = dir::lookup(store, dir, name);
        ASSERT_EQ(found.error(), in_model == model.end() ? ENOENT : 0) << step;
        if (found.ok()) {
          EXPECT_EQ(raw(found.value().ino), in_model->second.first);
          EXPECT_EQ(found.value().type, in_model->second.second);
        }
      }
    }
    expect_same(store, dir, model);
    expect_valid_lines(store, dir);
  }
  for (auto& [name, value] : model) ASSERT_EQ(take_away(store, dir, name), 0);
  EXPECT_GT(shape_of(store, dir).leaves, 8u);
  ASSERT_TRUE(dir::shrink(store, dir).ok());
  EXPECT_EQ(shape_of(store, dir).leaves + shape_of(store, dir).nodes, 0u);
  EXPECT_EQ(used_blocks(store), used);
}

TEST(Dir, NameOfKeyIsTheNameOfTheEntry) {
  TestPool t(16 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  std::map<u64, std::string> names;
  for (unsigned i = 0; i < 3000; ++i) {
    std::string name = std::to_string(i) + std::string(i % 240, 'n');
    u64 key = 0;
    ASSERT_EQ(add(store, dir, name, some_ino(store, i), 8, &key), 0);
    names[key] = name;
  }
  char text[256];
  for (auto& [key, name] : names) {
    auto length = dir::name_of_key(store, dir, key, text);
    ASSERT_TRUE(length.ok());
    EXPECT_EQ(std::string(text, length.value()), name);
    EXPECT_EQ(dir::name_of_key(store, dir, key ^ 1, text).error(), ENOENT);
  }
  EXPECT_EQ(dir::name_of_key(store, dir, ~u64{0}, text).error(), ENOENT);
}

// The hash of a long common beginning, taken once: only so many tails can be tried that leaves of level 3 come into being.
class TailHash {
 public:
  TailHash(const SipKey& key, const std::string& head) : head_bytes_(head.size()) {
    v_[0] = key.k0 ^ 0x736f6d6570736575, v_[1] = key.k1 ^ 0x646f72616e646f6d;
    v_[2] = key.k0 ^ 0x6c7967656e657261, v_[3] = key.k1 ^ 0x7465646279746573;
    for (std::size_t i = 0; i + 8 <= head.size(); i += 8) {
      u64 m;
      __builtin_memcpy(&m, head.data() + i, 8);
      block(v_, m);
    }
  }
  // `tail`: seven bytes after the head, whose length is a multiple of eight.
  u64 key_with(u64 tail) const {
    u64 v[4] = {v_[0], v_[1], v_[2], v_[3]};
    block(v, tail | u64{head_bytes_ + 7} << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; ++i) round(v);
    return layout::key_of_hash(v[0] ^ v[1] ^ v[2] ^ v[3]);
  }

 private:
  static void round(u64* v) {
    v[0] += v[1], v[1] = std::rotl(v[1], 13), v[1] ^= v[0], v[0] = std::rotl(v[0], 32);
    v[2] += v[3], v[3] = std::rotl(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = std::rotl(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = std::rotl(v[1], 17), v[1] ^= v[2], v[2] = std::rotl(v[2], 32);
  }
  static void block(u64* v, u64 m) {
    v[3] ^= m;
    round(v);
    v[0] ^= m;
  }
  u64 v_[4];
  std::size_t head_bytes_;
};

TEST(Dir, NamesThatShareHashBitsGoDownToLevelThree) {
  TestPool t(16 << 20);
  Store& store = t.store();
  u64 used = used_blocks(store);
  Ino dir = make_dir(store, t.root);
  used = std::max(used, used_blocks(store));
  const std::string head(248, 'h');
  TailHash hash(store.hash_key(), head);
  constexpr unsigned kSharedBits = 24;
  u64 wanted = hash.key_with(0x01010101010101) >> (layout::kKeyBits - kSharedBits);
  std::vector<std::string> names;
  // Thirteen names of five cells are more than a leaf holds.
  for (u64 i = 0; names.size() < 13; ++i) {
    u64 tail = 0;
    for (unsigned digit = 0; digit < 7; ++digit) tail |= (u64{'0'} + (i >> (6 * digit) & 63)) << (8 * digit);
    if (hash.key_with(tail) >> (layout::kKeyBits - kSharedBits) != wanted) continue;
    names.push_back(head + std::string(reinterpret_cast<char*>(&tail), 7));
    ASSERT_EQ(hash.key_with(tail), hash_key(store, names.back()));
  }
  for (std::size_t i = 0; i < names.size(); ++i) ASSERT_EQ(add(store, dir, names[i], some_ino(store, i)), 0) << i;
  Shape shape = shape_of(store, dir);
  EXPECT_GE(shape.nodes, 4u);
  EXPECT_GT(shape.empties, 20u);
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(dir::lookup(store, dir, names[i]).value().ino, some_ino(store, i));
  EXPECT_EQ(list_all(store, dir).size(), names.size());
  // Names elsewhere fall on the empty places that the way down left.
  for (unsigned i = 0; i < 300; ++i) ASSERT_EQ(add(store, dir, std::to_string(i), some_ino(store, i)), 0);
  EXPECT_EQ(list_all(store, dir).size(), names.size() + 300);
  expect_valid_lines(store, dir);
  for (auto& entry : list_all(store, dir)) ASSERT_EQ(take_away(store, dir, entry.name), 0);
  ASSERT_TRUE(dir::free_trie(store, dir).ok());
  EXPECT_EQ(used_blocks(store), used);
}

TEST(Dir, NamesOfOneHashGetKeysOfTheirOwn) {
  TestPool t(4 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  // 56 equal bits cannot be searched for: the hash is forged where insert takes it from.
  auto add_forged = [&](const std::string& name) {
    return journal::run_tx(store, Opcode::kCreate, [&](Tx& tx) -> Result<u64> {
      dir::Slot slot = TRY(dir::lock_entry(tx, dir, "same"));
      u64 key = TRY(dir::insert(tx, slot, name, t.root, 8));
      TRY(tx.commit());
      return key;
    });
  };
  std::set<u64> keys;
  for (unsigned i = 0; i < layout::kLeafCells; ++i) {
    auto key = add_forged("n" + std::to_string(i));
    ASSERT_TRUE(key.ok());
    EXPECT_EQ(key.value() >> 6, hash_key(store, "same") >> 6);
    keys.insert(key.value());
  }
  EXPECT_EQ(keys.size(), layout::kLeafCells);
  EXPECT_EQ(add_forged("one more").error(), dir::kNeedsRoom);
  // No split can part them; the way down is bounded and ends with an error that callers know.
  EXPECT_EQ(dir::make_room(store, dir, "same").error(), ENOSPC);
  EXPECT_EQ(list_all(store, dir).size(), layout::kLeafCells);
  char text[256];
  for (u64 key : keys) EXPECT_TRUE(dir::name_of_key(store, dir, key, text).ok());
}

TEST(Dir, ListResumesBehindEachCookie) {
  TestPool t(32 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  for (unsigned i = 0; i < 2000; ++i)
    ASSERT_EQ(add(store, dir, std::to_string(i) + std::string(i % 3 == 0 ? 200 : 3, 'x'), some_ino(store, i)), 0);
  auto all = list_all(store, dir);
  ASSERT_EQ(all.size(), 2000u);
  for (std::size_t at = 0; at < all.size(); at += 37) {
    auto rest = list_all(store, dir, all[at].cookie, 3);
    for (std::size_t i = 0; i < rest.size(); ++i) EXPECT_EQ(rest[i].name, all[at + 1 + i].name);
  }
  EXPECT_TRUE(list_all(store, dir, all.back().cookie).empty());
  EXPECT_EQ(list_all(store, dir, 2).size(), 2000u);
  EXPECT_TRUE(list_all(store, dir, ~u64{0}).empty());
}

TEST(Dir, ListReturnsWhatStaysExactlyOnceWhileOthersComeAndGo) {
  TestPool t(128 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  for (unsigned i = 0; i < 500; ++i) ASSERT_EQ(add(store, dir, "stay" + std::to_string(i), some_ino(store, i)), 0);
  std::set<std::string> staying;
  unsigned round = 0;
  for (u64 cookie = 0;; ++round) {
    auto part = list_all(store, dir, cookie, 7);
    if (part.empty()) break;
    for (auto& entry : part)
      if (entry.name.starts_with("stay")) {
        EXPECT_TRUE(staying.insert(entry.name).second) << entry.name;
      }
    cookie = part.back().cookie;
    for (unsigned i = 0; i < 100; ++i) ASSERT_EQ(add(store, dir, "go" + std::to_string(round * 100 + i), t.root), 0);
    for (unsigned i = 0; round > 3 && i < 90; ++i)
      ASSERT_EQ(take_away(store, dir, "go" + std::to_string((round - 3) * 100 + i)), 0);
  }
  EXPECT_EQ(staying.size(), 500u);
}

TEST(Dir, RmdirSucceedsOnlyOnEmptyDirectories) {
  TestPool t(64 << 20);
  Store& store = t.store();
  u64 used_before = 0;
  Ino dir = make_dir(store, t.root);
  used_before = used_blocks(store);
  auto remove_dir = [&] {
    return journal::run_tx(store, Opcode::kRmdir, [&](Tx& tx) -> Result<void> {
      TRY(tx.lock(shm::inode_key(store.segment, dir)));
      TRY(dir::lock_empty(tx, dir));
      TRY(dir::release_trie(tx, dir));
      return tx.commit();
    });
  };
  for (unsigned i = 0; i < 5000; ++i) ASSERT_EQ(add(store, dir, std::to_string(i), t.root), 0);
  EXPECT_EQ(remove_dir().error(), ENOTEMPTY);
  EXPECT_EQ(dir::free_trie(store, dir).error(), kErrnoCorrupt);
  for (unsigned i = 0; i < 4999; ++i) ASSERT_EQ(take_away(store, dir, std::to_string(i)), 0);
  ASSERT_TRUE(dir::shrink(store, dir).ok());
  EXPECT_NE(remove_dir().error(), 0);
  EXPECT_TRUE(dir::lookup(store, dir, "4999").ok());
  ASSERT_EQ(take_away(store, dir, "4999"), 0);
  EXPECT_NE(remove_dir().error(), ENOTEMPTY);
  ASSERT_TRUE(dir::shrink(store, dir).ok());
  EXPECT_TRUE(remove_dir().ok());
  EXPECT_EQ(used_blocks(store), used_before);
  // One leaf goes with the directory itself.
  ASSERT_EQ(add(store, dir, "a", t.root), 0);
  ASSERT_EQ(take_away(store, dir, "a"), 0);
  EXPECT_TRUE(remove_dir().ok());
  EXPECT_EQ(used_blocks(store), used_before);
}

TEST(Dir, FullPoolRefusesNewLeavesAndLetsNamesGo) {
  TestPool t(1 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  std::vector<std::string> names;
  int error = 0;
  for (unsigned i = 0; error == 0; ++i) {
    std::string name = "n" + std::to_string(i);
    error = add(store, dir, name, t.root);
    if (error == 0) names.push_back(name);
    ASSERT_LT(i, 100000u);
  }
  EXPECT_EQ(error, ENOSPC);
  EXPECT_EQ(list_all(store, dir).size(), names.size());
  for (auto& name : names) {
    ASSERT_TRUE(dir::lookup(store, dir, name).ok());
    ASSERT_EQ(take_away(store, dir, name), 0);
  }
  ASSERT_TRUE(dir::shrink(store, dir).ok());
  EXPECT_EQ(add(store, dir, "again", t.root), 0);
}

TEST(Dir, RenameInOneLeafMayReuseTheCellsOfTheOldName) {
  TestPool t(4 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  for (unsigned i = 0; i < layout::kLeafCells; ++i) ASSERT_EQ(add(store, dir, std::to_string(i), t.root), 0);
  ASSERT_EQ(shape_of(store, dir).leaves, 1u);
  auto renamed = journal::run_tx(store, Opcode::kRename, [&](Tx& tx) -> Result<void> {
    dir::Slot from = TRY(dir::lock_entry(tx, dir, "7"));
    dir::Slot to = TRY(dir::lock_entry(tx, dir, "new"));
    TRY(dir::remove(tx, from));
    TRY(dir::insert(tx, to, "new", from.entry.ino, from.entry.type));
    return tx.commit();
  });
  EXPECT_TRUE(renamed.ok()) << renamed.error();
  EXPECT_EQ(dir::lookup(store, dir, "7").error(), ENOENT);
  EXPECT_TRUE(dir::lookup(store, dir, "new").ok());
  EXPECT_EQ(list_all(store, dir).size(), layout::kLeafCells);
}

TEST(Dir, ScatteredFreeCellsAreBroughtTogether) {
  TestPool t(4 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  for (unsigned i = 0; i < layout::kLeafCells; ++i) ASSERT_EQ(add(store, dir, std::to_string(i), t.root), 0);
  for (unsigned i = 0; i < layout::kLeafCells; i += 2) ASSERT_EQ(take_away(store, dir, std::to_string(i)), 0);
  ASSERT_EQ(add(store, dir, std::string(255, 'l'), t.root), 0);
  EXPECT_EQ(shape_of(store, dir).leaves, 1u);
  EXPECT_EQ(list_all(store, dir).size(), layout::kLeafCells / 2 + 1);
}

// The tag comparison once took a free cell behind a cell of tag 1 for another of tag 1: a removed name was found again.
TEST(Dir, RemovedNameBehindOneOfTagOneStaysRemoved) {
  TestPool t(4 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  std::vector<std::string> names;
  for (unsigned i = 0; names.size() < 8; ++i)
    if (layout::tag_of_key(hash_key(store, std::to_string(i))) == 1) names.push_back(std::to_string(i));
  for (auto& name : names) ASSERT_EQ(add(store, dir, name, t.root), 0);
  for (unsigned i = 1; i < names.size(); i += 2) {
    ASSERT_EQ(take_away(store, dir, names[i]), 0);
    EXPECT_EQ(dir::lookup(store, dir, names[i]).error(), ENOENT);
  }
}

TEST(Dir, ProofFailsOnceTheEntryChanges) {
  TestPool t(4 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  dir::LookupProof absent, present;
  EXPECT_EQ(dir::lookup_proved(store, dir, "x", absent).error(), ENOENT);
  EXPECT_TRUE(absent.holds(store));
  ASSERT_EQ(add(store, dir, "x", t.root), 0);
  EXPECT_FALSE(absent.holds(store));
  EXPECT_TRUE(dir::lookup_proved(store, dir, "x", present).ok());
  EXPECT_TRUE(present.holds(store));
  ASSERT_EQ(take_away(store, dir, "x"), 0);
  EXPECT_FALSE(present.holds(store));
}

// Words of every sort where a directory expects its own: errors, and nothing that ASan or a time limit would notice.
TEST(Dir, DamagedTriesAreErrors) {
  TestPool t(4 << 20);
  Store& store = t.store();
  std::mt19937_64 random(seed());
  Ino dir = make_dir(store, t.root);
  for (unsigned i = 0; i < 200; ++i) ASSERT_EQ(add(store, dir, std::to_string(i), t.root), 0);
  u64 first = store.geometry.data_start_block * layout::kBlockBytes;
  auto poke = [&](u64 offset, u64 value) { *reinterpret_cast<u64*>(store.medium.base + offset) = value; };
  u64 root_word = raw(layout::inode_offset(dir) + layout::inode_map_word(0));
  for (unsigned i = 0; i < 3000; ++i) {
    u64 offset = random() % 4 == 0 ? root_word : first + layout::kBlockBytes + random() % (12 * layout::kBlockBytes) / 8 * 8;
    u64 old = *reinterpret_cast<u64*>(store.medium.base + offset);
    u64 block = store.geometry.data_start_block + random() % 14;
    u64 value = random() % 3 == 0 ? random() : block | (random() % 5) << 40 | (random() % 10) << 48;
    if (random() % 4 == 0) value = old ^ u64{1} << (random() % 64);
    poke(offset, value);
    std::string name = std::to_string(random() % 250);
    char text[256];
    (void)dir::lookup(store, dir, name).ok();
    (void)dir::name_of_key(store, dir, random() >> 2, text).ok();
    unsigned count = 0;
    (void)dir::list(store, dir, 0, [](void* c, const dir::Listed& e) { return ++*static_cast<unsigned*>(c) < 5000 && e.name.size() < 256; }, &count).ok();
    auto locked = journal::run_tx(store, Opcode::kNone, [&](Tx& tx) -> Result<void> {
      dir::Slot slot = TRY(dir::lock_entry(tx, dir, name));
      if (slot.found) return dir::remove(tx, slot);
      TRY(dir::insert(tx, slot, name, t.root, 8));
      return {};
    });
    (void)locked.ok();
    auto empty = journal::run_tx(store, Opcode::kNone, [&](Tx& tx) -> Result<void> { return dir::lock_empty(tx, dir); });
    EXPECT_FALSE(empty.ok() && offset != root_word);
    poke(offset, old);
  }
  EXPECT_EQ(list_all(store, dir).size(), 200u);
}

// ---- Several at once ------------------------------------------------------------------------------------------

// Each works on names of its own and knows what must be there; all share the leaves.
void churn(Store& store, Ino dir, unsigned worker, u64 worker_seed, unsigned steps, std::string* failure) {
  std::mt19937_64 random(worker_seed);
  std::map<std::string, u64> mine;
  for (unsigned i = 0; i < steps && failure->empty(); ++i) {
    std::string name = std::to_string(worker) + "." + std::to_string(random() % 1500);
    if (random() % 16 == 0) name += std::string(100, 'l');
    auto known = mine.find(name);
    Ino ino = some_ino(store, random());
    int expected = 0, got = 0;
    switch (random() % 3) {
      case 0:
        expected = known == mine.end() ? 0 : EEXIST;
        got = add(store, dir, name, ino);
        if (got == 0) mine[name] = raw(ino);
        break;
      case 1:
        expected = known == mine.end() ? ENOENT : 0;
        got = take_away(store, dir, name);
        if (got == 0 && known != mine.end()) mine.erase(known);
        break;
      default: {
        auto found = dir::lookup(store, dir, name);
        expected = known == mine.end() ? ENOENT : 0;
        got = found.error();
        if (found.ok() && known != mine.end() && raw(found.value().ino) != known->second) got = -1;
      }
    }
    if (got != expected) *failure = name + ": got " + std::to_string(got) + ", expected " + std::to_string(expected);
    if (i % 4096 != 0) continue;
    std::set<std::string> listed;
    std::string prefix = std::to_string(worker) + ".";
    for (auto& entry : list_all(store, dir))
      if (entry.name.starts_with(prefix) && !listed.insert(entry.name).second) *failure = entry.name + " listed twice";
    if (listed.size() != mine.size()) *failure = "listed " + std::to_string(listed.size()) + " of " + std::to_string(mine.size());
  }
}

TEST(Dir, ThreadsShareOneDirectory) {
  TestPool t(256 << 20);
  Store& store = t.store();
  constexpr unsigned kThreads = 4;
  Ino dir = make_dir(store, t.root);
  std::vector<std::string> failures(kThreads);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] { churn(store, dir, i, seed() + i, 60000, &failures[i]); });
  for (auto& thread : threads) thread.join();
  for (auto& failure : failures) EXPECT_EQ(failure, "");
  expect_valid_lines(store, dir);
}

TEST(Dir, ProcessesShareOneDirectory) {
  TestPool t(256 << 20, false);
  u64 base_seed = seed();
  constexpr unsigned kProcesses = 4;
  std::vector<pid_t> children;
  for (unsigned i = 0; i < kProcesses; ++i) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      vfs::Pool* pool = attach(t.path());
      if (pool == nullptr) _exit(2);
      std::string failure;
      churn(pool->store(), t.root, i, base_seed + i, 40000, &failure);
      if (!failure.empty()) std::fprintf(stderr, "process %u: %s\n", i, failure.c_str());
      pool->detach();
      _exit(failure.empty() ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
}

// Names are made in directories that others remove as soon as they are empty: none may end in a removed one.
TEST(Dir, NoNameEndsInARemovedDirectory) {
  TestPool t(64 << 20);
  Store& store = t.store();
  constexpr unsigned kRounds = 3000;
  std::atomic<u64> current{0};
  std::atomic<bool> done{false};
  std::string failure;
  std::thread maker([&] {
    for (u64 last = 0; !done.load();) {
      u64 now = current.load();
      if (now == last) {
        std::this_thread::yield();
        continue;
      }
      int made = add(store, Ino{now}, "name", t.root);
      if (made == 0) made = take_away(store, Ino{now}, "name");
      if (made == ESTALE) last = now;
      else if (made != 0) failure = "errno " + std::to_string(made);
    }
  });
  for (unsigned i = 0; i < kRounds && failure.empty(); ++i) {
    Ino dir = make_dir(store, t.root);
    current.store(raw(dir));
    if (i % 4 == 0) std::this_thread::yield();
    Result<void> removed = Error(EBUSY);
    for (;;) {
      removed = journal::run_tx(store, Opcode::kRmdir, [&](Tx& tx) -> Result<void> {
        TRY(tx.lock(shm::inode_key(store.segment, dir)));
        TRY(dir::lock_empty(tx, dir));
        TRY(dir::release_trie(tx, dir));
        tx.store(layout::inode_offset(dir) + layout::kInodeModeWord, 0040755);
        return tx.commit();
      });
      if (removed.error() != ENOTEMPTY) break;
    }
    ASSERT_TRUE(removed.ok()) << removed.error();
    EXPECT_TRUE(list_all(store, dir).empty());
    EXPECT_EQ(store.medium.word(layout::inode_offset(dir) + layout::inode_map_word(0)), 0u);
  }
  done = true;
  maker.join();
  EXPECT_EQ(failure, "");
}

// ---- Stopped and killed writers -----------------------------------------------------------------------------------

// Calls `watch` before each store into the pool that this attachment makes: what a reader finds then is what it would
// find if the writer were stopped there for ever.
class StoreWatch {
 public:
  template <class Watch>
  StoreWatch(Store& store, Watch watch) : store_(store), watch_(watch) {
    recorder_.store = [](void* self, u64, const void*, u64, bool) { static_cast<StoreWatch*>(self)->look(); };
    recorder_.flush = [](void*, u64, u64) {};
    recorder_.fence = [](void*) {};
    recorder_.self = this;
    store_.medium.recorder = &recorder_;
  }
  ~StoreWatch() { store_.medium.recorder = nullptr; }

 private:
  void look() {
    store_.medium.recorder = nullptr;
    watch_();
    store_.medium.recorder = &recorder_;
  }
  Store& store_;
  std::function<void()> watch_;
  pmem::Recorder recorder_{};
};

TEST(Dir, ReadersOfAStoppedWriterFindOldOrNewAndDoNotWait) {
  TestPool t(16 << 20);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  std::set<std::string> names;
  unsigned looks = 0;
  std::string moving;
  bool seen_new = false;
  // Everything else is always there; the name under way appears (or disappears) once.
  auto look = [&](bool appears) {
    if (++looks % 7 != 0) return;
    for (auto& name : names) ASSERT_TRUE(dir::lookup(store, dir, name).ok()) << name;
    bool found = dir::lookup(store, dir, moving).ok();
    ASSERT_TRUE(found == appears || !seen_new);
    seen_new = found == appears;
    auto listed = list_all(store, dir);
    ASSERT_GE(listed.size(), names.size());
    ASSERT_LE(listed.size(), names.size() + 1);
  };
  for (unsigned i = 0; i < 260; ++i) {
    moving = "n" + std::to_string(i) + std::string(i % 50, 'x');
    seen_new = false;
    {
      StoreWatch watch(store, [&] { look(true); });
      ASSERT_EQ(add(store, dir, moving, t.root), 0);
    }
    if (i % 4 == 3) {
      seen_new = false;
      StoreWatch watch(store, [&] { look(false); });
      ASSERT_EQ(take_away(store, dir, moving), 0);
    } else {
      names.insert(moving);
    }
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(shape_of(store, dir).leaves, 4u);
}

TEST(Dir, KilledWriterLeavesTheNameWhollyOrNotAtAll) {
  TestPool t(16 << 20);
  Store& store = t.store();
  u64 used = used_blocks(store);
  std::vector<std::string> names;
  // The next name but one splits the leaf: the children that follow die in a plain insert or in the split.
  for (unsigned i = 0; i < layout::kLeafCells - 1; ++i) {
    names.push_back("n" + std::to_string(i));
    ASSERT_EQ(add(store, t.root, names.back(), t.root), 0);
  }
  std::mt19937_64 random(seed());
  unsigned killed = 0;
  for (unsigned round = 0; round < 150; ++round) {
    std::string name = "new" + std::to_string(round);
    u64 stores_left = round % 3 == 0 ? random() % 2000 : random() % 60;
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      vfs::Pool* pool = attach(t.path());
      if (pool == nullptr) _exit(2);
      StoreWatch watch(pool->store(), [&] {
        if (stores_left-- == 0) raise(SIGKILL);
      });
      _exit(add(pool->store(), t.root, name, t.root) == 0 ? 0 : 3);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << status;
    killed += WIFSIGNALED(status);
    bool there = dir::lookup(store, t.root, name).ok();
    EXPECT_TRUE(there || WIFSIGNALED(status));
    for (auto& old : names) ASSERT_TRUE(dir::lookup(store, t.root, old).ok()) << old << " in round " << round;
    ASSERT_EQ(list_all(store, t.root).size(), names.size() + there);
    ASSERT_EQ(add(store, t.root, name, t.root), there ? EEXIST : 0);
    // Stay at the edge of a split most of the time.
    ASSERT_EQ(take_away(store, t.root, name), 0);
    if (round % 3 == 2) {
      names.push_back("more" + std::to_string(round));
      ASSERT_EQ(add(store, t.root, names.back(), t.root), 0);
    }
  }
  EXPECT_GT(killed, 30u);
  expect_valid_lines(store, t.root);
  for (auto& name : names) ASSERT_EQ(take_away(store, t.root, name), 0);
  ASSERT_TRUE(dir::shrink(store, t.root).ok());
  EXPECT_EQ(used_blocks(store), used);
}

// ---- Time ------------------------------------------------------------------------------------------------------

TEST(Dir, TimeOfOperationsInALargeDirectory) {
  const char* text = std::getenv("PMEMFILE_DIR_ENTRIES");
  const unsigned count = text != nullptr ? static_cast<unsigned>(std::atoi(text)) : 1000000;
  TestPool t(u64{1} << 30);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  auto name_of = [](u64 i, char* to) {
    int length = std::snprintf(to, 32, "file%07llu", static_cast<unsigned long long>(i));
    return std::string_view(to, static_cast<std::size_t>(length));
  };
  char name[32];
  // The median of slices, so that what other programs do on the machine hardly shows.
  auto timed = [&](const char* what, unsigned operations, auto&& body) {
    std::vector<double> slices;
    const unsigned slice = std::max(operations / 50, 1u);
    for (unsigned i = 0; i < operations;) {
      auto start = std::chrono::steady_clock::now();
      unsigned end = std::min(operations, i + slice), done = end - i;
      for (; i < end; ++i) body(i);
      auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
      slices.push_back(static_cast<double>(ns) / done);
    }
    std::sort(slices.begin(), slices.end());
    std::printf("%-28s %8.1f ns\n", what, slices[slices.size() / 2]);
  };
  auto measure_at = [&](unsigned entries) {
    std::printf("-- %u entries\n", entries);
    const unsigned some = 200000;
    u64 random = 12345;
    auto next = [&] { return random = random * 6364136223846793005 + 1442695040888963407, (random >> 33) % entries; };
    timed("name alone", some, [&](unsigned) { EXPECT_GT(name_of(next(), name).size(), 0u); });
    timed("lookup, any", some, [&](unsigned) { EXPECT_TRUE(dir::lookup(store, dir, name_of(next(), name)).ok()); });
    timed("lookup, few", some, [&](unsigned i) { EXPECT_TRUE(dir::lookup(store, dir, name_of(i % 8, name)).ok()); });
    timed("lookup, missing", some, [&](unsigned) { EXPECT_FALSE(dir::lookup(store, dir, name_of(next() + 5000000, name)).ok()); });
    timed("add + remove", some / 4, [&](unsigned i) {
      EXPECT_EQ(add(store, dir, name_of(i + 8000000, name), t.root), 0);
      EXPECT_EQ(take_away(store, dir, name_of(i + 8000000, name)), 0);
    });
    auto start = std::chrono::steady_clock::now();
    unsigned listed = 0;
    ASSERT_TRUE(dir::list(store, dir, 0, [](void* c, const dir::Listed&) { return ++*static_cast<unsigned*>(c) != 0; }, &listed).ok());
    auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
    EXPECT_EQ(listed, entries);
    std::printf("%-28s %8.1f ns\n", "list, an entry", static_cast<double>(ns) / entries);
  };
  unsigned at = 0;
  for (unsigned stage : {10u, 10000u, count}) {
    unsigned from = at;
    if (stage <= from) continue;
    timed("add", stage - from, [&](unsigned i) { EXPECT_EQ(add(store, dir, name_of(from + i, name), t.root), 0); });
    at = stage;
    measure_at(at);
  }
  timed("remove", at, [&](unsigned i) { EXPECT_EQ(take_away(store, dir, name_of(i, name)), 0); });
  Shape shape = shape_of(store, dir);
  std::printf("%u leaves, %u nodes\n", shape.leaves, shape.nodes);
  timed("shrink, a leaf", 1, [&](unsigned) { EXPECT_TRUE(dir::shrink(store, dir).ok()); });
  EXPECT_EQ(shape_of(store, dir).leaves, 0u);
}

} // namespace
} // namespace pmemfile
