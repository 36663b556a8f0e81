// The lists of file locks: making and ending them, removing what an owner had.
#include <fcntl.h>

#include "vfs/open_files.h"

namespace pmemfile::vfs {

using shm::FileLock;
using shm::FileLockKind;
using shm::LockList;

Result<LockList*> make_lock_list(shm::Segment& v, shm::VTx& tx, Ino ino) {
  if (LockList* list = shm::find_lock_list(v, ino)) return list;
  u32& hint = shm::slot_hints(v, tx.slot()).lock_list;
  u64 count = v.header->lock_list_count, index = hint < count ? hint : 0;
  for (u64 i = 0; i < count; ++i) {
    LockList* list = shm::lock_list_at(v, index);
    if (tx.claim(list->in_use, 1)) {
      hint = static_cast<u32>(index + 1);
      u64& first = shm::lock_bucket(v, ino).first_plus_1;
      store_relaxed(list->ino, raw(ino));
      store_relaxed(list->next_plus_1, load_relaxed(first));
      store_relaxed(list->locks, u64{0});
      tx.store(first, index + 1);
      return list;
    }
    index = index + 1 == count ? 0 : index + 1;
  }
  return Error(ENOLCK);
}

namespace {

// Lists that the entry, which has no locks, leaves its chain and is free.
void end_lock_list(shm::Segment& v, shm::VTx& tx, LockList& list) {
  u64 self = static_cast<u64>(&list - shm::lock_list_at(v, 0)) + 1;
  u64* link = &shm::lock_bucket(v, Ino{list.ino}).first_plus_1;
  for (u64 steps = 0; steps < v.header->lock_list_count; ++steps) {
    u64 next = load_relaxed(*link);
    if (next == self) {
      tx.store(*link, list.next_plus_1);
      tx.release(list.in_use);
      shm::slot_hints(v, tx.slot()).lock_list = static_cast<u32>(self - 1);
      return;
    }
    LockList* other = next == 0 ? nullptr : shm::lock_list_at(v, next - 1);
    if (other == nullptr) return;
    link = &other->next_plus_1;
  }
}

} // namespace

bool drop_locks(shm::Segment& v, shm::VTx& tx, LockList& list, FileLockKind kind, u64 owner) {
  bool any = false;
  u64* link = &list.locks;
  for (u64 steps = 0; steps < v.header->file_lock_count && *link != 0; ++steps) {
    FileLock* lock = shm::file_lock_at(v, *link - 1);
    if (lock == nullptr) break;
    if (static_cast<FileLockKind>(lock->shape & shm::kLockKindMask) != kind || lock->owner != owner) {
      link = &lock->next_plus_1;
      continue;
    }
    u32 index = static_cast<u32>(*link - 1);
    tx.store(*link, lock->next_plus_1);
    tx.release(lock->in_use);
    note_lock_change(list);
    tx.commit();
    shm::slot_hints(v, tx.slot()).file_lock = index;
    any = true;
  }
  return any;
}

void note_lock_change(LockList& list) { fetch_add(list.lock_changes, 1u); }

void wake_lock_waiters(LockList& list) {
  if (load_relaxed(list.lock_waiters) != 0 && exchange(list.lock_waiters, 0u) != 0) shm::futex_wake(list.lock_changes, 1 << 30);
}

bool drop_locks_of_handle(shm::Segment& v, shm::VTx& tx, const shm::OpenDescription& description, shm::ProcessRef process, bool mapping,
                          bool last, inode::Wait wait) {
  const shm::Process* entry = shm::find_process(v, process);
  // As in Linux: one that only names the file was never a way to its locks; nor is what a truncation by path opens in passing a descriptor.
  bool no_descriptor = mapping || (load_relaxed(description.flags) & (O_PATH | kOpenedInPassing)) != 0;
  bool posix = !no_descriptor && entry != nullptr && load_acquire(entry->posix_locks) != 0;
  bool own = last && load_acquire(description.file_locks) != 0;
  if (PMEMFILE_LIKELY(!posix && !own)) return true;
  Ino ino{description.ino};
  if (!lock_or_not(tx, shm::file_locks_key(v, ino), wait)) return false;
  LockList* list = shm::find_lock_list(v, ino);
  if (list == nullptr) return true;
  u64 owner = static_cast<u64>(&description - shm::description_at(v, 0)) + 1;
  bool dropped = posix && drop_locks(v, tx, *list, FileLockKind::kPosix, pack(process));
  if (own) dropped |= drop_locks(v, tx, *list, FileLockKind::kOfd, owner);
  if (own) dropped |= drop_locks(v, tx, *list, FileLockKind::kFlock, owner);
  if (dropped) wake_lock_waiters(*list);
  if (list->locks == 0) end_lock_list(v, tx, *list);
  return true;
}

} // namespace pmemfile::vfs
