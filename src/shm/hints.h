// What is known of each group of 8192 blocks (one block of the bitmap), so that nobody searches where nothing is.
//
// A hint word: bits 0..15 free blocks + 1 (0: not counted), bits 16..19 kHintNo* facts, bits 32..63 advance with each
// change of the group's bitmap, which also forgets the rest. Hints may be lost, never wrong: they are set only
// against the word that was read before the search.
// Rules: hook-safe, lock-free.
#pragma once

#include "shm/segment.h"

namespace pmemfile::shm {

inline constexpr u64 kHintNoFormatted = u64{1} << 16; // no free-but-formatted block
inline constexpr u64 kHintNoInodes = u64{1} << 17;    // no block that may hold free inodes
inline constexpr u64 kHintCountMask = 0xffff;

inline u64& hint_word(const Segment& v, u64 group) {
  return v.at<u64>(v.header->hints_offset)[group & (v.header->hint_count - 1)];
}
// With more groups than words (pools beyond some TiB) several groups share a word, which then says nothing.
inline bool hints_exact(const Segment& v, u64 groups) { return groups <= v.header->hint_count; }

inline void change_hint(const Segment& v, u64 group) {
  u64& word = hint_word(v, group);
  u64 old = load_relaxed(word);
  while (!compare_exchange(word, old, (old >> 32 << 32) + (u64{1} << 32))) {
  }
}
// Adds facts found by a search that began when the word was `before`.
inline void learn_hint(const Segment& v, u64 group, u64 before, u64 facts) {
  compare_exchange(hint_word(v, group), before, before | facts);
}

} // namespace pmemfile::shm
