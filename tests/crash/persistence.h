// What may be on the medium when the power fails: the model behind the explorer.
//
// A cache line reaches the medium when it is flushed, and at any earlier moment by eviction. Stores to one line reach it
// in program order, so the medium holds some prefix of them; lines are independent of each other. A line is certain up
// to the stores before its last flush that a fence of the same thread followed. So a state is one number for each line that has stores
// which are not certain; and because stores and flushes only add states, and fences only remove some, all states
// that exist at any instruction exist just before a fence or at the end.
#pragma once

#include <map>
#include <vector>

#include "crash/recording.h"

namespace pmemfile::crash {

inline constexpr u64 kCacheLine = 64;

struct PendingStore {
  u8 offset = 0, size = 0; // within the line
  u8 bytes[kCacheLine] = {};
};

struct PendingLine {
  std::vector<PendingStore> stores; // not yet certain, in order
  std::vector<std::size_t> flushed; // of them, by thread: certain at that thread's next fence

  void flush_all(u32 thread) {
    if (flushed.size() <= thread) flushed.resize(thread + 1);
    flushed[thread] = stores.size();
  }
};

class PersistenceModel {
 public:
  explicit PersistenceModel(std::vector<u8> image) : certain_(std::move(image)) {}

  void apply(const Recording& recording, const Event& event) {
    switch (event.kind) {
      case EventKind::kStore:
      case EventKind::kStreamingStore: store(recording, event); break;
      case EventKind::kFlush: flush(event.offset, event.size, event.thread); break;
      case EventKind::kFence: fence(event.thread); break;
    }
  }

  // What is certainly on the medium, and what may be, by line number.
  const std::vector<u8>& certain() const { return certain_; }
  const std::map<u64, PendingLine>& pending() const { return pending_; }

 private:
  void store(const Recording& recording, const Event& event) {
    const u8* from = recording.bytes_of(event);
    for (u64 at = event.offset; at < event.offset + event.size;) {
      u64 line = at / kCacheLine, end = (line + 1) * kCacheLine;
      u64 size = (end < event.offset + event.size ? end : event.offset + event.size) - at;
      PendingStore one;
      one.offset = static_cast<u8>(at % kCacheLine);
      one.size = static_cast<u8>(size);
      std::memcpy(one.bytes, from + (at - event.offset), size);
      PendingLine& pending = pending_[line];
      pending.stores.push_back(one);
      if (event.kind == EventKind::kStreamingStore) pending.flush_all(event.thread);
      at += size;
    }
  }

  void flush(u64 offset, u64 size, u32 thread) {
    if (size == 0) return;
    auto from = pending_.lower_bound(offset / kCacheLine), to = pending_.upper_bound((offset + size - 1) / kCacheLine);
    for (; from != to; ++from) from->second.flush_all(thread);
  }

  void fence(u32 thread) {
    for (auto it = pending_.begin(); it != pending_.end();) {
      PendingLine& line = it->second;
      std::size_t certain = thread < line.flushed.size() ? line.flushed[thread] : 0;
      for (std::size_t i = 0; i < certain; ++i)
        std::memcpy(certain_.data() + it->first * kCacheLine + line.stores[i].offset, line.stores[i].bytes, line.stores[i].size);
      line.stores.erase(line.stores.begin(), line.stores.begin() + static_cast<std::ptrdiff_t>(certain));
      for (std::size_t& flushed : line.flushed) flushed = flushed > certain ? flushed - certain : 0;
      it = line.stores.empty() ? pending_.erase(it) : std::next(it);
    }
  }

  std::vector<u8> certain_;
  std::map<u64, PendingLine> pending_;
};

} // namespace pmemfile::crash
