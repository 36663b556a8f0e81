// Who the caller is. In the kernel each task has credentials of its own; glibc changes those of all threads together, so all
// share one copy until a thread changes its own while there are others. Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// Reads what is not known yet, with the umask. Before the first call that needs it, and for each thread that has its own.
const vfs::Credentials& read_identity(Process& process, ThreadBlock& block);
// For a child that runs in our memory.
void copy_identity(Process& copy, const Process& from, const ThreadBlock& block);
void free_groups(Identity& identity);

inline const vfs::Credentials& credentials_of(Process& process, ThreadBlock& block) {
  return PMEMFILE_LIKELY(process.identity.known) ? process.identity.credentials : read_identity(process, block);
}

} // namespace pmemfile::preload
