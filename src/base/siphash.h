// SipHash-1-3 (Aumasson and Bernstein), a keyed hash: who does not know the
// key of the pool cannot construct names that collide.
//
// Rules: usable in any thread, any process, inside a hook; no state.
#pragma once

#include "base/types.h"

namespace pmemfile {

struct SipKey {
  u64 k0 = 0;
  u64 k1 = 0;
};

inline u64 siphash13(const SipKey& key, const char* bytes, std::size_t size) {
  u64 v0 = key.k0 ^ 0x736f6d6570736575, v1 = key.k1 ^ 0x646f72616e646f6d;
  u64 v2 = key.k0 ^ 0x6c7967656e657261, v3 = key.k1 ^ 0x7465646279746573;
  auto round = [&] {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  };
  const char* end = bytes + (size & ~std::size_t{7});
  for (; bytes != end; bytes += 8) {
    u64 m;
    __builtin_memcpy(&m, bytes, 8);
    v3 ^= m;
    round();
    v0 ^= m;
  }
  u64 last = static_cast<u64>(size) << 56;
  for (unsigned i = 0; i < (size & 7); ++i) last |= static_cast<u64>(static_cast<u8>(bytes[i])) << (8 * i);
  v3 ^= last;
  round();
  v0 ^= last;
  v2 ^= 0xff;
  round();
  round();
  round();
  return v0 ^ v1 ^ v2 ^ v3;
}

} // namespace pmemfile
