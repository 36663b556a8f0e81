#include "shm/opens.h"

#include "shm/process.h"

namespace pmemfile::shm {
namespace {

constexpr unsigned kSpins = 200;

// The half of the lock word that waiters sleep on: x86 stores the low half first.
const void* futex_half(const u64& lock) { return &lock; }

} // namespace

Vnode* find_vnode(const Segment& v, Ino ino) {
  u64 next = load_acquire(*bucket_of(v, ino));
  for (u64 steps = 0; next != 0 && steps < v.header->vnode_count; ++steps) {
    Vnode* vnode = vnode_at(v, next - 1);
    if (vnode == nullptr) return nullptr;
    if (load_relaxed(vnode->ino) == pmemfile::raw(ino)) return vnode;
    next = load_acquire(vnode->next_plus_1);
  }
  return nullptr;
}

bool in_use(const Segment& v, Ino ino) { return find_vnode(v, ino) != nullptr; }

void lock_owned_slow(Segment& v, u64& lock, int segment_fd) {
  u64 self = pack(v.self);
  for (unsigned spin = 0; spin < kSpins; ++spin) {
    u64 nobody = 0;
    if (load_relaxed(lock) == 0 && compare_exchange(lock, nobody, self)) return;
    cpu_relax();
  }
  for (;;) {
    u64 word = load_acquire(lock);
    if (word == 0) {
      // Who has slept passes the wake-up on.
      if (compare_exchange(lock, word, self | kLockWaited)) return;
      continue;
    }
    if ((word & kLockWaited) == 0) {
      if (!compare_exchange(lock, word, word | kLockWaited)) continue;
      word |= kLockWaited;
    }
    if (futex_wait_at(futex_half(lock), static_cast<u32>(word), kLivenessCheckNs) == 0) continue;
    ProcessRef owner = unpack_process(word & ~u64{kLockWaited});
    if (owner == v.self || process_alive(v, segment_fd, owner)) continue;
    if (compare_exchange(lock, word, self | kLockWaited)) return;
  }
}

void wake_owned(u64& word) { futex_wake_at(futex_half(word), 1); }

} // namespace pmemfile::shm
