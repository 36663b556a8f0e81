// The program's buffers as one stream: what readv and writev hand over.
//
// Owner: the call. Rules: a value; copies are cheap and serve to start over. The memory it names may fault.
#pragma once

#include "data/data.h"

namespace pmemfile::data {

// The kernel never moves more in one call (MAX_RW_COUNT).
inline constexpr u64 kMaxTransferBytes = 0x7ffff000;

class Vectors {
 public:
  Vectors() = default;
  Vectors(const IoVec* vectors, u32 count) : vector_(vectors), end_(vectors + count) {}

  u64 total() const {
    u64 bytes = 0;
    for (const IoVec* vector = vector_; vector != end_; ++vector) {
      if (vector->bytes > kMaxTransferBytes - bytes) return kMaxTransferBytes;
      bytes += vector->bytes;
    }
    return bytes;
  }
  // Both move up to `bytes` (which must be there) and return how many were moved before a fault.
  u64 copy_to_pool(const pmem::Medium& medium, PoolOff to, u64 bytes) {
    return each(bytes, [&](u8* memory, u64 done, u64 size) { return pmem::copy_in(medium, to + done, memory, size); });
  }
  u64 copy_from_pool(const pmem::Medium& medium, PoolOff from, u64 bytes) {
    return each(bytes, [&](u8* memory, u64 done, u64 size) { return pmem::copy_out(medium, memory, from + done, size); });
  }
  u64 fill_with_zeros(u64 bytes);
  // After a move that a fault ended: EFAULT if it was the program's memory (to be written to, or read from), EIO if the
  // medium's: a bad block, a file that was truncated, a sparse one on a full disk.
  int errno_of_fault(bool to_memory) const {
    // Copies give up at the start of the words that they were moving at once.
    constexpr u64 kMovedAtOnce = 256;
    auto* memory = static_cast<u8*>(vector_->base) + position_;
    u64 left = vector_->bytes - position_;
    if (left == 0) return EFAULT;
    u8* const probes[] = {memory, memory + min_of(left, kMovedAtOnce) - 1};
    for (u8* probe : probes) {
      u8 byte;
      if (pmem::copy_guarded(&byte, probe, 1) != 0) return EFAULT;
      // What it holds, so that nobody sees a difference.
      if (to_memory && pmem::copy_guarded(probe, &byte, 1) != 0) return EFAULT;
    }
    return EIO;
  }

 private:
  template <class Move>
  u64 each(u64 bytes, Move&& move) {
    u64 done = 0;
    while (done < bytes) {
      u64 size = min_of(vector_->bytes - position_, bytes - done);
      u64 missed = size == 0 ? 0 : move(static_cast<u8*>(vector_->base) + position_, done, size);
      done += size - missed;
      position_ += size - missed;
      if (PMEMFILE_UNLIKELY(missed != 0)) break;
      if (position_ == vector_->bytes && vector_ + 1 != end_) {
        ++vector_;
        position_ = 0;
      }
    }
    return done;
  }

  const IoVec* vector_ = nullptr;
  const IoVec* end_ = nullptr;
  u64 position_ = 0;
};

} // namespace pmemfile::data
