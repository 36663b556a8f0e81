#include "journal/tx.h"

#include "journal/record.h"
#include "journal/recovery.h"
#include "shm/hints.h"
#include "shm/process.h"

namespace pmemfile::journal {
namespace {

// Tells threads apart, for the question who flushed the last record's effects. The thread pointer is unique among
// the live threads of a process, and a thread that ends has passed through a full barrier of the kernel.
u64 thread_mark(const Store& store) {
  return reinterpret_cast<u64>(__builtin_thread_pointer()) ^ u64{store.segment.self.index_plus_1} << 48;
}

bool has_readers(const shm::SegmentHeader& header, u32 key) {
  return key >= header.inode_first && key < header.orphan_first;
}

} // namespace

const char* opcode_text(Opcode opcode) {
  static constexpr const char* kNames[] = {"none",     "create",    "link",  "unlink", "rename",   "mkdir", "rmdir",
                                           "symlink",  "setattr",   "write", "truncate", "fallocate", "xattr",
                                           "orphan",   "split",     "times", "free",   "repair",   "overwrite"};
  auto index = static_cast<u32>(opcode);
  return index < sizeof kNames / sizeof kNames[0] ? kNames[index] : "unknown";
}

Tx::Tx(Store& store, Opcode opcode) : store_(store) { begin(opcode); }

PMEMFILE_INLINE void Tx::begin(Opcode opcode) {
  slot_ = shm::take_slot(store_.segment, shm::slot_hint(store_.segment), store_.waiter);
  lines_ = reinterpret_cast<StagedLine*>(store_.staging_of(slot_));
  static_assert(sizeof(StagedLine) * layout::kMaxRecordLines <= kStagingBytes);
  shm::Slot& slot = store_.segment.slots[slot_];
  store_relaxed(slot.opcode, static_cast<u32>(opcode));
  store_relaxed(slot.phase, static_cast<u32>(shm::SlotPhase::kPlanning));
}

void Tx::wait_without_slot(shm::LockKey key) {
  auto opcode = static_cast<Opcode>(load_relaxed(store_.segment.slots[slot_].opcode));
  shm::release_slot(store_.segment, slot_);
  shm::wait_for_stripe(store_.segment, key, store_.waiter);
  begin(opcode);
}

Tx::~Tx() {
  if (PMEMFILE_UNLIKELY(left_)) forget_left();
  release_locks();
  shm::release_slot(store_.segment, slot_);
}

void Tx::release_locks() {
  while (key_count_ != 0) shm::unlock_stripe(store_.segment, slot_, shm::LockKey{keys_[--key_count_]});
}

void Tx::forget_staged() {
  line_count_ = 0;
  staged_filter_ = 0;
  fault_ = 0;
  fresh_data_ = false;
  committed_ = false;
  if (PMEMFILE_UNLIKELY(announced_ != shm::SlotPhase::kPlanning)) withdraw_announcement();
  if (PMEMFILE_UNLIKELY(left_)) forget_left();
}

void Tx::announce(Ino ino, shm::SlotPhase phase) {
  shm::Slot& slot = store_.segment.slots[slot_];
  store_release(slot.announced_ino, pmemfile::raw(ino));
  store_full(slot.phase, static_cast<u32>(phase));
  announced_ = phase;
}

void Tx::note_left(Ino ino) {
  store_release(store_.segment.slots[slot_].left_ino, pmemfile::raw(ino));
  left_ = true;
}

void Tx::forget_left() {
  store_release(store_.segment.slots[slot_].left_ino, u64{0});
  left_ = false;
}

void Tx::withdraw_announcement() {
  announced_ = shm::SlotPhase::kPlanning;
  store_release(store_.segment.slots[slot_].phase, static_cast<u32>(announced_));
}

bool Tx::holds(shm::LockKey key) const {
  for (u32 i = 0; i < key_count_; ++i)
    if (keys_[i] == raw(key)) return true;
  return false;
}

bool Tx::try_lock(shm::LockKey key) {
  if (holds(key)) return true;
  if (key_count_ == shm::kMaxHeldLocks || !shm::try_lock_stripe(store_.segment, slot_, key)) return false;
  keys_[key_count_++] = raw(key);
  return true;
}

bool Tx::lock_soon(shm::LockKey key) {
  constexpr unsigned kRounds = 4, kSpins = 400;
  const shm::Segment& v = store_.segment;
  for (unsigned round = 0; round < kRounds; ++round) {
    // Who was waited for in vain is only asked whether it lives.
    unsigned spins = waited_in_vain(key) ? 1 : kSpins;
    for (unsigned spin = 0; spin < spins; ++spin) {
      if (try_lock(key)) return true;
      cpu_relax();
    }
    u32 holder = load_acquire(v.stripe(key).lock) & shm::kLockSlotMask;
    if (holder == 0 || holder > v.header->slot_count) continue;
    shm::ProcessRef owner = shm::unpack_process(load_acquire(v.slots[holder - 1].owner));
    if (owner == shm::ProcessRef{} || owner == v.self || shm::process_alive(v, store_.waiter.segment_fd, owner)) {
      if (spins == 1) break;
      continue;
    }
    store_.waiter.repair(store_.waiter.context, owner);
  }
  return lock_in_turn(key);
}

// Which operation of which slot holds the lock, as far as its last record tells.
u64 Tx::operation_under(shm::LockKey key) const {
  const shm::Segment& v = store_.segment;
  u32 holder = load_acquire(v.stripe(key).lock) & shm::kLockSlotMask;
  if (holder == 0 || holder > v.header->slot_count) return 0;
  return u64{holder} << 48 | (load_relaxed(v.slots[holder - 1].sequence) & ((u64{1} << 48) - 1));
}

bool Tx::waited_in_vain(shm::LockKey key) const {
  u64 in_the_way = operation_under(key);
  return in_the_way != 0 && in_the_way == load_relaxed(store_.slow_operation(in_the_way));
}

bool Tx::lock_in_turn(shm::LockKey key) {
  constexpr unsigned kTurns = 8;
  constexpr i64 kTurnNs = 1'000'000;
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    if (try_lock(key)) return true;
    if (waited_in_vain(key)) break;
    u32 nothing = 0;
    shm::futex_wait(nothing, 0, kTurnNs);
  }
  if (try_lock(key)) return true;
  u64 in_the_way = operation_under(key);
  store_relaxed(store_.slow_operation(in_the_way), in_the_way);
  return false;
}

Error Tx::give_up() {
  if (hurry_ == Hurry::kOrFail) return Error(EAGAIN);
  leaves_ = true;
  return Error(kRetryTx);
}

Result<void> Tx::lock(shm::LockKey key) {
  if (try_lock(key)) return {};
  if (key_count_ == shm::kMaxHeldLocks) return Error(kRecordFull);
  for (u32 i = 0; i < key_count_; ++i) {
    if (keys_[i] < raw(key)) continue;
    // Waiting here, against the order, could close a circle: give up everything first.
    missed_ = raw(key);
    missed_hurry_ = hurry_;
    return Error(kRetryTx);
  }
  if (hurry_ != Hurry::kNo) return lock_soon(key) ? Result<void>() : Result<void>(give_up());
  if (PMEMFILE_UNLIKELY(!shm::lock_stripe_for_a_while(store_.segment, slot_, key, store_.waiter))) {
    // Behind somebody who may be stopped nothing is kept that others need.
    missed_ = raw(key);
    missed_hurry_ = hurry_;
    return Error(kRetryTx);
  }
  keys_[key_count_++] = raw(key);
  return {};
}

void Tx::reset_for_retry() {
  hurry_ = Hurry::kNo;
  release_locks();
  forget_staged();
  if (missed_ != kNoKey) {
    shm::LockKey key{missed_};
    missed_ = kNoKey;
    if (missed_hurry_ == Hurry::kNo) {
      if (shm::lock_stripe_for_a_while(store_.segment, slot_, key, store_.waiter)) shm::unlock_stripe(store_.segment, slot_, key);
      else wait_without_slot(key);
    } else if (lock_soon(key)) {
      release_locks();
    } else if (missed_hurry_ == Hurry::kOrFail) {
      action_error_ = EAGAIN;
    } else {
      leaves_ = true;
    }
  }
  if (retry_action_ != nullptr) {
    RetryAction action = retry_action_;
    retry_action_ = nullptr;
    action_error_ = action(*this).error();
    release_locks();
    forget_staged();
  }
}

// Overwriters copy at most a chunk before they look at the lock again; a dead one is repaired like any owner.
Result<void> Tx::wait_while_overwriting(shm::Segment& v, u32 slot_index, shm::LockKey key) {
  shm::Slot& slot = v.slots[slot_index];
  constexpr u64 kHurriedSpins = 8 * 1024;
  for (u64 spins = 1; load_acquire(slot.shared_plus_1) == raw(key) + 1; ++spins) {
    if (spins % 1024 != 0) {
      cpu_relax();
      continue;
    }
    shm::ProcessRef owner = shm::unpack_process(load_acquire(slot.owner));
    if (owner.index_plus_1 != 0 && !shm::process_alive(v, store_.waiter.segment_fd, owner))
      store_.waiter.repair(store_.waiter.context, owner);
    else if (hurry_ != Hurry::kNo && spins >= kHurriedSpins)
      return give_up();
    else
      shm::futex_wait(slot.shared_plus_1, raw(key) + 1, 50'000);
  }
  return {};
}

Result<void> Tx::exclude_overwriters(shm::LockKey key) {
  shm::Segment& v = store_.segment;
  shm::Stripe& stripe = v.stripe(key);
  fetch_or(stripe.lock, shm::kLockExcludesOverwriters);
  // Taken back before the search: who finds it set and leaves it has published its slot before, and is found.
  if (PMEMFILE_LIKELY(load_acquire(stripe.overwritten) == 0)) return {};
  store_full(stripe.overwritten, u64{0});
  for (u32 i = 0; i < v.header->slot_count; ++i) {
    if (i == slot_ || PMEMFILE_LIKELY(load_acquire(v.slots[i].shared_plus_1) != raw(key) + 1)) continue;
    Result<void> over = wait_while_overwriting(v, i, key);
    if (PMEMFILE_LIKELY(over.ok())) continue;
    // He goes on copying: who comes next has to look for him again.
    store_full(stripe.overwritten, u64{1});
    return over;
  }
  return {};
}

StagedLine* Tx::find_line_slow(u64 line_offset) const {
  for (u32 i = 0; i < line_count_; ++i)
    if (lines_[i].offset == line_offset) return &lines_[i];
  return nullptr;
}

StagedLine* Tx::stage_line(u64 line_offset) {
  if (line_count_ == layout::kMaxRecordLines) {
    fault_ = kRecordFull;
    return nullptr;
  }
  StagedLine& staged = lines_[line_count_];
  staged.offset = line_offset;
  staged.mask = 0;
  const u64* words = &store_.medium.word(PoolOff{line_offset});
  for (unsigned i = 0; i < layout::kLineWords; ++i) staged.line.words[i] = load_relaxed(words[i]);
  staged.line.trailer = load_relaxed(words[layout::kLineWords]);
  // Nothing is built on a line that is damaged.
  if (!staged.line.valid() || layout::trailer_version(staged.line.trailer) == layout::kMaxLineVersion) {
    fault_ = kErrnoCorrupt;
    return nullptr;
  }
  staged_index_[line_offset / layout::kLineBytes % 64] = static_cast<u8>(line_count_++);
  staged_filter_ |= View::line_bit(PoolOff{line_offset});
  return &staged;
}

void Tx::store_line(PoolOff line, const u64 (&words)[layout::kLineWords]) {
  if (raw(line) % layout::kLineBytes != 0 || raw(line) + layout::kLineBytes > store_.medium.bytes) {
    fault_ = kErrnoCorrupt;
    return;
  }
  StagedLine* staged = find_line(raw(line));
  if (staged == nullptr) {
    const u64* old = &store_.medium.word(line);
    u64 difference = 0;
    for (unsigned i = 0; i < layout::kLineWords; ++i) difference |= load_relaxed(old[i]) ^ words[i];
    if (difference == 0) return; // no change, no line in the record
    if ((staged = stage_line(raw(line))) == nullptr) return;
  }
  u64 mask = 0;
  for (unsigned i = 0; i < layout::kLineWords; ++i) {
    mask |= u64{staged->line.words[i] != words[i]} << i;
    staged->line.words[i] = words[i];
  }
  staged->mask |= mask;
}

void Tx::store(PoolOff offset, u64 value) {
  u64 line_offset = raw(line_of(offset));
  unsigned word = static_cast<unsigned>(raw(offset) % layout::kLineBytes / 8);
  if (word >= layout::kLineWords || line_offset + layout::kLineBytes > store_.medium.bytes) {
    fault_ = kErrnoCorrupt;
    return;
  }
  StagedLine* staged = find_line(line_offset);
  if (staged == nullptr) {
    if (load_relaxed(store_.medium.word(offset)) == value) return; // no change, no line in the record
    if ((staged = stage_line(line_offset)) == nullptr) return;
  }
  if (staged->line.words[word] == value) return;
  staged->line.words[word] = value;
  staged->mask |= u64{1} << word;
}

// Another thread flushed the effects of the slot's last record, and only a fence of its own would prove them
// durable: flush them again, so that the coming fence does.
void Tx::reflush_last_record(const shm::Slot& slot) {
  const u64* area = area_words(store_, slot_, slot.sequence);
  RecordCursor cursor(area);
  RecordLine line;
  while (cursor.next(&line))
    if (line.offset < store_.medium.bytes) pmem::flush(store_.medium, PoolOff{line.offset}, layout::kLineBytes);
}

void Tx::write_record(u64 sequence) {
  const pmem::Medium& medium = store_.medium;
  PoolOff area = block_offset(area_block(store_, slot_, sequence));
  u32 body_crc = 0;
  u64 words = kHeaderWords;
  for (u32 i = 0; i < line_count_; ++i) words += 2 + count_bits(lines_[i].mask);
  u64 opcode = store_.segment.slots[slot_].opcode;
  const u64 header[kHeaderWords - 1] = {
      layout::kRecordMagic, slot_ | u64{line_count_} << 16 | words * 8 << 32, sequence, store_.record_epoch, opcode, 0, 0};
  body_crc = crc32c_word(crc32c_words(~u32{0}, header, kHeaderWords - 1), 0);
  PoolOff at = area + sizeof(layout::RecordHeader);
  auto put = [&](u64 word) {
    body_crc = crc32c_word(body_crc, word);
    pmem::store_word(medium, at, word);
    at = at + 8;
  };
  for (u32 i = 0; i < line_count_; ++i) {
    StagedLine& staged = lines_[i];
    u64 version = layout::trailer_version(staged.line.trailer) + 1;
    staged.line.trailer = layout::make_trailer(staged.line.words, version);
    put(staged.offset / layout::kLineBytes << 8 | staged.mask);
    put(staged.line.trailer);
    for (u64 mask = staged.mask; mask != 0; mask &= mask - 1) put(staged.line.words[std::countr_zero(mask)]);
  }
  for (unsigned i = 0; i < kHeaderWords - 1; ++i) pmem::store_word(medium, area + 8 * i, header[i]);
  pmem::store_word(medium, area + 8 * (kHeaderWords - 1), body_crc);
  pmem::flush(medium, area, words * 8);
}

// Odd before the change becomes visible, even after its effects are stored: what readers validate.
void Tx::step_sequences() {
  shm::Segment& v = store_.segment;
  for (u32 i = 0; i < key_count_; ++i) {
    if (!has_readers(*v.header, keys_[i])) continue;
    shm::Stripe& stripe = v.stripes[keys_[i]];
    store_release(stripe.sequence, stripe.sequence + 1);
  }
}

// Counts that were taken of this part of the bitmap are old now.
void note_bitmap_change(const Store& store, u64 offset) {
  u64 bitmap_start = store.geometry.bitmap_start_block * layout::kBlockBytes;
  u64 bitmap_bytes = store.geometry.bitmap_block_count * layout::kBlockBytes;
  if (offset - bitmap_start < bitmap_bytes && store.segment.header != nullptr)
    shm::change_hint(store.segment, (offset - bitmap_start) / layout::kBlockBytes);
}

void apply_line(const Store& store, u64 offset, u64 mask, const u64* words, bool packed, u64 trailer) {
  for (u64 rest = mask; rest != 0; rest &= rest - 1) {
    int word = std::countr_zero(rest);
    u64 value = packed ? *words++ : words[word];
    pmem::store_word(store.medium, PoolOff{offset + 8 * static_cast<u64>(word)}, value);
  }
  // Last: a line that shows the version has all the words.
  pmem::store_word(store.medium, PoolOff{offset + 8 * layout::kLineWords}, trailer);
  pmem::flush(store.medium, PoolOff{offset}, layout::kLineBytes);
  note_bitmap_change(store, offset);
}

void Tx::apply() {
  for (u32 i = 0; i < line_count_; ++i) {
    const StagedLine& staged = lines_[i];
    apply_line(store_, staged.offset, staged.mask, staged.line.words, false, staged.line.trailer);
  }
}

// The commit of a durable record in the eyes of everybody. False if it was announced, and denied.
bool Tx::make_visible() {
  u32& phase = store_.segment.slots[slot_].phase;
  constexpr u32 kApplying = static_cast<u32>(shm::SlotPhase::kApplying);
  if (PMEMFILE_LIKELY(announced_ == shm::SlotPhase::kPlanning)) {
    store_release(phase, kApplying);
    return true;
  }
  u32 announced = static_cast<u32>(announced_);
  if (!compare_exchange(phase, announced, kApplying)) return false;
  announced_ = shm::SlotPhase::kPlanning;
  return true;
}

Result<void> Tx::commit() {
  if (fault_ != 0) return Error(fault_);
  if (!store_.medium.writable) return Error(EROFS);
  // Lines staged without a change in the end need no record.
  for (u32 i = 0; i < line_count_;)
    if (lines_[i].mask == 0)
      lines_[i] = lines_[--line_count_];
    else
      ++i;
  if (fresh_data_) pmem::fence(store_.medium);
  if (line_count_ == 0) {
    committed_ = true;
    return {};
  }
  shm::Slot& slot = store_.segment.slots[slot_];
  u64 mark = thread_mark(store_);
  if (store_.medium.flushes && slot.last_thread != mark) reflush_last_record(slot);
  store_relaxed(slot.last_thread, mark);
  u64 sequence = slot.sequence + 1;
  write_record(sequence);
  pmem::fence(store_.medium);
  // Durable. Visible to everybody at once by the one store of the phase: readers of a stripe with an odd sequence
  // ask the phase whether the record counts yet.
  store_release(slot.sequence, sequence);
  step_sequences();
  if (PMEMFILE_UNLIKELY(!make_visible())) {
    // It must not count after a power failure either, once somebody else builds on what it was to change.
    retire_slot(store_, slot_);
    step_sequences();
    return Error(kRetryTx);
  }
  committed_ = true;
  apply();
  step_sequences();
  store_release(slot.phase, static_cast<u32>(shm::SlotPhase::kPlanning));
  return {};
}

} // namespace pmemfile::journal
