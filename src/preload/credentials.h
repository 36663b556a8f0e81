// Reading the credentials of the process. Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// All of them, with the umask. At start, single-threaded.
void read_credentials(Process& process);

} // namespace pmemfile::preload
