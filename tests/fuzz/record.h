// What a fuzz input is: a list of records of sixteen bytes, which say how a sound pool is damaged and what is done to it.
//
// The first record names the starting pool; records of damage and records of operations may follow in any order, damage
// is done first. An input that is not whole ends at its last whole record. So every mutation of an input is an input,
// and one of records is one of structures: docs/fuzzing.md.
#pragma once

#include <cstring>
#include <vector>

#include "base/types.h"

namespace pmemfile::fuzz {

struct Record {
  u8 kind = 0;
  u8 group = 0; // which kind of structure; or the verb's first path
  u8 index = 0; // which one of them; or the verb's second path
  u8 form = 0;  // how the value is made; or the handle
  u16 word = 0; // of the structure; or flags
  u16 extra = 0;
  u64 value = 0;
};
static_assert(sizeof(Record) == 16);

enum Kind : u8 {
  kSetWord,     // and makes the checksum of the line right again
  kTearWord,    // without doing so
  kCopyLine,    // over another one, with a right checksum
  kCopyBlock,   // as it is
  kSetVersion,  // of a line, with a right checksum
  kMarkBlock,   // in the bitmap
  kCommit,      // what the next records of kind kSetWord change stands in a committed record and not in its place
  kGeometry,    // a word of a superblock, or of both
  kState,
  kCut,         // the file ends earlier
  kRawByte,
  kEnlist,      // an inode becomes the first of its orphan list, with flags
  kEntry,       // a name leads to another inode, or stands in its leaf twice
  kDamageKinds,
};
constexpr u8 kOperationBit = 0x80; // the rest is the verb

constexpr std::size_t kMostRecords = 64;

inline std::vector<Record> parse(const u8* data, std::size_t size) {
  std::vector<Record> records(size / sizeof(Record) < kMostRecords ? size / sizeof(Record) : kMostRecords);
  if (!records.empty()) std::memcpy(records.data(), data, records.size() * sizeof(Record));
  return records;
}

// mutate.cc: changes an input in place and returns its new size; needs no more than `most` bytes.
std::size_t mutate(u8* data, std::size_t size, std::size_t most, u32 seed);
// The beginning of one and the end of another; returns the size of what it made.
std::size_t cross_over(const u8* first, std::size_t first_size, const u8* second, std::size_t second_size, u8* to, std::size_t most,
                       u32 seed);

} // namespace pmemfile::fuzz
