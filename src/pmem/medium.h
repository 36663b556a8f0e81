// The mapped pool and the only stores, copies, flushes and fences that touch it.
//
// What it is: a Medium is one process's mapping of a pool file with the persistence level of what lies below.
// Owner: the attachment of the process. Rules: every function may run inside a hook and in any thread; nothing
// here takes a lock. All stores into the pool go through this file, so that the recorder sees every one.
#pragma once

#include "base/atomic.h"
#include "base/result.h"
#include "base/types.h"

namespace pmemfile::pmem {

// What survives a power failure. The order is that of the promises, weakest last.
enum class Persistence : u8 {
  kPowerFailSafe,     // flush and fence make durable (fsdax with MAP_SYNC, devdax)
  kPowerFailSafeEadr, // the platform flushes its caches itself: fences only
  kVolatile,          // tmpfs, hugetlbfs: safe against the death of processes
  kPageCache,         // a file on a disk file system: durable at fsync
};
const char* persistence_text(Persistence level);

// Crash tests watch the pool through this; null in production. Called before the store is made.
struct Recorder {
  void (*store)(void* self, u64 offset, const void* bytes, u64 size, bool non_temporal);
  void (*flush)(void* self, u64 offset, u64 size);
  void (*fence)(void* self);
  void* self;
};

// How a line is written back; what the processor has.
enum class WriteBack : u8 { kClwb, kClflushopt, kClflush };

struct Medium {
  u8* base = nullptr;
  u64 bytes = 0;
  u64 mapped_bytes = 0; // multiple of page_bytes
  u64 page_bytes = 4096; // offsets and lengths of mappings of the file are multiples: 2 MiB or more on devdax and hugetlbfs
  Persistence level = Persistence::kVolatile;
  bool writable = false;
  bool flushes = false; // lines have to be flushed one by one
  WriteBack write_back = WriteBack::kClwb;
  const Recorder* recorder = nullptr;

  u8* at(PoolOff offset) const { return base + raw(offset); }
  const u64& word(PoolOff offset) const { return *reinterpret_cast<const u64*>(base + raw(offset)); }
};

// One word in place. Other processes may read it at any moment.
inline void store_word(const Medium& medium, PoolOff offset, u64 value) {
  if (PMEMFILE_UNLIKELY(medium.recorder != nullptr))
    medium.recorder->store(medium.recorder->self, raw(offset), &value, sizeof value, false);
  store_release(*reinterpret_cast<u64*>(medium.base + raw(offset)), value);
}

// Asks for the lines of [offset, offset + size) to be written back; they are durable after the next fence() of
// this thread.
void flush_slow(const Medium& medium, PoolOff offset, u64 size);
inline void flush(const Medium& medium, PoolOff offset, u64 size) {
  if (PMEMFILE_UNLIKELY(medium.flushes || medium.recorder != nullptr)) flush_slow(medium, offset, size);
}

// Everything this thread flushed or stored non-temporally before is durable, and visible to every process,
// after it. Never left out: non-temporal stores are weakly ordered on every medium.
void fence(const Medium& medium);

// Copies into the pool; durable after the next fence(). `from` may be memory of the program: returns the number
// of bytes NOT copied because `from` faulted (only with a fault handler installed; see fault.h), 0 when all is
// well. Chooses between cached and non-temporal stores by size and medium.
u64 copy_in(const Medium& medium, PoolOff to, const void* from, u64 size);
// Copies out of the pool into memory of the program; returns the bytes not copied.
u64 copy_out(const Medium& medium, void* to, PoolOff from, u64 size);
// Fills with zeros; durable after the next fence().
void zero(const Medium& medium, PoolOff to, u64 size);

// Blocks [first, first + size) are about to be filled in sequence, and what follows will be, too: has the kernel map
// them in steps of 64 KiB instead of page by page, which costs several times the copy. Only a matter of speed.
void expect_sequential_fill(const Medium& medium, PoolOff first, u64 size);

// Between two places of memory that may fault (arguments of system calls): the bytes not copied.
u64 copy_guarded(void* to, const void* from, u64 size);

} // namespace pmemfile::pmem
