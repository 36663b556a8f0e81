// Times of an inode that are newer in V than in the pool. Private to the inode room.
//
// A stripe has room for the times of one inode. They are hints of the present boot: written without a lock, dropped when
// newer ones go to the pool in a record, and made durable by fsync, last close or another inode that needs the place.
#pragma once

#include "inode/inode.h"

namespace pmemfile::inode {

void merge_volatile_times(const journal::Store& store, Attr& attr);
// The times are about to go to the pool in a record: those in V, which win over the pool's, become the same.
void match_volatile_times(const journal::Store& store, const Attr& attr);

} // namespace pmemfile::inode
