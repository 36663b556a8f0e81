// Puts inodes that have lost their names into /lost+found, by the running code.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace pmemfile::vfs {
class Pool;
}

namespace pmemfile::tools {

// The pool must be sound otherwise. Returns how many got a name; `error` says why one did not.
u64 name_lost_inodes(const std::string& pool, const std::vector<u64>& inodes, std::string& error);
// The same in a pool that the caller is attached to; `error` may be null.
u64 name_lost_inodes(vfs::Pool& pool, const std::vector<u64>& inodes, std::string* error = nullptr);

} // namespace pmemfile::tools
