#include "journal/record.h"

namespace pmemfile::journal {
namespace {

constexpr unsigned kCrcWord = 7;

} // namespace

u64 valid_record(const Store& store, u32 slot, const u64* area) {
  if (area[0] != layout::kRecordMagic || area[3] != store.record_epoch) return 0;
  u64 shape = area[1];
  u64 lines = shape >> 16 & 0xffff, bytes = shape >> 32;
  if ((shape & 0xffff) != slot || lines > layout::kMaxRecordLines || bytes > layout::kRecordAreaBytes ||
      bytes < sizeof(layout::RecordHeader) || bytes % 8 != 0)
    return 0;
  u32 crc = crc32c_words(~u32{0}, area, kCrcWord);
  crc = crc32c_word(crc, 0);
  crc = crc32c_words(crc, area + kHeaderWords, bytes / 8 - kHeaderWords);
  if (crc != area[kCrcWord]) return 0;
  return area[2];
}

} // namespace pmemfile::journal
