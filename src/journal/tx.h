// Tx: one operation: locks, staged words, one record, one commit. The only way to change metadata of a pool.
//
// Life of an operation:
//   auto result = run_tx(store, opcode, [&](Tx& tx) -> Result<T> {
//     TRY(tx.lock(key));            // ascending keys wait; others are tried and may restart the function
//     ... tx.load / tx.store ...    // staged; nothing of it is visible
//     ... write_fresh_block(...)    // new blocks, unreachable until the commit
//     TRY(tx.commit());             // durable and visible here; after it nothing may fail
//     return value;                 // locks are released when the Tx ends
//   });
// A failed commit, or an error before it, leaves no trace.
// The function may be run again from its start (kRetryTx) as long as it has not committed: it must have no
// other effect before.
//
// The order between records of different slots and the proof that replay is right: docs/architecture.md.
// Rules: a Tx lives on one thread's stack, at most one at a time per thread; hook-safe.
#pragma once

#include "journal/view.h"

namespace pmemfile::journal {

// Internal: release everything, wait for the lock that was missed, run the function again.
inline constexpr int kRetryTx = 1000;
// Internal: the record has no room for one more line; callers split their work before it comes to that.
inline constexpr int kRecordFull = 1001;

// For people (info --live) and for tests.
enum class Opcode : u32 {
  kNone, kCreate, kLink, kUnlink, kRename, kMkdir, kRmdir, kSymlink, kSetAttr, kWrite, kTruncate, kFallocate,
  kXattr, kOrphan, kSplit, kTimes, kFree, kRepair, kOverwrite,
};
const char* opcode_text(Opcode opcode);

struct StagedLine {
  u64 offset; // of the line in the pool
  u64 mask;   // of the words that change
  layout::Line line; // as it will be; trailer is made at commit
};

class Tx {
 public:
  Tx(Store& store, Opcode opcode);
  ~Tx();
  Tx(const Tx&) = delete;
  Tx& operator=(const Tx&) = delete;

  Store& store() { return store_; }
  // Reads through what is staged so far.
  View view() const {
    View view(store_);
    view.tx_ = this;
    view.filter_ = &staged_filter_;
    return view;
  }

  // Exclusive, released when the Tx ends. Taking a key twice is harmless.
  Result<void> lock(shm::LockKey key);
  // False if somebody else holds it.
  bool try_lock(shm::LockKey key);
  // The same, but not before a holder that runs had time to finish, or, where it waits for a processor, several milliseconds, once for
  // each operation that is in the way; a dead one is repaired.
  bool lock_soon(shm::LockKey key);
  // For what can be done later: from here on nothing waits for somebody who is stopped. What is not to be had soon (lock_soon) makes the
  // operation fail with EAGAIN, or restart with leaves() true, which says that it has to do without.
  enum class Hurry : u8 { kNo, kOrFail, kOrLeave };
  void hurry(Hurry hurry) { hurry_ = hurry; }
  bool leaves() const { return leaves_; }
  bool holds(shm::LockKey key) const;
  // Waits until no slot overwrites data under `key` in place, and keeps new ones out until the Tx ends. For
  // what takes blocks away from a file. The stripe must be held. A hurried operation does not wait long: it fails or begins again.
  Result<void> exclude_overwriters(shm::LockKey key);

  u64 load(PoolOff offset) const { return view().load(offset); }
  // Stages one word. The caller holds the stripe that guards its line. A damaged line or a full record shows at
  // commit.
  void store(PoolOff offset, u64 value);
  // Stages all words of the line that begins at `line`.
  void store_line(PoolOff line, const u64 (&words)[layout::kLineWords]);
  // Stripes that may still be locked.
  unsigned locks_left() const { return shm::kMaxHeldLocks - key_count_; }
  // Is this line staged?
  bool stages(PoolOff line) const { return find_line(raw(line)) != nullptr; }
  // Lines that may still be staged.
  unsigned lines_left() const { return layout::kMaxRecordLines - line_count_; }
  // New blocks were written: the commit fences once before the record.
  void note_fresh_data() { fresh_data_ = true; }

  // Until the commit who begins to use the inode (shm/opens.h) can deny that it is freed, and who begins to map it that blocks are taken away
  // from it; then commit() makes the function restart. Seen by everybody before anything that the caller loads after it. One announcement a
  // commit. The inode's stripe must be held.
  void announce_ending(Ino ino) { announce(ino, shm::SlotPhase::kEnding); }
  void announce_moving(Ino ino) { announce(ino, shm::SlotPhase::kMoving); }
  // The same, but who begins to map it waits: a denied record is void only once its Tx has seen that, and what is stored through the mapping
  // meanwhile must not be replaced at a recovery.
  void announce_replacing(Ino ino) { announce(ino, shm::SlotPhase::kReplacing); }
  void withdraw_announcement();
  // Notes until the Tx ends that the inode may have to be freed by who repairs the slot (Slot::left_ino).
  void note_left(Ino ino);

  // Makes the staged words durable and visible, all or none. On error (EUCLEAN, kRecordFull, kRetryTx) nothing happened.
  Result<void> commit();
  bool committed() const { return committed_; }
  // The error of a retry action that failed: what the function would only run into again.
  int action_error() const { return action_error_; }
  u32 slot() const { return slot_; }

  // For run_tx: drops what is staged and all locks, waits for the lock or runs the action that made the function
  // restart.
  void reset_for_retry();
  // Makes the function restart after `action`, which runs without locks and may commit in this Tx. Returns the
  // error to pass on.
  using RetryAction = Result<void> (*)(Tx& tx);
  Error retry_after(RetryAction action) {
    retry_action_ = action;
    return Error(kRetryTx);
  }

 private:
  void begin(Opcode opcode);
  // Waits until the stripe is given back, and goes on in another slot. Nothing may be held or staged.
  void wait_without_slot(shm::LockKey key);
  void announce(Ino ino, shm::SlotPhase phase);
  friend class View;
  static constexpr u32 kNoKey = ~u32{0};

  StagedLine* find_line(u64 line_offset) const {
    if ((staged_filter_ & View::line_bit(PoolOff{line_offset})) == 0) return nullptr;
    StagedLine& likely = lines_[staged_index_[line_offset / layout::kLineBytes % 64]];
    return PMEMFILE_LIKELY(likely.offset == line_offset) ? &likely : find_line_slow(line_offset);
  }
  StagedLine* find_line_slow(u64 line_offset) const;
  StagedLine* stage_line(u64 line_offset);
  void reflush_last_record(const shm::Slot& slot);
  void write_record(u64 sequence);
  u64 operation_under(shm::LockKey key) const;
  bool waited_in_vain(shm::LockKey key) const;
  bool lock_in_turn(shm::LockKey key);
  Error give_up();
  Result<void> wait_while_overwriting(shm::Segment& v, u32 slot_index, shm::LockKey key);
  void step_sequences();
  bool make_visible();
  void forget_left();
  void apply();
  void release_locks();
  void forget_staged();

  Store& store_;
  StagedLine* lines_;
  u32 slot_;
  u32 line_count_ = 0;
  u64 staged_filter_ = 0; // View::line_bit of every staged line
  u32 key_count_ = 0;
  int fault_ = 0;
  bool fresh_data_ = false;
  bool committed_ = false;
  shm::SlotPhase announced_ = shm::SlotPhase::kPlanning; // what was, or nothing
  bool left_ = false;
  Hurry hurry_ = Hurry::kNo;
  Hurry missed_hurry_ = Hurry::kNo; // when missed_ was
  bool leaves_ = false;
  u32 missed_ = kNoKey;
  RetryAction retry_action_ = nullptr;
  int action_error_ = 0;
  // By residue of the line's number (see View::line_bit): where to look first; only set bits of the filter count.
  u8 staged_index_[64];
  u32 keys_[shm::kMaxHeldLocks]; // what this Tx holds, in the order of taking
};

template <class Body>
auto run_tx(Store& store, Opcode opcode, Body&& body) {
  Tx tx(store, opcode);
  for (;;) {
    auto result = body(tx);
    if (PMEMFILE_LIKELY(result.error() != kRetryTx)) return result;
    tx.reset_for_retry();
    if (PMEMFILE_UNLIKELY(tx.action_error() != 0)) return decltype(result)(Error(tx.action_error()));
  }
}

// Writes all lines of a metadata block that nothing points to yet. `line_words(index, words)` fills the seven
// words of line `index`, which arrive as zeros. The versions go on from those of the block's life as metadata
// before (was_meta), or start at 1, so that no stale record can ever match (docs/architecture.md).
template <class LineWords>
void write_fresh_block(Tx& tx, BlockNo block, bool was_meta, LineWords&& line_words) {
  const pmem::Medium& medium = tx.store().medium;
  for (unsigned index = 0; index < layout::kLinesPerBlock; ++index) {
    PoolOff line = block_offset(block) + index * layout::kLineBytes;
    u64 words[layout::kLineWords] = {};
    line_words(index, words);
    u64 version = was_meta ? layout::trailer_version(medium.word(line + 56)) + 1 : 1;
    for (unsigned word = 0; word < layout::kLineWords; ++word)
      pmem::store_word(medium, line + 8 * word, words[word]);
    pmem::store_word(medium, line + 56, layout::make_trailer(words, version & layout::kMaxLineVersion));
  }
  pmem::flush(medium, block_offset(block), layout::kBlockBytes);
  tx.note_fresh_data();
}

} // namespace pmemfile::journal
