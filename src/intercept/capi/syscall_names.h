// Names of system calls, for the log.
#pragma once

namespace pmemfile::intercept {

// Null for a number that has no name here.
const char* syscall_name(long nr);

} // namespace pmemfile::intercept
