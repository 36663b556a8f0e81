// Walk cache: where a prefix of a path leads, so that a deep path costs as much as a shallow one.
//
// What it is: a small table of this process: (directory at which the path starts, text of all components but the last) ->
// the directory in which the last one is looked up. Only prefixes of plain names are kept: no symlinks, no dots.
//
// When an entry is right: it carries the value of segment.header->topology_sequence (V) that was read before its walk. Who
// moves or replaces a directory or changes its owner or permissions (change.h, forget_cached_paths) advances the sequence
// while holding the directory's inode stripe, before the commit, and keeps the stripe until the change is in place. A walk
// is kept only if it saw the stripe of each directory free after it had read the sequence and before it read the
// directory. So, if the sequence was read
// * before the advance: the entry has the old value and is never used again;
// * after it: the walk saw the stripe taken and is not kept, or it saw it free, and then the change was in place already.
// A change that a process dies in the middle of keeps the stripe until it is repaired, so nothing else is needed for that.
// Who removes a directory voids nothing but its own prefixes, and those by what becomes of its inode: who finds an entry looks whether the directory
// has links and its identity (walk.cc, is_linked). Those above it cannot be removed before it. Who uses an entry while the directory is
// removed finds another identity in the inode afterwards, as in any walk.
//
// Permissions: an entry is for everybody if each directory before the last one may be searched by everybody, else for the
// file system uid that owns those that may not.
//
// Rules: any thread, hook-safe; entries are guarded by a version that is odd while one is written; who finds it odd does
// without. A child of fork may inherit one that stays odd: it is then not used any more.
#pragma once

#include "vfs/walk.h"

namespace pmemfile::vfs {

inline constexpr u32 kMaxCachedPrefix = 64; // bytes
inline constexpr u32 kForEverybody = ~0u;

// A prefix as it is looked up.
struct CachedPath {
  u64 segment_id = 0, start = 0, topology = 0;
  std::string_view prefix;
};

// True: `node` is where the prefix leads, and `fsuid` may go there.
bool find_cached(const CachedPath& path, u32 fsuid, Node& node);
void keep_cached(const CachedPath& path, u32 required_uid, const Node& node);

} // namespace pmemfile::vfs
