// Calls with a path on the kernel's own files, answered before anything is set up for a served call.
//
// Most paths of a program have nothing to do with pools, and what such a call costs is the kernel's time plus a few lines of
// memory: so what it needs stands close together, and it runs where the program called. Only what is certain ends here; anything
// else is served as if nothing had been tried, which may make the kernel's call a second time: so only calls that do no
// harm then are answered (no names are made or removed but by the kernel's own check of symlinks, RESOLVE_NO_SYMLINKS).
// Rules: hook-safe, any stack, signal handlers of the program may run in the middle.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// True: the result is in the frame.
bool answer_quickly(intercept::Frame& frame, Process& process);

} // namespace pmemfile::preload
