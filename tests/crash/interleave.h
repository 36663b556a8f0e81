// Two operations at once: the one is stopped at an event of its recording, the other runs, then the first goes on.
#pragma once

#include "crash/scenario.h"

namespace pmemfile::crash {

struct InterleaveOptions {
  Limits limits;
  std::string only;   // in the name
  std::string keep;   // file for the first wrong image
  u64 sample = 0;     // pairs, by chance; 0: all of them
  bool every = false; // stop at every event, not only where the state is another
  bool list = false;
  Shard shard = {};
  void (*plant)(Run& run, std::size_t second_returned) = nullptr; // a bug into each recording: the test of the tester
};

// Prints a line for each pair; returns how many were wrong.
int explore_interleaved(const InterleaveOptions& options, const std::string& dir);

} // namespace pmemfile::crash
