// Attacks on the protocol between processes: each test is an interleaving that once went wrong or that the design has to
// withstand (docs/architecture.md).
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <chrono>
#include <functional>
#include <thread>

#include "inode/inode.h"
#include "journal/recovery.h"
#include "opens_pool.h"
#include "shm/vlog.h"

namespace pmemfile::test {
namespace {

class ProtocolTest : public OpensTest {
 protected:
  pid_t fork_child(const vfs::Pool::ChildTicket& ticket, const std::function<void()>& body) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    pool_->become_child(ticket);
    body();
    _exit(0);
  }
  void kill_and_wait(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  shm::Segment& segment() { return pool_->store().segment; }
};

// Two threads fork at once: each child is born with a copy of the other's token.
TEST_F(ProtocolTest, ASiblingDoesNotKeepTheDeadAlive) {
  auto first = pool_->prepare_child(), second = pool_->prepare_child();
  ASSERT_TRUE(first.ok() && second.ok());
  pid_t living = fork_child(second.value(), [] { pause(); });
  pid_t dying = fork_child(first.value(), [] { pause(); });
  pool_->parent_after_fork(first.value());
  pool_->parent_after_fork(second.value());
  usleep(100'000); // both have become themselves
  EXPECT_TRUE(shm::process_alive(v(), v().fd, first.value().ref));
  kill_and_wait(dying);
  EXPECT_FALSE(shm::process_alive(v(), v().fd, first.value().ref));
  EXPECT_TRUE(shm::process_alive(v(), v().fd, second.value().ref));
  kill_and_wait(living);
  vfs::bury_all_dead(*pool_);
}

// A process dies at each instruction of a VTx that frees an entry; somebody takes the entry before the dead one is found:
// the repair must not free it under him.
TEST_F(ProtocolTest, RepairDoesNotFreeWhatSomebodyElseHasTakenMeanwhile) {
  constexpr u32 kEntry = 1000;
  shm::OpenDescription& entry = *shm::description_at(v(), kEntry);
  unsigned taken = 0;
  for (unsigned steps = 0;; ++steps) {
    store_release(entry.refs, u64{1});
    auto ticket = pool_->prepare_child();
    ASSERT_TRUE(ticket.ok());
    pid_t pid = fork_child(ticket.value(), [&] {
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      shm::VTx tx(segment(), pool_->store().waiter, 40);
      raise(SIGSTOP);
      tx.store(shm::description_at(v(), kEntry + 1)->offset, 7);
      tx.release(entry.refs);
      tx.commit();
      raise(SIGSTOP);
    });
    pool_->parent_after_fork(ticket.value());
    int status = 0;
    waitpid(pid, &status, 0);
    bool over = false;
    for (unsigned i = 0; i < steps && !over; ++i) {
      ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr);
      waitpid(pid, &status, 0);
      over = WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
    }
    kill_and_wait(pid);
    bool took = false;
    {
      shm::VTx tx(segment(), pool_->store().waiter, 50);
      took = tx.claim(entry.refs, 3);
      if (took) tx.commit();
    }
    vfs::bury_all_dead(*pool_);
    u64 refs = load_acquire(entry.refs);
    if (took) ASSERT_EQ(refs, 3u) << "killed after " << steps << " instructions";
    else ASSERT_LE(refs, 1u) << "killed after " << steps << " instructions";
    taken += took;
    if (over) break;
  }
  EXPECT_GT(taken, 0u);
  store_release(entry.refs, u64{0});
}

constexpr i64 kMark = 1234567890123456789;

// Inodes whose times share a stripe's room.
class TimesTest : public ProtocolTest {
 protected:
  // Other files in the stripe of `first`.
  std::vector<Ino> neighbours_of(Ino first, std::size_t count) {
    std::vector<Ino> found;
    for (unsigned i = 0; found.size() < count && i < 60000; ++i) {
      Ino ino = vfs::info(*pool_, open("n" + std::to_string(i), O_CREAT | O_RDWR, 4)).ino;
      close(4);
      if (shm::inode_key(v(), ino) == shm::inode_key(v(), first)) found.push_back(ino);
    }
    EXPECT_EQ(found.size(), count);
    return found;
  }
  u64 generation(Ino ino) { return inode::read(pool_->store(), ino).value().generation; }
  void touch(Ino ino, u64 generation, i64 time) { inode::touch(pool_->store(), ino, generation, time, time, time); }
  inode::Attr seen(Ino ino) { return inode::read(pool_->store(), ino).value(); }

  // Runs `body` in a child, stopped after each number of instructions (later on after some of them) while `meanwhile` runs, unless
  // it holds the lock of the inode; `check` when the child has ended.
  void stop_at_each_instruction(Ino ino, const std::function<void()>& before, const std::function<void()>& body, const std::function<void()>& meanwhile,
                                const std::function<void(unsigned)>& check) {
    bool over = false, held = false;
    for (unsigned steps = 0; !over; steps += steps < 120 ? 1 : 149) {
      before();
      auto ticket = pool_->prepare_child();
      ASSERT_TRUE(ticket.ok());
      pid_t pid = fork_child(ticket.value(), [&] {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        body();
        raise(SIGSTOP);
      });
      pool_->parent_after_fork(ticket.value());
      waitpid(pid, nullptr, 0);
      over = step(pid, steps);
      if (load_acquire(v().stripe(shm::inode_key(v(), ino)).lock) == 0) meanwhile();
      else held = true;
      if (!over) {
        ptrace(PTRACE_CONT, pid, nullptr, nullptr);
        waitpid(pid, nullptr, 0);
      }
      kill_and_wait(pid);
      vfs::bury_all_dead(*pool_);
      if (!held) check(steps);
      held = false;
      if (HasFatalFailure()) return;
    }
  }
};

// Who is stopped in the middle and goes on when the room is another's gives that one nothing of it, and nobody loses a time.
TEST_F(TimesTest, AStoppedTouchGivesItsTimeToNobodyElse) {
  Ino first = vfs::info(*pool_, open("first", O_CREAT | O_RDWR, 3)).ino;
  Ino second = neighbours_of(first, 1)[0];
  u64 of_first = generation(first), of_second = generation(second);
  i64 round = 0;
  stop_at_each_instruction(first, [&] { ++round, touch(first, of_first, kMark); }, [&] { touch(first, of_first, kMark + round); },
                           [&] { touch(second, of_second, 5 + round); },
                           [&](unsigned steps) {
                             ASSERT_EQ(seen(second).mtime_ns, 5 + round) << "stopped after " << steps << " instructions";
                             ASSERT_EQ(seen(second).atime_ns, 5 + round) << "stopped after " << steps << " instructions";
                             ASSERT_EQ(seen(first).mtime_ns, kMark + round) << "stopped after " << steps << " instructions";
                             ASSERT_EQ(seen(first).atime_ns, kMark + round) << "stopped after " << steps << " instructions";
                           });
}

TEST_F(TimesTest, TwoWhoTakeTheRoomLoseNoTime) {
  Ino first = vfs::info(*pool_, open("first", O_CREAT | O_RDWR, 3)).ino;
  auto others = neighbours_of(first, 2);
  u64 of_first = generation(first), of_second = generation(others[0]), of_third = generation(others[1]);
  i64 round = 0;
  stop_at_each_instruction(first, [&] { ++round, touch(first, of_first, kMark + round); }, [&] { touch(others[0], of_second, 3 + round); },
                           [&] { touch(others[1], of_third, 5 + round); },
                           [&](unsigned steps) {
                             ASSERT_EQ(seen(first).ctime_ns, kMark + round) << "stopped after " << steps << " instructions";
                             ASSERT_EQ(seen(others[0]).ctime_ns, 3 + round) << "stopped after " << steps << " instructions";
                             ASSERT_EQ(seen(others[1]).ctime_ns, 5 + round) << "stopped after " << steps << " instructions";
                           });
}

// Who was stopped until the file was removed and its number used again: the generation tells.
TEST_F(TimesTest, ATouchOfAnEarlierInodeOfTheNumberIsNotSeen) {
  Ino ino = vfs::info(*pool_, open("f", O_CREAT | O_RDWR, 3)).ino;
  u64 now = generation(ino);
  touch(ino, now, 7);
  touch(ino, now - 1, kMark);
  EXPECT_EQ(seen(ino).mtime_ns, 7);
  EXPECT_EQ(seen(ino).atime_ns, 7);
  EXPECT_TRUE(inode::flush_times(pool_->store(), ino).ok());
  EXPECT_EQ(seen(ino).mtime_ns, 7);
  touch(ino, now, 8);
  EXPECT_EQ(seen(ino).ctime_ns, 8);
}

// The times of an inode that has the stripe's room are never shown as another's, even if who changes that dies on the way.
TEST_F(ProtocolTest, TimesOfOneInodeAreNeverAnothers) {
  vfs::Description file = open("first", O_CREAT | O_RDWR, 3);
  Ino first = vfs::info(*pool_, file).ino, second{};
  shm::LockKey key = shm::inode_key(v(), first);
  for (unsigned i = 0; second == Ino{0} && i < 20000; ++i) {
    std::string name = "n" + std::to_string(i);
    Ino ino = vfs::info(*pool_, open(name, O_CREAT | O_RDWR, 4)).ino;
    close(4);
    if (shm::inode_key(v(), ino) == key) second = ino;
  }
  ASSERT_NE(raw(second), 0u);
  u64 of_first = inode::read(pool_->store(), first).value().generation, of_second = inode::read(pool_->store(), second).value().generation;
  inode::touch(pool_->store(), first, of_first, kMark, kMark, kMark);
  auto ticket = pool_->prepare_child();
  pid_t pid = fork_child(ticket.value(), [&] {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    inode::touch(pool_->store(), second, of_second, 0, 0, 5);
    raise(SIGSTOP);
  });
  pool_->parent_after_fork(ticket.value());
  int status = 0;
  waitpid(pid, &status, 0);
  // What the others see after each instruction is what they would see for ever if it were the last one.
  for (unsigned steps = 0;; ++steps) {
    ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr);
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP) break;
    inode::Attr seen = inode::read(pool_->store(), second).value();
    ASSERT_TRUE(seen.mtime_ns != kMark && seen.ctime_ns != kMark && seen.atime_ns != kMark) << "after " << steps << " instructions";
  }
  kill_and_wait(pid);
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(inode::read(pool_->store(), second).value().atime_ns, 5);
  EXPECT_EQ(inode::read(pool_->store(), first).value().atime_ns, kMark);
}

// An inode that somebody has begun to free gets no new users: by /proc/self/fd its number is reached without a name.
TEST_F(ProtocolTest, NobodyOpensWhatIsBeingFreed) {
  open("f", O_CREAT | O_RDWR, 3);
  auto attr = vfs::resolve(task_, at("f"), vfs::Follow::kNo);
  ASSERT_TRUE(attr.ok());
  ASSERT_EQ(unlink_path("f"), 0);
  vfs::Description again = vfs::open_at(task_, vfs::At{attr.value().ino, {}}, O_RDONLY, 0, 4).value().description;
  EXPECT_EQ(vfs::info(*pool_, again).ino, attr.value().ino);
  auto marked = journal::run_tx(pool_->store(), journal::Opcode::kFree, [&](journal::Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(v(), attr.value().ino)));
    inode::Attr now = TRY(inode::load(tx.view(), attr.value().ino));
    now.flags |= layout::kFlagFreeing;
    inode::store_mode(tx, now);
    return tx.commit();
  });
  ASSERT_TRUE(marked.ok());
  EXPECT_EQ(vfs::open_at(task_, vfs::At{attr.value().ino, {}}, O_RDONLY, 0, 5).error(), ESTALE);
}

// The first to attach dies with the new V named, but before the pool is at rest: the next begins again.
TEST_F(ProtocolTest, AVThatWasNotFinishedIsNotUsed) {
  u64 id = v().header->segment_id;
  store_release(segment().header->ready, 0u);
  pool_->detach();
  pool_ = nullptr;
  become(attach(path_));
  ASSERT_NE(pool_, nullptr);
  EXPECT_NE(v().header->segment_id, id);
  EXPECT_EQ(v().header->ready, 1u);
}

// Nobody is attached and there is no V, but somebody who was about to attach has the shared lock for a while: that is waited for, however
// many were killed or stopped on their way. Somebody who is attached, elsewhere, is not.
TEST_F(ProtocolTest, WhoAttachesWaitsForOthersOnTheirWay) {
  pool_->detach();
  pool_ = nullptr;
  std::filesystem::remove_all(shm_dir_of(path_));
  std::filesystem::create_directory(shm_dir_of(path_));
  int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
  struct flock on_the_way{.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
  ASSERT_EQ(fcntl(fd, F_OFD_SETLK, &on_the_way), 0);
  std::thread goes_on([&] {
    usleep(700'000);
    ::close(fd);
  });
  become(attach(path_));
  goes_on.join();
  ASSERT_NE(pool_, nullptr);

  std::filesystem::remove_all(shm_dir_of(path_));
  std::filesystem::create_directory(shm_dir_of(path_));
  vfs::AttachOptions options;
  std::string shm_dir = shm_dir_of(path_);
  options.shm_dir = shm_dir.c_str();
  vfs::AttachFailure failure{};
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(vfs::Pool::attach(path_.c_str(), options, &failure).error(), EBUSY) << failure.text;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

// Many attach at once to a pool without V, and of those some are killed at any moment, the one that makes V among them.
TEST_F(ProtocolTest, ManyAttachWhileTheOnesThatMakeVDie) {
  constexpr int kProcesses = 24, kKilled = 8;
  pool_->detach();
  pool_ = nullptr;
  std::mt19937 random(static_cast<unsigned>(seed()));
  for (int round = 0; round < 6; ++round) {
    std::filesystem::remove_all(shm_dir_of(path_));
    std::filesystem::create_directory(shm_dir_of(path_));
    std::vector<pid_t> children;
    for (int i = 0; i < kProcesses; ++i) {
      pid_t pid = fork();
      if (pid == 0) {
        vfs::Pool* pool = attach(path_);
        _exit(pool == nullptr ? 1 : 0);
      }
      children.push_back(pid);
    }
    // Those that came first.
    for (int i = 0; i < kKilled; ++i) {
      usleep(static_cast<useconds_t>(random() % 1500));
      kill(children[static_cast<std::size_t>(i)], SIGKILL);
    }
    for (int i = 0; i < kProcesses; ++i) {
      int status = 0;
      waitpid(children[static_cast<std::size_t>(i)], &status, 0);
      if (i < kKilled) continue;
      EXPECT_EQ(status, 0) << "round " << round << ", process " << i;
    }
  }
  become(attach(path_));
  ASSERT_NE(pool_, nullptr);
}

// A signal every millisecond does not keep a waiter from finding out that the owner is dead.
TEST_F(ProtocolTest, SignalsDoNotHideADeath) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  auto ticket = pool_->prepare_child();
  pid_t pid = fork_child(ticket.value(), [&] {
    shm::VTx tx(segment(), pool_->store().waiter, 40);
    tx.lock(shm::file_locks_key(v(), vfs::resolve(task_, at("f"), vfs::Follow::kNo).value().ino));
    kill(getpid(), SIGKILL);
  });
  pool_->parent_after_fork(ticket.value());
  waitpid(pid, nullptr, 0);
  struct sigaction action{}, old{};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, &old);
  itimerval timer{{0, 500}, {0, 500}}, off{};
  setitimer(ITIMER_REAL, &timer, nullptr);
  // Lets a waiter that is stuck go on, too late.
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
  std::thread watchdog([&] {
    sleep(1);
    setitimer(ITIMER_REAL, &off, nullptr);
  });
  pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
  auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(vfs::flock_file(task_, file, LOCK_EX).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
  watchdog.join();
  sigaction(SIGALRM, &old, nullptr);
}

} // namespace
} // namespace pmemfile::test
