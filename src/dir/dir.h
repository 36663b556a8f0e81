// Directories: a trie over keyed hashes of names whose leaves hold the entries (docs/format.md).
//
// Locks: an entry's leaf stripe guards the entry; the directory's inode stripe guards the shape of the trie (root,
// nodes, which leaf stands where). An insert or removal takes only the leaf, validates that the leaf is still in
// place, and so runs in parallel with others of one directory. Splits take the directory's stripe, then the leaf.
// Rules: hook-safe. Names are 1 to 255 bytes without '/' and NUL, and neither "." nor "..": callers check.
#pragma once

#include <string_view>

#include "journal/tx.h"

namespace pmemfile::dir {

struct Entry {
  u64 key = 0;
  Ino ino{};
  u8 type = 0; // DT_*
};

// Lock-free, with its own validation. ENOENT; ENOTDIR if `dir` is not a directory; ESTALE if it is gone.
Result<Entry> lookup(journal::Store& store, Ino dir, std::string_view name);

// The same, with what shows later in one load that the entry (or its absence) has not changed since: the stripe of its
// leaf and that stripe's sequence at the time. For the path walk, which reads the inode before it believes the entry.
struct LookupProof {
  shm::LockKey leaf{};
  u32 sequence = 0;
  bool holds(const journal::Store& store) const {
    acquire_fence();
    // An odd one was read while a writer was about to commit, which it would not show.
    return (sequence & 1) == 0 && load_relaxed(store.segment.stripe(leaf).sequence) == sequence;
  }
};
Result<void> lookup_proved(journal::Store& store, Ino dir, std::string_view name, LookupProof& proof, Entry& entry);

// Where a name stands or would stand, found and locked in a Tx: its leaf's stripe is held until the Tx ends, so
// neither the entry nor its absence changes.
struct Slot {
  Ino dir{};
  u64 hash_key = 0; // of the name, disambiguator 0
  BlockNo leaf{};   // 0: the directory has no leaf there yet
  u32 prefix_bits = 0; // of the leaf's place
  bool found = false;
  u32 cell = 0;     // if found
  Entry entry;      // if found
};
// ESTALE when the directory has been removed (also if it is still open), or is not the one of `identity` (the inode's word, with its
// generation; 0: whichever), as its number may have been used again since it was found; ENOTDIR. Whether there is room for a new
// entry shows only at insert. Where the directory has no leaf yet, its own stripe is held instead of a leaf's.
Result<void> lock_entry(journal::Tx& tx, Ino dir, std::string_view name, Slot& slot, u64 identity = 0);
// Makes sure that `name` can be inserted; commits of its own. Call it outside of any Tx whenever insert returned
// kNeedsRoom, then run the operation again; others may take the room first, so that this can repeat. ENOSPC.
inline constexpr int kNeedsRoom = 1002;
Result<void> make_room(journal::Store& store, Ino dir, std::string_view name);

// Stages a new entry; returns its key. The slot must say found == false (or its entry's removal is staged).
// kNeedsRoom: see make_room. ENOSPC.
Result<u64> insert(journal::Tx& tx, Slot& slot, std::string_view name, Ino ino, u8 type);
// Stages the removal of a found entry.
Result<void> remove(journal::Tx& tx, const Slot& slot);
// Stages that a found entry names another inode (rename over it).
Result<void> replace(journal::Tx& tx, const Slot& slot, Ino ino, u8 type);

// For rmdir and rename: proves in the Tx that the directory is empty and keeps it so until the Tx ends: the caller
// holds the directory's inode stripe; locks its leaves. ENOTEMPTY. Call shrink first: it frees empty leaves of a
// directory that once was large, so that few locks suffice; kRecordFull if more than four empty leaves have come
// into being again: call shrink, then run the operation again. shrink stops at the first leaf that is not empty.
Result<void> lock_empty(journal::Tx& tx, Ino dir);
Result<void> shrink(journal::Store& store, Ino dir);
// Frees the trie of a directory that is unreachable and empty; restartable, several commits. EAGAIN: somebody who is stopped is in the way.
Result<void> free_trie(journal::Store& store, Ino dir);
// Stages the release of what is left (at most one leaf) together with the caller's own removal of the directory;
// kRecordFull if it is more: then free_trie.
Result<void> release_trie(journal::Tx& tx, Ino dir);

// Reading in order of keys. Cookies: 0 start; key + 3 of the entry just read resumes behind it; "." and ".." (1
// and 2) are the caller's business. The visitor returns false to stop before this entry.
struct Listed {
  std::string_view name; // valid only inside the visitor; a private copy
  Ino ino{};
  u8 type = 0;
  u64 cookie = 0;
};
using Visitor = bool (*)(void* context, const Listed& entry);
Result<void> list(journal::Store& store, Ino dir, u64 cookie, Visitor visit, void* context);

// The name of the entry with this key (getcwd): copies it into `name` and returns its length. ENOENT.
Result<u32> name_of_key(journal::Store& store, Ino dir, u64 key, char (&name)[256]);

} // namespace pmemfile::dir
