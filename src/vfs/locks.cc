// flock(2), POSIX record locks and OFD locks: conflicts, waiting, deadlock, splitting and merging of ranges.
//
// A lock's holder may be dead: who is in its way asks the kernel, buries the holder and looks again.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "vfs/open_files.h"

namespace pmemfile::vfs {
namespace {

using shm::FileLock;
using shm::FileLockKind;
using shm::LockList;
using shm::OpenDescription;
using shm::Process;
using shm::ProcessRef;
using shm::VTx;

struct Request {
  FileLockKind kind{};
  u64 owner = 0;
  bool unlock = false, exclusive = false;
  u64 start = 0, last = shm::kWholeFile; // both included
};

bool is_record(FileLockKind kind) { return kind != FileLockKind::kFlock; }
FileLockKind kind_of(const FileLock& lock) { return static_cast<FileLockKind>(lock.shape & shm::kLockKindMask); }
bool exclusive(const FileLock& lock) { return (lock.shape & shm::kLockExclusive) != 0; }
bool owned(const FileLock& lock, const Request& r) { return kind_of(lock) == r.kind && lock.owner == r.owner; }
bool overlaps(const FileLock& lock, u64 start, u64 last) { return lock.start <= last && start <= lock.last; }
// Do the ranges overlap or follow one upon the other?
bool touches(const FileLock& lock, u64 start, u64 last) {
  return (lock.last == shm::kWholeFile || start <= lock.last + 1) && (last == shm::kWholeFile || lock.start <= last + 1);
}

// The locks of one list; file_locks_key is held. Bounded, whatever stands in V.
template <class Body>
void each_lock(const shm::Segment& v, const LockList& list, Body&& body) {
  u64 next = list.locks;
  for (u64 steps = 0; next != 0 && steps < v.header->file_lock_count; ++steps) {
    FileLock* lock = shm::file_lock_at(v, next - 1);
    if (lock == nullptr) return;
    next = lock->next_plus_1;
    body(*lock);
  }
}

// The conflicting lock that begins first; null: none.
FileLock* find_conflict(const shm::Segment& v, const LockList& list, const Request& r) {
  FileLock* found = nullptr;
  each_lock(v, list, [&](FileLock& lock) {
    if (is_record(kind_of(lock)) != is_record(r.kind) || owned(lock, r)) return;
    if (!(exclusive(lock) || r.exclusive) || !overlaps(lock, r.start, r.last)) return;
    if (found == nullptr || lock.start < found->start) found = &lock;
  });
  return found;
}

// ---- Changing the list --------------------------------------------------------------------------------------------

Result<FileLock*> claim_lock(shm::Segment& v, VTx& tx) {
  u32& hint = shm::slot_hints(v, tx.slot()).file_lock;
  u64 count = v.header->file_lock_count, index = hint < count ? hint : 0;
  for (u64 i = 0; i < count; ++i) {
    FileLock* lock = shm::file_lock_at(v, index);
    if (tx.claim(lock->in_use, 1)) {
      hint = static_cast<u32>(index + 1);
      return lock;
    }
    index = index + 1 == count ? 0 : index + 1;
  }
  return Error(ENOLCK);
}

u64 number_of(const shm::Segment& v, const FileLock& lock) { return static_cast<u64>(&lock - shm::file_lock_at(v, 0)) + 1; }

void fill(FileLock& lock, const Request& r, u64 start, u64 last, u64 holder, u64 next) {
  store_relaxed(lock.start, start);
  store_relaxed(lock.last, last);
  store_relaxed(lock.owner, r.owner);
  store_relaxed(lock.holder, holder);
  store_relaxed(lock.shape, static_cast<u64>(r.kind) | (r.exclusive ? shm::kLockExclusive : 0));
  store_relaxed(lock.next_plus_1, next);
}

// The range that a new lock has together with those of its kind that it overlaps or touches.
void merge_range(const shm::Segment& v, const LockList& list, Request& r) {
  for (u64 round = 0; round < v.header->file_lock_count; ++round) {
    u64 start = r.start, last = r.last;
    each_lock(v, list, [&](FileLock& lock) {
      if (!owned(lock, r) || exclusive(lock) != r.exclusive || !touches(lock, r.start, r.last)) return;
      r.start = min_of(r.start, lock.start);
      r.last = max_of(r.last, lock.last);
    });
    if (start == r.start && last == r.last) return;
  }
}

// Cuts [start, last] out of one's own other locks; `keep` is the new one. Every step is whole; the stripe is held
// until the last, and a process that dies in between loses its locks anyway.
void cut_out(shm::Segment& v, VTx& tx, LockList& list, const Request& r, const FileLock* keep) {
  u64* link = &list.locks;
  for (u64 steps = 0; *link != 0 && steps < v.header->file_lock_count; ++steps) {
    FileLock* lock = shm::file_lock_at(v, *link - 1);
    if (lock == nullptr) return;
    if (lock == keep || !owned(*lock, r) || !overlaps(*lock, r.start, r.last)) {
      link = &lock->next_plus_1;
      continue;
    }
    if (lock->start < r.start) {
      tx.store(lock->last, r.start - 1);
    } else if (lock->last > r.last) {
      tx.store(lock->start, r.last + 1);
    } else {
      tx.store(*link, lock->next_plus_1);
      tx.release(lock->in_use);
      tx.commit();
      continue; // `link` names the next one now
    }
    tx.commit();
    link = &lock->next_plus_1;
  }
}

// No conflict: the owner's locks in the range become what the request says. ENOLCK leaves everything as it was: whatever
// needs room comes first.
Result<void> apply(shm::Segment& v, VTx& tx, LockList& list, Request r, u64 holder) {
  FileLock* around = nullptr; // one's own lock that reaches beyond the range at both ends
  bool done = false, others = false; // those of somebody who shared them and died while he changed them
  each_lock(v, list, [&](FileLock& lock) {
    if (!owned(lock, r)) return;
    bool covers = !r.unlock && exclusive(lock) == r.exclusive && lock.start <= r.start && lock.last >= r.last;
    done |= covers;
    others |= !covers && overlaps(lock, r.start, r.last);
    if (lock.start < r.start && lock.last > r.last) around = &lock;
  });
  if (done && !others) return {};
  note_lock_change(list);
  u64 head = list.locks;
  if (around != nullptr) {
    FileLock* rest = TRY(claim_lock(v, tx));
    Request other = r;
    other.exclusive = exclusive(*around);
    fill(*rest, other, r.last + 1, around->last, around->holder, head);
    tx.store(around->last, r.start - 1);
    head = number_of(v, *rest);
  }
  FileLock* fresh = nullptr;
  if (!r.unlock) {
    fresh = TRY(claim_lock(v, tx)); // on failure the claim above goes with the operation
    merge_range(v, list, r);
    fill(*fresh, r, r.start, r.last, holder, head);
    head = number_of(v, *fresh);
  }
  tx.store(list.locks, head);
  tx.commit();
  cut_out(v, tx, list, r, fresh);
  return {};
}

// ---- Waiting --------------------------------------------------------------------------------------------------------

// Would waiting for `holder` close a circle of processes that wait for each other's record locks? As deep as Linux looks.
bool would_deadlock(const shm::Segment& v, ProcessRef holder) {
  constexpr unsigned kMaxDepth = 10;
  for (unsigned depth = 0; depth < kMaxDepth; ++depth) {
    if (holder == v.self) return true;
    Process* entry = shm::find_process(v, holder);
    if (entry == nullptr || load_acquire(entry->generation) != holder.generation || !shm::process_alive(v, v.fd, holder)) return false;
    u64 next = load_acquire(entry->waits_for);
    if (next == 0) return false;
    holder = shm::unpack_process(next);
  }
  return false;
}

void set_waits_for(const shm::Segment& v, u64 holder) {
  if (Process* self = shm::find_process(v, v.self)) store_full(self->waits_for, holder);
}

// A lock of a description outlives who took it, in children and in messages, and goes with the last of them. A waiter asks about
// some of them each time, so that many waiters and many processes do not make much work.
bool bury_sharers(Pool& pool, bool all) {
  constexpr unsigned kQuestions = 16;
  const u64& buried = shm::process_table(open_tables(pool)).buried;
  u64 before = load_acquire(buried);
  if (all)
    bury_all_dead(pool);
  else
    bury_dead(pool.store(), kQuestions);
  return load_acquire(buried) != before;
}

// True if the lock's holder was dead and not buried yet: what it had is gone now, or will be by whoever is at it. `all`: the answer
// is final.
bool bury_holder(Pool& pool, ProcessRef holder, FileLockKind kind, bool all) {
  const shm::Segment& v = open_tables(pool);
  bool lives = holder == v.self || shm::process_alive(v, v.fd, holder);
  if (lives) return kind != FileLockKind::kPosix && bury_sharers(pool, all);
  Process* entry = shm::find_process(v, holder);
  bool unburied = entry != nullptr && load_acquire(entry->generation) == holder.generation &&
                  load_acquire(entry->state) != static_cast<u32>(shm::ProcessState::kFree);
  if (unburied) bury(pool, holder, inode::Wait::kYes);
  if (kind != FileLockKind::kPosix) unburied |= bury_sharers(pool, true);
  return unburied;
}

struct Obstacle {
  LockList* list = nullptr;
  u32 changes = 0;
  ProcessRef holder;
  FileLockKind kind{};
};

bool interrupted(const Task& task) { return task.interrupted != nullptr && *task.interrupted != 0; }

// Sleeps until some lock of the inode goes; EINTR by a signal.
Result<void> wait_for_change(Task& task, Obstacle& obstacle) {
  for (;;) {
    if (interrupted(task)) return Error(EINTR);
    store_full(obstacle.list->lock_waiters, 1u);
    int woken = shm::futex_wait(obstacle.list->lock_changes, obstacle.changes, shm::kLivenessCheckNs);
    if (woken == EINTR && task.interrupted == nullptr) return Error(EINTR);
    if (load_acquire(obstacle.list->lock_changes) != obstacle.changes) return {};
    // Interrupted by a signal that is nobody's counts as timed out: one that comes often would put off the question for ever.
    if (woken != 0 && bury_holder(*task.pool, obstacle.holder, obstacle.kind, false)) return {};
  }
}

// A process whose lock has come waits for it on paper until it runs: a circle is one that stays. EINTR by a signal.
Result<bool> circle_stays(Task& task, Obstacle& obstacle) {
  constexpr unsigned kLooks = 40;
  constexpr u64 kBetweenNs = 5'000'000;
  for (unsigned i = 0; i < kLooks; ++i) {
    if (interrupted(task)) return Error(EINTR);
    store_full(obstacle.list->lock_waiters, 1u);
    shm::futex_wait(obstacle.list->lock_changes, obstacle.changes, kBetweenNs);
    if (load_acquire(obstacle.list->lock_changes) != obstacle.changes || !would_deadlock(open_tables(*task.pool), obstacle.holder)) return false;
  }
  return true;
}

// So that the close of what the owner has looks for its locks.
void mark_locked(const shm::Segment& v, OpenDescription& description, const Request& r) {
  if (r.kind != FileLockKind::kPosix)
    store_release(description.file_locks, u64{1});
  else if (Process* self = shm::find_process(v, v.self))
    store_release(self->posix_locks, 1u);
}

// The file whose locks are guarded from here on, for one of its descriptions. EBADF: that was closed meanwhile.
Result<Ino> lock_file_locks(const shm::Segment& v, VTx& tx, OpenDescription& description) {
  Ino ino{load_relaxed(description.ino)};
  tx.lock(shm::description_key(v, static_cast<u64>(&description - shm::description_at(v, 0))), shm::file_locks_key(v, ino));
  if (description.refs == 0 || description.ino != raw(ino)) return Error(EBADF);
  return ino;
}

// One attempt: applied, or EAGAIN with what stood in the way. EBADF: the description was closed meanwhile.
Result<void> attempt(Pool& pool, OpenDescription& description, const Request& r, Obstacle* obstacle) {
  shm::Segment& v = open_tables(pool);
  VTx tx(v, pool.store().waiter, shm::slot_hint(v));
  Ino ino = TRY(lock_file_locks(v, tx, description));
  if (r.unlock && shm::find_lock_list(v, ino) == nullptr) return {};
  LockList* list = TRY(make_lock_list(v, tx, ino));
  if (!r.unlock) mark_locked(v, description, r);
  // As Linux: converting an flock gives the old one up first.
  bool convert = r.kind == FileLockKind::kFlock && !r.unlock;
  bool dropped = false;
  if (convert) {
    bool same = false;
    each_lock(v, *list, [&](FileLock& lock) { same = same || (owned(lock, r) && exclusive(lock) == r.exclusive); });
    if (same) return {};
    dropped = drop_locks(v, tx, *list, r.kind, r.owner);
  }
  FileLock* conflict = r.unlock ? nullptr : find_conflict(v, *list, r);
  if (conflict != nullptr) {
    obstacle->list = list;
    obstacle->changes = load_acquire(list->lock_changes);
    obstacle->holder = shm::unpack_process(conflict->holder);
    obstacle->kind = kind_of(*conflict);
    if (dropped) wake_lock_waiters(*list);
    return Error(EAGAIN);
  }
  TRY(apply(v, tx, *list, r, pack(v.self)));
  wake_lock_waiters(*list);
  return {};
}

Result<void> set_lock(Task& task, OpenDescription& description, const Request& r, bool wait) {
  Pool& pool = *task.pool;
  const shm::Segment& v = open_tables(pool);
  bool posix = r.kind == FileLockKind::kPosix;
  i64 asked_ns = inode::now_ns();
  for (;;) {
    Obstacle obstacle;
    auto result = with_room(pool, [&] { return attempt(pool, description, r, &obstacle); });
    if (result.error() != EAGAIN) return result;
    if (!wait) {
      // The dead hold nothing: but only the kernel knows who is dead.
      bool buried = bury_holder(pool, obstacle.holder, obstacle.kind, true);
      if (buried && load_acquire(obstacle.list->lock_changes) != obstacle.changes) continue;
      if (!buried && obstacle.kind == FileLockKind::kPosix) return result;
      // Not again and again: what one of the dead left may have to wait for somebody who is stopped.
      Obstacle again;
      return with_room(pool, [&] { return attempt(pool, description, r, &again); });
    }
    if (posix && obstacle.kind == FileLockKind::kPosix) {
      set_waits_for(v, pack(obstacle.holder));
      if (would_deadlock(v, obstacle.holder)) {
        Result<bool> stays = circle_stays(task, obstacle);
        if (!stays.ok() || stays.value()) {
          set_waits_for(v, 0);
          return Error(stays.ok() ? EDEADLK : stays.error());
        }
      }
    }
    auto waited = wait_for_change(task, obstacle);
    if (posix) set_waits_for(v, 0);
    TRY(waited);
    // Where others lock and unlock all the time, no wait lasts until it is time to ask.
    i64 now = inode::now_ns();
    if (now - asked_ns < static_cast<i64>(shm::kLivenessCheckNs)) continue;
    asked_ns = now;
    (void)bury_holder(pool, obstacle.holder, obstacle.kind, false);
  }
}

// ---- struct flock ---------------------------------------------------------------------------------------------------

Result<void> range_of(Task& task, const OpenDescription& description, const struct flock& lock, Request* r) {
  i64 base = 0, start, last;
  if (lock.l_whence == SEEK_CUR)
    base = static_cast<i64>(load_relaxed(description.offset));
  else if (lock.l_whence == SEEK_END)
    base = static_cast<i64>(TRY(inode::read(task.pool->store(), Ino{description.ino})).size);
  else if (lock.l_whence != SEEK_SET)
    return Error(EINVAL);
  if (__builtin_add_overflow(base, static_cast<i64>(lock.l_start), &start)) return Error(EOVERFLOW);
  if (start < 0) return Error(EINVAL);
  if (lock.l_len > 0) {
    if (__builtin_add_overflow(start, static_cast<i64>(lock.l_len) - 1, &last)) return Error(EOVERFLOW);
  } else if (lock.l_len < 0) {
    if (start + lock.l_len < 0) return Error(EINVAL);
    last = start - 1;
    start += lock.l_len;
  } else {
    last = static_cast<i64>(shm::kWholeFile);
  }
  r->start = static_cast<u64>(start);
  r->last = static_cast<u64>(last);
  return {};
}

Result<void> get_lock(Task& task, OpenDescription& description, const Request& r, struct flock* lock) {
  Pool& pool = *task.pool;
  shm::Segment& v = open_tables(pool);
  for (unsigned round = 0; round < 2; ++round) {
    FileLock found{};
    {
      VTx tx(v, pool.store().waiter, shm::slot_hint(v));
      Ino ino = TRY(lock_file_locks(v, tx, description));
      LockList* list = shm::find_lock_list(v, ino);
      FileLock* conflict = list == nullptr ? nullptr : find_conflict(v, *list, r);
      if (conflict != nullptr) found = *conflict;
    }
    if (found.in_use == 0) {
      lock->l_type = F_UNLCK;
      return {};
    }
    ProcessRef holder = shm::unpack_process(found.holder);
    if (round == 0 && bury_holder(pool, holder, kind_of(found), true)) continue;
    Process* entry = shm::find_process(v, holder);
    lock->l_type = exclusive(found) ? F_WRLCK : F_RDLCK;
    lock->l_whence = SEEK_SET;
    lock->l_start = static_cast<off_t>(found.start);
    lock->l_len = found.last == shm::kWholeFile ? 0 : static_cast<off_t>(found.last - found.start + 1);
    lock->l_pid = kind_of(found) == FileLockKind::kOfd || entry == nullptr ? -1 : entry->pid;
    return {};
  }
  return {};
}

Result<OpenDescription*> lockable(Task& task, Description number) {
  OpenDescription* found = find_description(*task.pool, number);
  if (found == nullptr || (found->flags & O_PATH) != 0) return Error(EBADF);
  // Others would not see the lock of a process that may only read V.
  if (PoolInternals::private_tables(*task.pool).base != nullptr) return Error(ENOLCK);
  return found;
}

} // namespace

Result<void> flock_file(Task& task, Description number, int operation) {
  OpenDescription& description = *TRY(lockable(task, number));
  constexpr int kMandatory = 32; // LOCK_MAND: without effect since Linux 5.5
  if ((operation & kMandatory) != 0) return {};
  if ((description.flags & O_ACCMODE) == O_ACCMODE) return Error(EBADF); // open for neither reading nor writing
  Request r{.kind = FileLockKind::kFlock, .owner = static_cast<u64>(number) + 1};
  switch (operation & ~LOCK_NB) {
    case LOCK_SH: break;
    case LOCK_EX: r.exclusive = true; break;
    case LOCK_UN: r.unlock = true; break;
    default: return Error(EINVAL);
  }
  return set_lock(task, description, r, (operation & LOCK_NB) == 0);
}

Result<void> record_lock(Task& task, Description number, int command, struct flock* lock) {
  OpenDescription& description = *TRY(lockable(task, number));
  bool ofd = command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
  bool get = command == F_GETLK || command == F_OFD_GETLK;
  bool wait = command == F_SETLKW || command == F_OFD_SETLKW;
  if (!ofd && !get && !wait && command != F_SETLK) return Error(EINVAL);
  if (ofd && lock->l_pid != 0) return Error(EINVAL);
  Request r{.kind = ofd ? FileLockKind::kOfd : FileLockKind::kPosix,
            .owner = ofd ? static_cast<u64>(number) + 1 : pack(open_tables(*task.pool).self)};
  TRY(range_of(task, description, *lock, &r));
  u32 access = description.flags & O_ACCMODE;
  switch (lock->l_type) {
    case F_RDLCK:
      if (!get && access != O_RDONLY && access != O_RDWR) return Error(EBADF);
      break;
    case F_WRLCK:
      r.exclusive = true;
      if (!get && access != O_WRONLY && access != O_RDWR) return Error(EBADF);
      break;
    case F_UNLCK:
      if (get) return Error(EINVAL);
      r.unlock = true;
      break;
    default: return Error(EINVAL);
  }
  return get ? get_lock(task, description, r, lock) : set_lock(task, description, r, wait);
}

} // namespace pmemfile::vfs
