// memcpy and its family without vector registers.
//
// Code that runs inside a hook must leave the vector state alone, and libc's
// versions do not. This header is included in front of every translation unit
// of a hookable room (see cmake/rooms.cmake): the assembler names make the
// calls that the compiler itself generates land here, too, and keep the
// symbols apart from libc's in a static link.
#pragma once

#ifdef __cplusplus
#include <cstddef>
extern "C" {
void* memcpy(void* __restrict to, const void* __restrict from, std::size_t size) noexcept __asm__("pmemfile_memcpy");
void* memmove(void* to, const void* from, std::size_t size) noexcept __asm__("pmemfile_memmove");
void* memset(void* to, int value, std::size_t size) noexcept __asm__("pmemfile_memset");
int memcmp(const void* a, const void* b, std::size_t size) noexcept __asm__("pmemfile_memcmp");
std::size_t strlen(const char* text) noexcept __asm__("pmemfile_strlen");
}
#endif
