// Editor: changes of the private image, each 64-byte piece remembered as it was. Internal to the fsck room.
//
// Rules: lives as long as one repair; one thread; offsets lie in the image, which its callers have checked.
#pragma once

#include <cstring>

#include "fsck/context.h"
#include "fsck/repair.h"

namespace pmemfile::fsck {

class Editor {
 public:
  Editor(std::span<std::byte> image, Repair& result) : image_(image), result_(result) {}

  std::span<const std::byte> image() const { return image_; }
  u64 writes() const { return writes_; }
  void write(u64 offset, const void* bytes, u64 size) {
    ++writes_;
    for (u64 piece = align_down(offset, kPieceBytes); piece < offset + size; piece += kPieceBytes) {
      Piece old;
      std::memcpy(old.data(), image_.data() + piece, kPieceBytes);
      result_.originals.try_emplace(piece, old);
    }
    std::memcpy(image_.data() + offset, bytes, size);
  }

  layout::Line line(u64 offset) const {
    layout::Line line;
    std::memcpy(&line, image_.data() + offset, sizeof line);
    return line;
  }
  u64 word(u64 offset) const {
    u64 value;
    std::memcpy(&value, image_.data() + offset, sizeof value);
    return value;
  }

  // A changed line counts on from its version, as every other change does; from a version that damage has made up, or
  // that is at its end, it begins again: all records are void, so that nothing can be taken for newer.
  void write_words(u64 offset, layout::Line line) {
    u64 version = layout::trailer_version(line.trailer);
    line.trailer = layout::make_trailer(line.words, version < kWornInRepair ? version + 1 : 1);
    write(offset, &line, sizeof line);
  }
  void renew_line(u64 offset) { write_words(offset, line(offset)); }
  void set_word(u64 offset, u64 value) {
    u64 start = align_down(offset, layout::kLineBytes);
    layout::Line changed = line(start);
    if (changed.words[(offset - start) / 8] == value && changed.valid()) return;
    changed.words[(offset - start) / 8] = value;
    write_words(start, changed);
  }
  void zero_line(u64 offset) {
    layout::Line changed = line(offset);
    std::memset(changed.words, 0, sizeof changed.words);
    write_words(offset, changed);
  }

 private:
  std::span<std::byte> image_;
  Repair& result_;
  u64 writes_ = 0;
};

// mend.cc: when a finding's turn comes. What is mended first makes later findings go away or show; the counts come last.
enum class Stage : u8 { kLines, kShape, kOwners, kEntries, kCounts, kNever };
Stage stage_of(const Finding& finding, const layout::Geometry& geometry);
// Mends one finding of an earlier stage than kCounts; false if it cannot.
bool mend(Editor& editor, Context& context, const Finding& finding);
// Of stage kCounts, the bitmap excepted.
void mend_counts(Editor& editor, Context& context, const Finding& finding);
// mend_bitmap.cc: gives every block the marks that it must have; `only_add`: none is marked free.
void mend_bitmap(Editor& editor, Context& context, bool only_add);

} // namespace pmemfile::fsck
