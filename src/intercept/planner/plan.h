// Decides for each site how it is patched, or why it is left alone, and writes
// the stubs.
//
// Owner: the planner; single-threaded; never in a hook.
#pragma once

#include <string>
#include <vector>

#include "intercept/plan_format.h"
#include "intercept/planner/code.h"

namespace pmemfile::intercept::planner {

struct Plan {
  PlanHeader header{};
  std::vector<TextPatch> patches;
  std::vector<u32> fixups;
  std::vector<u8> stubs;
  // Where in the stubs the distance to the entry pointer is to be put.
  std::vector<u32> entry_references;
  // For the golden tests and --verbose: one line a site.
  std::vector<std::string> lines;
};

Plan make_plan(const ElfFile& elf, const Code& code);
// Of an object without sites, or of one that cannot be planned.
Plan empty_plan(const ElfFile& elf, bool refused);

} // namespace pmemfile::intercept::planner
