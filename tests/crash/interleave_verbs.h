// What the two sides of an interleaving do, and from which starting states.
#pragma once

#include "crash/scenario.h"

namespace pmemfile::crash {

struct World {
  const char* name;
  u64 pool_bytes;
  Step setup;
};
const std::vector<World>& interleave_worlds();

// One operation: a side's own names end in its letter, everything else is fought for.
struct Verb {
  using Act = std::function<void(Actor&, char side)>;
  const char* name;
  Act operate;
  Act prepare = nullptr;
  Between between = Between::kOldOrNew;
};
const std::vector<Verb>& interleave_verbs();

} // namespace pmemfile::crash
