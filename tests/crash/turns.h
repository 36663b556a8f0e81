// Lets two threads of one attachment run by turns, so that an interleaving is a matter of choice.
//
// Only the holder of the turn passes before_event(), which the recorder calls before each store, flush and fence. The
// turn changes hands where the plan says, when its holder has finished, and when it waits for something in V: then the
// other one goes on.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "shm/segment.h"

namespace pmemfile::crash {

class Turns {
 public:
  explicit Turns(const shm::Segment& v) : v_(v) {}

  // Runs both bodies, 0 first. Body 0 gives its turn away before its event number `stop_before`; `on_stop` runs then,
  // `on_done` when body 1 has finished.
  void run(const std::function<void()> (&bodies)[2], u64 stop_before, const std::function<void()>& on_stop,
           const std::function<void()>& on_done);
  void before_event();

  bool stopped() const { return stopped_; } // body 0 came to its stop
  u64 waits() const { return waits_; }      // turns that changed because the holder waited

 private:
  struct Runner {
    pid_t tid = 0;
    bool finished = false;
  };
  bool waits_in_segment(pid_t tid) const;
  void wait_for_turn(std::unique_lock<std::mutex>& lock, int self);

  const shm::Segment& v_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Runner runners_[2];
  int turn_ = 0;
  u64 events_ = 0, stop_before_ = ~u64{0}, waits_ = 0;
  bool stopped_ = false, stop_is_new_ = false;
};

} // namespace pmemfile::crash
