// What the shared volatile segment of a pool says: for `pmemfile info --live`.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "layout/layout.h"
#include "tools/common.h"

namespace pmemfile::tools {

// Reads V without attaching; on failure `error` says why there is nothing to show.
nlohmann::ordered_json read_live(const PoolFile& pool, const layout::Geometry& geometry, const layout::State& state,
                                 std::string& error);
void print_live(const nlohmann::ordered_json& live);

} // namespace pmemfile::tools
