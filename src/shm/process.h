// Attached processes: their entries in V and the tokens by which the kernel says who is alive.
//
// What it is: an entry is used by the process that holds a write lock on byte 1 + index of V's file through an open
// file description of its own (an OFD lock): death drops it, nothing else does. Who gets the lock of an entry that
// is free owns the entry; an entry that is not free while nobody holds its lock belongs to the dead.
// Repair of a dead entry is claimed in its `claim` word, stamped with the repairer, who may die as well.
// Rules: hook-safe; any thread. Registering costs two system calls.
#pragma once

#include "base/result.h"
#include "shm/segment.h"

namespace pmemfile::shm {

enum class ProcessState : u32 {
  kFree,
  kPrepared, // for a child that does not run yet; its token is held by the parent
  kLive,
  kUnburied, // dead; slots and stripes are repaired, its descriptors or pending inodes are not dropped yet
  kTransit,  // no process: a descriptor in a message; its token is held by what carries it (vfs/transit.h)
};

inline constexpr unsigned kPendingInodes = 6;
inline constexpr unsigned kPendingGenerationShift = 44;
// Nobody is at it: somebody stopped was in the way. The process tries again at its next open, and who buries it.
inline constexpr u64 kPendingLeft = u64{1} << 62;

struct alignas(64) Process {
  u64 claim;      // pack() of who repairs the entry; 0: nobody
  u32 generation; // of the present use, or of the last one; never 0 in use
  u32 state;      // ProcessState
  i32 pid;        // in its own pid namespace
  u32 posix_locks; // not 0: it has had record locks; its closes look for them
  // Handle tables (handles.h), one for descriptor numbers, one for private handles: page + 1 of the first leaf, and of
  // the top node for all others.
  u64 first_leaf[2];
  u64 top_node[2];
  u64 waits_for;  // pack() of who holds the record lock that it waits for (EDEADLK)
  // Inodes without links that lost their last user here and are being freed:
  // ino, generation << kPendingGenerationShift (without its upper bits), kPendingLeft.
  u64 pending[kPendingInodes];
  u64 carrier;    // kTransit: inode number of the kernel's object that carries it; 0: none yet
  u64 unlinked_pages; // handles.h: not 0: some of its pages may not be found through its tables
};
static_assert(sizeof(Process) == 128);

struct alignas(64) ProcessTable {
  u64 hint;     // lowest entry that may be free
  u64 sweep;    // next entry to be asked about in passing
  u64 unburied; // not 0: some entry may be in state kUnburied
  u64 claims;   // at least the number of entries that are claimed
  u64 occupied; // entries that are not free, or more after a kill: 0 proves that everybody left in order
  u64 buried;   // dead processes that were repaired, ever: an inode without a name may have lost its only user with one
  u64 used;     // one more than the highest entry that was ever taken
  u64 forgotten; // not 0: an inode without links and users may stand in an orphan list that no entry's `pending` notes
};
static_assert(sizeof(ProcessTable) == 64);

inline ProcessTable& process_table(const Segment& v) { return *v.at<ProcessTable>(v.header->processes_offset); }
inline Process& process_entry(const Segment& v, u32 index) {
  return v.at<Process>(v.header->processes_offset + sizeof(ProcessTable))[index];
}
// Null for a reference that cannot be one.
inline Process* find_process(const Segment& v, ProcessRef ref) {
  if (ref.index_plus_1 == 0 || ref.index_plus_1 > v.header->process_count) return nullptr;
  return &process_entry(v, ref.index_plus_1 - 1);
}

// A new open file description of V (the descriptor is close-on-exec). Works through /proc, so that a V that was
// removed or lies in another mount namespace by now is still the same one.
Result<int> reopen_segment(int segment_fd);

// Instead of a token's descriptor: after rights were lost no new description of V can be had, so the process holds a classic
// POSIX lock, which goes when it closes any descriptor of V: it never does while it lives.
inline constexpr int kClassicToken = -2;

struct Registered {
  ProcessRef ref;
  int token_fd = -1; // keeps the process alive in the eyes of the others; close-on-exec
};
// Finds a free entry and takes it for a process with this pid. If there is none, one of a dead process: `inherit` (null: not
// tried) is called with `v.self` being the dead one, to complete what it was doing and drop what it had. ENFILE: every
// entry is in use.
using InheritFn = void (*)(void* context);
Result<Registered> register_process(Segment& v, i32 pid, ProcessState state, InheritFn inherit, void* context);

// A prepared child's classic token: given up by the parent, taken by the child (which waits for that). False: somebody took
// the child for dead, because its parent was killed in between; its descriptors are lost.
void give_classic_token(const Segment& v, ProcessRef child);
bool take_classic_token(Segment& v, ProcessRef self);

// The process's own end: its handles have been dropped. Closes the token.
void release_process(Segment& v, ProcessRef ref, int token_fd);

// Is the process of this reference still there? By the kernel's word; one system call. False also if the entry has
// been repaired since. Never true for 0.
bool process_alive(const Segment& v, int segment_fd, ProcessRef ref);

// The right to repair `dead`: false if it needs no repair (any more), lives, or somebody alive is at it. `before`: who had
// the right and died over it.
bool claim_repair(Segment& v, ProcessRef dead, ProcessRef* before = nullptr);
// Gives the claim back; `freed`: the entry is empty and may be used again.
void end_repair(Segment& v, ProcessRef dead, bool freed);
// Gives it back to the one who had it before and died over it: what that one was at is not completed yet, and whoever comes next has to know.
void hand_back_repair(Segment& v, ProcessRef dead, ProcessRef before);
// A repairer that was killed when it had just freed the entry left its claim there: takes it away, so that the entry can be
// used again. True if the entry is not claimed any more.
bool drop_dead_claim(Segment& v, u32 index);
// After exec: the threads that had claimed something are gone.
void drop_own_claims(Segment& v);

} // namespace pmemfile::shm
