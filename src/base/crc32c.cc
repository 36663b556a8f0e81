#include "base/crc32c.h"

namespace pmemfile {

u32 crc32c_words_portable(u32 crc, const u64* words, std::size_t count) {
  constexpr u32 kReflectedPolynomial = 0x82f63b78;
  for (std::size_t i = 0; i < count; ++i) {
    for (unsigned byte = 0; byte < 8; ++byte) {
      crc ^= static_cast<u8>(words[i] >> (8 * byte));
      for (unsigned bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReflectedPolynomial : 0);
    }
  }
  return crc;
}

} // namespace pmemfile
