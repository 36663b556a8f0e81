// What several operations do with contents: zeroing what becomes visible, and bringing a file in order.
//
// Rules: hook-safe. The inode's stripe is held by the caller's Tx.
#pragma once

#include "data/data.h"
#include "data/edit.h"

namespace pmemfile::data {

// Loads the attributes under the lock. kMustFinish when an interrupted truncation has to be finished first;
// EUCLEAN for what is not a file with contents.
Result<void> load_locked(journal::Tx& tx, Ino ino, inode::Attr& attr);
inline Result<inode::Attr> load_locked(journal::Tx& tx, Ino ino) {
  inode::Attr attr;
  TRY(load_locked(tx, ino, attr));
  return attr;
}

// Announces that this Tx, which has the file's stripe, takes blocks away from it or moves them: who begins to map it denies that, and the Tx
// restarts; to replace them (data=atomic): who begins to map it waits. False: it is mapped, so its blocks stay where they are.
enum class Blocks : u8 { kMove, kReplace };
bool may_move_blocks(journal::Tx& tx, Ino ino, Blocks how = Blocks::kMove);
// Zeroes what stands in blocks between the old end of the file and `to`, so that it may become visible; durable
// after the next fence. True if anything was written.
Result<bool> zero_gap(journal::Store& store, const inode::Attr& attr, u64 to);
// Zeroes the written blocks' bytes in [from, to). True if anything was written.
Result<bool> zero_written(journal::Store& store, Ino ino, u64 from, u64 to);

// finish_truncate by who does not need what is beyond the end: what would have to wait for somebody stopped is left (inode::forget_orphan).
Result<void> finish_or_leave(journal::Store& store, Ino ino);

// Runs `body` as a Tx, after finishing an interrupted truncation if it says kMustFinish.
template <class Body>
auto run_in_order(journal::Store& store, Ino ino, journal::Opcode opcode, Body&& body) {
  for (;;) {
    auto result = journal::run_tx(store, opcode, body);
    if (PMEMFILE_LIKELY(result.error() != kMustFinish)) return result;
    if (auto finished = finish_truncate(store, ino); !finished.ok()) return decltype(result)(Error(finished.error()));
  }
}

} // namespace pmemfile::data
