// The limits of the process that concern pools: how large a file may get, how many descriptors there may be.
//
// Kept per process; read with the credentials, and again after the program changes it. Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

void read_file_size_limit(Process& process);

// The end of a call that may have made a file grow: SIGXFSZ if the limit stood in its way.
long end_of_growth(const vfs::Task& task, long result);
inline long end_of_growth(const vfs::Task& task, const Result<void>& result) { return end_of_growth(task, to_long(result)); }
inline long end_of_growth(const vfs::Task& task, const Result<u64>& result) { return end_of_growth(task, to_long(result)); }

} // namespace pmemfile::preload
