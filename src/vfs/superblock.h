// Reading and rewriting the superblocks' state. Private to the vfs room (and used by tools through Pool).
#pragma once

#include "journal/store.h"

namespace pmemfile::vfs {

// The geometry of the pool behind `fd`, from either copy; kNone if valid.
layout::GeometryFault read_geometry(int fd, u64 file_bytes, layout::Geometry* geometry);
// The valid copy with the higher sequence. EUCLEAN if there is none.
Result<layout::State> read_state(const pmem::Medium& medium);
// Writes the next state (sequence + 1) into the other copy and makes it durable.
void write_state(const pmem::Medium& medium, layout::State state);

} // namespace pmemfile::vfs
