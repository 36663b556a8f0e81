// A process killed at its n-th instruction inside one operation on open files, for n over the whole operation: afterwards
// the others find the tables of V exact and the file usable.
//
// PMEMFILE_TEST_SEED repeats a run; PMEMFILE_KILLS_PER_OPERATION sets at how many instructions of each it is tried.
#include <signal.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <chrono>
#include <functional>

#include "opens_pool.h"

namespace pmemfile::test {
namespace {

class KillStepTest : public OpensTest {
 protected:
  static unsigned long kills() {
    const char* text = std::getenv("PMEMFILE_KILLS_PER_OPERATION");
    return text != nullptr ? std::strtoul(text, nullptr, 0) : 10;
  }

  // Forks a child that runs `prepare`, stops, and runs `operate`; lets it make `steps` instructions of that and kills it.
  // Returns how many it made: fewer when the operation was over before.
  unsigned long kill_after(unsigned long steps, const std::function<void()>& prepare, const std::function<void()>& operate) {
    auto ticket = pool_->prepare_child();
    EXPECT_TRUE(ticket.ok());
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      prepare();
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);
      operate();
      raise(SIGSTOP);
      _exit(0);
    }
    pool_->parent_after_fork(ticket.value());
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    bool inside = true;
    unsigned long made = 0;
    for (; made < steps && inside; ++made) {
      ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr);
      waitpid(pid, &status, 0);
      inside = WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return made;
  }

  // `reset` brings the names back to what every round begins with.
  void run(const std::function<void()>& prepare, const std::function<void()>& operate, const std::function<void()>& reset) {
    reset();
    Census expected = census(v());
    u64 blocks = free_blocks();
    unsigned long length = kill_after(~0ul, prepare, operate);
    unsigned long stride = length / kills() + 1;
    for (unsigned long steps = seed() % stride; steps < length + stride; steps += stride) {
      kill_after(steps, prepare, operate);
      // First as a peer that does not know of the death, then after the funeral.
      int error = open_error("f", O_RDWR, 50);
      ASSERT_TRUE(error == 0 || error == ENOENT) << steps << " errno " << error;
      if (error == 0) {
        ASSERT_EQ(close(50), 0);
      }
      vfs::bury_all_dead(*pool_);
      reset();
      ASSERT_EQ(census(v()), expected) << "killed after " << steps << " instructions";
      // Blocks of free inodes may be kept for the next ones.
      constexpr u64 kInodeBlocks = 4;
      ASSERT_GE(free_blocks() + kInodeBlocks, blocks) << "space lost after " << steps << " instructions";
    }
    std::printf("%lu instructions\n", length);
  }

  vfs::Description make(u32 handle = 3) { return open("f", O_CREAT | O_RDWR, handle); }
  void remake() {
    unlink_path("f");
    make(60);
    close(60);
  }
  void set_lock(vfs::Description file, short type, off_t start, off_t bytes) {
    struct flock range{};
    range.l_type = type;
    range.l_start = start;
    range.l_len = bytes;
    (void)vfs::record_lock(task_, file, F_SETLK, &range);
  }
};

TEST_F(KillStepTest, Open) {
  run([] {}, [&] { (void)vfs::open_at(task_, at("f"), O_RDWR, 0, 3); }, [&] { remake(); });
}
TEST_F(KillStepTest, OpenOfAFileThatIsOpenElsewhere) {
  remake();
  open("f", O_RDONLY, 70);
  run([] {}, [&] { (void)vfs::open_at(task_, at("f"), O_RDWR, 0, 3); }, [] {});
}
TEST_F(KillStepTest, Close) {
  run([&] { make(); }, [&] { (void)vfs::close_handle(*pool_, 3); }, [&] { remake(); });
}
TEST_F(KillStepTest, CloseOfAnUnlinkedFile) {
  run(
      [&] {
        auto file = make();
        write(file, std::string(20000, 'x'));
        unlink_path("f");
      },
      [&] { (void)vfs::close_handle(*pool_, 3); }, [&] { remake(); });
}
TEST_F(KillStepTest, Duplicate) {
  vfs::Description file{};
  run([&] { file = make(); }, [&] { (void)vfs::add_handle(*pool_, 300, file); }, [&] { remake(); });
}
TEST_F(KillStepTest, RecordLockThatSplitsAnother) {
  vfs::Description file{};
  run(
      [&] {
        file = make();
        set_lock(file, F_WRLCK, 0, 100);
      },
      [&] { set_lock(file, F_RDLCK, 40, 10); }, [&] { remake(); });
}
TEST_F(KillStepTest, UnlockOfManyLocks) {
  vfs::Description file{};
  run(
      [&] {
        file = make();
        for (off_t i = 0; i < 5; ++i) set_lock(file, F_RDLCK, 10 * i, 5);
      },
      [&] { set_lock(file, F_UNLCK, 2, 0); }, [&] { remake(); });
}
TEST_F(KillStepTest, PreparingAChild) {
  run(
      [&] {
        make();
        open("f", O_RDONLY, 200);
      },
      [&] { (void)pool_->prepare_child(); }, [&] { remake(); });
}
// The one who repairs is killed, too: a process dies with files open and locks held, and its undertaker after n steps.
TEST_F(KillStepTest, Undertaker) {
  auto die = [&] {
    auto ticket = pool_->prepare_child();
    pid_t pid = fork();
    if (pid == 0) {
      pool_->become_child(ticket.value());
      auto file = make();
      set_lock(file, F_WRLCK, 0, 10);
      (void)vfs::open_at(task_, at("g"), O_CREAT | O_RDWR, 0600, 4);
      unlink_path("g");
      _exit(0);
    }
    pool_->parent_after_fork(ticket.value());
    waitpid(pid, nullptr, 0);
  };
  run(die, [&] { vfs::bury_all_dead(*pool_); }, [&] { remake(); });
}

// A repairer that was killed when it had freed the entry and not yet given up its claim.
TEST_F(KillStepTest, AnEntryWithTheClaimOfADeadRepairerIsUsedAgain) {
  const shm::Segment& segment = v();
  u32 index = 0;
  while (shm::process_entry(segment, index).state != 0) ++index;
  shm::Process& entry = shm::process_entry(segment, index);
  entry.claim = shm::pack(shm::ProcessRef{index + 2, 77});
  ++shm::process_table(segment).claims;
  shm::process_table(segment).hint = index;
  vfs::Pool* other = attach(path_);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(other->store().segment.self.index_plus_1, index + 1);
  EXPECT_EQ(entry.claim, 0u);
  EXPECT_EQ(shm::process_table(segment).claims, 0u);
  other->detach();
  entry.claim = shm::pack(shm::ProcessRef{index + 2, 77});
  ++shm::process_table(segment).claims;
  vfs::bury_all_dead(*pool_);
  EXPECT_EQ(entry.claim, 0u);
}

} // namespace
} // namespace pmemfile::test
