// Which faults of the copy instructions are expected.
//
// The copies of pmem touch memory of the program (a wild pointer: EFAULT) and of the medium (a bad block: EIO). A
// handler for SIGSEGV and SIGBUS asks fault_fixup(): non-zero is the address to go on at, where the copy ends and
// returns how many bytes are left. Without a handler a wild pointer kills, as in any library.
// Rules: async-signal-safe; no state.
#pragma once

#include "base/types.h"

namespace pmemfile::pmem {

u64 fault_fixup(u64 instruction_pointer);

} // namespace pmemfile::pmem
