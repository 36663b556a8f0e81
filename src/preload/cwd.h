// The working directory, in a pool or in the kernel.
//
// While it is in a pool the kernel's is a removed empty directory, so that a
// stray relative call gets ENOENT. Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// Goes to a directory of a pool; the directory is checked for search permission.
Result<void> enter_pool_dir(Call& call, u32 mount, Ino dir);
// The kernel's working directory changed: ours is given up.
void leave_pool_dir(Process& process);
// Makes a number free that one of our own descriptors has. False if it cannot move.
bool evade_number(Process& process, u32 fd);

} // namespace pmemfile::preload
