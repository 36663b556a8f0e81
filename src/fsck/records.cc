// Replay of committed records into the private overlay: the rule of docs/architecture.md, told a second time.

#include <algorithm>

#include "fsck/context.h"

#include "layout/state.h"

namespace pmemfile::fsck {
namespace {

using layout::kLineWords;

struct Change {
  u64 line; // offset
  u64 trailer;
  u64 mask;
  u64 words[kLineWords];
  u64 record; // offset of the record, for findings

  void lay_over(layout::Line& old) const {
    for (unsigned w = 0; w < kLineWords; ++w)
      if ((mask >> w & 1) != 0) old.words[w] = words[w];
    old.trailer = trailer;
  }
};

constexpr u64 kAreaWords = layout::kRecordAreaBytes / 8;
constexpr u64 kHeaderWords = sizeof(layout::RecordHeader) / 8;

struct Area {
  u64 offset;
  unsigned slot;
  unsigned parity;
  u64 words[kAreaWords]; // a private copy
};

// A whole record, of whatever epoch?
bool record_whole(const Area& area) {
  layout::RecordHeader header;
  std::memcpy(&header, area.words, sizeof header);
  if (header.magic != layout::kRecordMagic) return false;
  u64 bytes = header.shape >> 32;
  if (bytes < sizeof header || bytes > layout::kRecordAreaBytes || bytes % 8 != 0) return false;
  u64 stored = header.crc;
  u32 crc = ~u32{0};
  for (u64 i = 0; i < bytes / 8; ++i) crc = crc32c_word(crc, i == kHeaderWords - 1 ? 0 : area.words[i]);
  return stored == crc;
}

bool record_valid(const Context& context, const Area& area) {
  constexpr unsigned kEpochWord = offsetof(layout::RecordHeader, epoch) / 8;
  return area.words[kEpochWord] == context.report.state.record_epoch && record_whole(area);
}

template <class Visit>
void for_each_area(const Context& context, Visit&& visit) {
  const layout::Geometry& geometry = context.geometry();
  for (unsigned slot = 0; slot < geometry.record_slot_count; ++slot)
    for (unsigned parity = 0; parity < layout::kRecordAreasPerSlot; ++parity) {
      Area area;
      area.slot = slot;
      area.parity = parity;
      area.offset = (geometry.record_start_block + slot * layout::kRecordAreasPerSlot + parity) * layout::kBlockBytes;
      context.image.copy(area.offset, area.words, sizeof area.words);
      visit(area);
    }
}

// False: malformed; nothing of it counts.
bool parse_body(Context& context, const Area& area, std::vector<Change>& changes) {
  u64 shape = area.words[1];
  u64 words = (shape >> 32) / 8, lines = (shape >> 16) & 0xffff, at = kHeaderWords;
  u64 first_line = context.geometry().orphan_block * layout::kBlockBytes;
  u64 end = context.geometry().block_count * layout::kBlockBytes;
  std::vector<Change> found;
  for (u64 i = 0; i < lines; ++i) {
    if (words - at < 2) return context.find(Code::F0202, area.offset, 0, i, lines), false;
    Change change{};
    change.record = area.offset;
    change.mask = area.words[at] & 0xff;
    change.line = (area.words[at] >> 8) * layout::kLineBytes;
    change.trailer = area.words[at + 1];
    at += 2;
    u64 count = static_cast<u64>(std::popcount(change.mask));
    // The shifted offset cannot overflow: it has 56 bits, the product at most 62.
    if (change.mask == 0 || change.mask >= (1u << kLineWords) || words - at < count || change.line < first_line ||
        change.line >= end)
      return context.find(Code::F0202, area.offset, 0, i, lines), false;
    for (unsigned w = 0; w < kLineWords; ++w)
      if ((change.mask >> w & 1) != 0) change.words[w] = area.words[at++];
    found.push_back(change);
  }
  if (at != words) return context.find(Code::F0202, area.offset, 0, lines, lines), false;
  changes.insert(changes.end(), found.begin(), found.end());
  return true;
}

void apply(Context& context, std::vector<Change>& changes) {
  std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
    return a.line != b.line ? a.line < b.line : layout::trailer_version(a.trailer) < layout::trailer_version(b.trailer);
  });
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const Change& change = changes[i];
    u64 version = layout::trailer_version(change.trailer);
    if (i != 0 && changes[i - 1].line == change.line &&
        layout::trailer_version(changes[i - 1].trailer) == version)
      context.find(Code::F0204, change.line, 0, version, version);
    layout::Line line = context.image.line(change.line);
    u64 current = layout::trailer_version(line.trailer);
    if (version <= current) continue;
    if (version != current + 1) {
      context.find(Code::F0203, change.line, 0, version, current + 1);
      // Half of a change is worse than none of it.
      layout::Line whole = line;
      change.lay_over(whole);
      if (!whole.valid()) continue;
    }
    change.lay_over(line);
    context.image.replace_line(change.line, line);
    ++context.report.totals.lines_replayed;
  }
}

} // namespace

u64 newest_epoch(const Context& context) {
  // One that a pool never comes to is never in force.
  constexpr u64 kUnreachable = layout::kMaxRecordEpoch / 2;
  u64 newest = 0;
  for_each_area(context, [&](const Area& area) {
    u64 epoch = area.words[offsetof(layout::RecordHeader, epoch) / 8];
    if (record_whole(area) && epoch < kUnreachable) newest = max_of(newest, epoch);
  });
  return newest;
}

void replay_records(Context& context) {
  std::vector<Change> changes;
  for_each_area(context, [&](const Area& area) {
    if (!record_valid(context, area)) return;
    if ((area.words[1] & 0xffff) != area.slot || area.words[2] % layout::kRecordAreasPerSlot != area.parity)
      return context.find(Code::F0201, area.offset, 0, area.words[1] & 0xffff, area.slot);
    if (parse_body(context, area, changes)) ++context.report.totals.records_valid;
  });
  apply(context, changes);
  if (context.report.totals.lines_replayed != 0)
    context.find(Code::F0205, context.geometry().record_start_block * layout::kBlockBytes, 0,
                 context.report.totals.lines_replayed, 0);
}

} // namespace pmemfile::fsck
