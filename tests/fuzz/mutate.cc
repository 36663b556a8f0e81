// Mutations of inputs, record by record.

#include "fuzz/random.h"
#include "fuzz/record.h"

namespace pmemfile::fuzz {
namespace {

// Words at which bounds are decided: the ends of fields, and one beside.
u64 interesting(Random& random) {
  u64 bit = u64{1} << random() % 64;
  switch (random() % 6) {
    case 0: return bit;
    case 1: return bit - 1;
    case 2: return ~bit;
    case 3: return random() % 64;
    case 4: return u64{0} - random() % 64;
    default: return random();
  }
}

Record fresh(Random& random) {
  Record record;
  bool operation = random() % 3 == 0;
  record.kind = operation ? u8(kOperationBit | random() % 64) : u8(random() % kDamageKinds);
  // Most damage that gets past validation is a word of right checksum.
  if (!operation && random() % 2 != 0) record.kind = kSetWord;
  // What is mostly refused at the door hides everything else.
  bool at_the_door = record.kind == kGeometry || record.kind == kState || record.kind == kCut;
  if (at_the_door && random() % 8 != 0) record.kind = kSetWord;
  record.group = u8(random() % 16);
  record.index = u8(random() % 32);
  record.form = u8(random() % 16);
  record.word = u16(random() % 2 != 0 ? random() % 32 : random() % 512);
  record.extra = u16(random() % 2 != 0 ? random() % 16 : random());
  record.value = interesting(random);
  return record;
}

void change(Record& record, Random& random) {
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
  Random random(seed);
  std::vector<Record> records = parse(data, size);
  std::size_t room = most / sizeof(Record) < kMostRecords ? most / sizeof(Record) : kMostRecords;
  if (room == 0) return 0;
  if (records.size() > room) records.resize(room);
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

std::size_t cross_over(const u8* first, std::size_t first_size, const u8* second, std::size_t second_size, u8* to, std::size_t most,
                       u32 seed) {
  Random random(seed);
  std::vector<Record> a = parse(first, first_size), b = parse(second, second_size);
  std::size_t room = most / sizeof(Record) < kMostRecords ? most / sizeof(Record) : kMostRecords;
  // The start of one with its pool, and what the other does from some place on.
  if (!a.empty()) a.resize(1 + random() % a.size());
  std::size_t from = b.empty() ? 0 : 1 + random() % b.size();
  for (std::size_t i = from; i < b.size(); ++i) a.push_back(b[i]);
  if (a.size() > room) a.resize(room);
  if (!a.empty()) std::memcpy(to, a.data(), a.size() * sizeof(Record));
  return a.size() * sizeof(Record);
}

} // namespace pmemfile::fuzz
