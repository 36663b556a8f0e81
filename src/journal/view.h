// View: how everything reads metadata words: in place, through a stopped writer's committed record, or through
// the staged changes of the operation under way.
//
// A lock-free reader works on words that may change under it. It has to be memory-safe on any value, must use
// each loaded value from its own copy, and its findings (errors included) count only if the Reader validates.
// Rules: stack object of one thread; hook-safe; allocates nothing.
#pragma once

#include "journal/store.h"

namespace pmemfile::journal {

class Tx;

class View {
 public:
  explicit View(const Store& store) : store_(&store) {}

  const Store& store() const { return *store_; }
  u64 load(PoolOff offset) const {
    if (filter_ != nullptr && PMEMFILE_UNLIKELY((*filter_ & line_bit(offset)) != 0)) return load_slow(offset);
    return load_relaxed(store_->medium.word(offset));
  }
  // The words of a line, for who needs several of them: in place or staged where that counts (load each once), else a
  // copy in `room`. `line` is the offset of its first word. Not the trailer: that of a staged line is not made yet.
  const u64* words(PoolOff line, layout::Line& room) const {
    if (PMEMFILE_LIKELY(filter_ == nullptr || (*filter_ & line_bit(line)) == 0)) return &store_->medium.word(line);
    return words_slow(line, room);
  }
  // The 512 words of a block in place, or null if some of its lines may have to be read elsewhere.
  const u64* block_in_place(PoolOff block) const {
    return PMEMFILE_LIKELY(filter_ == nullptr) ? &store_->medium.word(block) : nullptr;
  }
  // The whole line of `offset` with its trailer.
  layout::Line load_line(PoolOff offset) const;

 private:
  friend class Tx;
  friend class Reader;
  u64 load_slow(PoolOff offset) const;
  const u64* words_slow(PoolOff line, layout::Line& room) const;
  static u64 line_bit(PoolOff offset) { return u64{1} << (raw(offset) / layout::kLineBytes % 64); }
  static constexpr u64 kAllLines = ~u64{0};

  const Store* store_;
  // Which lines may have to be read elsewhere than in place: a bit for each residue of the line's number.
  const u64* filter_ = nullptr;
  const u64* overlay_ = nullptr; // record of a writer that is applying it
  const Tx* tx_ = nullptr;
};

// Lock-free validated reading of what one stripe guards. Use:
//
//   return read_consistent(store, key, [&](const View& view) -> Result<T> { ... });
//
// The function may run several times and must have no effect but its result. Never waits for a live or stopped
// writer that holds the stripe: a record that it has committed is laid over the words in place.
class Reader {
 public:
  Reader(Store& store, shm::LockKey key) : view_(store), store_(store), key_(key) { begin(); }
  const View& view() const { return view_; }
  // True if nothing that the stripe guards changed since construction or the last begin().
  bool valid() const {
    acquire_fence();
    // The phase first: a writer steps the sequence before it leaves kApplying, so a phase that says "not applying" because
    // the writer is done already comes with a sequence that has moved on.
    if (PMEMFILE_UNLIKELY(writer_ != nullptr) && load_acquire(writer_->phase) == kApplying) return false;
    return load_relaxed(store_.segment.stripe(key_).sequence) == sequence_;
  }
  u32 sequence() const { return sequence_; }
  // How often it had to begin; long readers fall back to taking the lock (in a Tx) after a few.
  u32 attempts() const { return attempts_; }
  // Starts anew; after many failures pauses for the writer's benefit.
  void begin();

 private:
  static constexpr u32 kApplying = static_cast<u32>(shm::SlotPhase::kApplying);
  void begin_slow();
  View view_;
  Store& store_;
  shm::LockKey key_;
  u32 sequence_ = 0;
  u32 attempts_ = 0;
  const shm::Slot* writer_ = nullptr; // about to commit; what is in place counts until it does
};

inline void Reader::begin() {
  u32 sequence = load_acquire(store_.segment.stripe(key_).sequence);
  if (PMEMFILE_LIKELY((sequence & 1) == 0 && attempts_ == 0)) {
    sequence_ = sequence;
    ++attempts_;
    return;
  }
  begin_slow();
}

template <class Body>
auto read_consistent(Store& store, shm::LockKey key, Body&& body) {
  Reader reader(store, key);
  for (;;) {
    auto result = body(reader.view());
    if (PMEMFILE_LIKELY(reader.valid())) return result;
    reader.begin();
  }
}

} // namespace pmemfile::journal
