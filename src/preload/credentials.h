// Reading the credentials of the process. Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// All of them, with the umask; before the first call that needs them.
void read_credentials(Process& process);

} // namespace pmemfile::preload
