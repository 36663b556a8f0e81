// Guests: processes that run in our memory beside us, made by a clone that is neither a thread nor vfork-like. Leak checkers
// stop and read their program from one.
//
// They may have the thread-local storage of whoever made them, so nothing that is kept per thread can serve them: their
// calls go to the kernel as they are, and their signals to the program's handlers. They cannot clone. Known by their number
// in the kernel, which is asked for only while there are any. Rules: hook-safe, any thread.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

extern u32 g_guest_count;
// Room for one more? What died without a word is cleared away.
bool may_have_guest();
// In the child of such a clone.
void become_guest();
// In a new thread or a copied memory: whoever had this number, or whoever was there, is gone.
void forget_guest(i32 tid);
void forget_all_guests();

bool is_listed_guest();
inline bool is_guest() { return PMEMFILE_UNLIKELY(load_relaxed(g_guest_count) != 0) && is_listed_guest(); }
// A guest's call; it is over with an exit.
intercept::Verdict guest_call(intercept::Frame& frame);

} // namespace pmemfile::preload
