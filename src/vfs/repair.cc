#include "vfs/repair.h"

#include "inode/inode.h"
#include "journal/recovery.h"
#include "vfs/open_files.h"

namespace pmemfile::vfs {
namespace {

using shm::Process;
using shm::ProcessRef;
using shm::ProcessState;
using shm::Segment;
using shm::Slot;

// Operations that the dead process's threads were in, each completed or voided.
void repair_slots(Store& store, ProcessRef dead) {
  Segment& v = store.segment;
  for (u32 i = 0; i < v.header->slot_count; ++i) {
    Slot& slot = v.slots[i];
    if (load_acquire(slot.owner) != pack(dead)) continue;
    journal::repair_slot(store, i);
    settle_begun(store, i);
    shm::repair_vlog(v, i);
    settle_unnamed(store, i, dead);
    settle_left(store, i, dead);
    // Stripes go after all effects are stored, and the slot after its stripes: a repairer that dies here is
    // followed by one that finds whatever is still held.
    shm::release_stripes_of_dead_slot(v, i);
    store_release(slot.shared_plus_1, 0u);
    store_release(slot.last_thread, u64{0});
    shm::release_slot(v, i);
  }
}

bool owns_slots(const Segment& v, ProcessRef process) {
  if (process == ProcessRef{}) return false;
  for (u32 i = 0; i < v.header->slot_count; ++i)
    if (load_acquire(v.slots[i].owner) == pack(process)) return true;
  return false;
}

ProcessState state_of(const Process& entry) { return static_cast<ProcessState>(load_acquire(entry.state)); }

// False: some are left, with kNo.
bool drop_handles_of(Pool& pool, ProcessRef process, inode::Wait wait) {
  struct Drop {
    Pool& pool;
    ProcessRef process;
    inode::Wait wait;
    bool all;
  } drop{pool, process, wait, true};
  shm::for_each_handle(open_tables(pool), process, [](void* context, u32 handle, u64) {
    auto& [its_pool, whose, waits, all] = *static_cast<Drop*>(context);
    if (drop_handle(its_pool, whose, handle, waits).error() == EAGAIN) all = false;
  }, &drop);
  return drop.all;
}

// What the dead one would have taken off an orphan list after the inode that it was freeing; and what no entry had room to note.
void free_behind(Pool& pool) {
  // The lists are looked at, too, if nobody has said that something is forgotten: the dead one may have been about to.
  bool empty;
  bool all = inode::trim_orphans(pool.store(), &empty);
  if (!all || !empty || load_relaxed(shm::process_table(pool.store().segment).forgotten) != 0) free_forgotten(pool);
}

// False: something of it has to wait for somebody who is stopped.
bool free_entry(Pool& pool, Process& entry, ProcessRef dead, inode::Wait wait) {
  Segment& v = pool.store().segment;
  // First: one that has got a user is freed with its handle, and noted by who drops that, so by one only.
  for (u64& word : entry.pending) free_pending(pool, word, true);
  bool dropped = drop_handles_of(pool, dead, wait);
  if (dropped) shm::free_handle_pages(v, dead);
  free_behind(pool);
  return dropped && !has_left(entry);
}

// Who only reads changes nothing in V; who is not registered yet owns no slot to work in.
bool is_undertaker(const Pool& pool) {
  return open_tables(pool).base == pool.store().segment.base && pool.store().segment.self != ProcessRef{};
}

ProcessRef ref_of(const Segment& v, u32 index) { return ProcessRef{index + 1, load_acquire(shm::process_entry(v, index).generation)}; }

} // namespace

void repair_dead(Store& store, ProcessRef dead) {
  Segment& v = store.segment;
  ProcessRef before;
  if (!shm::claim_repair(v, dead, &before)) return;
  repair_slots(store, dead);
  store_release(shm::find_process(v, dead)->state, static_cast<u32>(ProcessState::kUnburied));
  store_release(shm::process_table(v).unburied, u64{1});
  if (PMEMFILE_UNLIKELY(before != v.self && owns_slots(v, before))) return shm::hand_back_repair(v, dead, before);
  shm::end_repair(v, dead, false);
}

void bury(Pool& pool, ProcessRef dead, inode::Wait wait) {
  Segment& v = pool.store().segment;
  ProcessRef before;
  if (!is_undertaker(pool) || !shm::claim_repair(v, dead, &before)) return;
  // What the undertaker before was doing with the dead one's handles is completed first: their pages are given away here.
  if (before != ProcessRef{} && before != v.self) repair_dead(pool.store(), before);
  if (before != v.self && owns_slots(v, before)) return shm::hand_back_repair(v, dead, before);
  repair_slots(pool.store(), dead);
  Process& entry = *shm::find_process(v, dead);
  bool freed = free_entry(pool, entry, dead, wait);
  if (!freed) {
    store_release(entry.state, static_cast<u32>(ProcessState::kUnburied));
    store_release(shm::process_table(v).unburied, u64{1});
  }
  shm::end_repair(v, dead, freed);
}

void bury_unburied(Pool& pool) {
  Segment& v = pool.store().segment;
  if (!is_undertaker(pool)) return;
  store_release(shm::process_table(v).unburied, u64{0});
  bool left = false;
  for (u32 index = 0; index < v.header->process_count; ++index) {
    Process& entry = shm::process_entry(v, index);
    if (state_of(entry) != ProcessState::kUnburied) continue;
    bury(pool, ref_of(v, index), inode::Wait::kNo);
    left = left || state_of(entry) == ProcessState::kUnburied;
  }
  // Somebody else is at it and may die.
  if (left) store_release(shm::process_table(v).unburied, u64{1});
}

bool bury_all_dead(Pool& pool) {
  Segment& v = pool.store().segment;
  if (!is_undertaker(pool)) return false;
  bool something = PoolInternals::has_left(pool) || load_relaxed(shm::process_table(v).forgotten) != 0;
  free_left(pool);
  for (u32 index = 0; index < v.header->process_count; ++index) {
    if (state_of(shm::process_entry(v, index)) == ProcessState::kFree) {
      (void)shm::drop_dead_claim(v, index);
      continue;
    }
    ProcessRef ref = ref_of(v, index);
    if (ref == v.self) continue;
    if (shm::process_alive(v, v.fd, ref)) {
      something |= free_left_of(pool, shm::process_entry(v, index));
      continue;
    }
    bury(pool, ref, inode::Wait::kNo);
    something = true;
  }
  return something;
}

void bury_dead(Store& store, unsigned questions) {
  Pool& pool = PoolInternals::of(store);
  const unsigned entries = 8 * questions;
  Segment& v = store.segment;
  if (!is_undertaker(pool)) return;
  if (load_relaxed(shm::process_table(v).unburied) != 0) bury_unburied(pool);
  u64& sweep = shm::process_table(v).sweep;
  u64 used = load_relaxed(shm::process_table(v).used);
  unsigned asked = 0;
  for (unsigned i = 0; i < min_of<u64>(entries, used) && asked < questions; ++i) {
    // No fetch_add: that two processes ask about the same entry does no harm.
    u64 next = load_relaxed(sweep) % used;
    store_relaxed(sweep, next + 1);
    u32 index = static_cast<u32>(next);
    if (state_of(shm::process_entry(v, index)) == ProcessState::kFree) continue;
    ProcessRef ref = ref_of(v, index);
    if (ref == v.self) continue;
    ++asked;
    if (!shm::process_alive(v, v.fd, ref)) bury(pool, ref, inode::Wait::kNo);
  }
}

void repair_own_threads(Pool& pool) {
  Segment& v = pool.store().segment;
  repair_slots(pool.store(), v.self); // before others may have what our threads were at
  shm::drop_own_claims(v);
  Process* self = shm::find_process(v, v.self);
  store_release(self->waits_for, u64{0});
  // In most images there is nothing; the orphan lists are not even looked at then.
  bool freeing = load_relaxed(shm::process_table(v).forgotten) != 0;
  for (u64& word : self->pending) freeing |= load_relaxed(word) != 0;
  if (PMEMFILE_LIKELY(!freeing)) return;
  for (u64& word : self->pending) free_pending(pool, word, true);
  free_behind(pool);
}

void inherit_dead(Store& store) {
  repair_own_threads(PoolInternals::of(store));
  drop_all_handles(store);
}

void drop_all_handles(Store& store) {
  Pool& pool = PoolInternals::of(store);
  Segment& v = open_tables(pool);
  (void)drop_handles_of(pool, v.self, inode::Wait::kYes);
  shm::free_handle_pages(v, v.self);
}

} // namespace pmemfile::vfs
