// Mappings of pool files: pieces of the pool file itself, so that mappings and
// read and write are coherent between all processes.
//
// Holes and pages beyond the end of the file have no access; fill_mapping() gives
// them their block at the first touch, from the fault handler.
// Rules: the table belongs to the memory of the process: shared with vfork-like
// children, copied by fork, gone after exec. Hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

extern u32 g_mapping_count; // 0: munmap and its kin pass at once
extern u64 g_mapping_changes; // counts: mapped anew, protected otherwise

enum class Fill : u8 { kNotOurs, kFilled, kBeyondEnd, kFailed };
// For the fault handler, outside a served call.
Fill fill_mapping(u64 address);
// The same for a buffer on which a call of ours has failed, after it: what of it lies in mappings gets its blocks. True if there was any.
bool fill_range(u64 address, u64 bytes);
// The pool has failed, and its blocks may soon be somebody else's: shared mappings of its files lose their access, and a touch is
// SIGBUS; private ones become copies. In the handler of a fault.
void detach_mappings(u32 mount);
// In the child of fork: nobody else is there who could hold the lock.
void reset_map_lock();

} // namespace pmemfile::preload
