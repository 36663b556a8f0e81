// Names: what the comparison with the kernel (tests/posix) cannot see: ways out of the pool, several threads and
// processes on the same names, that every block comes back, a full pool.
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "alloc/alloc.h"
#include "journal/recovery.h"
#include "opens_pool.h"
#include "shm/hints.h"
#include "vfs/names.h"
#include "vfs/walk.h"

namespace pmemfile::test {
namespace {

class NamesTest : public OpensTest {
 protected:
  explicit NamesTest(u64 bytes = 16 << 20) : OpensTest(bytes) {
    task_.umask = 0;
  }
  int mkdir(const std::string& path) { return vfs::mkdir_at(task_, at(path), 0755).error(); }
  int rmdir(const std::string& path) { return vfs::rmdir_at(task_, at(path)).error(); }
  int symlink(const std::string& target, const std::string& path) { return vfs::symlink_at(task_, target, at(path)).error(); }
  int make(const std::string& path) { return vfs::mknod_at(task_, at(path), 0100644, 0).error(); }
  int rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    return vfs::rename_at(task_, at(from), at(to), flags).error();
  }
  Result<inode::Attr> find(const std::string& path) { return vfs::resolve(task_, at(path), vfs::Follow::kYes); }
  int error_of(const std::string& path) { return find(path).error(); }

  // Walks with a mount point; the kernel path that it leaves by, "" if it stays.
  std::string way_out(const std::string& path, int* error = nullptr) {
    char escape[4096];
    task_.mount_point = "/mnt/pool";
    task_.escape = escape;
    auto result = vfs::resolve(task_, at(path), vfs::Follow::kYes);
    task_.mount_point = {};
    if (error != nullptr) *error = result.error();
    return result.error() == vfs::kEscaped ? std::string(escape, task_.escape_length) : "";
  }
};

TEST_F(NamesTest, dot_dot_above_the_root_stays_without_a_mount_point) {
  ASSERT_EQ(mkdir("a"), 0);
  EXPECT_EQ(raw(find("/../../a/..").value().ino), raw(root_));
}

TEST_F(NamesTest, dot_dot_above_the_root_of_a_mount_leaves_with_the_rest_of_the_path) {
  ASSERT_EQ(mkdir("a"), 0);
  EXPECT_EQ(way_out(".."), "/mnt");
  EXPECT_EQ(way_out("a/../../x//y/"), "/mnt/x//y/");
  EXPECT_EQ(way_out("a/.."), "");
}

TEST_F(NamesTest, absolute_symlink_under_the_mount_point_stays_inside) {
  ASSERT_EQ(mkdir("d"), 0);
  ASSERT_EQ(make("d/f"), 0);
  ASSERT_EQ(symlink("/mnt/pool/d/f", "in"), 0);
  ASSERT_EQ(symlink("//mnt//pool", "top"), 0);
  ASSERT_EQ(symlink("/mnt/pool2/d", "out"), 0);
  int error = 0;
  EXPECT_EQ(way_out("in", &error), "");
  EXPECT_EQ(error, 0);
  EXPECT_EQ(way_out("top/d/f", &error), "");
  EXPECT_EQ(error, 0);
  EXPECT_EQ(way_out("out/f"), "/mnt/pool2/d/f");
}

TEST_F(NamesTest, rest_of_nested_symlinks_is_rebuilt_when_one_of_them_leaves) {
  ASSERT_EQ(symlink("/etc/", "out"), 0);
  ASSERT_EQ(symlink("out/one", "second"), 0);
  ASSERT_EQ(symlink("second/two/", "third"), 0);
  EXPECT_EQ(way_out("third/three"), "/etc/one/two/three");
}

TEST_F(NamesTest, long_targets_are_followed_from_their_block) {
  std::string target;
  while (target.size() < 4000) target += "./";
  ASSERT_EQ(make("f"), 0);
  ASSERT_EQ(symlink(target + "f", "long"), 0);
  EXPECT_EQ(error_of("long"), 0);
  std::string text(5000, 0);
  auto size = vfs::readlink_at(task_, at("long"), false, text.data(), text.size());
  ASSERT_TRUE(size.ok());
  text.resize(size.value());
  EXPECT_EQ(text, target + "f");
}

TEST_F(NamesTest, forty_symlinks_are_followed_and_no_more) {
  ASSERT_EQ(make("l0"), 0);
  for (int i = 1; i <= 41; ++i) ASSERT_EQ(symlink("l" + std::to_string(i - 1), "l" + std::to_string(i)), 0);
  EXPECT_EQ(error_of("l40"), 0);
  EXPECT_EQ(error_of("l41"), ELOOP);
}

TEST_F(NamesTest, everything_comes_back_when_the_names_are_gone) {
  u64 before = free_blocks();
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 2000; ++i) {
      std::string name = std::to_string(i);
      ASSERT_EQ(i % 3 == 0 ? mkdir(name) : i % 3 == 1 ? make(name) : symlink(std::string(1 + i % 3000, 'x'), name), 0) << i;
      if (i % 7 == 0 && i % 3 != 2) { ASSERT_EQ(vfs::setxattr_at(task_, at(name), vfs::Follow::kNo, false, "user.a", "value", 5, 0).error(), 0); }
    }
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(i % 3 == 0 ? rmdir(std::to_string(i)) : unlink_path(std::to_string(i)), 0) << i;
  }
  ASSERT_TRUE(dir::shrink(pool_->store(), root_).ok());
  // Inodes of the block that is allocated from stay formatted for the next ones.
  EXPECT_GE(free_blocks() + 2, before);
}

TEST_F(NamesTest, removed_open_file_keeps_its_blocks_until_the_close) {
  u64 before = free_blocks();
  auto file = open("f", O_CREAT | O_RDWR, vfs::kFirstPrivateHandle);
  write(file, std::string(400000, 'x'));
  ASSERT_EQ(unlink_path("f"), 0);
  EXPECT_EQ(read(file, 10, 399995), "xxxxx");
  EXPECT_LT(free_blocks() + 90, before);
  close(vfs::kFirstPrivateHandle);
  EXPECT_GE(free_blocks() + 2, before);
}

TEST_F(NamesTest, unnamed_file_gets_a_name_once_and_an_unlinked_one_does_not) {
  auto opened = vfs::open_at(task_, at("."), O_TMPFILE | O_RDWR, 0600, vfs::kFirstPrivateHandle);
  ASSERT_TRUE(opened.ok()) << opened.error();
  vfs::At itself{opened.value().ino, {}};
  EXPECT_EQ(vfs::link_at(task_, itself, at("named"), vfs::Follow::kYes, true).error(), 0);
  EXPECT_EQ(find("named").value().nlink, 1u);
  ASSERT_EQ(unlink_path("named"), 0);
  EXPECT_EQ(vfs::link_at(task_, itself, at("again"), vfs::Follow::kYes, true).error(), ENOENT);
  close(vfs::kFirstPrivateHandle);
}

TEST_F(NamesTest, cached_path_is_not_used_after_its_directory_moved_or_lost_its_permission) {
  ASSERT_EQ(mkdir("a"), 0);
  ASSERT_EQ(mkdir("a/b"), 0);
  ASSERT_EQ(make("a/b/f"), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(error_of("a/b/f"), 0);
  ASSERT_EQ(rename("a/b", "c"), 0);
  EXPECT_EQ(error_of("a/b/f"), ENOENT);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(error_of("c/f"), 0);
  credentials_.fsuid = credentials_.uid = credentials_.euid = 77;
  credentials_.capabilities = 0;
  EXPECT_EQ(error_of("c/f"), 0);
  credentials_.capabilities = ~u64{0};
  ASSERT_EQ(vfs::chmod_at(task_, at("c"), vfs::Follow::kYes, false, 0700).error(), 0);
  EXPECT_EQ(error_of("c/f"), 0);
  credentials_.capabilities = 0;
  EXPECT_EQ(error_of("c/f"), EACCES);
  EXPECT_EQ(error_of("c/f"), EACCES);
}

// Removing a directory leaves the cached paths of all others alone; its own is that of the next one of that name, or of none.
TEST_F(NamesTest, cached_path_is_not_used_after_its_directory_was_removed) {
  ASSERT_EQ(mkdir("a"), 0);
  for (bool stays_open : {false, true}) {
    ASSERT_EQ(mkdir("a/b"), 0);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(error_of("a/b/f"), ENOENT);
    Ino old = find("a/b").value().ino;
    if (stays_open) open("a/b", O_RDONLY | O_DIRECTORY, 5);
    u64 cached = pool_->store().segment.header->topology_sequence;
    ASSERT_EQ(rmdir("a/b"), 0);
    EXPECT_EQ(pool_->store().segment.header->topology_sequence, cached);
    EXPECT_EQ(error_of("a/b/."), ENOENT);
    EXPECT_EQ(make("a/b/f"), ENOENT);
    // Its number is another directory's.
    for (int i = 0; i < 64 && !stays_open; ++i) {
      std::string name = "n" + std::to_string(i);
      ASSERT_EQ(mkdir(name), 0);
      if (find(name).value().ino != old) continue;
      EXPECT_EQ(make(name + "/f"), 0);
      EXPECT_EQ(error_of("a/b/f"), ENOENT);
      old = Ino{0};
      break;
    }
    EXPECT_TRUE(stays_open || old == Ino{0});
    ASSERT_EQ(mkdir("a/b"), 0);
    EXPECT_EQ(make("a/b/f"), 0);
    EXPECT_EQ(error_of("a/b/f"), 0);
    if (stays_open) {
      EXPECT_EQ(close(5), 0);
    }
    EXPECT_EQ(unlink_path("a/b/f"), 0);
    EXPECT_EQ(rmdir("a/b"), 0);
  }
}

// ---- Several at once ------------------------------------------------------------------------------------------------

// Each thread moves directories of its own up and down in a shared tree while others walk it.
TEST_F(NamesTest, directories_that_move_never_form_a_cycle) {
  for (const char* name : {"a", "a/b", "a/b/c", "d", "d/e"}) ASSERT_EQ(mkdir(name), 0);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([this, t, task = task_]() mutable {
      std::mt19937_64 random(seed() + t);
      static const char* const kPaths[] = {"a", "b", "c", "d", "e", "a/b", "a/c", "b/c", "b/a", "d/e", "e/a", "a/e", "c/b", "d/a", "a/d", "e/d", "b/d"};
      for (int i = 0; i < 3000; ++i) {
        auto pick = [&] { return vfs::At{root_, kPaths[random() % std::size(kPaths)]}; };
        vfs::At from = pick(), to = pick();
        int error = vfs::rename_at(task, from, to, random() % 4 == 0 ? 2 : 1).error();
        ASSERT_TRUE(error == 0 || error == ENOENT || error == EEXIST || error == EINVAL || error == ENOTEMPTY) << error;
      }
    });
  for (auto& thread : threads) thread.join();
  // All five are still there, each reached exactly once.
  unsigned seen = 0;
  std::vector<Ino> left{root_};
  while (!left.empty() && seen < 100) {
    Ino dir = left.back();
    left.pop_back();
    auto add = [](void* context, const dir::Listed& entry) {
      static_cast<std::vector<Ino>*>(context)->push_back(entry.ino);
      return true;
    };
    std::vector<Ino> found;
    ASSERT_TRUE(dir::list(pool_->store(), dir, 0, add, &found).ok());
    for (Ino ino : found) {
      EXPECT_EQ(raw(inode::read(pool_->store(), ino).value().parent), raw(dir));
      left.push_back(ino);
    }
    EXPECT_EQ(inode::read(pool_->store(), dir).value().nlink, 2 + found.size());
    seen += static_cast<unsigned>(found.size());
  }
  EXPECT_EQ(seen, 5u);
}

// What was seen of the parents above is of no use once any directory has another parent.
TEST_F(NamesTest, a_move_that_was_overtaken_looks_again) {
  for (const char* name : {"p", "q", "r", "p/a", "p/a/y", "r/b", "r/b/x"}) ASSERT_EQ(mkdir(name), 0);
  // As if somebody had died in the middle of one.
  u64& relinks = pool_->store().segment.header->relinks;
  ++relinks;
  EXPECT_EQ(rename("q", "p/q"), 0);
  EXPECT_EQ(relinks % 2, 0u);
  u64 before = relinks;
  EXPECT_EQ(rename("p/a", "r/b/x/a"), 0);
  EXPECT_EQ(relinks, before + 2);
  EXPECT_EQ(rename("r/b", "r/b/x/a/y/b"), EINVAL);
  EXPECT_EQ(rename("r/b", "p/b"), 0);
}

// `far` lies deep below `top`; by turns it leaves, `top` goes below `f` and comes back, and `far` returns. So `far` never lies below `f`; but who
// follows its parents upwards while both move finds `f` above it.
TEST_F(NamesTest, a_move_is_not_refused_for_a_cycle_that_never_was) {
  constexpr unsigned kDepth = 400;
  for (const char* name : {"f", "far", "top"}) ASSERT_EQ(mkdir(name), 0);
  Ino f = find("f").value().ino, far = find("far").value().ino, bottom = find("top").value().ino;
  for (unsigned i = 0; i < kDepth; ++i) {
    ASSERT_TRUE(vfs::mkdir_at(task_, vfs::At{bottom, "d"}, 0755).ok());
    bottom = vfs::resolve(task_, vfs::At{bottom, "d"}, vfs::Follow::kNo).value().ino;
  }
  std::atomic<bool> done{false};
  std::atomic<unsigned> turns{0};
  std::thread mover([&, task = task_]() mutable {
    auto move = [&](Ino from, Ino to, const char* name) { ASSERT_EQ(vfs::rename_at(task, vfs::At{from, name}, vfs::At{to, name}, 0).error(), 0); };
    for (; !done && !HasFatalFailure(); ++turns) {
      move(root_, bottom, "far");
      for (int i = 0; i < 200; ++i) __builtin_ia32_pause();
      move(bottom, root_, "far");
      move(root_, f, "top");
      move(f, root_, "top");
    }
  });
  int error = 0;
  for (unsigned i = 0; (i < 4000 || turns < 2000) && error == 0; ++i)
    error = vfs::rename_at(task_, vfs::At{i % 2 == 0 ? root_ : far, "f"}, vfs::At{i % 2 == 0 ? far : root_, "f"}, 0).error();
  EXPECT_EQ(error, 0);
  done = true;
  mover.join();
}

// The directory that the walk came to is gone, and its number is another one's before the operation has it.
class NumberUsedAgainTest : public NamesTest {
 protected:
  // Renames `from` to t/x, held up at the inode `held` until a directory with t's number is made in `where`; returns its path.
  std::string rename_into(const std::string& from, const std::string& held, const std::string& where, int* error) {
    Ino t = find("t").value().ino, stripe = find(held).value().ino;
    std::thread mover;
    std::string made;
    {
      shm::VTx stopped(pool_->store().segment, pool_->store().waiter, 40);
      stopped.lock(shm::inode_key(pool_->store().segment, stripe));
      mover = std::thread([&, task = task_]() mutable { *error = vfs::rename_at(task, at(from), at("t/x"), 0).error(); });
      usleep(200'000);
      EXPECT_EQ(rmdir("t"), 0);
      for (int i = 0; i < 64 && (made.empty() || find(made).value().ino != t); ++i) {
        made = where + "/n" + std::to_string(i);
        EXPECT_EQ(mkdir(made), 0);
      }
      EXPECT_EQ(raw(find(made).value().ino), raw(t));
    }
    mover.join();
    return made;
  }
};

TEST_F(NumberUsedAgainTest, a_directory_does_not_come_to_lie_below_itself) {
  for (const char* name : {"p", "p/a", "t"}) ASSERT_EQ(mkdir(name), 0);
  int error = 0;
  rename_into("p/a", "p", "p/a", &error);
  EXPECT_EQ(error, ENOENT);
  EXPECT_EQ(error_of("p/a"), 0);
}

TEST_F(NumberUsedAgainTest, a_file_does_not_move_into_a_directory_that_was_not_named) {
  for (const char* name : {"q", "t"}) ASSERT_EQ(mkdir(name), 0);
  ASSERT_EQ(make("f"), 0);
  int error = 0;
  std::string made = rename_into("f", "f", "q", &error);
  EXPECT_EQ(error, ENOENT);
  EXPECT_EQ(error_of(made + "/x"), ENOENT);
  EXPECT_EQ(error_of("f"), 0);
}

// A full block of inodes passes for one with a free one, and nobody hears of it when one is freed.
TEST_F(NamesTest, an_inode_that_is_freed_in_a_full_block_is_found) {
  journal::Store& store = pool_->store();
  std::string name;
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(make(name = "f" + std::to_string(i)), 0);
    BlockNo block = layout::ino_block(find(name).value().ino);
    bool full = true;
    for (unsigned index = 0; index < layout::kInodesPerBlock; ++index)
      full = full && load_relaxed(store.medium.word(layout::inode_offset(layout::make_ino(block, index)) + layout::kInodeModeWord)) != 0;
    if (full && i > 40) break;
  }
  auto take_all = [&](auto take) {
    while (journal::run_tx(store, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<void> {
             TRY(take(tx));
             return tx.commit();
           }).ok()) {
    }
  };
  take_all([](journal::Tx& tx) { return alloc::take_data(tx, 512, BlockNo{0}); });
  take_all([](journal::Tx& tx) { return alloc::take_meta(tx); });
  // Another slot has other cursors.
  auto make_by_another_thread = [&] {
    int error = 0;
    std::thread([&, task = task_]() mutable {
      shm::VTx one(store.segment, store.waiter, shm::slot_hint(store.segment)), two(store.segment, store.waiter, shm::slot_hint(store.segment));
      error = vfs::mknod_at(task, at("new"), 0100644, 0).error();
    }).join();
    return error;
  };
  EXPECT_EQ(make_by_another_thread(), ENOSPC);
  ASSERT_EQ(vfs::unlink_at(task_, at(name)).error(), 0);
  EXPECT_EQ(make_by_another_thread(), 0);
}

// It died when the last line of the bitmap was stored, and what had been counted there stood still.
TEST_F(NamesTest, what_a_dead_one_freed_is_found) {
  journal::Store& store = pool_->store();
  shm::Segment& v = store.segment;
  alloc::Extent one{};
  auto take = [&](u64 want) {
    return journal::run_tx(store, journal::Opcode::kFallocate, [&](journal::Tx& tx) -> Result<void> {
      one = TRY(alloc::take_data(tx, want, BlockNo{0}));
      return tx.commit();
    }).error();
  };
  while (take(512) == 0) {
  }
  ASSERT_EQ(take(1), ENOSPC);
  u64 group = raw(one.start) / (layout::kBlocksPerBitmapLine * layout::kLinesPerBlock);
  u64 learned = load_acquire(shm::hint_word(v, group));
  EXPECT_EQ(learned & shm::kHintCountMask, 1u);
  u32 slot = 0;
  ASSERT_EQ(journal::run_tx(store, journal::Opcode::kFree, [&](journal::Tx& tx) -> Result<void> {
    slot = tx.slot();
    TRY(alloc::release_data(tx, alloc::Extent{one.start, 1}));
    return tx.commit();
  }).error(), 0);
  store_release(shm::hint_word(v, group), learned);
  store_release(v.slots[slot].phase, static_cast<u32>(shm::SlotPhase::kApplying));
  journal::repair_slot(store, slot);
  store_release(v.slots[slot].phase, static_cast<u32>(shm::SlotPhase::kIdle));
  EXPECT_EQ(take(1), 0);
}

// Readers keep filling the walk cache while a directory moves to and fro: once the rename has returned, nobody's kept prefix
// leads to the old place.
TEST_F(NamesTest, no_walk_after_a_rename_finds_the_old_path) {
  for (const char* name : {"one", "two", "one/x"}) ASSERT_EQ(mkdir(name), 0);
  ASSERT_EQ(make("one/x/f"), 0);
  bool stop = false;
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t)
    // A task is one thread's: it is copied before this one goes on with its own.
    readers.emplace_back([&, task = task_]() mutable {
      while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        for (const char* path : {"one/x/f", "two/x/f"}) {
          int error = vfs::resolve(task, at(path), vfs::Follow::kYes).error();
          ASSERT_TRUE(error == 0 || error == ENOENT) << error;
        }
    });
  for (int i = 0; i < 3000; ++i) {
    bool there = i % 2 == 0;
    ASSERT_EQ(there ? rename("one/x", "two/x") : rename("two/x", "one/x"), 0);
    ASSERT_EQ(error_of(there ? "one/x/f" : "two/x/f"), ENOENT) << i;
    ASSERT_EQ(error_of(there ? "two/x/f" : "one/x/f"), 0) << i;
  }
  __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
  for (auto& reader : readers) reader.join();
}

// Processes make, rename, link, remove and look up the same few names: nothing but the expected errors, and afterwards
// link counts fit and everything can be removed.
TEST_F(NamesTest, processes_fight_over_the_same_names) {
  ASSERT_EQ(mkdir("d"), 0);
  u64 before = free_blocks();
  constexpr int kChildren = 3;
  for (int child = 0; child < kChildren; ++child) {
    auto ticket = pool_->prepare_child();
    ASSERT_TRUE(ticket.ok());
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      std::mt19937_64 random(seed() + static_cast<u64>(child));
      auto pick = [&] { return "d/" + std::to_string(random() % 6); };
      for (int i = 0; i < 4000; ++i) {
        int error = 0;
        switch (random() % 8) {
          case 0: error = make(pick()); break;
          case 1: error = mkdir(pick()); break;
          case 2: error = rename(pick(), pick()); break;
          case 3: error = vfs::link_at(task_, at(pick()), at(pick()), vfs::Follow::kNo, false).error(); break;
          case 4: error = unlink_path(pick()); break;
          case 5: error = rmdir(pick()); break;
          case 6: error = symlink("target", pick()); break;
          default: error = error_of(pick()); break;
        }
        if (error != 0 && error != ENOENT && error != EEXIST && error != ENOTDIR && error != EISDIR && error != EPERM && error != ENOTEMPTY) {
          std::fprintf(stderr, "step %d: errno %d\n", i, error);
          _exit(1);
        }
      }
      pool_->detach();
      _exit(0);
    }
    pool_->parent_after_fork(ticket.value());
  }
  for (int child = 0; child < kChildren; ++child) {
    int status = 0;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  for (int i = 0; i < 6; ++i) {
    std::string name = "d/" + std::to_string(i);
    int error = unlink_path(name);
    if (error == EISDIR) error = rmdir(name);
    EXPECT_TRUE(error == 0 || error == ENOENT) << error;
  }
  EXPECT_EQ(find("d").value().nlink, 2u);
  EXPECT_EQ(rmdir("d"), 0);
  EXPECT_GE(free_blocks() + kChildren + 2, before);
}

// ---- A full pool --------------------------------------------------------------------------------------------------------

class SmallNamesTest : public NamesTest {
 protected:
  SmallNamesTest() : NamesTest(256 << 10) {}
};

TEST_F(SmallNamesTest, full_pool_refuses_and_loses_nothing) {
  int made = 0, error = 0;
  while ((error = mkdir("dir" + std::to_string(made))) == 0) {
    if (make("dir" + std::to_string(made) + "/file") != 0) {
      ++made;
      break;
    }
    ++made;
    ASSERT_LT(made, 10000);
  }
  ASSERT_GT(made, 5);
  for (int i = 0; i < made - 1; ++i) ASSERT_EQ(error_of("dir" + std::to_string(i) + "/file"), 0) << i;
  // Removing needs no room.
  for (int i = 0; i < made; ++i) {
    std::string name = "dir" + std::to_string(i);
    error = unlink_path(name + "/file");
    ASSERT_TRUE(error == 0 || error == ENOENT) << error;
    ASSERT_EQ(rmdir(name), 0) << i;
  }
  EXPECT_EQ(mkdir("again"), 0);
}

TEST_F(SmallNamesTest, attributes_are_removed_and_replaced_in_a_full_pool) {
  ASSERT_EQ(make("f"), 0);
  auto set = [&](const char* name, std::string value) {
    return vfs::setxattr_at(task_, at("f"), vfs::Follow::kYes, false, name, value.data(), value.size(), 0).error();
  };
  auto get = [&](const char* name) {
    char value[64];
    auto got = vfs::getxattr_at(task_, at("f"), vfs::Follow::kYes, false, name, value, sizeof value);
    return got.ok() ? std::string(value, got.value()) : "errno " + std::to_string(got.error());
  };
  ASSERT_EQ(set("user.one", "first"), 0);
  ASSERT_EQ(set("user.two", "second"), 0);
  ASSERT_EQ(set("user.three", "third"), 0);
  auto big = open("big", O_CREAT | O_RDWR, 3);
  std::string block(4096, 'x');
  data::IoVec vector{block.data(), block.size()};
  while (vfs::write_file(task_, big, -1, &vector, 1).ok()) {
  }
  EXPECT_EQ(set("user.four", "more"), ENOSPC);
  EXPECT_EQ(set("user.two", "SECOND"), 0);
  EXPECT_EQ(vfs::removexattr_at(task_, at("f"), vfs::Follow::kYes, false, "user.one").error(), 0);
  EXPECT_EQ(get("user.one"), "errno " + std::to_string(ENODATA));
  EXPECT_EQ(get("user.two"), "SECOND");
  EXPECT_EQ(get("user.three"), "third");
  EXPECT_EQ(vfs::removexattr_at(task_, at("f"), vfs::Follow::kYes, false, "user.two").error(), 0);
  EXPECT_EQ(get("user.three"), "third");
  EXPECT_EQ(vfs::removexattr_at(task_, at("f"), vfs::Follow::kYes, false, "user.three").error(), 0);
  EXPECT_EQ(close(3), 0);
}

} // namespace
} // namespace pmemfile::test
