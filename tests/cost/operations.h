// The operations whose costs are pinned: each with what has to be there before.
#pragma once

#include <vector>

#include "vfs/pool.h"

namespace pmemfile::cost {

// A pool with one small directory for each operation, and what operations share.
struct Bench {
  vfs::Pool& pool;
  vfs::Task task;
  vfs::Description file; // 64 KiB of data, open for reading and writing
};

using Step = void (*)(Bench& bench);

struct Operation {
  const char* name;
  Step prepare; // not counted; may be null
  Step run;
};

// Ends the program with a message if the call failed.
void must(const char* what, int error);
// Makes what all operations use.
void furnish(Bench& bench);

extern const std::vector<Operation> operations;

} // namespace pmemfile::cost
