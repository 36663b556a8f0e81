// How long operations of a storm were kept waiting, and by whom.
//
// Not counted is time waiting for a processor, by the kernel's word, nor time in which somebody was stopped, or was dying and had
// not had a processor to die on: he may have been in the way (docs/limits.md says whose). And who did not go to sleep waited for nobody:
// what took long then was the machine.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/atomic.h"

namespace pmemfile::storm {

inline u64 now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

struct Interval {
  u64 begin, end;
};

inline u64 length_of_union(std::vector<Interval> parts) {
  std::sort(parts.begin(), parts.end(), [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  u64 length = 0, covered_to = 0;
  for (const Interval& part : parts) {
    u64 begin = std::max(part.begin, covered_to);
    if (part.end > begin) length += part.end - begin;
    covered_to = std::max(covered_to, part.end);
  }
  return length;
}

// When one process had others stopped or dying: the latest times. In shared memory; one writer, many readers.
class Disturbance {
 public:
  void begin(u64 now) { store_release(since_ns_, now); }
  void end(u64 now) {
    kept_[count_ % kKept] = {since_ns_, now};
    store_release(count_, count_ + 1);
    store_release(since_ns_, u64{0});
  }
  bool goes_on() const { return load_acquire(since_ns_) != 0; }

  void add_parts_of(Interval asked, std::vector<Interval>& parts) const {
    auto add = [&](u64 begin, u64 end) {
      if (begin < asked.end && end > asked.begin) parts.push_back({std::max(begin, asked.begin), std::min(end, asked.end)});
    };
    if (u64 since = load_acquire(since_ns_); since != 0) add(since, asked.end);
    u64 count = load_acquire(count_);
    // The oldest one may be overwritten just now.
    for (u64 i = count > kKept ? count - kKept + 1 : 0; i < count; ++i) add(kept_[i % kKept].begin, kept_[i % kKept].end);
  }

 private:
  static constexpr u64 kKept = 64;
  u64 since_ns_ = 0, count_ = 0;
  Interval kept_[kKept] = {};
};

// What the kernel says of this thread.
class ThreadUsage {
 public:
  struct Reading {
    u64 waited_for_processor_ns = 0, sleeps = 0;
  };

  ThreadUsage() : schedstat_(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)) {}
  ~ThreadUsage() { close(schedstat_); }
  ThreadUsage(const ThreadUsage&) = delete;
  ThreadUsage& operator=(const ThreadUsage&) = delete;

  Reading read() const {
    Reading reading;
    char text[64] = "";
    unsigned long ran = 0;
    if (pread(schedstat_, text, sizeof text - 1, 0) > 0) sscanf(text, "%lu %lu", &ran, &reading.waited_for_processor_ns);
    struct rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    reading.sleeps = static_cast<u64>(usage.ru_nvcsw);
    return reading;
  }

 private:
  int schedstat_;
};

// The slowest operations of one worker. In shared memory.
struct Slowest {
  enum Phase { kCalm, kStorm, kPhases };
  u64 asleep_ns[kPhases] = {};  // of those that went to sleep: what counts
  u64 awake_ns[kPhases] = {};   // of those that did not
  u64 whole_ns[kPhases] = {};   // with what is not counted
  u64 excused_ns[kPhases] = {}; // with the times in which somebody was stopped or dying, not with waiting for a processor
  u64 operations[kPhases] = {};
  const char* asleep_in[kPhases] = {"none", "none"}; // which operation it was

  void note_asleep(Phase phase, u64 ns, const char* operation) {
    if (ns <= asleep_ns[phase]) return;
    asleep_ns[phase] = ns;
    asleep_in[phase] = operation;
  }
  void take_worst_of(const Slowest& other) {
    for (int phase = 0; phase < kPhases; ++phase) {
      note_asleep(static_cast<Phase>(phase), other.asleep_ns[phase], other.asleep_in[phase]);
      excused_ns[phase] = std::max(excused_ns[phase], other.excused_ns[phase]);
      awake_ns[phase] = std::max(awake_ns[phase], other.awake_ns[phase]);
      whole_ns[phase] = std::max(whole_ns[phase], other.whole_ns[phase]);
      operations[phase] += other.operations[phase];
    }
  }
};

} // namespace pmemfile::storm
