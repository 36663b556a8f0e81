// Times of an inode that are newer in V than in the pool. Private to the inode room and to who reads them beside it.
//
// A stripe has room for one modification time, one change time and one access time, each with the inode it belongs to. They are hints
// of the present boot: written without a lock, dropped when newer ones go to the pool in a record, and made durable by fsync, last close or
// another inode that needs the place. Owner and time change by one instruction, so that who is stopped or dies in between gives nobody the
// time of another.
#pragma once

#include "inode/inode.h"

namespace pmemfile::inode {

// Not the number alone: the next inode of that number has another generation.
constexpr u64 times_owner(Ino ino, u64 generation) { return raw(ino) | generation << 40; }
constexpr Ino ino_of_owner(u64 owner) { return Ino{owner & ((u64{1} << 40) - 1)}; }
static_assert(layout::kMaxPoolBytes / layout::kInodeBytes <= u64{1} << 40);

// The time, if it is the owner's; else 0. That owner or time are those of two different moments does not go unnoticed: who takes the
// place of an owner that has a time writes it to the pool, under the stripe whose sequence the reader validates.
inline i64 newer_time(const WordPair& pair, u64 owner) {
  if (load_acquire(pair.first) != owner) return 0;
  u64 time = load_acquire(pair.second);
  return load_relaxed(pair.first) == owner ? static_cast<i64>(time) : 0;
}

void merge_volatile_times(const journal::Store& store, Attr& attr);
// The times are about to go to the pool in a record: those in V, which win over the pool's, become the same.
void match_volatile_times(const journal::Store& store, const Attr& attr);

} // namespace pmemfile::inode
