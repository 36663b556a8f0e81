// What the verbs that change names have in common.
//
// Every verb is: walk to the parent without a lock, check permissions there, then one operation that locks what the walk
// found, looks again, and starts over if it has changed meanwhile (kChanged).
// Rules: hook-safe; internal to the room.
#pragma once

#include "vfs/names.h"
#include "vfs/open_files.h"
#include "vfs/walk.h"

namespace pmemfile::vfs {

using journal::Opcode;
using journal::Store;
using journal::Tx;

// What was looked up before locking has changed; the operation begins again.
inline constexpr int kChanged = 1020;
// Each time somebody else made progress; a pool that never comes to rest is damaged.
inline constexpr unsigned kMaxRestarts = 100000;
inline constexpr u32 kMaxLinks = 0xffffffff;

// Runs `body(tx)` as one operation until it neither wants room nor finds that something changed. `prepare(error)` is called
// between two operations for kNeedsRoom (a directory has no room for a name) and kRecordFull (too much for one record).
template <class Prepare, class Body>
auto run_change(Store& store, Opcode opcode, Prepare&& prepare, Body&& body) -> decltype(body(*static_cast<Tx*>(nullptr))) {
  return with_space(store, [&]() -> decltype(body(*static_cast<Tx*>(nullptr))) {
    for (unsigned i = 0; i < kMaxRestarts; ++i) {
      auto result = journal::run_tx(store, opcode, body);
      // A directory that was removed has no names.
      if (PMEMFILE_UNLIKELY(result.error() == ESTALE)) return Error(ENOENT);
      if (PMEMFILE_LIKELY(result.error() < journal::kRetryTx)) return result;
      if (result.error() == kChanged) continue;
      Result<void> prepared = prepare(result.error());
      if (!prepared.ok()) return Error(prepared.error() == ESTALE ? ENOENT : prepared.error());
    }
    return Error(kErrnoCorrupt);
  });
}
// For operations that need no room: whatever they want, the pool is damaged.
inline Result<void> nothing_to_prepare(int) { return Error(kErrnoCorrupt); }

inline Result<void> check_writable(const Store& store) {
  if (PMEMFILE_UNLIKELY(!store.medium.writable)) return Error(EROFS);
  return {};
}
// What is looked up or made in a directory has to fit an entry; that the directory has been removed is said first.
inline Result<void> check_length(const Node& dir, std::string_view name) {
  if (PMEMFILE_UNLIKELY(name.size() > layout::kMaxNameBytes)) return Error(dir.nlink == 0 ? ENOENT : ENAMETOOLONG);
  return {};
}
inline bool may_change_names(const Task& task, const Node& dir) {
  return permitted(*task.credentials, dir.mode, dir.uid, dir.gid, kWrite | kExecute);
}
// In a sticky directory only the owner of the file or of the directory removes names.
inline bool sticky_forbids(const Task& task, const Node& dir, const inode::Attr& victim) {
  const Credentials& who = *task.credentials;
  return (dir.mode & kSticky) != 0 && who.fsuid != victim.uid && who.fsuid != dir.uid && (who.capabilities & kCapFowner) == 0;
}
inline bool owns(const Task& task, const inode::Attr& attr) {
  return task.credentials->fsuid == attr.uid || (task.credentials->capabilities & kCapFowner) != 0;
}

// Voids every cached prefix of paths (walk_cache.h). Called with the inode stripe held of the directory whose prefixes
// become wrong, before the commit.
inline void forget_cached_paths(Store& store) { fetch_add(store.segment.header->topology_sequence, u64{1}); }

inline bool owns_blocks(const inode::Attr& attr) {
  return is_regular(attr.mode) || (is_link(attr.mode) && attr.size > layout::kInlineTargetBytes);
}

// For the caller of the verb, who may have something that stands for the inode outside of the pool.
inline void note_gone(Task& task, const inode::Attr& attr) {
  u32 type = attr.mode & kTypeMask;
  task.gone = attr.nlink == 0 && (type == kTypeFifo || type == kTypeSocket) ? Task::Gone{attr.ino, attr.generation, attr.mode} : Task::Gone{};
}

// What becomes of an inode that loses its last link.
struct Ended {
  Ino ino{};
  u64 word = 0;         // of Process::pending, of an orphan; 0: none
  bool claimed = false; // nobody uses it and only this operation frees it; else it is left to its users,
  LeftInode left;       // or not, as they have gone meanwhile
};
// Stages the end of an inode that has just lost its last link (attr.nlink is 0; the caller holds its stripe and has not
// stored attr): frees it in this very record if nobody uses it and it is small enough, otherwise puts it into an orphan
// list.
Result<void> stage_last_unlink(Tx& tx, inode::Attr& attr, Ended& ended);
// Right after the commit, and when the operation is over: frees what is nobody's.
void settle_ended(Tx& tx, Ended& ended);
void free_ended(Pool& pool, Ended& ended);
// Notes in this process's entry that an inode without links is about to be made by an operation in `slot`, for who buries the
// process should it die before the inode has a user; clears nothing itself. Null: no room, so the next recovery of the pool frees it.
// Until the operation has committed the slot says so, too: repair strikes the note off if the inode was not made, as another one
// may be made under the same number and generation.
u64* note_unnamed(Store& store, u32 slot, Ino ino, u64 generation);

} // namespace pmemfile::vfs
