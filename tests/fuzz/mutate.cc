// Mutations of inputs, record by record.

#include <random>

#include "fuzz/record.h"

namespace pmemfile::fuzz {
namespace {

// Words at which bounds are decided: the ends of fields, and one beside.
u64 interesting(std::mt19937& random) {
  u64 bit = u64{1} << random() % 64;
  switch (random() % 6) {
    case 0: return bit;
    case 1: return bit - 1;
    case 2: return ~bit;
    case 3: return random() % 64;
    case 4: return u64{0} - random() % 64;
    default: return u64{random()} << 32 | random();
  }
}

Record fresh(std::mt19937& random) {
  Record record;
  bool operation = random() % 3 == 0;
  record.kind = operation ? u8(kOperationBit | random() % 64) : u8(random() % kDamageKinds);
  // Most damage that gets past validation is a word of right checksum.
  if (!operation && random() % 2 != 0) record.kind = kSetWord;
  record.group = u8(random() % 16);
  record.index = u8(random() % 32);
  record.form = u8(random() % 16);
  record.word = u16(random() % 2 != 0 ? random() % 32 : random() % 512);
  record.extra = u16(random() % 2 != 0 ? random() % 16 : random());
  record.value = interesting(random);
  return record;
}

void change(Record& record, std::mt19937& random) {
  switch (random() % 8) {
    case 0: record.kind = fresh(random).kind; break;
    case 1: record.group = u8(random() % 16); break;
    case 2: record.index = u8(random() % 2 != 0 ? record.index + 1 : random()); break;
    case 3: record.form = u8(random() % 16); break;
    case 4: record.word = fresh(random).word; break;
    case 5: record.extra = fresh(random).extra; break;
    case 6: record.value = interesting(random); break;
    case 7: record.value += random() % 16 - 8; break;
  }
}

} // namespace

std::size_t mutate(u8* data, std::size_t size, std::size_t most, u32 seed) {
  std::mt19937 random(seed);
  std::vector<Record> records = parse(data, size);
  std::size_t room = most / sizeof(Record) < kMostRecords ? most / sizeof(Record) : kMostRecords;
  if (room == 0) return size;
  for (unsigned steps = 1 + random() % 3; steps != 0; --steps) {
    std::size_t at = records.empty() ? 0 : random() % records.size();
    unsigned what = records.empty() ? 0 : random() % 8;
    if (what <= 2 && records.size() < room) records.insert(records.begin() + long(at + !records.empty()), fresh(random));
    else if (what == 3 && records.size() > 1) records.erase(records.begin() + long(at));
    else if (what == 4 && records.size() < room) records.push_back(records[at]);
    else if (what == 5 && records.size() > 1) std::swap(records[at], records[random() % records.size()]);
    else if (!records.empty()) change(records[at], random);
  }
  std::memcpy(data, records.data(), records.size() * sizeof(Record));
  return records.size() * sizeof(Record);
}

} // namespace pmemfile::fuzz
