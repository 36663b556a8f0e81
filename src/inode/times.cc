#include "inode/times.h"

namespace pmemfile::inode {
namespace {

using journal::Store;
using journal::Tx;

shm::Stripe& stripe_of(const Store& store, Ino ino) {
  return store.segment.stripe(shm::inode_key(store.segment, ino));
}

void clear(shm::Stripe& stripe) {
  store_relaxed(stripe.mtime_ns, i64{0});
  store_relaxed(stripe.ctime_ns, i64{0});
  store_relaxed(stripe.atime_ns, i64{0});
}

// Makes the stripe's room this inode's: writes the times of the one that has it to the pool first. False if others were faster.
bool take_room(Store& store, shm::Stripe& stripe, Ino ino) {
  u64 other = load_acquire(stripe.times_ino);
  if (other == raw(ino)) return true;
  if (other != 0) (void)flush_times(store, Ino{other});
  // Nobody's while it is cleared: a reader, or a death right here, must not take the other's times for this inode's.
  // Whoever wins, at worst a time that differs by the length of this function is lost.
  if (!compare_exchange(stripe.times_ino, other, u64{0})) return false;
  clear(stripe);
  u64 nobody = 0;
  return compare_exchange(stripe.times_ino, nobody, raw(ino));
}

// Inodes of one stripe that are changed all the time drive each other out of it: then the times go to the pool at once.
void write_times(Store& store, Ino ino, i64 mtime_ns, i64 ctime_ns, i64 atime_ns) {
  (void)journal::run_tx(store, journal::Opcode::kTimes, [&](Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    Attr attr = TRY(load(tx.view(), ino));
    if (mtime_ns != 0) attr.mtime_ns = mtime_ns;
    if (ctime_ns != 0) attr.ctime_ns = ctime_ns;
    if (atime_ns != 0) attr.atime_ns = atime_ns;
    store_times(tx, attr);
    return tx.commit();
  });
}

} // namespace

void merge_volatile_times(const Store& store, Attr& attr) {
  const shm::Stripe& stripe = stripe_of(store, attr.ino);
  if (PMEMFILE_LIKELY(load_acquire(stripe.times_ino) != raw(attr.ino))) return;
  if (i64 time = load_relaxed(stripe.mtime_ns); time != 0) attr.mtime_ns = time;
  if (i64 time = load_relaxed(stripe.ctime_ns); time != 0) attr.ctime_ns = time;
  if (i64 time = load_relaxed(stripe.atime_ns); time != 0) attr.atime_ns = time;
}

void match_volatile_times(const Store& store, const Attr& attr) {
  shm::Stripe& stripe = stripe_of(store, attr.ino);
  if (load_relaxed(stripe.times_ino) != raw(attr.ino)) return;
  store_relaxed(stripe.mtime_ns, attr.mtime_ns);
  store_relaxed(stripe.ctime_ns, attr.ctime_ns);
  store_relaxed(stripe.atime_ns, attr.atime_ns);
}

void touch(Store& store, Ino ino, i64 mtime_ns, i64 ctime_ns, i64 atime_ns) {
  if (!store.medium.writable) return;
  shm::Stripe& stripe = stripe_of(store, ino);
  if (PMEMFILE_UNLIKELY(load_acquire(stripe.times_ino) != raw(ino)) && !take_room(store, stripe, ino))
    return write_times(store, ino, mtime_ns, ctime_ns, atime_ns);
  // The clock is coarse: most calls find their time there already and leave the line shared.
  auto put = [](i64& word, i64 time) {
    if (time != 0 && load_relaxed(word) != time) store_relaxed(word, time);
  };
  put(stripe.mtime_ns, mtime_ns);
  put(stripe.ctime_ns, ctime_ns);
  put(stripe.atime_ns, atime_ns);
}

Result<void> flush_times(Store& store, Ino ino) {
  if (!store.medium.writable) return {}; // a reader finds what the last writer left in V, and leaves it there
  shm::Stripe& stripe = stripe_of(store, ino);
  if (load_acquire(stripe.times_ino) != raw(ino)) return {};
  if (load_relaxed(stripe.mtime_ns) == 0 && load_relaxed(stripe.ctime_ns) == 0 && load_relaxed(stripe.atime_ns) == 0)
    return {};
  return journal::run_tx(store, journal::Opcode::kTimes, [&](Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    auto attr = load(tx.view(), ino);
    if (attr.error() == ESTALE) return {};
    Attr now = TRY(attr);
    store_times(tx, now);
    return tx.commit();
  });
}

} // namespace pmemfile::inode
