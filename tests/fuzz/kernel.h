// A kernel for one process, one pool file and one V: the system calls that attach, the verbs and leaving make, served from
// memory that stays mapped.
//
// Why: making, mapping and unmapping V and the pool costs a hundred times what is done in between. The core of the fuzz targets is
// compiled with PMEMFILE_TEST_KERNEL, so that all of it runs as it is, down to raw_syscall (base/syscall.h).
// Everything mapped stands between pages that nobody may touch. A call that is not known here, or one that would wait for
// somebody, ends the program: there is nobody else. Rules: one thread.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"

namespace pmemfile::fuzz::kernel {

inline constexpr char kPoolPath[] = "/fuzz/pool";
inline constexpr char kShmDir[] = "/fuzz/shm";

// A machine that has just been started: a pool file of these bytes, no V, nothing open, nothing locked.
void start(std::span<const std::byte> pool);
// What is in the pool file now.
void read_pool(std::vector<std::byte>& to);
// Has the pool been mapped since the start: were its superblocks believed?
bool was_mapped();
// Ends the program if something is still open, mapped or locked.
void must_be_at_rest();

} // namespace pmemfile::fuzz::kernel
