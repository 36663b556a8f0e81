// Directories against a model and at the edges of the format.
#include <map>
#include <set>

#include "dir_testing.h"

namespace pmemfile {
namespace {

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
      dir::Slot slot;
      TRY(dir::lock_entry(tx, dir, "same", slot));
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
    dir::Slot from;
    TRY(dir::lock_entry(tx, dir, "7", from));
    dir::Slot to;
    TRY(dir::lock_entry(tx, dir, "new", to));
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
  dir::Entry entry;
  dir::LookupProof absent, present;
  EXPECT_EQ(dir::lookup_proved(store, dir, "x", absent, entry).error(), ENOENT);
  EXPECT_TRUE(absent.holds(store));
  ASSERT_EQ(add(store, dir, "x", t.root), 0);
  EXPECT_FALSE(absent.holds(store));
  EXPECT_TRUE(dir::lookup_proved(store, dir, "x", present, entry).ok());
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
      dir::Slot slot;
      TRY(dir::lock_entry(tx, dir, name, slot));
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

} // namespace
} // namespace pmemfile
