// The test of the tester: bugs planted into a recording or into recovery, each of which the explorer must find.
#pragma once

#include <string>

#include "crash/explorer.h"

namespace pmemfile::crash {

// Prints a line for each; returns how many were not found.
int find_planted_bugs(const std::string& dir, const Limits& limits);

} // namespace pmemfile::crash
