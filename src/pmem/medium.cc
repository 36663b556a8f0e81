#include "pmem/medium.h"

#include <sys/mman.h>

#include "base/syscall.h"
#include "pmem/fault.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14; older ones answer EINVAL
#endif

extern "C" {
pmemfile::u64 pmemfile_copy_cached(void* to, const void* from, pmemfile::u64 size);
pmemfile::u64 pmemfile_copy_streaming(void* to, const void* from, pmemfile::u64 size);
extern const char pmemfile_copy_lines_begin[], pmemfile_copy_lines_fixup[], pmemfile_copy_words_begin[];
extern const char pmemfile_copy_words_fixup[], pmemfile_copy_bytes_begin[];
extern const char pmemfile_copy_cached_fixup[];
extern const char pmemfile_copy_streaming_begin[], pmemfile_copy_streaming_end[];
}

namespace pmemfile::pmem {
namespace {

constexpr u64 kCacheLine = 64;
// On volatile media a cached copy of this size is still at home in the second-level cache when it is read
// again; above it streaming stores save the reading of the lines to be overwritten (measured: 64 KiB cold 6.9 us
// cached and 3.3 us streaming, hot 1.3 and 4.9; 1 MiB cold 113 and 55, hot 33 and 53).
constexpr u64 kStreamFromVolatile = 256 * 1024;
// Where lines have to be flushed anyway, streaming wins much earlier.
constexpr u64 kStreamFromFlushed = 512;

// clwb and clflushopt are encoded so that the assembler needs no option. Processors of the first NVDIMMs lack clwb, or both.
inline void write_back(WriteBack how, const u8* line) {
  u8& target = *const_cast<u8*>(line);
  switch (how) {
    case WriteBack::kClwb: __asm__ volatile(".byte 0x66; xsaveopt %0" : "+m"(target)); break;
    case WriteBack::kClflushopt: __asm__ volatile(".byte 0x66; clflush %0" : "+m"(target)); break;
    case WriteBack::kClflush: __asm__ volatile("clflush %0" : "+m"(target)); break;
  }
}

bool streams(const Medium& medium, u64 size) {
  return size >= (medium.flushes ? kStreamFromFlushed : kStreamFromVolatile);
}

// Steps that this process had the kernel map lately, by a hash of their address: space that is freed and taken again is mapped
// already. Racy by design; wrong entries (after fork, after an unmapping) cost page faults and nothing else.
constexpr u64 kFillStep = 64 * 1024; // 16 pages keep the pause near ten microseconds
constexpr unsigned kFilledSteps = 1024;
PMEMFILE_BULKY u32 g_filled[kFilledSteps];

bool was_filled(const u8* step) {
  u32 number = static_cast<u32>(reinterpret_cast<u64>(step) / kFillStep); // addresses have 47 bits
  u32& entry = g_filled[number % kFilledSteps];
  if (load_relaxed(entry) == number) return true;
  store_relaxed(entry, number);
  return false;
}

void record_store(const Medium& medium, PoolOff to, const void* bytes, u64 size, bool streaming) {
  if (PMEMFILE_UNLIKELY(medium.recorder != nullptr))
    medium.recorder->store(medium.recorder->self, raw(to), bytes, size, streaming);
}

} // namespace

const char* persistence_text(Persistence level) {
  switch (level) {
    case Persistence::kPowerFailSafe: return "power-fail safe (flush and fence)";
    case Persistence::kPowerFailSafeEadr: return "power-fail safe (the platform flushes its caches)";
    case Persistence::kVolatile: return "volatile medium: safe against the death of processes, not against power failure";
    case Persistence::kPageCache: return "page cache: durable at fsync, to be checked after an operating-system crash";
  }
  return "unknown";
}

u64 fault_fixup(u64 ip) {
  auto address = [](const char* label) { return reinterpret_cast<u64>(label); };
  auto within = [&](const char* begin, const char* end) { return ip >= address(begin) && ip < address(end); };
  // Words that were not copied whole are tried again by smaller ones, the last time byte by byte.
  if (within(pmemfile_copy_lines_begin, pmemfile_copy_lines_fixup)) return address(pmemfile_copy_lines_fixup);
  if (within(pmemfile_copy_words_begin, pmemfile_copy_words_fixup)) return address(pmemfile_copy_words_fixup);
  if (within(pmemfile_copy_bytes_begin, pmemfile_copy_cached_fixup)) return address(pmemfile_copy_cached_fixup);
  if (within(pmemfile_copy_streaming_begin, pmemfile_copy_streaming_end)) return address(pmemfile_copy_streaming_end);
  return 0;
}

void flush_slow(const Medium& medium, PoolOff offset, u64 size) {
  if (medium.recorder != nullptr) medium.recorder->flush(medium.recorder->self, raw(offset), size);
  if (!medium.flushes || size == 0) return;
  const u8* end = medium.at(offset) + size;
  for (const u8* line = medium.at(PoolOff{align_down(raw(offset), kCacheLine)}); line < end; line += kCacheLine)
    write_back(medium.write_back, line);
}

void fence(const Medium& medium) {
  __asm__ volatile("sfence" ::: "memory");
  if (PMEMFILE_UNLIKELY(medium.recorder != nullptr)) medium.recorder->fence(medium.recorder->self);
}

u64 copy_guarded(void* to, const void* from, u64 size) { return pmemfile_copy_cached(to, from, size); }

u64 copy_in(const Medium& medium, PoolOff to, const void* from, u64 size) {
  if (!streams(medium, size)) {
    u64 left = pmemfile_copy_cached(medium.at(to), from, size);
    record_store(medium, to, medium.at(to), size - left, false);
    flush(medium, to, size - left);
    return left;
  }
  auto* source = static_cast<const u8*>(from);
  u64 head = align_up(raw(to), kCacheLine) - raw(to);
  u64 body = align_down(size - head, kCacheLine);
  u64 tail = size - head - body;
  u64 left = pmemfile_copy_cached(medium.at(to), source, head);
  if (left != 0) left += body + tail;
  if (left == 0 && (left = pmemfile_copy_streaming(medium.at(to) + head, source + head, body)) != 0) left += tail;
  if (left == 0) left = pmemfile_copy_cached(medium.at(to) + head + body, source + head + body, tail);
  // The recorder sees what arrived; only head and tail need flushing, and a partly streamed body does no harm.
  record_store(medium, to, medium.at(to), size - left, true);
  flush(medium, to, min_of(head, size - left));
  if (left < tail) flush(medium, to + head + body, tail - left);
  return left;
}

u64 copy_out(const Medium& medium, void* to, PoolOff from, u64 size) {
  return pmemfile_copy_cached(to, medium.at(from), size);
}

void expect_sequential_fill(const Medium& medium, PoolOff first, u64 size) {
  u64 start = align_up(raw(first), kFillStep), end = raw(first) + size;
  if (start >= end) return;
  u64 stop = min_of(align_up(end, kFillStep), align_down(medium.bytes, kFillStep));
  for (; start < stop; start += kFillStep)
    if (!was_filled(medium.base + start))
      raw_syscall(SYS_madvise, as_arg(medium.base + start), static_cast<long>(kFillStep), MADV_POPULATE_WRITE);
}

void zero(const Medium& medium, PoolOff to, u64 size) {
  u8* target = medium.at(to);
  void* cursor = target;
  u64 count = size;
  __asm__ volatile("rep stosb" : "+D"(cursor), "+c"(count) : "a"(0) : "memory");
  record_store(medium, to, target, size, false);
  flush(medium, to, size);
}

} // namespace pmemfile::pmem
