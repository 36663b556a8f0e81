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
using shm::Vnode;
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

// Takes the next free entry from `hint` on: the entry's word, 0 if free, gets `value` at the commit. ENFILE if none.
template <class Entry>
Result<u64> claim_entry(VTx& tx, Entry* entries, u64 Entry::*word, u64 count, u64 value, u32* hint) {
  u64 index = *hint < count ? *hint : 0;
  for (u64 i = 0; i < count; ++i) {
    if (tx.claim(entries[index].*word, value)) {
      *hint = static_cast<u32>(index + 1);
      return index;
    }
    index = index + 1 == count ? 0 : index + 1;
  }
  return Error(ENFILE);
}

// Is it still the inode that the walk found? open_key is held, and who removes the last name holds it, too.
Result<void> check_still_there(Pool& pool, const inode::Attr& attr, const Vnode* vnode) {
  inode::Links now;
  TRY(inode::read_links(pool.store(), attr.ino, now));
  if (now.generation != attr.generation || (now.flags & (layout::kFlagDead | layout::kFlagFreeing)) != 0) return Error(ESTALE);
  // One that never had a link (O_TMPFILE) gets its first user here.
  if (now.nlink == 0 && vnode == nullptr && attr.nlink != 0) return Error(ESTALE);
  return {};
}

Result<u64> use_vnode(shm::Segment& v, VTx& tx, const inode::Attr& attr, Vnode* vnode, u32* hint) {
  if (vnode != nullptr) {
    tx.store(vnode->users, load_relaxed(vnode->users) + 1);
    return static_cast<u64>(vnode - shm::vnode_at(v, 0));
  }
  u64 index = TRY(claim_entry(tx, shm::vnode_at(v, 0), &Vnode::users, v.header->vnode_count, 1, hint));
  vnode = shm::vnode_at(v, index);
  u64* bucket = shm::bucket_of(v, attr.ino);
  store_relaxed(vnode->ino, raw(attr.ino));
  store_relaxed(vnode->generation, attr.generation);
  store_relaxed(vnode->next_plus_1, load_relaxed(*bucket));
  store_relaxed(vnode->pins, u64{0});
  store_relaxed(vnode->locks, u64{0});
  store_relaxed(vnode->shrink_lock, u64{0});
  tx.store(*bucket, index + 1);
  return index;
}

// Takes a vnode without users out of its chain.
void unchain_vnode(shm::Segment& v, VTx& tx, Vnode& vnode) {
  u64 self = static_cast<u64>(&vnode - shm::vnode_at(v, 0)) + 1;
  u64* link = shm::bucket_of(v, Ino{vnode.ino});
  for (u64 steps = 0; steps < v.header->vnode_count; ++steps) {
    u64 next = load_relaxed(*link);
    if (next == self) {
      tx.store(*link, vnode.next_plus_1);
      return;
    }
    Vnode* other = next == 0 ? nullptr : shm::vnode_at(v, next - 1);
    if (other == nullptr) return;
    link = &other->next_plus_1;
  }
}

// The last user of an inode goes: has it no links either?
bool to_be_freed(Pool& pool, const Vnode& vnode) {
  if (!pool.store().medium.writable) return false;
  inode::Links now;
  return inode::read_links(pool.store(), Ino{vnode.ino}, now).ok() && now.nlink == 0 && now.generation == vnode.generation;
}

Ino pending_ino(u64 word) { return Ino{word & ((u64{1} << shm::kPendingGenerationShift) - 1)}; }
u64 pending_word(Ino ino, u64 generation) { return (raw(ino) | generation << shm::kPendingGenerationShift) & ~shm::kClaimMark; }

// Notes in the same operation that the inode is to be freed. Null: no room to note it; should this process die before it has
// freed the inode, the next recovery of the pool does.
u64* note_pending(shm::Segment& v, VTx& tx, const Vnode& vnode) {
  Process* self = shm::find_process(v, v.self);
  if (self == nullptr) return nullptr;
  for (u64& word : self->pending)
    if (tx.claim(word, pending_word(Ino{vnode.ino}, vnode.generation))) return &word;
  return nullptr;
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
  u64* pending = nullptr;
  auto made = create_unnamed(task, dir.ino, mode, (flags & O_EXCL) == 0, pending);
  auto opened = [&]() -> Result<OpenResult> {
    inode::Attr attr = TRY(inode::read(task.pool->store(), TRY(made)));
    return with_room(*task.pool, [&] { return open_found(task, attr, flags & ~(O_TRUNC | O_TMPFILE), true, handle); });
  }();
  if (made.ok() && !opened.ok()) (void)free_orphan(task.pool->store(), made.value());
  if (pending != nullptr) store_release(*pending, u64{0});
  return opened;
}

} // namespace

Result<u32> make_description(Pool& pool, const inode::Attr& attr, u32 flags, u32 handle) {
  shm::Segment& v = open_tables(pool);
  u32 hint = slot_hint(v);
  u64* word = TRY(shm::make_handle(v, v.self, handle, &shm::slot_hints(v, hint).page));
  if (load_acquire(*word) != 0) return Error(EBUSY);
  VTx tx(v, pool.store().waiter, hint);
  tx.lock(shm::open_key(v, attr.ino));
  Vnode* vnode = shm::find_vnode(v, attr.ino);
  TRY(check_still_there(pool, attr, vnode));
  shm::SlotHints& hints = shm::slot_hints(v, tx.slot());
  u64 vnode_index = TRY(use_vnode(v, tx, attr, vnode, &hints.vnode));
  u64 index = TRY(claim_entry(tx, shm::description_at(v, 0), &OpenDescription::refs, v.header->description_count, 1,
                              &hints.description));
  OpenDescription& description = *shm::description_at(v, index);
  store_relaxed(description.lock, u64{0});
  store_relaxed(description.ino, raw(attr.ino));
  store_relaxed(description.vnode, vnode_index);
  store_relaxed(description.flags, flags);
  store_relaxed(description.mode, attr.mode);
  store_relaxed(description.offset, u64{0});
  // Another thread may want the same handle for another inode, under another lock.
  if (!tx.claim(*word, shm::handle_word(static_cast<u32>(index), false))) return Error(EBUSY);
  tx.commit();
  return static_cast<u32>(index);
}

Result<void> make_reference(Pool& pool, shm::ProcessRef process, u32 handle, u32 index, bool mapping) {
  shm::Segment& v = open_tables(pool);
  u32 hint = slot_hint(v);
  OpenDescription* description = shm::description_at(v, index);
  if (description == nullptr) return Error(EBADF);
  u64* word = TRY(shm::make_handle(v, process, handle, &shm::slot_hints(v, hint).page));
  if (load_acquire(*word) != 0) return Error(EBUSY);
  Ino ino{load_acquire(description->ino)};
  VTx tx(v, pool.store().waiter, hint);
  tx.lock(shm::open_key(v, ino));
  u64 refs = load_acquire(description->refs);
  Vnode* vnode = shm::vnode_at(v, description->vnode);
  if (refs == 0 || (refs & shm::kClaimMark) != 0 || description->ino != raw(ino) || vnode == nullptr) return Error(EBADF);
  tx.store(description->refs, refs + 1);
  if (mapping) tx.store(vnode->pins, vnode->pins + 1);
  if (!tx.claim(*word, shm::handle_word(index, mapping))) return Error(EBUSY);
  tx.commit();
  return {};
}

Result<void> drop_handle(Pool& pool, shm::ProcessRef process, u32 handle) {
  shm::Segment& v = open_tables(pool);
  u64* word = shm::find_handle(v, process, handle);
  u64 value = word == nullptr ? 0 : load_acquire(*word);
  if (value == 0 || (value & shm::kClaimMark) != 0) return Error(EBADF);
  OpenDescription* description = shm::description_at(v, shm::handle_description(value));
  if (description == nullptr) return Error(kErrnoCorrupt);
  Ino ino{load_acquire(description->ino)};
  bool mapping = (value & shm::kHandleIsMapping) != 0, last_user = false, unlinked = false;
  u64* pending = nullptr;
  {
    VTx tx(v, pool.store().waiter, slot_hint(v));
    tx.lock(shm::open_key(v, ino));
    if (load_acquire(*word) != value || description->ino != raw(ino)) return Error(EBADF);
    Vnode* vnode = shm::vnode_at(v, description->vnode);
    if (vnode == nullptr || load_relaxed(description->refs) == 0) return Error(kErrnoCorrupt);
    u64 refs = load_relaxed(description->refs);
    bool last = refs == 1;
    if (PMEMFILE_UNLIKELY(vnode->locks != 0)) {
      bool dropped = !mapping && drop_locks(v, tx, *vnode, shm::FileLockKind::kPosix, pack(process));
      u64 owner = shm::handle_description(value) + u64{1};
      if (last) dropped |= drop_locks(v, tx, *vnode, shm::FileLockKind::kOfd, owner);
      if (last) dropped |= drop_locks(v, tx, *vnode, shm::FileLockKind::kFlock, owner);
      if (dropped) wake_lock_waiters(*vnode);
    }
    tx.store(*word, 0);
    if (last)
      tx.release(description->refs);
    else
      tx.store(description->refs, refs - 1);
    if (mapping) tx.store(vnode->pins, vnode->pins - 1);
    if (last) {
      u64 users = load_relaxed(vnode->users);
      last_user = users == 1;
      if (last_user)
        tx.release(vnode->users);
      else
        tx.store(vnode->users, users - 1);
      shm::SlotHints& hints = shm::slot_hints(v, tx.slot());
      hints.description = shm::handle_description(value);
      if (last_user) {
        unchain_vnode(v, tx, *vnode);
        hints.vnode = static_cast<u32>(description->vnode);
        unlinked = to_be_freed(pool, *vnode);
        if (unlinked) pending = note_pending(v, tx, *vnode);
      }
    }
    tx.commit();
  }
  if (pending != nullptr)
    free_pending(pool, *pending, false);
  else if (unlinked)
    (void)free_orphan(pool.store(), ino);
  else if (last_user)
    (void)inode::flush_times(pool.store(), ino);
  return {};
}

u64* note_unnamed(Store& store, u32 slot, Ino ino, u64 generation) {
  u64 value = pending_word(ino, generation);
  Process* self = shm::find_process(store.segment, store.segment.self);
  if (self == nullptr) return nullptr;
  store_release(store.segment.slots[slot].pending_ino, value);
  for (u64& word : self->pending) {
    u64 nobody = 0;
    if (compare_exchange(word, nobody, value)) return &word;
  }
  return nullptr;
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

void free_pending(Pool& pool, u64& word, bool of_dead) {
  u64 value = load_acquire(word);
  if (value == 0 || (value & shm::kClaimMark) != 0) return;
  Ino ino = pending_ino(value);
  auto attr = inode::read(pool.store(), ino);
  if (attr.ok() && attr.value().nlink == 0 && pending_word(ino, attr.value().generation) == value) (void)free_orphan(pool.store(), ino, of_dead);
  store_release(word, u64{0});
}

// For an inode without a name: somebody must be keeping it alive.
bool has_users(Pool& pool, Ino ino) {
  shm::Segment& v = open_tables(pool);
  VTx tx(v, pool.store().waiter, slot_hint(v));
  tx.lock(shm::open_key(v, ino));
  return shm::in_use(v, ino);
}

Result<OpenResult> open_at(Task& task, At at, int flags, u32 mode, u32 handle) {
  Pool& pool = *task.pool;
  if (PMEMFILE_UNLIKELY(load_relaxed(shm::process_table(open_tables(pool)).unburied) != 0)) bury_unburied(pool);
  flags &= (flags & O_PATH) != 0 ? kPathFlags : kKnownFlags;
  if ((flags & O_TMPFILE) == O_TMPFILE) return open_unnamed(task, at, flags, mode & kPermissionBits, handle);
  for (unsigned round = 0; round < kMaxOpenRounds; ++round) {
    inode::Attr attr;
    bool created = false;
    if (PMEMFILE_UNLIKELY(at.path.empty())) {
      // The inode itself: /proc/self/fd/N and the like. It may have lost its name meanwhile.
      TRY(inode::read_into(pool.store(), at.dir, attr));
      if (attr.nlink == 0 && !has_users(pool, at.dir)) return Error(ESTALE);
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
  TRY(make_description(pool, attr, O_PATH | O_DIRECTORY, handle));
  return {};
}

Result<void> pin_mapping(Pool& pool, Description description, u32 handle) {
  shm::Segment& v = open_tables(pool);
  TRY(make_reference(pool, v.self, handle, static_cast<u32>(description), true));
  // Who is taking blocks away began before the pin was there to be seen: let it end before the caller looks for blocks.
  shm::Vnode* vnode = shm::vnode_at(v, shm::description_at(v, static_cast<u32>(description))->vnode);
  if (vnode == nullptr) return {};
  shm::lock_owned(v, vnode->shrink_lock, v.fd);
  shm::unlock_owned(vnode->shrink_lock);
  return {};
}
Result<void> unpin_mapping(Pool& pool, u32 handle) { return close_handle(pool, handle); }

bool is_mapped(const Pool& pool, Ino ino) {
  shm::Segment& v = open_tables(const_cast<Pool&>(pool));
  if (PMEMFILE_LIKELY(load_acquire(*shm::bucket_of(v, ino)) == 0)) return false;
  VTx tx(v, pool.store().waiter, slot_hint(v));
  tx.lock(shm::open_key(v, ino));
  Vnode* vnode = shm::find_vnode(v, ino);
  return vnode != nullptr && vnode->pins != 0;
}

namespace {
// Has the inode a description that may write? What is open and by how many is exact under the lock.
bool is_open_for_writing(Pool& pool, Ino ino) {
  shm::Segment& v = open_tables(pool);
  if (PMEMFILE_LIKELY(load_acquire(*shm::bucket_of(v, ino)) == 0)) return false;
  VTx tx(v, pool.store().waiter, slot_hint(v));
  tx.lock(shm::open_key(v, ino));
  Vnode* vnode = shm::find_vnode(v, ino);
  if (vnode == nullptr) return false;
  u64 index = static_cast<u64>(vnode - shm::vnode_at(v, 0)), left = vnode->users;
  for (u64 i = 0; i < v.header->description_count && left != 0; ++i) {
    OpenDescription& description = *shm::description_at(v, i);
    if (load_acquire(description.refs) == 0 || load_relaxed(description.vnode) != index || load_relaxed(description.ino) != raw(ino)) continue;
    --left;
    u32 flags = load_relaxed(description.flags);
    if ((flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY) return true;
  }
  return false;
}
} // namespace

Result<void> check_not_written(Pool& pool, Ino ino) {
  if (PMEMFILE_LIKELY(!is_open_for_writing(pool, ino))) return {};
  bury_all_dead(pool); // it may be a dead one's
  return is_open_for_writing(pool, ino) ? Result<void>(Error(ETXTBSY)) : Result<void>();
}

} // namespace pmemfile::vfs
