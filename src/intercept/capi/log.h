// INTERCEPT_LOG: one line for each intercepted call.
//
// Thread rule: open_log() from the constructor; log_call() from any thread, any
// hook: a line is one write(2) to a file opened for appending.
#pragma once

#include "intercept/engine.h"

namespace pmemfile::intercept {

enum class LogResult { Handled, Kernel, Unknown };

// A null path: no log. The path's trailing '-' gets the process id. The file is
// emptied first unless `truncate` is null or "0".
void open_log(const char* path, const char* truncate);
bool log_is_on();
void log_call(const Frame& frame, LogResult kind, long result);

} // namespace pmemfile::intercept
