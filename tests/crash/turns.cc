#include "crash/turns.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pmemfile::crash {
namespace {

thread_local int t_runner = -1;
constexpr u64 kHang = 50'000; // turns without end: some ten seconds

} // namespace

// In futex(2) on a word of V?
bool Turns::waits_in_segment(pid_t tid) const {
  char path[64], text[128] = {};
  std::snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return false;
  char* line = std::fgets(text, sizeof text, file);
  std::fclose(file);
  long number = 0;
  unsigned long address = 0;
  if (line == nullptr || std::sscanf(text, "%ld 0x%lx", &number, &address) != 2 || number != SYS_futex) return false;
  u64 base = reinterpret_cast<u64>(v_.base);
  return address >= base && address < base + v_.bytes;
}

void Turns::wait_for_turn(std::unique_lock<std::mutex>& lock, int self) {
  changed_.wait(lock, [&] { return turn_ == self; });
}

void Turns::before_event() {
  if (t_runner < 0) return;
  std::unique_lock lock(mutex_);
  wait_for_turn(lock, t_runner);
  if (t_runner != 0 || events_++ != stop_before_) return;
  stopped_ = stop_is_new_ = true;
  turn_ = -1; // the conductor's
  changed_.notify_all();
  wait_for_turn(lock, 0);
}

void Turns::run(const std::function<void()> (&bodies)[2], u64 stop_before, const std::function<void()>& on_stop,
                const std::function<void()>& on_done) {
  stop_before_ = stop_before;
  std::thread threads[2];
  std::unique_lock lock(mutex_);
  auto start = [&](int self) {
    threads[self] = std::thread([&, self] {
      {
        std::unique_lock own(mutex_);
        runners_[self].tid = static_cast<pid_t>(syscall(SYS_gettid));
        t_runner = self;
        wait_for_turn(own, self);
      }
      bodies[self]();
      std::unique_lock own(mutex_);
      runners_[self].finished = true;
      if (turn_ == self) turn_ = -1;
      changed_.notify_all();
    });
  };
  start(0);
  start(1);
  int next = 0;
  bool done = false;
  for (;;) {
    turn_ = next;
    changed_.notify_all();
    bool gave_up = false;
    while (!gave_up && !changed_.wait_for(lock, std::chrono::microseconds(200), [&] { return turn_ == -1; })) {
      gave_up = runners_[next].tid != 0 && !runners_[1 - next].finished && waits_in_segment(runners_[next].tid);
      if (gave_up && ++waits_ > kHang) {
        std::fprintf(stderr, "two operations wait for each other\n");
        std::abort();
      }
    }
    if (stop_is_new_) {
      stop_is_new_ = false;
      lock.unlock();
      on_stop();
      lock.lock();
    }
    if (runners_[1].finished && !done) {
      done = true;
      lock.unlock();
      on_done();
      lock.lock();
    }
    if (runners_[0].finished && runners_[1].finished) break;
    next = runners_[1 - next].finished ? next : 1 - next;
  }
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
}

} // namespace pmemfile::crash
