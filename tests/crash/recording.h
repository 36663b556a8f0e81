// The recorder behind crash tests: every store, flush and fence on a pool, in order, with its bytes.
//
// Rules: one thread at a time writes to the recorded pool. Each event knows its thread, because a fence makes durable only
// what its own thread flushed.
#pragma once

#include <cstring>
#include <vector>

#include "pmem/medium.h"

namespace pmemfile::crash {

enum class EventKind : u8 { kStore, kStreamingStore, kFlush, kFence };

struct Event {
  EventKind kind;
  u64 offset = 0, size = 0;
  u64 bytes = 0;  // position in Recording::bytes
  u32 thread = 0; // index in Recording::threads
};

struct Recording {
  std::vector<Event> events;
  std::vector<u8> bytes;
  std::vector<const void*> threads; // thread pointers, as journal::Tx tells threads apart

  const u8* bytes_of(const Event& event) const { return bytes.data() + event.bytes; }
  void add(EventKind kind, u64 offset = 0, u64 size = 0) { events.push_back({kind, offset, size, bytes.size(), this_thread()}); }
  void add_store(u64 offset, const void* from, u64 size, bool streaming) {
    add(streaming ? EventKind::kStreamingStore : EventKind::kStore, offset, size);
    auto* begin = static_cast<const u8*>(from);
    bytes.insert(bytes.end(), begin, begin + size);
  }

 private:
  u32 this_thread() {
    const void* self = __builtin_thread_pointer();
    for (std::size_t i = 0; i < threads.size(); ++i)
      if (threads[i] == self) return static_cast<u32>(i);
    threads.push_back(self);
    return static_cast<u32>(threads.size() - 1);
  }
};

// Ties a Recording to the functions that the medium calls; both must outlive the attachment.
inline pmem::Recorder recorder_of(Recording& recording) {
  pmem::Recorder recorder;
  recorder.self = &recording;
  recorder.store = [](void* self, u64 offset, const void* bytes, u64 size, bool streaming) {
    static_cast<Recording*>(self)->add_store(offset, bytes, size, streaming);
  };
  recorder.flush = [](void* self, u64 offset, u64 size) {
    static_cast<Recording*>(self)->add(EventKind::kFlush, offset, size);
  };
  recorder.fence = [](void* self) { static_cast<Recording*>(self)->add(EventKind::kFence); };
  return recorder;
}

} // namespace pmemfile::crash
