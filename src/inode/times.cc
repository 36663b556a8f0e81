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

u32 stripes_a_group(const shm::SegmentHeader& header) { return header.inode_count / shm::kTimeGroups; }

// Behind the time itself: who takes the mark away looks at the places after that.
void mark_left(const Store& store, Ino ino) {
  shm::SegmentHeader& header = *store.segment.header;
  u32 group = (raw(shm::inode_key(store.segment, ino)) - header.inode_first) / stripes_a_group(header);
  u64& word = header.times_left[group / 64];
  u64 bit = u64{1} << group % 64;
  if ((load_acquire(word) & bit) == 0) fetch_or(word, bit);
}

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
    if (compare_exchange_pair(pair, old, mine)) {
      mark_left(store, ino_of_owner(owner));
      return true;
    }
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

namespace {

// False: somebody who may be stopped is at an inode.
bool write_out_stripe(Store& store, shm::Stripe& stripe) {
  WordPair* places[] = {&stripe.mtime, &stripe.ctime, &stripe.atime};
  WordPair seen[3];
  for (unsigned i = 0; i < 3; ++i) seen[i] = look(*places[i]);
  bool all = true;
  for (unsigned i = 0; i < 3; ++i) {
    if (seen[i].first == 0 || seen[i].second == 0) continue;
    Ino ino = ino_of_owner(seen[i].first);
    if (flush_times(store, ino, Wait::kNo).error() == EAGAIN) {
      all = false;
      continue;
    }
    // Whoever read the inode before it was written does not miss the time: its sequence has changed.
    for (unsigned j = i; j < 3; ++j)
      if (ino_of_owner(seen[j].first) == ino && compare_exchange_pair(*places[j], seen[j], WordPair{0, 0})) seen[j] = WordPair{0, 0};
  }
  return all;
}

template <class Visit>
void for_each_stripe(const shm::Segment& v, u64 groups, u32 first_group, Visit&& visit) {
  u32 count = stripes_a_group(*v.header);
  for (; groups != 0; groups &= groups - 1) {
    u32 group = first_group + static_cast<u32>(__builtin_ctzll(groups));
    for (u32 i = 0; i < count; ++i) visit(v.stripe(shm::LockKey{v.header->inode_first + group * count + i}));
  }
}

} // namespace

bool has_times_left(const Store& store) {
  u64 groups = 0;
  for (const u64& word : store.segment.header->times_left) groups |= load_acquire(word);
  return groups != 0 && store.medium.writable;
}

void write_out_times(Store& store) {
  shm::SegmentHeader& header = *store.segment.header;
  for (u32 i = 0; i < shm::kTimeGroups / 64; ++i) {
    if (PMEMFILE_LIKELY(load_acquire(header.times_left[i]) == 0)) continue;
    u64 groups = exchange(header.times_left[i], u64{0});
    for_each_stripe(store.segment, groups, i * 64, [&](shm::Stripe& stripe) {
      if (!write_out_stripe(store, stripe)) fetch_or(header.times_left[i], groups);
    });
  }
}

void adopt_times(Store& store, const shm::Segment& old) {
  auto adopt = [&](const WordPair& place, i64 Attr::*which) {
    Ino ino = ino_of_owner(place.first);
    if (place.first == 0 || place.second == 0) return;
    auto attr = read(store, ino);
    auto time = static_cast<i64>(place.second);
    if (!attr.ok() || times_owner(ino, attr.value().generation) != place.first || attr.value().*which >= time) return;
    auto only = [&](i64 Attr::*asked) { return asked == which ? time : i64{0}; };
    touch(store, ino, attr.value().generation, only(&Attr::mtime_ns), only(&Attr::ctime_ns), only(&Attr::atime_ns));
  };
  // All of them: who died while he left had taken the marks away.
  for (u32 i = 0; i < shm::kTimeGroups / 64; ++i)
    for_each_stripe(old, ~u64{0}, i * 64, [&](const shm::Stripe& stripe) {
      adopt(stripe.mtime, &Attr::mtime_ns);
      adopt(stripe.ctime, &Attr::ctime_ns);
      adopt(stripe.atime, &Attr::atime_ns);
    });
}

} // namespace pmemfile::inode
