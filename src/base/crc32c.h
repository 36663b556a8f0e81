// CRC-32C (Castagnoli, as in RFC 3720), the checksum of all metadata.
//
// Rules: usable in any thread, any process, inside a hook; no state.
#pragma once

#include "base/types.h"

namespace pmemfile {

// Continues `crc` (start with 0xffffffff, no final inversion) over whole words.
u32 crc32c_words_portable(u32 crc, const u64* words, std::size_t count);

inline u32 crc32c_word(u32 crc, u64 word) {
  // SSE4.2 is a precondition that attach checks: every processor that can
  // have persistent memory, and every x86-64-v2 machine, has it.
  u64 wide = crc;
  __asm__("crc32q %1, %0" : "+r"(wide) : "rm"(word));
  return static_cast<u32>(wide);
}

inline u32 crc32c_words(u32 crc, const u64* words, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) crc = crc32c_word(crc, words[i]);
  return crc;
}

} // namespace pmemfile
