// Counting bits with the processor's own instruction.
//
// Rules: usable in any thread, any process, inside a hook, once a pool is attached: attach has asked for SSE4.2 by then,
// and every processor that has it has POPCNT. (std::popcount is a call of a function without -mpopcnt.)
#pragma once

#include "base/types.h"

namespace pmemfile {

inline u32 count_bits(u64 word) {
  __asm__("popcntq %1, %0" : "=r"(word) : "rm"(word) : "cc");
  return static_cast<u32>(word);
}

} // namespace pmemfile
