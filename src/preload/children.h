// fork, vfork, posix_spawn and threads: what a child inherits, made before the
// system call (foundations C2). Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// For intercept::start.
extern const intercept::ChildEvents kChildEvents;
// Other threads than the caller may be running.
bool is_multi_threaded();

} // namespace pmemfile::preload
