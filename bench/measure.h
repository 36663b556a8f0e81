// Timing of one operation in a loop: the mean of a batch without any clock in
// it, then percentiles from a second batch with a time stamp around each call.
//
// An ordinary program: one thread, no preload knowledge, not hook-safe.
#pragma once

#include <time.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace bench {

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

struct Result {
  std::string name;
  double mean_ns = 0;  // of the batch without time stamps
  double p50_ns = 0, p99_ns = 0, p9999_ns = 0, max_ns = 0;
  long count = 0;
};

// Calls op(0) .. op(count-1) in one batch, then op(count) .. op(2*count-1)
// with time stamps. `divisor`: how many operations of the row one call makes.
template <typename Op>
Result measure(std::string name, long count, Op op, double divisor = 1) {
  Result result;
  result.name = std::move(name);
  result.count = count;
  const std::uint64_t start = now_ns();
  for (long i = 0; i < count; i++) op(i);
  result.mean_ns = static_cast<double>(now_ns() - start) / static_cast<double>(count) / divisor;

  std::vector<std::uint32_t> ticks(static_cast<std::size_t>(count));
  for (long i = 0; i < count; i++) {
    unsigned cpu;
    const std::uint64_t before = __rdtsc();
    op(count + i);
    ticks[static_cast<std::size_t>(i)] = static_cast<std::uint32_t>(std::min<std::uint64_t>(__rdtscp(&cpu) - before, UINT32_MAX));
  }
  std::sort(ticks.begin(), ticks.end());
  auto at = [&](double quantile) {
    const auto index = static_cast<std::size_t>(quantile * static_cast<double>(ticks.size() - 1));
    return ticks[index] * ns_per_tick() / divisor;
  };
  result.p50_ns = at(0.5);
  result.p99_ns = at(0.99);
  result.p9999_ns = at(0.9999);
  result.max_ns = at(1);
  return result;
}

}  // namespace bench
