// Opens the plan of an object and patches the object by it.
//
// Thread rule: no thread may be executing the object's text, other than in a
// system call or our own stack of calls; usable inside a hook. The caller keeps
// the record of what was mapped.
#pragma once

#include "base/result.h"
#include "intercept/plan_format.h"

namespace pmemfile::intercept {

// A plan that was found: an open descriptor, and the checked header.
struct OpenPlan {
  int fd = -1;
  u64 file_bytes = 0;
  PlanHeader header{};
  TextPatch first_patch{};
};

// ENOENT: there is no plan. EPERM: its file could be written by others.
Result<void> open_plan(const char* const* caches, const char (&key)[kMaxKeyBytes], OpenPlan& out);
// The same of an open file. After an error the descriptor is still the caller's.
Result<void> read_plan(int fd, const char (&key)[kMaxKeyBytes], OpenPlan& out);
void close_plan(OpenPlan& plan);

struct Applied {
  u64 stubs = 0;
  u64 stub_bytes = 0; // with the page of the entry pointer
  bool in_place = false;
};

// `base` is the object's load bias. EALREADY: its text is patched; EBUSY: its
// text is not what it was when planned.
Result<Applied> apply_plan(const OpenPlan& plan, u64 base);

} // namespace pmemfile::intercept
