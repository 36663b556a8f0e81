// Rows of the benchmark and how one is timed: a batch without any clock in it for the mean, another with a time
// stamp around each call for percentiles.
//
// An ordinary program: one thread, no preload knowledge, not hook-safe.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace bench {

[[noreturn]] inline void die(const char* what) {
  perror(what);
  exit(1);
}
inline long must(long value, const char* what) {
  if (value < 0) die(what);
  return value;
}
inline int must_fd(long value, const char* what) { return static_cast<int>(must(value, what)); }

inline std::uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

// Nanoseconds of one tick of the time stamp counter.
inline double ns_per_tick() {
  static const double value = [] {
    const std::uint64_t ns = now_ns(), ticks = __rdtsc();
    while (now_ns() - ns < 20'000'000) {
    }
    return static_cast<double>(now_ns() - ns) / static_cast<double>(__rdtsc() - ticks);
  }();
  return value;
}

// One operation that can be repeated. Mutations go in windows: `before` furnishes what the window's calls need and
// `after` takes away what they made, both untimed, so that the directory keeps its size and a batch may have any length.
class Row {
 public:
  virtual ~Row() = default;
  // Nanoseconds of an operation, the mean of `count` calls.
  virtual double run(long count) = 0;
  // Keeps the time of each of `count` calls.
  virtual void sample(long count) = 0;

  double quantile(double q) {
    if (ticks_.empty()) return 0;
    std::sort(ticks_.begin(), ticks_.end());
    return ticks_[static_cast<std::size_t>(q * static_cast<double>(ticks_.size() - 1))] * ns_per_tick() / divisor_;
  }
  std::size_t samples() const { return ticks_.size(); }

 protected:
  double divisor_ = 1; // operations that one call makes
  std::vector<std::uint32_t> ticks_;
};

struct Nothing {
  void operator()(long) const {}
};

template <typename Op, typename Before, typename After>
class RowOf final : public Row {
 public:
  RowOf(long window, double divisor, Op op, Before before, After after) : window_(window), op_(op), before_(before), after_(after) { divisor_ = divisor; }

  double run(long count) override {
    std::uint64_t total = 0;
    windows(count, [&](long first, long end) {
      const std::uint64_t start = __rdtsc();
      for (long i = first; i < end; i++) op_(i);
      total += __rdtsc() - start;
    });
    return static_cast<double>(total) * ns_per_tick() / static_cast<double>(count) / divisor_;
  }
  void sample(long count) override {
    windows(count, [&](long first, long end) {
      for (long i = first; i < end; i++) {
        unsigned cpu;
        const std::uint64_t before = __rdtsc();
        op_(i);
        ticks_.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(__rdtscp(&cpu) - before, UINT32_MAX)));
      }
    });
  }

 private:
  // Rows without a window count on, so that successive batches go on to other names and offsets.
  template <typename Body>
  void windows(long count, Body body) {
    if (window_ == 0) {
      body(next_, next_ + count);
      next_ += count;
      return;
    }
    for (long done = 0; done < count; done += window_) {
      const long length = std::min(window_, count - done);
      before_(length);
      body(0, length);
      after_(length);
    }
  }

  long window_, next_ = 0;
  Op op_;
  Before before_;
  After after_;
};

class Table {
 public:
  template <typename Op>
  void add(const std::string& name, Op op, double divisor = 1) {
    rows_[name] = std::make_unique<RowOf<Op, Nothing, Nothing>>(0, divisor, op, Nothing{}, Nothing{});
  }
  template <typename Op, typename Before, typename After>
  void add_windowed(const std::string& name, long window, Op op, Before before, After after) {
    rows_[name] = std::make_unique<RowOf<Op, Before, After>>(window, 1, op, before, after);
  }
  Row& at(const std::string& name) {
    auto found = rows_.find(name);
    if (found == rows_.end()) {
      fprintf(stderr, "no row is called `%s`\n", name.c_str());
      exit(2);
    }
    return *found->second;
  }

 private:
  std::map<std::string, std::unique_ptr<Row>> rows_;
};

// Names that end in a number, written into one buffer: a table of ten thousand strings would miss the cache on its own.
class Names {
 public:
  explicit Names(const std::string& prefix) : length_(prefix.size()) { snprintf(text_, sizeof text_, "%s", prefix.c_str()); }
  const char* operator()(unsigned long number) {
    char digits[20];
    unsigned count = 0;
    do digits[count++] = static_cast<char>('0' + number % 10);
    while (number /= 10);
    char* end = text_ + length_;
    while (count > 0) *end++ = digits[--count];
    *end = 0;
    return text_;
  }

 private:
  std::size_t length_;
  char text_[256];
};

// A pseudo-random order that is the same in every process.
inline std::vector<std::uint32_t> shuffled(std::uint32_t count) {
  std::vector<std::uint32_t> order(count);
  for (std::uint32_t i = 0; i < count; i++) order[i] = i;
  std::uint64_t state = 42;
  for (std::uint32_t i = count - 1; i > 0; i--) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(order[i], order[static_cast<std::uint32_t>(state >> 33) % (i + 1)]);
  }
  return order;
}

} // namespace bench
