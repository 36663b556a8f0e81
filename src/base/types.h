// Fixed-width integers and the strong types that name places in a pool.
//
// Rules: usable in any thread, any process, inside a hook; no state.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace pmemfile {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

static_assert(std::endian::native == std::endian::little,
              "on-media words are little-endian and are used in place");

// Byte offset from the start of the pool. 0 is the superblock, and so never
// names an object that something points to.
enum class PoolOff : u64 {};
// Index of a 4 KiB block in the pool; 0 (the superblock) means "none".
enum class BlockNo : u64 {};
// Inode number: block * 16 + index in the block; 0 means "none".
enum class Ino : u64 {};

constexpr u64 raw(PoolOff v) { return static_cast<u64>(v); }
constexpr u64 raw(BlockNo v) { return static_cast<u64>(v); }
constexpr u64 raw(Ino v) { return static_cast<u64>(v); }
constexpr PoolOff operator+(PoolOff v, u64 bytes) { return PoolOff{raw(v) + bytes}; }
constexpr BlockNo operator+(BlockNo v, u64 blocks) { return BlockNo{raw(v) + blocks}; }

constexpr u64 align_down(u64 value, u64 alignment) { return value & ~(alignment - 1); }
constexpr u64 align_up(u64 value, u64 alignment) { return align_down(value + alignment - 1, alignment); }
constexpr u64 div_up(u64 value, u64 divisor) { return (value + divisor - 1) / divisor; }

template <class T>
constexpr T min_of(T a, T b) { return a < b ? a : b; }
template <class T>
constexpr T max_of(T a, T b) { return a < b ? b : a; }

} // namespace pmemfile

#define PMEMFILE_LIKELY(x) __builtin_expect(!!(x), 1)
// For what every open and close passes, and which has rare callers, too: the compiler must not take those as a reason to leave it out of line.
#define PMEMFILE_INLINE __attribute__((always_inline)) inline
// Large zero data that few processes touch: it stands behind the rest, so that what every start touches shares few pages.
#define PMEMFILE_BULKY __attribute__((section(".bss.z")))
// Before that, behind the small words: what every process touches, and last what begins with such parts.
#define PMEMFILE_TOUCHED __attribute__((section(".bss.x")))
#define PMEMFILE_TOUCHED_HEAD __attribute__((section(".bss.y")))
#define PMEMFILE_UNLIKELY(x) __builtin_expect(!!(x), 0)
