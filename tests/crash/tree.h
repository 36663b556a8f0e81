// What a program could see in a pool: names, types, modes, owners, link counts, sizes, contents, targets, attributes.
// Times are left out: they may lag (docs/architecture.md).
#pragma once

#include <map>
#include <string>

#include "vfs/pool.h"

namespace pmemfile::crash {

// Path -> everything about it. An error found on the way is an entry, too, and so makes a difference.
using Tree = std::map<std::string, std::string>;
Tree visible_tree(vfs::Pool& pool);
std::string difference(const Tree& expected, const Tree& found);

// Who all operations of the crash tests are made by.
vfs::Task superuser(vfs::Pool& pool);

} // namespace pmemfile::crash
