// Starts the planner for an object that has no plan yet, and waits.
//
// Usable inside a hook (raw system calls; the child execs at once); costs some
// 50 ms, once per build-id.
#pragma once

#include "base/result.h"

namespace pmemfile::intercept {

struct PlannerCommand {
  const char* const* programs; // tried in order; ends in null
  const char* const* caches;   // likewise
  int output;                  // -1, or a descriptor that gets the plan instead
};
Result<void> run_planner(const PlannerCommand& command, const char* object_path);

// Set in the planner's environment, so that a preloaded engine does not plan
// the planner.
inline constexpr char kPlanningVariable[] = "PMEMFILE_PLANNING";

} // namespace pmemfile::intercept
