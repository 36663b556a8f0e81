// The clock without a system call: the kernel's vDSO, found once, called directly.
//
// Rules: hook-safe, any thread. vdso_start() may be called by several threads at once; where there is no vDSO the clock costs a system call.
#pragma once

#include "base/types.h"

namespace pmemfile {

void vdso_start();

// CLOCK_REALTIME_COARSE, the clock of the kernel's own file times, so that times of pool and kernel files compare.
// Nanoseconds since 1970.
i64 coarse_realtime_ns();

} // namespace pmemfile
