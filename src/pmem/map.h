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
// The mapping becomes a private copy: what this process stores stays its own. `fd`: of the same file. EINVAL: a device that has no such mappings.
Result<void> make_private(const Medium& medium, int fd);
// Size of a file or of a device-DAX node.
Result<u64> file_bytes(int fd);
// Copies from the file without a Medium of it: the bytes copied. Device-DAX nodes have no read(2).
Result<u64> read_bytes(int fd, u64 offset, void* to, u64 size);
// The medium has failed: every access of this process faults from now on,
void block_access(const Medium& medium);
// and then finds private memory of zeros: nothing that it stores reaches the pool any more.
Result<void> replace_by_zeros(const Medium& medium);
// Makes what was written to a page-cache medium durable (msync of the range); nothing to do on others.
Result<void> sync(const Medium& medium, PoolOff from, u64 size);
// Is the level to be treated as one that needs flushing although the medium does not? PMEMFILE_FORCE_FLUSH is
// for measuring; set by the rooms that know the environment.
void force_flushing(Medium& medium);

} // namespace pmemfile::pmem
