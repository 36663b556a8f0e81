// Shared mappings of files so that huge pages can stand behind them: where memory is held in pages of 2 MiB and the mapping
// begins at a multiple of that, a first touch maps 512 blocks instead of one.
//
// Rules: system calls; at attach and when a file is made, never on the path of a file call. No state.
#pragma once

#include "base/types.h"

namespace pmemfile {

inline constexpr u64 kHugePageBytes = 2 * 1024 * 1024;

// mmap(2) of the first `bytes` of a file at a multiple of kHugePageBytes where the address space allows it; smaller files
// anywhere. The address or a negated errno. `hint`: a free place, perhaps; saves system calls (see below_library).
long map_aligned(int fd, u64 bytes, int protection, int flags, u64 hint = 0);

// A place for `bytes` in the address space below this library, with `distance` left free between: what is mapped later at the
// kernel's choice goes there. 0 if there is none.
u64 below_library(u64 bytes, u64 distance);

// Zeroed private memory, of which few pages are touched, the last ones first: they lie beside what is mapped already, so that
// they need no page tables of their own, which cost more than a page. Not in core dumps. Null: none.
void* map_near(u64 bytes);
void unmap_near(void* room, u64 bytes);

// A file on tmpfs is held in huge pages from now on as far as the kernel has some, whatever the mount or the system says
// about them by default (Linux 6.1; older ones leave it as it is). The file has its size; what is missing is allocated and zero.
// Only a matter of speed: call fallocate(2) afterwards for the rest and for the error.
void gather_in_huge_pages(int fd, u64 bytes);

} // namespace pmemfile
