// The lists of file locks that hang on vnodes: removing what an owner had.
#include "vfs/open_files.h"

namespace pmemfile::vfs {

using shm::FileLock;
using shm::FileLockKind;

bool drop_locks(shm::Segment& v, shm::VTx& tx, shm::Vnode& vnode, FileLockKind kind, u64 owner) {
  bool any = false;
  u64* link = &vnode.locks;
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
    tx.commit();
    shm::slot_hints(v, tx.slot()).file_lock = index;
    any = true;
  }
  return any;
}

void wake_lock_waiters(shm::Vnode& vnode) {
  fetch_add(vnode.lock_changes, 1u);
  if (exchange(vnode.lock_waiters, 0u) != 0) shm::futex_wake(vnode.lock_changes, 1 << 30);
}

} // namespace pmemfile::vfs
