// Calls under way on descriptors, so that a close by another thread cannot pull
// the description from under them.
//
// Only while the process has several threads: a served call publishes the numbers
// that it may use (arguments that are none do no harm), with a full barrier before
// it reads the table. Who closes clears the table, then looks at all threads; a
// number in use is closed by the thread that uses it, when it is done.
// Rules: hook-safe; g_lock is held for a few instructions a thread.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

void register_block(ThreadBlock* block);
void unregister_block(ThreadBlock* block);
// In the child of fork: only this thread's block is left.
void keep_only_block(ThreadBlock* block);

void publish_numbers(const Call& call);
// Withdraws them and makes up for a close that was left to this thread.
void withdraw_numbers(Call& call);

// The table entry of `fd` is cleared already. True: whoever uses the number will close it.
bool leave_to_user(const Call& call, u32 fd, u32 mount);
// Waits until no other thread uses the number; for dup2 onto it, which needs it at once.
void wait_for_users(const Call& call, u32 fd);

} // namespace pmemfile::preload
