// open(2) and close(2): descriptions, handles, and the inodes that they keep alive.
#include "vfs/open_files.h"

#include <fcntl.h>
#include <linux/openat2.h>

#include "vfs/names.h"
#include "vfs/walk.h"

namespace pmemfile::vfs {
namespace {

using shm::OpenDescription;
using shm::Process;
using shm::VTx;

// Flags that open(2) acts upon once and F_GETFL does not show.
constexpr int kOpenOnly = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;
constexpr int kPathFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
// What a 64-bit kernel adds to every open file; <fcntl.h> calls it 0 here.
constexpr int kLargeFile = 0100000;
// Others count for nothing in open(2), and are errors in openat2(2).
constexpr int kKnownFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_ASYNC | O_DIRECT |
                            kLargeFile | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
// Each round somebody removed the file between the walk and the open.
constexpr unsigned kMaxOpenRounds = 1000;

// Is it still the inode that the walk found? Asked when our use of it is seen already, so that whoever takes its last link from now on
// leaves it to us.
Result<void> check_still_there(Pool& pool, const inode::Attr& attr) {
  inode::Links now;
  TRY(inode::read_links(pool.store(), attr.ino, now));
  if (now.generation != attr.generation || (now.flags & (layout::kFlagDead | layout::kFlagFreeing)) != 0) return Error(ESTALE);
  return now.nlink == 0 && attr.nlink != 0 ? Result<void>(Error(ESTALE)) : Result<void>();
}

// A free description, claimed, its stripe locked: who may refer to it soon waits until it is whole. None that would have to be waited for.
Result<u32> claim_description(shm::Segment& v, VTx& tx, u32* hint) {
  u64 count = v.header->description_count, index = *hint < count ? *hint : 0;
  for (u64 i = 0; i < count; ++i) {
    OpenDescription& entry = *shm::description_at(v, index);
    u32 found = static_cast<u32>(index);
    index = index + 1 == count ? 0 : index + 1;
    if (!tx.claim(entry.refs, 1)) continue;
    if (PMEMFILE_UNLIKELY(!tx.try_lock(shm::description_key(v, found)))) {
      tx.unclaim();
      continue;
    }
    *hint = static_cast<u32>(index);
    return found;
  }
  return Error(ENFILE);
}

// Our use of a description begins or ends; `mapping`: by mapping it.
Result<void> begin_use(shm::Segment& v, VTx& tx, Ino ino, u32 description, bool mapping) {
  return shm::claim_use(v, tx, ino, description, mapping) != nullptr ? Result<void>() : Result<void>(Error(ENFILE));
}
void end_use(shm::Segment& v, VTx& tx, Ino ino, u32 description, bool mapping) {
  u64 ours = shm::use_word(ino, description, mapping);
  shm::find_use(v, ino, [&](u64& word, u64 value) {
    if (value != ours) return false;
    tx.release(word);
    return true;
  });
}

Ino pending_ino(u64 word) { return Ino{word & ((u64{1} << shm::kPendingGenerationShift) - 1)}; }

// Word of Process::pending if an inode without users has no links either, else 0. Who took a use away asks after that is seen by everybody,
// and has noted before in Slot::left_ino that he will.
u64 end_of(Store& store, Ino ino) {
  inode::Links now;
  if (!store.medium.writable) return 0;
  return inode::read_links(store, ino, now).ok() && now.nlink == 0 ? pending_word(ino, now.generation) : 0;
}

// What `tx` began does not come to be. Whoever has seen our use of the inode, be it this one or another of its number, has left it to us.
void take_back(Pool& pool, VTx& tx, Ino ino, LeftInode& left) {
  store_release(tx.left_ino(), raw(ino));
  tx.abandon();
  tx.unlock_all();
  if (!shm::in_use(pool.store().segment, ino)) left.note(pool.store().segment, end_of(pool.store(), ino));
  store_release(tx.left_ino(), u64{0});
}

int open_mode(int flags) {
  int mode = (flags & O_ACCMODE) == O_RDONLY ? kRead : (flags & O_ACCMODE) == O_WRONLY ? kWrite : kRead | kWrite;
  return (flags & O_TRUNC) != 0 ? mode | kWrite : mode;
}

Result<void> check_open(Task& task, const inode::Attr& attr, int flags, bool created) {
  if ((flags & O_PATH) != 0) return {};
  int mode = open_mode(flags);
  if (is_link(attr.mode)) return Error(ELOOP);
  if (is_dir(attr.mode) && (mode & kWrite) != 0) return Error(EISDIR);
  if ((mode & kWrite) != 0 && !task.pool->store().medium.writable) return Error(EROFS);
  if (!created && !may_access(*task.credentials, attr, mode)) return Error(EACCES);
  if ((flags & O_NOATIME) != 0 && task.credentials->fsuid != attr.uid && (task.credentials->capabilities & kCapFowner) == 0)
    return Error(EPERM);
  // Sockets answer so everywhere. FIFOs and devices are served by the kernel: the preload library opens a stand-in there.
  if (!is_dir(attr.mode) && !is_regular(attr.mode)) return Error(ENXIO);
  return {};
}

Result<OpenResult> open_found(Task& task, const inode::Attr& attr, int flags, bool created, u32 handle) {
  TRY(check_open(task, attr, flags, created));
  u32 kept = static_cast<u32>((flags & O_PATH) != 0 ? flags & kPathFlags : (flags & ~kOpenOnly) | kLargeFile);
  u32 index = TRY(make_description(*task.pool, attr, kept, handle));
  if ((flags & O_TRUNC) != 0 && (flags & O_PATH) == 0 && !created && is_regular(attr.mode)) {
    auto truncated = truncate_open(task, Description{index}, 0);
    if (!truncated.ok()) {
      (void)close_handle(*task.pool, handle);
      return Error(truncated.error());
    }
  }
  return OpenResult{Description{index}, attr.ino, attr.mode};
}

Result<OpenResult> open_unnamed(Task& task, At at, int flags, u32 mode, u32 handle) {
  if ((flags & O_ACCMODE) == O_RDONLY) return Error(EINVAL);
  if (!task.pool->store().medium.writable) return Error(EROFS);
  inode::Attr dir = TRY(resolve(task, at, (flags & O_NOFOLLOW) != 0 ? Follow::kNo : Follow::kYes, at.path.empty()));
  if (!is_dir(dir.mode)) return Error(ENOTDIR);
  for (unsigned round = 0; round < kMaxOpenRounds; ++round) {
    u64* pending = nullptr;
    auto made = create_unnamed(task, dir.ino, mode, (flags & O_EXCL) == 0, pending);
    auto opened = [&]() -> Result<OpenResult> {
      inode::Attr attr = TRY(inode::read(task.pool->store(), TRY(made)));
      return with_room(*task.pool, [&] { return open_found(task, attr, flags & ~(O_TRUNC | O_TMPFILE), true, handle); });
    }();
    if (made.ok() && !opened.ok() && pending != nullptr)
      free_pending(*task.pool, *pending, false);
    else if (made.ok() && !opened.ok())
      free_forgotten(*task.pool);
    else if (pending != nullptr)
      store_release(*pending, u64{0});
    // It has neither link nor user for a moment: somebody who meant an earlier inode of its number may have freed it.
    if (PMEMFILE_LIKELY(!made.ok() || opened.error() != ESTALE)) return opened;
  }
  return Error(ESTALE);
}

} // namespace

Result<u32> make_description(Pool& pool, const inode::Attr& attr, u32 flags, u32 handle) {
  shm::Segment& v = open_tables(pool);
  bool shared = v.base == pool.store().segment.base; // else nobody looks at what is in use here
  u32 hint = shm::slot_hint(v);
  u64* word = TRY(shm::make_handle(v, v.self, handle, &shm::slot_hints(v, hint).page));
  if (load_acquire(*word) != 0) return Error(EBUSY);
  LeftInode left;
  auto made = [&]() -> Result<u32> {
    VTx tx(v, pool.store().waiter, hint);
    u32 index = TRY(claim_description(v, tx, &shm::slot_hints(v, tx.slot()).description));
    OpenDescription& description = *shm::description_at(v, index);
    store_relaxed(description.lock, u64{0});
    store_relaxed(description.ino, raw(attr.ino));
    store_relaxed(description.file_locks, u64{0});
    store_relaxed(description.flags, flags);
    store_relaxed(description.mode, attr.mode);
    store_relaxed(description.offset, u64{0});
    store_relaxed(description.generation, attr.generation);
    // Another thread may want the same handle for another inode.
    if (!tx.claim(*word, shm::handle_word(index, false))) return Error(EBUSY);
    TRY(begin_use(v, tx, attr.ino, index, false));
    if (PMEMFILE_LIKELY(shared)) shm::deny_ending(v, attr.ino);
    auto there = check_still_there(pool, attr);
    if (PMEMFILE_UNLIKELY(!there.ok())) {
      if (shared) take_back(pool, tx, attr.ino, left);
      return Error(there.error());
    }
    tx.commit();
    return index;
  }();
  left.free(pool);
  return made;
}

Result<void> make_reference(Pool& pool, shm::ProcessRef process, u32 handle, u32 index, bool mapping) {
  shm::Segment& v = open_tables(pool);
  u32 hint = shm::slot_hint(v);
  OpenDescription* description = shm::description_at(v, index);
  if (description == nullptr) return Error(EBADF);
  u64* word = TRY(shm::make_handle(v, process, handle, &shm::slot_hints(v, hint).page));
  if (load_acquire(*word) != 0) return Error(EBUSY);
  VTx tx(v, pool.store().waiter, hint);
  tx.lock(shm::description_key(v, index));
  u64 refs = load_acquire(description->refs);
  if (refs == 0 || (refs & shm::kClaimMark) != 0) return Error(EBADF);
  tx.store(description->refs, refs + 1);
  if (!tx.claim(*word, shm::handle_word(index, mapping))) return Error(EBUSY);
  if (mapping) {
    TRY(begin_use(v, tx, Ino{description->ino}, index, true));
    // Who takes blocks away and has not seen this use does not do so; what he has done already is seen by who looks for blocks.
    shm::deny_moving(v, Ino{description->ino});
  }
  tx.commit();
  return {};
}

Result<void> drop_handle(Pool& pool, shm::ProcessRef process, u32 handle, inode::Wait wait) {
  shm::Segment& v = open_tables(pool);
  u64* word = shm::find_handle(v, process, handle);
  u64 value = word == nullptr ? 0 : load_acquire(*word);
  if (value == 0 || (value & shm::kClaimMark) != 0) return Error(EBADF);
  u32 index = shm::handle_description(value);
  OpenDescription* description = shm::description_at(v, index);
  if (description == nullptr) return Error(kErrnoCorrupt);
  bool mapping = (value & shm::kHandleIsMapping) != 0, last_user = false;
  LeftInode left;
  Ino ino;
  {
    VTx tx(v, pool.store().waiter, shm::slot_hint(v));
    if (!lock_or_not(tx, shm::description_key(v, index), wait)) return Error(EAGAIN);
    if (load_acquire(*word) != value) return Error(EBADF);
    u64 refs = load_relaxed(description->refs);
    if (refs == 0) return Error(kErrnoCorrupt);
    ino = Ino{description->ino};
    bool last = refs == 1;
    if (!drop_locks_of_handle(v, tx, *description, process, mapping, last, wait)) return Error(EAGAIN);
    tx.store(*word, 0);
    if (mapping) end_use(v, tx, ino, index, true);
    if (last) {
      tx.release(description->refs);
      end_use(v, tx, ino, index, false);
      tx.store(tx.left_ino(), raw(ino));
      shm::slot_hints(v, tx.slot()).description = index;
    } else {
      tx.store(description->refs, refs - 1);
    }
    tx.commit();
    if (last) {
      tx.unlock_all();
      last_user = !shm::in_use(v, ino);
      if (last_user) left.note(v, end_of(pool.store(), ino));
      store_release(tx.left_ino(), u64{0});
    }
  }
  if (PMEMFILE_UNLIKELY(left.free(pool))) return {};
  if (last_user) (void)inode::flush_times(pool.store(), ino, inode::Wait::kNo);
  return {};
}

u64 pending_word(Ino ino, u64 generation) {
  return (raw(ino) | generation << shm::kPendingGenerationShift) & ~(shm::kClaimMark | shm::kPendingLeft);
}

namespace {
// A free word of Process::pending gets the value; null: there is none, so somebody has to look for it in the orphan lists.
u64* note_pending(const shm::Segment& v, shm::ProcessRef whose, u64 value) {
  Process* entry = shm::find_process(v, whose);
  if (entry == nullptr) return nullptr;
  for (u64& word : entry->pending) {
    u64 nobody = 0;
    if (load_relaxed(word) == 0 && compare_exchange(word, nobody, value)) return &word;
  }
  fetch_add(shm::process_table(v).forgotten, u64{1});
  // In place of one that waits for somebody stopped, which stands in its list: it is looked for there.
  for (u64& word : entry->pending) {
    u64 left = load_acquire(word);
    if ((left & shm::kPendingLeft) == 0 || !compare_exchange(word, left, value)) continue;
    fetch_add(shm::process_table(v).forgotten, u64{1});
    return &word;
  }
  return nullptr;
}

// Is an operation under way that may note it yet?
bool may_be_noted(const shm::Segment& v, Ino ino) {
  for (u64 i = 0; i < v.header->slot_count; ++i)
    if (load_acquire(v.slots[i].left_ino) == raw(ino)) return true;
  return false;
}
// By another word than `own`.
bool is_noted(const shm::Segment& v, u64 word, const u64* own = nullptr) {
  for (u32 index = 0; index < v.header->process_count; ++index)
    for (const u64& pending : shm::process_entry(v, index).pending)
      if (&pending != own && (load_acquire(pending) & ~shm::kPendingLeft) == word) return true;
  return false;
}
} // namespace

void LeftInode::note(const shm::Segment& v, u64 word) {
  if (PMEMFILE_LIKELY((word_ = word) == 0)) return;
  noted_ = note_pending(v, v.self, word);
}

void LeftInode::leave(Pool& pool) {
  store_release(*noted_, word_ | shm::kPendingLeft);
  word_ = 0;
  PoolInternals::note_left(pool);
}

bool LeftInode::free(Pool& pool) {
  if (PMEMFILE_LIKELY(word_ == 0)) return false;
  if (PMEMFILE_LIKELY(noted_ != nullptr)) free_pending(pool, *noted_, false);
  else PoolInternals::note_left(pool); // it is among the forgotten; our next open looks there
  return true;
}

u64* note_unnamed(Store& store, u32 slot, Ino ino, u64 generation) {
  u64 value = pending_word(ino, generation);
  store_release(store.segment.slots[slot].pending_ino, value);
  return note_pending(store.segment, store.segment.self, value);
}

void settle_unnamed(Store& store, u32 slot, shm::ProcessRef dead) {
  u64& note = store.segment.slots[slot].pending_ino;
  u64 value = load_acquire(note);
  Process* entry = shm::find_process(store.segment, dead);
  if (PMEMFILE_LIKELY(value == 0) || entry == nullptr) return;
  Ino ino = pending_ino(value);
  inode::Links now;
  bool made = inode::read_links(store, ino, now).ok() && now.nlink == 0 && pending_word(ino, now.generation) == value;
  for (u64& word : entry->pending)
    if (!made && load_acquire(word) == value) store_release(word, u64{0});
  store_release(note, u64{0});
}

void settle_begun(Store& store, u32 slot) {
  Ino begun = shm::begun_use(store.segment, slot);
  if (begun != Ino{}) store_release(store.segment.slots[slot].left_ino, raw(begun));
}

void settle_left(Store& store, u32 slot, shm::ProcessRef dead) {
  shm::Segment& v = store.segment;
  u64& left = v.slots[slot].left_ino;
  // In full: what repair took away is seen by everybody before we look for what is left.
  u64 ino = fetch_or(left, u64{0});
  if (PMEMFILE_LIKELY(ino == 0)) return;
  inode::Links now;
  // What the dead one was freeing is left to nobody who uses it: such an open fails.
  bool freeing = inode::read_links(store, Ino{ino}, now).ok() && (now.flags & layout::kFlagFreeing) != 0;
  u64 word = !freeing && shm::in_use(v, Ino{ino}) ? 0 : end_of(store, Ino{ino});
  if (word != 0) (void)note_pending(v, dead, word);
  store_release(left, u64{0});
}

void free_pending(Pool& pool, u64& word, bool of_dead) {
  u64 value = load_acquire(word) & ~shm::kPendingLeft;
  if (value == 0 || (value & shm::kClaimMark) != 0) return;
  Ino ino = pending_ino(value);
  auto attr = inode::read(pool.store(), ino);
  bool same = attr.ok() && attr.value().nlink == 0 && pending_word(ino, attr.value().generation) == value;
  if (same && free_orphan(pool.store(), ino, of_dead).error() == EAGAIN) {
    store_release(word, value | shm::kPendingLeft);
    PoolInternals::note_left(pool);
    return;
  }
  store_release(word, u64{0});
}

bool free_left_of(Pool& pool, Process& entry) {
  const shm::Segment& v = pool.store().segment;
  bool any = false;
  for (u64& word : entry.pending) {
    u64 value = load_acquire(word);
    if ((value & shm::kPendingLeft) == 0) continue;
    // Noted by us before it is struck off there: should we die, it is found.
    u64* own = note_pending(v, v.self, value & ~shm::kPendingLeft);
    if (own == nullptr) break;
    if (compare_exchange(word, value, u64{0})) {
      free_pending(pool, *own, true);
      any = true;
    } else {
      store_release(*own, u64{0});
    }
  }
  return any;
}

void free_left(Pool& pool) {
  Process* self = shm::find_process(pool.store().segment, pool.store().segment.self);
  if (self == nullptr) return;
  PoolInternals::forget_left(pool);
  for (u64& word : self->pending) {
    u64 value = load_acquire(word);
    if ((value & shm::kPendingLeft) != 0 && compare_exchange(word, value, value & ~shm::kPendingLeft)) free_pending(pool, word, true);
  }
  if (load_relaxed(shm::process_table(pool.store().segment).forgotten) != 0) free_forgotten(pool);
}

void free_forgotten(Pool& pool) {
  struct Look {
    Pool& pool;
    bool all;
  } look{pool, true};
  u64& forgotten = shm::process_table(pool.store().segment).forgotten;
  // Counted, and cleared only behind the look if nobody has counted on: should this process die or stop in it, others look, too.
  u64 seen = fetch_add(forgotten, u64{1}) + 1;
  look.all = inode::look_at_orphans(pool.store(), [](void* context, Ino ino, const inode::Links& links) {
    auto& [of, all] = *static_cast<Look*>(context);
    const shm::Segment& v = of.store().segment;
    u64 word = pending_word(ino, links.generation);
    bool used = shm::in_use(v, ino), truncating = (links.flags & layout::kFlagTruncating) != 0;
    if (links.nlink != 0 || used) {
      if (truncating && data::finish_truncate(of.store(), ino, data::Patience::kHurried).error() == EAGAIN) all = false;
      return;
    }
    // Slots first: what an operation notes it notes before it ends.
    bool later = may_be_noted(v, ino);
    if (!later && is_noted(v, word)) return;
    u64* own = later ? nullptr : note_pending(v, v.self, word);
    // Somebody else who looks may have come to the same: each sees the other's note then, and leaves it.
    if (own == nullptr || is_noted(v, word, own) || free_orphan(of.store(), ino, true).error() == EAGAIN) all = false;
    if (own != nullptr) store_release(*own, u64{0});
  }, &look) && look.all;
  bool empty;
  if (inode::trim_orphans(pool.store(), &empty) && look.all && compare_exchange(forgotten, seen, u64{0})) return;
  PoolInternals::note_left(pool);
}

// What others left, and what we did. Somebody who is stopped stays so for a while, and each try costs spins: not at every open.
static void bury_and_free_now_and_then(Pool& pool) {
  constexpr i64 kPauseNs = 10'000'000;
  i64 now = inode::now_ns(), last = PoolInternals::last_try(pool);
  if (now >= last && now - last < kPauseNs) return;
  const u64& unburied = shm::process_table(open_tables(pool)).unburied;
  if (load_relaxed(unburied) != 0) bury_unburied(pool);
  if (PoolInternals::has_left(pool)) free_left(pool);
  if (PoolInternals::has_left(pool) || load_relaxed(unburied) != 0) PoolInternals::set_last_try(pool, now);
}

bool has_left(const Process& entry) {
  for (const u64& word : entry.pending)
    if ((load_acquire(word) & shm::kPendingLeft) != 0) return true;
  return false;
}

Result<OpenResult> open_at(Task& task, At at, int flags, u32 mode, u32 handle) {
  Pool& pool = *task.pool;
  bool unburied = load_relaxed(shm::process_table(open_tables(pool)).unburied) != 0;
  if (PMEMFILE_UNLIKELY(unburied || PoolInternals::has_left(pool))) bury_and_free_now_and_then(pool);
  flags &= (flags & O_PATH) != 0 ? kPathFlags : kKnownFlags;
  if ((flags & O_TMPFILE) == O_TMPFILE) return open_unnamed(task, at, flags, mode & kPermissionBits, handle);
  for (unsigned round = 0; round < kMaxOpenRounds; ++round) {
    inode::Attr attr;
    bool created = false;
    if (PMEMFILE_UNLIKELY(at.path.empty())) {
      // The inode itself: /proc/self/fd/N and the like. It may have lost its name meanwhile.
      TRY(inode::read_into(pool.store(), at.dir, attr));
      if (attr.nlink == 0 && !shm::in_use(open_tables(pool), at.dir)) return Error(ESTALE); // nobody keeps it alive
      if ((flags & O_DIRECTORY) != 0 && !is_dir(attr.mode)) return Error(ENOTDIR);
    } else {
      created = TRY(resolve_for_open(task, at, flags, mode & kPermissionBits, attr));
    }
    auto opened = with_room(pool, [&] { return open_found(task, attr, flags, created, handle); });
    if (PMEMFILE_LIKELY(opened.error() != ESTALE)) return opened;
    if (at.path.empty()) return opened;
  }
  return Error(ESTALE);
}

Result<void> check_open_how(const open_how& how) {
  constexpr u64 kUnnamed = O_TMPFILE & ~O_DIRECTORY;
  constexpr u64 kWays = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;
  if ((how.flags & ~u64{kKnownFlags}) != 0 || (how.resolve & ~kWays) != 0) return Error(EINVAL);
  if ((how.resolve & RESOLVE_BENEATH) != 0 && (how.resolve & RESOLVE_IN_ROOT) != 0) return Error(EINVAL);
  bool makes = (how.flags & (O_CREAT | kUnnamed)) != 0;
  if ((how.mode & ~(makes ? u64{kPermissionBits} : 0)) != 0) return Error(EINVAL);
  if ((how.flags & O_CREAT) != 0 && (how.flags & O_DIRECTORY) != 0) return Error(EINVAL);
  if ((how.flags & kUnnamed) != 0 && ((how.flags & O_DIRECTORY) == 0 || (how.flags & O_ACCMODE) == O_RDONLY)) return Error(EINVAL);
  if ((how.flags & O_PATH) != 0 && (how.flags & ~u64{kPathFlags | O_CLOEXEC}) != 0) return Error(EINVAL);
  // "Only if it needs no waiting": what changes something may have to.
  if ((how.resolve & RESOLVE_CACHED) != 0 && (makes || (how.flags & O_TRUNC) != 0)) return Error(EAGAIN);
  return {};
}

Result<void> close_handle(Pool& pool, u32 handle) { return drop_handle(pool, open_tables(pool).self, handle); }

Result<u32> set_handle_aside(Pool& pool, u32 handle) {
  shm::Segment& v = open_tables(pool);
  u64* word = shm::find_handle(v, v.self, handle);
  u64 value = word == nullptr ? 0 : load_acquire(*word);
  if (value == 0 || (value & (shm::kClaimMark | shm::kHandleIsMapping)) != 0) return Error(EBADF);
  u32 hint = shm::slot_hint(v);
  for (u32 i = 0; i < kPassingHandles; ++i) {
    u32 aside = kFirstPassingHandle + (handle + i) % kPassingHandles;
    u64* to = TRY(shm::make_handle(v, v.self, aside, &shm::slot_hints(v, hint).page));
    if (load_acquire(*to) != 0) continue;
    VTx tx(v, pool.store().waiter, hint);
    tx.lock(shm::description_key(v, shm::handle_description(value)));
    if (load_acquire(*word) != value) return Error(EBADF);
    if (!tx.claim(*to, value)) continue;
    tx.store(*word, 0);
    tx.commit();
    return aside;
  }
  return Error(ENFILE);
}

Result<void> add_handle(Pool& pool, u32 new_handle, Description description) {
  return with_room(pool, [&] {
    return make_reference(pool, open_tables(pool).self, new_handle, static_cast<u32>(description), false);
  });
}

DescriptionInfo info(const Pool& pool, Description description) {
  OpenDescription* found = find_description(pool, description);
  if (found == nullptr) return {};
  return DescriptionInfo{Ino{found->ino}, static_cast<int>(load_relaxed(found->flags)), found->mode};
}

Result<void> set_status_flags(Pool& pool, Description description, int flags) {
  constexpr u32 kChangeable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
  OpenDescription* found = find_description(pool, description);
  if (found == nullptr || (found->flags & O_PATH) != 0) return Error(EBADF);
  u32 old = load_relaxed(found->flags);
  while (!compare_exchange(found->flags, old, (old & ~kChangeable) | (static_cast<u32>(flags) & kChangeable))) {
  }
  return {};
}

Result<void> hold_dir(Pool& pool, Ino dir, u32 handle) {
  inode::Attr attr = TRY(inode::read(pool.store(), dir));
  if (!is_dir(attr.mode)) return Error(ENOTDIR);
  TRY(with_room(pool, [&] { return make_description(pool, attr, O_PATH | O_DIRECTORY, handle); }));
  return {};
}

Result<void> pin_mapping(Pool& pool, Description description, u32 handle) {
  shm::Segment& v = open_tables(pool);
  TRY(with_room(pool, [&] { return make_reference(pool, v.self, handle, static_cast<u32>(description), true); }));
  Ino ino{shm::description_at(v, static_cast<u32>(description))->ino};
  if (PMEMFILE_UNLIKELY(shm::is_being_replaced(v, ino))) {
    VTx tx(v, pool.store().waiter, shm::slot_hint(v));
    tx.lock(shm::inode_key(v, ino));
  }
  return {};
}
Result<void> fill_mapping(Pool& pool, Ino ino, u64 offset, u64 bytes) {
  return with_space(pool.store(), [&] { return data::materialize(pool.store(), ino, offset, bytes); });
}
Result<void> unpin_mapping(Pool& pool, u32 handle) { return close_handle(pool, handle); }

bool is_mapped(const Pool& pool, Ino ino) { return shm::is_mapped(open_tables(pool), ino); }

namespace {
// Has the inode a description that may write?
bool is_open_for_writing(Pool& pool, Ino ino) {
  shm::Segment& v = open_tables(pool);
  return shm::find_use(v, ino, [&](u64&, u64 value) {
    if ((value & (shm::kClaimMark | shm::kUseIsMapping)) != 0) return false;
    OpenDescription* description = shm::description_at(v, shm::use_description(value));
    if (description == nullptr || load_acquire(description->refs) == 0 || load_relaxed(description->ino) != raw(ino)) return false;
    u32 flags = load_relaxed(description->flags);
    return (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY;
  });
}
} // namespace

Result<void> check_not_written(Pool& pool, Ino ino) {
  if (PMEMFILE_LIKELY(!is_open_for_writing(pool, ino))) return {};
  bury_all_dead(pool); // it may be a dead one's
  return is_open_for_writing(pool, ino) ? Result<void>(Error(ETXTBSY)) : Result<void>();
}

} // namespace pmemfile::vfs
