#include "base/mem.h"

// Each body is `rep movsb` or a plain loop: the file is compiled with
// -fno-tree-loop-distribute-patterns, or the compiler would turn a loop back
// into a call of the very function it stands in.

extern "C" {

__attribute__((visibility("hidden"))) void* memcpy(void* __restrict to, const void* __restrict from,
                                                   std::size_t size) noexcept {
  void* result = to;
  // Short copies dominate; `rep movsb` has a start-up cost of some 30 cycles.
  if (size < 64) {
    auto* d = static_cast<unsigned char*>(to);
    auto* s = static_cast<const unsigned char*>(from);
    while (size >= 8) {
      unsigned long word;
      __builtin_memcpy(&word, s, 8);
      __builtin_memcpy(d, &word, 8);
      d += 8, s += 8, size -= 8;
    }
    while (size-- != 0) *d++ = *s++;
    return result;
  }
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return result;
}

__attribute__((visibility("hidden"))) void* memmove(void* to, const void* from, std::size_t size) noexcept {
  auto* d = static_cast<unsigned char*>(to);
  auto* s = static_cast<const unsigned char*>(from);
  if (d <= s || d >= s + size) {
    // Forward `rep movsb` is right for an overlap with the target below.
    void* result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
  }
  while (size-- != 0) d[size] = s[size];
  return to;
}

__attribute__((visibility("hidden"))) void* memset(void* to, int value, std::size_t size) noexcept {
  void* result = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return result;
}

__attribute__((visibility("hidden"))) int memcmp(const void* a, const void* b, std::size_t size) noexcept {
  auto* x = static_cast<const unsigned char*>(a);
  auto* y = static_cast<const unsigned char*>(b);
  while (size >= 8) {
    unsigned long p, q;
    __builtin_memcpy(&p, x, 8);
    __builtin_memcpy(&q, y, 8);
    if (p != q) break;
    x += 8, y += 8, size -= 8;
  }
  for (; size != 0; ++x, ++y, --size)
    if (*x != *y) return *x - *y;
  return 0;
}

__attribute__((visibility("hidden"))) std::size_t strlen(const char* text) noexcept {
  const char* end = text;
  while (*end != '\0') ++end;
  return static_cast<std::size_t>(end - text);
}
}
