// The file in which the planner leaves what it found in one object: a table of
// patches, the stubs, and the whole text segment ready-patched.
//
// A plan is private to the machine that made it: native byte order, no
// compatibility between versions; another version is planned again.
//
// Rules: plain data; usable anywhere.
#pragma once

#include "base/types.h"

namespace pmemfile::intercept {

inline constexpr u64 kPlanMagic = 0x31304e4c50434d50; // "PMCPLN01"
inline constexpr u32 kPlanVersion = 3;
inline constexpr u64 kPageBytes = 4096;

// Stubs lie this far from the object: where usually nothing is at start (pool and V go elsewhere: base/mapping.h), and near enough to need few page tables of
// their own. A fixed executable lies too low.
inline constexpr i64 kStubDistance = -(i64{64} << 20);
inline constexpr i64 kStubDistanceFixed = i64{1} << 30;

inline constexpr unsigned kMaxBuildIdBytes = 40;
// First letter of the name of a plan: another one for each version, so that two that are installed do not replace each
// other's plans for ever.
inline constexpr char kPlanLetter = 'b' + kPlanVersion - 1;
// Longest name of a plan: the letter, the build-id in hex, NUL; or see object_key().
inline constexpr unsigned kMaxKeyBytes = 96;

struct PlanHeader {
  u64 magic;
  u32 version;
  u32 checksum; // crc32c over the header with this field 0
  char key[kMaxKeyBytes];
  // The executable segment: all addresses are relative to the load bias.
  u64 text_address;     // page-aligned
  u64 text_file_offset; // page-aligned, in the object
  u64 text_bytes;       // whole pages
  i64 stub_distance;    // of the first stub from the load bias
  u64 stub_bytes;       // whole pages; one page for the entry pointer follows
  u64 stub_offset;      // in this file, page-aligned
  u64 image_offset;     // in this file, page-aligned
  u64 patch_offset;     // in this file: patch_count * TextPatch
  u64 fixup_offset;     // in this file: fixup_count * u32
  u32 patch_count;
  u32 fixup_count;
  u32 sites_found, before, over, short_jump;
  u32 left[4];
  u32 refused; // 1: the object cannot be planned
};
static_assert(sizeof(PlanHeader) == 16 + kMaxKeyBytes + 9 * 8 + 11 * 4 + 4);
static_assert(sizeof(PlanHeader) % 8 == 0);

inline constexpr unsigned kMaxPatchBytes = 8;
inline constexpr u8 kNoRel32 = 0xff;

// Bytes to store into the text. If rel32_at is not kNoRel32, the 32-bit word at
// that index is a distance to the stubs: add how far they were moved.
struct TextPatch {
  u32 text_offset;
  u8 size;
  u8 rel32_at;
  u8 bytes[kMaxPatchBytes];
  u8 original[kMaxPatchBytes];
  u8 unused[2];
};
static_assert(sizeof(TextPatch) == 24);

// Fixups are offsets, in the stubs, of 32-bit distances to the object's own
// addresses: subtract how far the stubs were moved.

} // namespace pmemfile::intercept
