// Mapping a pool file and finding out what its medium can do.
//
// Rules: system calls; at attach and detach only, never on the path of a file call.
#pragma once

#include "pmem/medium.h"

namespace pmemfile::pmem {

struct Mapped {
  Medium medium;
  u64 file_bytes = 0; // of the file or device
};
// `fd` stays the caller's. Maps `bytes` (0: all) shared; with MAP_SYNC where the file system has it.
Result<Mapped> map(int fd, u64 bytes, bool writable);
void unmap(Medium& medium);
// Size of a file, a block-like device or a device-DAX node.
Result<u64> file_bytes(int fd);
// Makes what was written to a page-cache medium durable (msync of the range); nothing to do on others.
Result<void> sync(const Medium& medium, PoolOff from, u64 size);
// Is the level to be treated as one that needs flushing although the medium does not? PMEMFILE_FORCE_FLUSH is
// for measuring; set by the rooms that know the environment.
void force_flushing(Medium& medium);

} // namespace pmemfile::pmem
