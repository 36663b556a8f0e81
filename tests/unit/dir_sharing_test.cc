// Directories with several threads and processes at once, and with stopped and killed writers.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "dir_testing.h"

namespace pmemfile {
namespace {

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
      vfs::Pool* pool = attach(t.folder());
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

// A child that dies before its n-th store to the pool while it adds `name`; true if it lived to the end.
bool add_and_die(const TestPool& t, Ino dir, const std::string& name, u64 stores) {
  pid_t child = fork();
  EXPECT_GE(child, 0);
  if (child == 0) {
    vfs::Pool* pool = attach(t.folder());
    if (pool == nullptr) _exit(2);
    StoreWatch watch(pool->store(), [&] {
      if (stores-- == 0) raise(SIGKILL);
    });
    _exit(add(pool->store(), dir, name, t.root) == 0 ? 0 : 3);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << status;
  return !WIFSIGNALED(status);
}

// Adds `name` in children killed ever later, until one survives; all of `old` stays, and nothing is half there.
void kill_while_adding(TestPool& t, u64 first, u64 step, unsigned old_names, bool fresh_each_time) {
  Store& store = t.store();
  Ino dir{};
  u64 used = 0;
  bool survived = false;
  for (u64 stores = first; !survived && !::testing::Test::HasFailure(); stores += step) {
    if (raw(dir) == 0 || fresh_each_time) {
      dir = make_dir(store, t.root);
      used = used_blocks(store);
      for (unsigned i = 0; i < old_names; ++i) ASSERT_EQ(add(store, dir, std::to_string(i), t.root), 0);
    }
    survived = add_and_die(t, dir, "name", stores);
    bool there = dir::lookup(store, dir, "name").ok();
    EXPECT_TRUE(there || !survived);
    for (unsigned i = 0; i < old_names; ++i) ASSERT_TRUE(dir::lookup(store, dir, std::to_string(i)).ok()) << i << " at " << stores;
    ASSERT_EQ(list_all(store, dir).size(), old_names + there);
    ASSERT_EQ(add(store, dir, "name", t.root), there ? EEXIST : 0);
    expect_valid_lines(store, dir);
    ASSERT_EQ(take_away(store, dir, "name"), 0);
    if (!fresh_each_time) continue;
    for (unsigned i = 0; i < old_names; ++i) ASSERT_EQ(take_away(store, dir, std::to_string(i)), 0);
    ASSERT_TRUE(dir::shrink(store, dir).ok());
    ASSERT_EQ(used_blocks(store), used) << "at " << stores;
  }
}

TEST(Dir, KilledInserterLeavesTheNameWhollyOrNotAtAll) {
  TestPool t(16 << 20);
  kill_while_adding(t, 0, 1, 20, false);
}

TEST(Dir, KilledMakerOfTheFirstLeafLeavesNoBlockBehind) {
  TestPool t(16 << 20);
  kill_while_adding(t, 0, 7, 0, true);
  kill_while_adding(t, 512, 1, 0, true);
}

TEST(Dir, KilledSplitterLosesNoName) {
  TestPool t(16 << 20);
  kill_while_adding(t, 0, 61, layout::kLeafCells, true);
  kill_while_adding(t, 3 * 512, 1, layout::kLeafCells, true); // the record, its effects, and the insert that follows
}

} // namespace
} // namespace pmemfile
