#include "preload/inflight.h"

#include "preload/descriptors.h"

namespace pmemfile::preload {
namespace {

alignas(64) u32 g_lock;
ThreadBlock* g_blocks; // linked by ThreadBlock::next

class BlocksLocked {
 public:
  BlocksLocked() { lock_briefly(g_lock); }
  ~BlocksLocked() { unlock_briefly(g_lock); }
  BlocksLocked(const BlocksLocked&) = delete;
  BlocksLocked& operator=(const BlocksLocked&) = delete;
};

bool uses(const ThreadBlock& block, u32 fd) {
  for (const u32& number : block.in_use)
    if (load_acquire(number) == fd + 1) return true;
  return false;
}

} // namespace

void register_block(ThreadBlock* block) {
  BlocksLocked locked;
  block->next = g_blocks;
  g_blocks = block;
}

void unregister_block(ThreadBlock* block) {
  BlocksLocked locked;
  for (ThreadBlock** at = &g_blocks; *at != nullptr; at = &(*at)->next)
    if (*at == block) {
      *at = block->next;
      return;
    }
}

void keep_only_block(ThreadBlock* block) {
  store_release(g_lock, 0u);
  g_blocks = block;
  block->next = nullptr;
  for (u32& number : block->in_use) store_relaxed(number, 0u);
  block->deferred = 0;
}

void publish_numbers(const Call& call) {
  u32(&numbers)[4] = call.block.in_use;
  store_relaxed(numbers[0], static_cast<u32>(call.arg(0)) + 1);
  store_relaxed(numbers[1], static_cast<u32>(call.arg(1)) + 1);
  store_relaxed(numbers[2], static_cast<u32>(call.arg(2)) + 1);
  store_full(numbers[3], static_cast<u32>(call.arg(4)) + 1);
}

void withdraw_numbers(Call& call) {
  ThreadBlock& block = call.block;
  for (unsigned i = 0; i < 3; ++i) store_release(block.in_use[i], 0u);
  store_full(block.in_use[3], 0u);
  u64 deferred = load_relaxed(block.deferred) != 0 ? exchange(block.deferred, u64{0}) : 0;
  if (deferred == 0) return;
  u32 fd = static_cast<u32>(deferred) - 1, mount = static_cast<u32>(deferred >> 32);
  (void)vfs::close_handle(call.pool(mount), fd);
  give_back_number(call.process, fd);
}

bool leave_to_user(const Call& call, u32 fd, u32 mount) {
  u64 wanted = u64{mount} << 32 | (fd + 1);
  BlocksLocked locked;
  for (ThreadBlock* block = g_blocks; block != nullptr; block = block->next) {
    if (block == &call.block || !uses(*block, fd)) continue;
    u64 empty = 0;
    while (!compare_exchange(block->deferred, empty, wanted)) { // it has one already: rare enough to wait
      if (!uses(*block, fd)) return false;
      empty = 0;
      raw_syscall(SYS_sched_yield);
    }
    if (uses(*block, fd)) return true;
    // It may have left before it could see our note.
    u64 note = wanted;
    return !compare_exchange(block->deferred, note, u64{0});
  }
  return false;
}

void wait_for_users(const Call& call, u32 fd) {
  for (unsigned tries = 0; tries < 10000; ++tries) { // a wait for a lock may last: then it loses its description
    bool used = false;
    {
      BlocksLocked locked;
      for (ThreadBlock* block = g_blocks; block != nullptr && !used; block = block->next)
        used = block != &call.block && uses(*block, fd);
    }
    if (!used) return;
    raw_syscall(SYS_sched_yield);
  }
}

} // namespace pmemfile::preload
