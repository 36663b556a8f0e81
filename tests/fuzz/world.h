// The pool file of a fuzzer: filled anew for each execution, attached by the real code.
#pragma once

#include "fuzz/pools.h"
#include "vfs/pool.h"

namespace pmemfile::fuzz {

// A machine that was just started, with this in the pool file.
void start(const Image& image);
// Null: refused.
vfs::Pool* attach(bool read_only = false);
// Everything must have been given back.
void detach(vfs::Pool* pool);

// Counts executions and those whose input was believed; says so at exit.
void count_execution(const char* target, bool past_validation);

} // namespace pmemfile::fuzz
