#include "inode/times.h"

namespace pmemfile::inode {
namespace {

using journal::Store;
using journal::Tx;

// Others who are faster: after so many the time goes to the pool.
constexpr unsigned kAttempts = 4;

shm::Stripe& stripe_of(const Store& store, Ino ino) {
  return store.segment.stripe(shm::inode_key(store.segment, ino));
}

WordPair look(const WordPair& pair) { return WordPair{load_acquire(pair.first), load_acquire(pair.second)}; }

// Puts a time into its place in V; who has the place has its times written to the pool first. False: others were faster, or somebody who may be
// stopped is in the way.
bool put(Store& store, WordPair& pair, u64 owner, i64 time, Wait wait) {
  WordPair mine{owner, static_cast<u64>(time)};
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    // If the words are those of two moments, the exchange fails.
    WordPair old = look(pair);
    if (old.first == owner && old.second == mine.second) return true;
    if (old.first != owner && old.first != 0 && old.second != 0) {
      if (flush_times(store, ino_of_owner(old.first), wait).error() == EAGAIN) return false;
    }
    if (compare_exchange_pair(pair, old, mine)) return true;
  }
  return false;
}

// `seen`: what the operation found there. Something newer stays, and counts.
void match(WordPair& pair, u64 owner, i64 seen, i64 time) {
  if (PMEMFILE_LIKELY(seen == 0) || seen == time) return;
  (void)compare_exchange_pair(pair, WordPair{owner, static_cast<u64>(seen)}, WordPair{owner, static_cast<u64>(time)});
}

// Inodes of one stripe that are changed all the time drive each other out of it: then the times go to the pool at once.
void write_times(Store& store, Ino ino, u64 generation, i64 mtime_ns, i64 ctime_ns, i64 atime_ns) {
  (void)journal::run_tx(store, journal::Opcode::kTimes, [&](Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, ino)));
    Attr attr = TRY(load(tx.view(), ino));
    if (attr.generation != generation) return {};
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
  u64 owner = times_owner(attr.ino, attr.generation);
  if (i64 time = newer_time(stripe.mtime, owner); time != 0) attr.mtime_ns = attr.volatile_mtime_ns = time;
  if (i64 time = newer_time(stripe.ctime, owner); time != 0) attr.ctime_ns = attr.volatile_ctime_ns = time;
  if (i64 time = newer_time(stripe.atime, owner); time != 0) attr.atime_ns = attr.volatile_atime_ns = time;
}

void match_volatile_times(const Store& store, const Attr& attr) {
  shm::Stripe& stripe = stripe_of(store, attr.ino);
  u64 owner = times_owner(attr.ino, attr.generation);
  match(stripe.mtime, owner, attr.volatile_mtime_ns, attr.mtime_ns);
  match(stripe.ctime, owner, attr.volatile_ctime_ns, attr.ctime_ns);
  match(stripe.atime, owner, attr.volatile_atime_ns, attr.atime_ns);
}

void touch(Store& store, Ino ino, u64 generation, i64 mtime_ns, i64 ctime_ns, i64 atime_ns) {
  if (!store.medium.writable) return;
  shm::Stripe& stripe = stripe_of(store, ino);
  u64 owner = times_owner(ino, generation);
  // The clock is coarse: most calls find their time there already and leave the line shared.
  auto place = [&](WordPair& pair, i64& time, Wait wait) {
    if (time == 0 || (load_relaxed(pair.second) == static_cast<u64>(time) && load_relaxed(pair.first) == owner)) time = 0;
    else if (put(store, pair, owner, time, wait)) time = 0;
  };
  place(stripe.mtime, mtime_ns, Wait::kYes);
  place(stripe.ctime, ctime_ns, Wait::kYes);
  // Who reads waits for nobody: rather no time.
  place(stripe.atime, atime_ns, Wait::kNo);
  if (PMEMFILE_UNLIKELY((mtime_ns | ctime_ns) != 0)) write_times(store, ino, generation, mtime_ns, ctime_ns, atime_ns);
}

Result<void> flush_times(Store& store, Ino ino, Wait wait) {
  if (!store.medium.writable) return {}; // a reader finds what the last writer left in V, and leaves it there
  shm::Stripe& stripe = stripe_of(store, ino);
  auto here = [&](const WordPair& pair) { return ino_of_owner(load_acquire(pair.first)) == ino && load_relaxed(pair.second) != 0; };
  if (!here(stripe.mtime) && !here(stripe.ctime) && !here(stripe.atime)) return {};
  return journal::run_tx(store, journal::Opcode::kTimes, [&](Tx& tx) -> Result<void> {
    shm::LockKey key = shm::inode_key(store.segment, ino);
    if (wait == Wait::kNo && !tx.try_lock(key)) return Error(EAGAIN);
    TRY(tx.lock(key));
    auto attr = load(tx.view(), ino);
    if (attr.error() == ESTALE) return {};
    Attr now = TRY(attr);
    store_times(tx, now);
    return tx.commit();
  });
}

} // namespace pmemfile::inode
