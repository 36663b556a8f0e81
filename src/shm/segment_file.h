// The file of V: planning its layout, making it, opening it, checking it.
//
// What it is: <shm_dir>/pmemfile-<device hex>-<inode hex> of the pool, with the pool's owner, group and mode, every page
// of it allocated, so that no store into it can kill by SIGBUS. The layout follows from the pool's geometry alone.
// Who may make one: only a process that has the pool's kernel lock exclusively (docs/architecture.md, "Processes").
// Rules: hook-safe; called at attach, by one thread.
#pragma once

#include "base/result.h"
#include "base/text.h"
#include "layout/layout.h"
#include "shm/segment.h"

namespace pmemfile::shm {

inline constexpr char kDefaultShmDir[] = "/dev/shm";

// Of the pool's file.
struct PoolIdentity {
  u64 dev = 0, ino = 0;
  u8 uuid[16] = {};
  u32 mode = 0, uid = 0, gid = 0; // mode: permission bits
  char path[256] = {};            // absolute; empty if unknown
};

// Which file is meant: as in the pool's superblock (layout::State).
struct SegmentIdentity {
  u64 dev = 0, ino = 0, id = 0;
};

// A header with offsets and counts filled in, the rest 0.
SegmentHeader plan_segment(const layout::Geometry& geometry);

// Makes a fresh V under a temporary name and renames it to its place. `shm_dir` null: kDefaultShmDir. EPERM: the place is
// taken by something that is not a V of this pool's users (a symlink, a directory, somebody else's file); ENOSPC: the
// directory's file system has no room for all of it.
Result<Segment> create_segment(const char* shm_dir, const PoolIdentity& pool, const SegmentHeader& plan, u64 record_epoch);

// One for this process alone, in a memory file; nobody else finds it.
Result<Segment> create_own_segment(const PoolIdentity& pool, const SegmentHeader& plan, u64 record_epoch);

// Removes Vs of pools that are gone: their path leads nowhere or to another file, and nobody is attached to them. Called
// when a V is made, which takes its time anyway, so that scratch pools do not fill the directory with what they leave. And
// whatever is named `own_prefix...`: unfinished Vs, and what stood for names, of the pool whose exclusive lock the caller has.
void remove_stale_segments(int dir_fd, const char* own_prefix);
inline constexpr char kNamesInfix[] = ".names-"; // between V's name and an id

// Opens the V that is named. ENOENT: there is none in this directory; EPERM: what has its name is not a regular file;
// ESTALE: it is another V than the one named; EPROTONOSUPPORT: made by another version; EUCLEAN: damaged.
Result<Segment> open_segment(const char* shm_dir, const PoolIdentity& pool, const SegmentIdentity& named,
                             const SegmentHeader& plan, bool writable = true);
// The same from a descriptor that was passed on; the descriptor belongs to the Segment afterwards (not on failure).
Result<Segment> adopt_segment(int fd, const PoolIdentity& pool, const SegmentIdentity& named, const SegmentHeader& plan,
                              bool writable = true);

Result<Segment> adopt_own_segment(int fd, const PoolIdentity& pool, const SegmentHeader& plan);

// Directory beside V for the kernel's objects that stand for names of the pool; gone with V. Who makes it: preload/stand_ins.h.
void put_names_dir(Text& path, const char* shm_dir, const Segment& v);

Result<SegmentIdentity> identity_of(const Segment& v);

// This process's mapping becomes a private copy: nothing that it stores reaches the others any more.
Result<void> make_private(const Segment& v);
// Unmaps and closes; V lives on.
void unmap_segment(Segment& v);
// Removes the name, if it still names this V: only under the pool's exclusive kernel lock.
void unlink_segment(const char* shm_dir, const PoolIdentity& pool, const Segment& v);

} // namespace pmemfile::shm
