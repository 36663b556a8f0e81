// Attaching to the pools of the mount table.
//
// A process attaches to a pool when it first uses it: the many short-lived programs of a script that only compute, or work
// on files of the kernel, do not pay for it. At start a pool is only looked at (vfs::Pool::check), so that a wrong
// configuration is told before the program runs. Before a process gives up rights it attaches to all (foundations C5), and
// so does one with several threads before it forks.
// Rules: inside served calls and at start. What goes wrong ends the process with one clear line (config.h, give_up).
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// At start: attach, or only look, for pools that were not handed over by the image before.
void start_pools();
void attach_all(Process& process);
// Of a pool that was attached or taken over: what the environment says, and its descriptors out of the program's sight.
void configure_pool(Process& process, u32 mount);

} // namespace pmemfile::preload
