// Between the entry and the hook: what the engine itself has to see of the
// passing calls (clones, executable mappings).
//
// Thread rule: any thread, any signal handler, any child. Runs inside a hook.
#pragma once

#include "intercept/engine.h"

namespace pmemfile::intercept {

// Set once by start(), before the first site is patched.
void set_hook(FastHook hook, const ChildEvents* events);

// The hook's answer to a call that came another way than through a stub.
Verdict ask_hook(Frame& frame);

// clone.cc. What the entry returns for a clone that the hook passed, and for
// one that has come back.
u64 clone_leaves(Frame& frame, const ChildEvents& events);
u64 clone_returns(Frame& frame, const ChildEvents& events);

// What the entry hands back to the stub in rcx: see x86_64/entry.md.
inline constexpr u64 kStubPass = 0;
inline constexpr u64 kStubClone = 1;
inline u64 stub_done(const Frame& frame) { return frame.rip + 1; }

} // namespace pmemfile::intercept
