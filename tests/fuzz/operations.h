// Operations on a pool that may be damaged: every verb, with arguments from an input.
#pragma once

#include "fuzz/record.h"
#include "vfs/pool.h"

namespace pmemfile::fuzz {

// All records that are operations, in order. Whatever they answer is right, as long as they answer.
void operate(vfs::Pool& pool, const std::vector<Record>& records);
// Reads every name, attribute, target and byte that the roots lead to; `bounded` gives up after so many names. Returns
// the first error, 0 if there is none.
int walk_tree(vfs::Pool& pool, u64 bound);

} // namespace pmemfile::fuzz
