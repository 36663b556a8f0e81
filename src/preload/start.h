// The start of the library in a process. Rules: once, single-threaded.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

intercept::Verdict hook(intercept::Frame& frame);

} // namespace pmemfile::preload
