// Proof of life: what was served and refused, in words; and the log of calls.
// Rules: hook-safe; counters are bumped without locks and may lose a count.
#pragma once

#include "preload/config.h"
#include "preload/state.h"

namespace pmemfile::preload {

inline constexpr unsigned kCalls = 480;
extern u32 g_served[kCalls];
extern u32 g_refused[kCalls];

inline void count_served(long nr) {
  // Only where somebody will read it: a counter is a line that all threads would write.
  if (PMEMFILE_LIKELY(g_config.report == nullptr)) return;
  u32& count = g_served[nr];
  store_relaxed(count, load_relaxed(count) + 1);
}
const char* call_name(long nr);

void open_log();
void open_report();
// `program` is run and will be without us: which descriptors of pools, and working directory, it will miss.
void report_left_behind(const Process& process, const char* program, const char* why);
extern int g_log_fd;
void log_call(const Call& call, long result);

} // namespace pmemfile::preload
