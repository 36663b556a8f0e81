// Processes on one pool: fork, exec, children that share memory, death at any moment.
//
// PMEMFILE_TEST_SEED repeats a run's choices; PMEMFILE_KILLS sets how many processes the storms kill.
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "opens_pool.h"
#include "vfs/superblock.h"

namespace pmemfile::test {
namespace {

using Ticket = vfs::Pool::ChildTicket;
constexpr char kExecVariable[] = "PMEMFILE_TEST_EXEC";

class ProcessTest : public OpensTest {
 protected:
  ProcessTest() = default;
  explicit ProcessTest(u64 bytes) : OpensTest(bytes) {}
  // Forks as the preload library does; the body's value is the exit status.
  pid_t fork_child(const std::function<int()>& body) {
    auto ticket = pool_->prepare_child();
    EXPECT_TRUE(ticket.ok()) << ticket.error();
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      _exit(body());
    }
    pool_->parent_after_fork(ticket.value());
    return pid;
  }
  static int wait_for(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  int in_child(const std::function<int()>& body) { return wait_for(fork_child(body)); }
  static void kill_child(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  int lock(vfs::Description file, short type, int command = F_SETLK, off_t start = 0, off_t bytes = 0) {
    struct flock range{};
    range.l_type = type;
    range.l_start = start;
    range.l_len = bytes;
    return vfs::record_lock(task_, file, command, &range).error();
  }
  Census only_me() {
    Census c;
    c.processes = 1;
    c.handles_pages = census(v()).handles_pages;
    return c;
  }
};

TEST_F(ProcessTest, ChildSharesOffsetsAndClosesForItself) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  write(file, "parent ");
  EXPECT_EQ(in_child([&] {
    write(file, "child ");
    return close(3) == 0 && close(3) == EBADF ? 7 : 1;
  }), 7);
  write(file, "parent");
  EXPECT_EQ(read(file, 100, 0), "parent child parent");
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(census(v()).processes, 1u);
}

TEST_F(ProcessTest, TreeOfForksAppendsThroughOneOffset) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  std::function<int(int)> grow = [&](int depth) -> int {
    for (int i = 0; i < 20; ++i) write(file, "0123456789");
    if (depth == 0) return 0;
    pid_t a = fork_child([&] { return grow(depth - 1); }), b = fork_child([&] { return grow(depth - 1); });
    return wait_for(a) | wait_for(b);
  };
  EXPECT_EQ(grow(3), 0);
  std::string all = read(file, 1 << 20, 0);
  EXPECT_EQ(all.size(), 15u * 200);
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<char>('0' + i % 10)) << i;
  EXPECT_EQ(close(3), 0);
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(census(v()), only_me());
}

TEST_F(ProcessTest, FailedForkLeavesNothing) {
  open("f", O_CREAT | O_RDWR, 3);
  Census before = census(v());
  auto ticket = pool_->prepare_child();
  ASSERT_TRUE(ticket.ok());
  EXPECT_EQ(census(v()).processes, before.processes + 1);
  pool_->cancel_child(ticket.value());
  EXPECT_EQ(census(v()), before);
}

TEST_F(ProcessTest, KilledProcessIsRecognisedAndItsFilesAreFreed) {
  close((open("warm", O_CREAT | O_RDWR, 9), 9));
  u64 before = free_blocks();
  pid_t pid = fork_child([&] {
    auto file = open("f", O_CREAT | O_RDWR, 3);
    write(file, std::string(200000, 'x'));
    unlink_path("f");
    for (;;) pause();
    return 0;
  });
  while (inode::read(pool_->store(), root_).ok() && free_blocks() + 40 > before) usleep(1000);
  while (open_error("f", O_RDONLY, 5) == 0) close(5), usleep(1000);
  kill_child(pid);
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(free_blocks(), before);
  EXPECT_EQ(census(v()), only_me());
}

TEST_F(ProcessTest, LocksOfTheDeadStandInNobodysWay) {
  auto file = open("l", O_CREAT | O_RDWR, 3);
  for (int command : {F_SETLK, F_OFD_SETLK, 0}) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    pid_t pid = fork_child([&] {
      auto own = open("l", O_RDWR, 4);
      int error = command == 0 ? vfs::flock_file(task_, own, LOCK_EX).error() : lock(own, F_WRLCK, command);
      if (::write(ready[1], &error, sizeof error) != sizeof error) return 1;
      for (;;) pause();
      return 0;
    });
    int error = -1;
    ASSERT_EQ(::read(ready[0], &error, sizeof error), static_cast<ssize_t>(sizeof error));
    EXPECT_EQ(error, 0);
    auto mine = [&] { return command == 0 ? vfs::flock_file(task_, file, LOCK_EX | LOCK_NB).error() : lock(file, F_WRLCK, command); };
    EXPECT_EQ(mine(), EAGAIN);
    kill_child(pid);
    EXPECT_EQ(mine(), 0);
    EXPECT_EQ(command == 0 ? vfs::flock_file(task_, file, LOCK_UN).error() : lock(file, F_UNLCK, command), 0);
    ::close(ready[0]), ::close(ready[1]);
  }
}

TEST_F(ProcessTest, WaiterGetsTheLockWithinMillisecondsOfTheHoldersDeath) {
  auto file = open("l", O_CREAT | O_RDWR, 3);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t pid = fork_child([&] {
    int error = lock(file, F_WRLCK);
    if (::write(ready[1], &error, sizeof error) != sizeof error) return 1;
    usleep(20000);
    raise(SIGKILL);
    return 0;
  });
  int error;
  ASSERT_EQ(::read(ready[0], &error, sizeof error), static_cast<ssize_t>(sizeof error));
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(lock(file, F_WRLCK, F_SETLKW), 0);
  auto waited = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  EXPECT_GT(waited, 5);
  EXPECT_LT(waited, 200);
  waitpid(pid, nullptr, 0);
  ::close(ready[0]), ::close(ready[1]);
}

// Each change of a lock of the file wakes who waits, before it is time to ask whether the holder lives.
TEST_F(ProcessTest, WaiterFindsTheDeadHolderWhileOthersLockAndUnlock) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t holder = fork_child([&] {
    char byte = lock(file, F_WRLCK, F_SETLK, 0, 10) == 0 ? 'y' : 'n';
    EXPECT_EQ(::write(ready[1], &byte, 1), 1);
    return pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  pid_t busy = fork_child([&] {
    for (;;) (void)lock(file, F_WRLCK, F_SETLK, 100, 10), (void)lock(file, F_UNLCK, F_SETLK, 100, 10);
    return 0;
  });
  usleep(20'000);
  kill_child(holder);
  alarm(20);
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(lock(file, F_WRLCK, F_SETLKW, 0, 10), 0);
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  alarm(0);
  EXPECT_LT(ms, 500);
  kill_child(busy);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(ProcessTest, ReleasedLockWakesTheWaiterAndGetlkNamesTheHolder) {
  auto file = open("l", O_CREAT | O_RDWR, 3);
  EXPECT_EQ(lock(file, F_WRLCK, F_SETLK, 10, 10), 0);
  int looked[2];
  ASSERT_EQ(pipe(looked), 0);
  pid_t pid = fork_child([&] {
    struct flock range{};
    range.l_type = F_WRLCK;
    if (!vfs::record_lock(task_, file, F_GETLK, &range).ok()) return 1;
    if (range.l_type != F_WRLCK || range.l_start != 10 || range.l_len != 10 || range.l_pid != getppid()) return 2;
    if (lock(file, F_WRLCK) != EAGAIN) return 3;
    if (::write(looked[1], "l", 1) != 1) return 4;
    return lock(file, F_WRLCK, F_SETLKW);
  });
  ::close(looked[1]);
  char byte;
  EXPECT_EQ(::read(looked[0], &byte, 1), 1); // nothing: it says by its status what was wrong
  ::close(looked[0]);
  usleep(30000);
  EXPECT_EQ(lock(file, F_UNLCK), 0);
  EXPECT_EQ(wait_for(pid), 0);
}

// The dead are looked for among all entries that were ever taken: those who come and go do not make them more and more.
TEST_F(ProcessTest, EntriesAreTakenFromTheBottom) {
  shm::Segment& v = pool_->store().segment;
  std::deque<shm::Registered> alive;
  for (unsigned i = 0; i < 300; ++i) {
    auto registered = shm::register_process(v, getpid(), shm::ProcessState::kLive, nullptr, nullptr);
    ASSERT_TRUE(registered.ok());
    alive.push_back(registered.value());
    if (alive.size() < 6) continue;
    // One after the other, the lowest first: what was freed last is not the lowest that is free.
    for (unsigned end = 0; end < 3; ++end, alive.pop_front()) shm::release_process(v, alive.front().ref, alive.front().token_fd);
  }
  for (const shm::Registered& one : alive) shm::release_process(v, one.ref, one.token_fd);
  EXPECT_LE(shm::process_table(v).used, 7u);
}

// Otherwise a reader to whom the pool was opened finds it in use under a segment that it cannot see.
TEST_F(ProcessTest, TheSegmentOfAnotherBootIsNotUsed) {
  u64 before = v().header->segment_id;
  pool_->detach();
  become(attach(path_));
  EXPECT_EQ(v().header->segment_id, before);
  auto state = vfs::read_state(pool_->store().medium);
  ASSERT_TRUE(state.ok());
  state.value().boot_id += 2;
  vfs::write_state(pool_->store().medium, state.value());
  pool_->detach();
  become(attach(path_));
  EXPECT_NE(v().header->segment_id, before);
}

TEST_F(ProcessTest, TheSegmentFollowsTheRightsOfThePool) {
  auto mode = [&] {
    struct stat st {};
    EXPECT_EQ(fstat(v().fd, &st), 0);
    return st.st_mode & 0777;
  };
  for (mode_t wanted : {0600u, 0644u, 0640u}) {
    ASSERT_EQ(chmod(path_.c_str(), wanted), 0);
    attach(path_)->detach();
    EXPECT_EQ(mode(), wanted);
  }
}

TEST_F(ProcessTest, CircleOfWaitersIsRefused) {
  auto file = open("l", O_CREAT | O_RDWR, 3);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  EXPECT_EQ(lock(file, F_WRLCK, F_SETLK, 0, 1), 0);
  pid_t pid = fork_child([&] {
    int error = lock(file, F_WRLCK, F_SETLK, 1, 1);
    if (::write(ready[1], &error, sizeof error) != sizeof error) return 1;
    return lock(file, F_WRLCK, F_SETLKW, 0, 1);
  });
  int error;
  ASSERT_EQ(::read(ready[0], &error, sizeof error), static_cast<ssize_t>(sizeof error));
  usleep(30000);
  EXPECT_EQ(lock(file, F_WRLCK, F_SETLKW, 1, 1), EDEADLK);
  EXPECT_EQ(lock(file, F_UNLCK), 0);
  EXPECT_EQ(wait_for(pid), 0);
  ::close(ready[0]), ::close(ready[1]);
}

TEST_F(ProcessTest, WaitingEndsWhenInterrupted) {
  auto file = open("l", O_CREAT | O_RDWR, 3);
  pid_t holder = fork_child([&] {
    if (lock(file, F_WRLCK) != 0) return 1;
    for (;;) pause();
    return 0;
  });
  while (lock(file, F_RDLCK) == 0) lock(file, F_UNLCK), usleep(1000);
  volatile u32 flag = 1;
  task_.interrupted = &flag;
  EXPECT_EQ(lock(file, F_WRLCK, F_SETLKW), EINTR);
  task_.interrupted = nullptr;
  kill_child(holder);
}

// Not a limit, a figure for who looks at the output.
TEST_F(ProcessTest, CostOfPreparingAChild) {
  for (u32 i = 0; i < 5; ++i) open("f", O_CREAT | O_RDWR, i);
  constexpr int kRounds = 5000;
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) {
    auto ticket = pool_->prepare_child();
    ASSERT_TRUE(ticket.ok());
    pool_->cancel_child(ticket.value());
  }
  auto us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / kRounds;
  std::printf("prepare_child + cancel_child with 5 descriptors %.1f us\n", us);
}

// posix_spawn and vfork: the child runs in the parent's memory.
struct Spawned {
  ProcessTest* test;
  vfs::Pool* pool;
  vfs::Pool* view;
  int result = 0;
};
int spawned_main(void* argument) {
  auto& spawned = *static_cast<Spawned*>(argument);
  spawned.pool->child_view_runs(spawned.view, true);
  spawned.result = vfs::close_handle(*spawned.view, 3).error();
  return 0;
}

TEST_F(ProcessTest, ChildInTheParentsMemoryHasDescriptorsOfItsOwn) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  write(file, "text");
  auto ticket = pool_->prepare_child();
  ASSERT_TRUE(ticket.ok());
  auto view = pool_->view_as_child(ticket.value());
  ASSERT_TRUE(view.ok());
  Spawned spawned{this, pool_, view.value()};
  std::vector<char> stack(256 * 1024);
  pid_t pid = clone(spawned_main, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, &spawned);
  ASSERT_GT(pid, 0);
  pool_->parent_after_fork(ticket.value());
  EXPECT_EQ(wait_for(pid), 0);
  EXPECT_EQ(spawned.result, 0);
  pool_->drop_child_view(view.value());
  EXPECT_EQ(read(file, 10, 0), "text");
  EXPECT_TRUE(shm::process_alive(v(), v().fd, v().self)) << "the child closed the parent's token";
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(census(v()).processes, 1u);
}

TEST_F(ProcessTest, ExecKeepsHandlesLocksAndIdentity) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  write(file, "before");
  pid_t pid = fork_child([&] {
    if (lock(file, F_WRLCK) != 0) return 1;
    if (!vfs::pin_mapping(*pool_, file, vfs::kFirstPrivateHandle + 20).ok()) return 2;
    char text[128];
    if (!pool_->prepare_exec(text).ok()) return 3;
    setenv(kExecVariable, text, 1);
    execl("/proc/self/exe", "adopted", "--gtest_also_run_disabled_tests", "--gtest_filter=Adopted.*", nullptr);
    return 4;
  });
  EXPECT_EQ(wait_for(pid), 0);
  EXPECT_EQ(read(file, 100, 0), "before after");
  EXPECT_EQ(lock(file, F_WRLCK), 0);
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(census(v()).processes, 1u);
  EXPECT_FALSE(vfs::is_mapped(*pool_, vfs::info(*pool_, file).ino));
}

// The other half of the test above, in the new image.
TEST(Adopted, DISABLED_ImageTakesOver) {
  const char* text = std::getenv(kExecVariable);
  ASSERT_NE(text, nullptr);
  vfs::AttachFailure failure{};
  auto adopted = vfs::Pool::adopt(text, &failure);
  ASSERT_TRUE(adopted.ok()) << failure.text;
  vfs::Pool& pool = *adopted.value();
  std::vector<std::pair<u32, vfs::Description>> handles;
  pool.for_each_handle([](void* context, u32 handle, vfs::Description description) {
    static_cast<decltype(handles)*>(context)->emplace_back(handle, description);
  }, &handles);
  ASSERT_EQ(handles.size(), 1u);
  EXPECT_EQ(handles[0].first, 3u);
  vfs::Credentials credentials;
  credentials.capabilities = ~u64{0};
  vfs::Task task;
  task.pool = &pool;
  task.credentials = &credentials;
  char bytes[] = " after";
  data::IoVec vector{bytes, 6};
  EXPECT_EQ(vfs::write_file(task, handles[0].second, -1, &vector, 1).value_or(0), 6u);
  EXPECT_EQ(shm::find_process(pool.store().segment, pool.store().segment.self)->pid, getpid());
  Census now = census(pool.store().segment);
  EXPECT_EQ(now.file_locks, 1u); // the record lock came along
  EXPECT_EQ(vfs::Pool::adopt("nonsense", &failure).error(), EINVAL);
}

TEST_F(ProcessTest, ChildrenOfAProcessThatLostItsRightsGoOn) {
  if (getuid() != 0) GTEST_SKIP() << "needs root to give rights up";
  ASSERT_EQ(fchmod(v().fd, 0600), 0);
  auto file = open("f", O_CREAT | O_RDWR, 3);
  EXPECT_EQ(in_child([&] {
    if (setresuid(65534, 65534, 65534) != 0) return 1;
    if (shm::reopen_segment(v().fd).ok()) return 8;
    int status = in_child([&] {
      write(file, "grand");
      if (!shm::process_alive(v(), pool_->segment_fd(), v().self)) return 2;
      return in_child([&] { return write(file, "child") == 5 ? 7 : 3; });
    });
    if (status != 7) return status;
    // One that is killed is recognised.
    pid_t pid = fork_child([&] {
      (void)vfs::flock_file(task_, file, LOCK_UN);
      auto own = open("f", O_RDWR, 9);
      if (!vfs::flock_file(task_, own, LOCK_EX).ok()) return 4;
      for (;;) pause();
      return 0;
    });
    while (vfs::flock_file(task_, file, LOCK_EX | LOCK_NB).ok()) (void)vfs::flock_file(task_, file, LOCK_UN), usleep(1000);
    usleep(5000);
    if (vfs::flock_file(task_, file, LOCK_EX | LOCK_NB).ok()) return 5;
    kill_child(pid);
    return vfs::flock_file(task_, file, LOCK_EX | LOCK_NB).ok() ? 7 : 6;
  }), 7);
  EXPECT_EQ(read(file, 100, 0), "grandchild");
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(census(v()).processes, 1u);
}

class TinyProcessTest : public ProcessTest {
 protected:
  TinyProcessTest() : ProcessTest(256 * 1024) {}
};

TEST_F(TinyProcessTest, EntriesOfTheDeadAreInheritedWhenThereAreNoOthers) {
  // Every entry but this process's belongs to a dead process with an open file.
  u64 count = v().header->process_count;
  for (u64 i = 1; i < count; ++i) {
    int token = -1;
    pid_t pid = fork();
    if (pid == 0) {
      auto registered = shm::register_process(pool_->store().segment, getpid(), shm::ProcessState::kLive, nullptr, nullptr);
      if (!registered.ok()) _exit(1);
      token = registered.value().token_fd;
      ::close(pool_->token_fd());
      pool_->store().segment.self = registered.value().ref;
      if (i < 100) (void)vfs::open_at(task_, at("f" + std::to_string(i % 3)), O_CREAT | O_RDWR, 0644, 3);
      _exit(token < 0);
    }
    ASSERT_EQ(wait_for(pid), 0) << i;
  }
  ASSERT_EQ(census(v()).processes, count);
  vfs::Pool* other = attach(path_);
  ASSERT_NE(other, nullptr);
  other->detach();
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(census(v()), only_me());
}

TEST_F(TinyProcessTest, FullTablesRefuseAndLoseNothing) {
  std::vector<u32> handles;
  Census before = census(v());
  for (u32 i = 0;; ++i) {
    int error = open_error("f", O_CREAT | O_RDWR, i);
    if (error != 0) {
      EXPECT_EQ(error, ENFILE);
      break;
    }
    handles.push_back(i);
    ASSERT_LT(i, 100000u);
  }
  EXPECT_GE(handles.size(), 1000u);
  EXPECT_EQ(open_error("f", O_RDWR, 90000), ENFILE);
  for (u32 handle : handles) EXPECT_EQ(close(handle), 0);
  before.handles_pages = census(v()).handles_pages;
  EXPECT_EQ(census(v()), before);
}

// ---- Storms -----------------------------------------------------------------------------------------------------------

class StormTest : public ProcessTest {
 protected:
  StormTest() = default;
  explicit StormTest(u64 bytes) : ProcessTest(bytes) {}
  static int kills() {
    const char* text = std::getenv("PMEMFILE_KILLS");
    return text != nullptr ? std::atoi(text) : 2000;
  }

  void storm(int kills);

  // Does everything that changes the tables of V, for ever.
  int rage(u64 own_seed) {
    std::mt19937_64 random(own_seed);
    for (;;) {
      std::string name = "s" + std::to_string(random() % 6);
      u32 handle = random() % 20;
      switch (random() % 10) {
        case 0:
        case 1:
        case 2: (void)vfs::open_at(task_, at(name), O_CREAT | O_RDWR, 0644, handle); break;
        case 3: (void)vfs::close_handle(*pool_, handle); break;
        case 4: (void)vfs::unlink_at(task_, at(name)); break;
        case 5:
          if (u64* word = shm::find_handle(v(), v().self, handle); word != nullptr && *word != 0)
            (void)vfs::add_handle(*pool_, handle + 1, vfs::Description{shm::handle_description(*word)});
          break;
        case 6: (void)vfs::open_at(task_, at("."), O_TMPFILE | O_RDWR, 0600, handle); break;
        case 7: {
          u64* word = shm::find_handle(v(), v().self, handle);
          if (word == nullptr || *word == 0) break;
          vfs::Description file{shm::handle_description(*word)};
          struct flock range{};
          range.l_type = static_cast<short>(random() % 3); // F_RDLCK, F_WRLCK, F_UNLCK
          range.l_start = static_cast<off_t>(random() % 10);
          range.l_len = static_cast<off_t>(random() % 10);
          if (random() % 3 == 0) (void)vfs::flock_file(task_, file, (random() % 2 == 0 ? LOCK_SH : LOCK_UN) | LOCK_NB);
          else (void)vfs::record_lock(task_, file, random() % 2 == 0 ? F_SETLK : F_OFD_SETLK, &range);
          break;
        }
        case 8: {
          u64* word = shm::find_handle(v(), v().self, handle);
          if (word == nullptr || *word == 0) break;
          char bytes[6000];
          std::memset(bytes, 'b', sizeof bytes);
          data::IoVec vector{bytes, random() % sizeof bytes};
          (void)vfs::write_file(task_, vfs::Description{shm::handle_description(*word)}, -1, &vector, 1);
          break;
        }
        case 9:
          if (random() % 20 != 0) break;
          if (auto ticket = pool_->prepare_child(); ticket.ok()) {
            if (random() % 2 == 0) {
              pool_->cancel_child(ticket.value());
              break;
            }
            pid_t pid = fork();
            if (pid == 0) {
              pool_->become_child(ticket.value());
              for (u32 i = 0; i < 20; ++i) (void)vfs::close_handle(*pool_, i);
              _exit(0);
            }
            pool_->parent_after_fork(ticket.value());
            if (pid > 0) waitpid(pid, nullptr, 0);
          }
          break;
      }
    }
  }
};

void StormTest::storm(int kills) {
  std::mt19937_64 random(seed());
  prctl(PR_SET_CHILD_SUBREAPER, 1); // grandchildren whose parents are killed are waited for, too
  close((open("warm", O_CREAT | O_RDWR, 9), 9));
  constexpr int kAtOnce = 3;
  std::vector<pid_t> running;
  for (int round = 0; round < kills; ++round) {
    while (running.size() < kAtOnce) {
      u64 own_seed = random();
      running.push_back(fork_child([&] { return rage(own_seed); }));
    }
    usleep(random() % 1500);
    std::size_t victim = random() % running.size();
    kill_child(running[victim]);
    running.erase(running.begin() + static_cast<long>(victim));
    // Now and then everybody goes, and what V says is compared with nothing.
    if (round % 100 != 99) continue;
    for (pid_t pid : running) kill_child(pid);
    running.clear();
    while (waitpid(-1, nullptr, 0) > 0) {
    }
    vfs::bury_all_dead(*pool_);
    ASSERT_EQ(census(v()), only_me()) << "round " << round;
  }
  for (pid_t pid : running) kill_child(pid);
  while (waitpid(-1, nullptr, 0) > 0) {
  }
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(census(v()), only_me());
  // Every file can still be read and removed, and its space comes back.
  for (int i = 0; i < 6; ++i) {
    std::string name = "s" + std::to_string(i);
    int error = open_error(name, O_RDWR, 5);
    EXPECT_TRUE(error == 0 || error == ENOENT) << error;
    if (error != 0) continue;
    close(5);
    EXPECT_EQ(unlink_path(name), 0);
  }
  EXPECT_EQ(unlink_path("warm"), 0);
}

TEST_F(StormTest, KilledProcessesLeaveNothingInV) { storm(kills()); }

// Two record slots for everybody: who waits for a slot meets the dead there.
class TinyStormTest : public StormTest {
 protected:
  TinyStormTest() : StormTest(256 * 1024) {}
};
TEST_F(TinyStormTest, KilledProcessesLeaveNothingInV) { storm(kills() / 4); }

} // namespace
} // namespace pmemfile::test
