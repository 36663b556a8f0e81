#include "fsck/repair.h"

#include <algorithm>

#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

// What is mended here, or by the caller (F0408); every other error means that the structure cannot be trusted.
bool derived(Code code) {
  switch (code) {
    case Code::F0101: case Code::F0103: case Code::F0404: case Code::F0405: case Code::F0408: case Code::F0410:
    case Code::F1001: case Code::F1002: case Code::F1003: case Code::F1004: case Code::F1005: case Code::F1006:
      return true;
    default:
      return code_info(code).severity == Severity::kNote;
  }
}

bool in_bitmap(const layout::Geometry& geometry, u64 offset) {
  u64 block = offset / layout::kBlockBytes;
  return block >= geometry.bitmap_start_block && block < geometry.data_start_block;
}
bool derived(const Finding& finding, const layout::Geometry& geometry) {
  return derived(finding.code) || (finding.code == Code::F0301 && in_bitmap(geometry, finding.offset));
}

class Editor {
 public:
  Editor(std::span<std::byte> image, Repair& result) : image_(image), result_(result) {}

  void write(u64 offset, const void* bytes, u64 size) {
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

  // A changed line counts on from its version, as every other change does.
  void write_words(u64 offset, layout::Line line) {
    line.trailer = layout::make_trailer(line.words, layout::trailer_version(line.trailer) + 1);
    write(offset, &line, sizeof line);
  }

  void set_word(u64 offset, u64 value) {
    u64 start = align_down(offset, layout::kLineBytes);
    layout::Line changed = line(start);
    changed.words[(offset - start) / 8] = value;
    write_words(start, changed);
  }

 private:
  std::span<std::byte> image_;
  Repair& result_;
};

void mend_superblocks(Editor& editor, std::span<const std::byte> image, const Report& report) {
  for (u64 copy = 0; copy < layout::kSuperblockCopies; ++copy)
    if (std::memcmp(image.data() + copy * layout::kBlockBytes, &report.geometry, sizeof report.geometry) != 0)
      editor.write(copy * layout::kBlockBytes, &report.geometry, sizeof report.geometry);
}

// Replays into the image and starts a new epoch, which voids all records and the volatile segment.
void replay(Editor& editor, Context& context) {
  replay_records(context);
  for (const auto& [offset, line] : context.image.overlay()) editor.write(offset, &line, sizeof line);
  layout::State state = context.report.state;
  ++state.sequence;
  ++state.record_epoch;
  state.segment_id = 0;
  state.flags &= ~layout::kStateDirty;
  state.crc = layout::struct_crc(state);
  editor.write(state.sequence % layout::kSuperblockCopies * layout::kBlockBytes + layout::kStateOffset, &state, sizeof state);
}

void mend_counts(Editor& editor, const Finding& finding) {
  u64 inode = finding.ino * layout::kInodeBytes;
  u64 mode_word = editor.line(inode).words[0];
  if (finding.code == Code::F0404) editor.set_word(inode + layout::kInodeBlocks, finding.expected);
  if (finding.code == Code::F0405)
    editor.set_word(inode + layout::kInodeModeWord, (mode_word & 0xffffffff) | finding.expected << 32);
  if (finding.code == Code::F0410) {
    u64 flags = u64{layout::kFlagOrphan | layout::kFlagTruncating | layout::kFlagFreeing} << 16;
    editor.set_word(inode + layout::kInodeModeWord, mode_word & ~flags);
  }
}

// Gives every block of a line the marks that it must have; `only_add`: none is marked free.
void mend_bitmap_line(Editor& editor, Context& context, u64 index, bool only_add) {
  const layout::Geometry& geometry = context.geometry();
  u64 offset = bitmap_line_offset(geometry, index);
  layout::Line line = editor.line(offset);
  if (!line.valid()) {
    // Nothing is known: in use, as far as something unreadable might own it.
    std::memset(line.words, 0, sizeof line.words);
    if (only_add) line.words[layout::kPlaneUsed] = line.words[layout::kPlaneUsed + 1] = ~u64{0};
  }
  layout::Line right = line;
  right.words[6] = 0;
  for (unsigned bit = 0; bit < layout::kBlocksPerBitmapLine; ++bit) {
    u64 block = index * layout::kBlocksPerBitmapLine + bit, mask = u64{1} << bit % 64;
    unsigned half = bit / 64;
    auto put = [&](unsigned plane, bool value) {
      u64& word = right.words[plane + half];
      word = value ? word | mask : word & ~mask;
    };
    bool used = (line.words[layout::kPlaneUsed + half] & mask) != 0;
    if (!context.allocatable(block)) {
      put(layout::kPlaneUsed, true), put(layout::kPlaneMeta, false), put(layout::kPlaneInodesFree, false);
      continue;
    }
    Owner owner = context.owners.at(block);
    if (owner == Owner::kNobody) {
      if (!used) put(layout::kPlaneInodesFree, false);
      if (only_add || !used) continue;
      // All records are void, so that a block may go straight back to the free ones.
      put(layout::kPlaneUsed, false), put(layout::kPlaneMeta, false), put(layout::kPlaneInodesFree, false);
      continue;
    }
    put(layout::kPlaneUsed, true);
    put(layout::kPlaneMeta, owner != Owner::kData);
    if (owner != Owner::kInodes) put(layout::kPlaneInodesFree, false);
    else if (context.inode_block(block).in_use != 0xffff) put(layout::kPlaneInodesFree, true);
  }
  if (std::memcmp(right.words, line.words, sizeof line.words) != 0 || !editor.line(offset).valid())
    editor.write_words(offset, right);
}

} // namespace

Repair repair(std::span<std::byte> image, Report& report, const Options& options) {
  Repair result;
  Editor editor(image, result);
  {
    Options first = options;
    first.replay = true;
    Context context(image, first);
    if (!check_superblocks(context)) {
      report = std::move(context.report);
      return result;
    }
    mend_superblocks(editor, image, context.report);
    replay(editor, context);
  }
  Options exact = options;
  exact.replay = false;
  exact.max_findings = ~u64{0};
  Context context(image, exact);
  check_superblocks(context);
  check_structure(context);
  result.structure_damaged = !context.walk_complete;
  for (const Finding& finding : context.report.findings) result.structure_damaged |= !derived(finding, context.geometry());
  for (const Finding& finding : context.report.findings) {
    if (finding.code == Code::F0408 && !result.structure_damaged) result.lost.push_back(finding.ino);
    // Counts follow from the names that could be read: only if all could.
    if (!result.structure_damaged) mend_counts(editor, finding);
  }
  u64 lines = div_up(context.geometry().block_count, layout::kBlocksPerBitmapLine);
  for (u64 index = 0; index < lines; ++index) mend_bitmap_line(editor, context, index, result.structure_damaged);
  for (const Finding& finding : context.report.findings) {
    bool mended = derived(finding, context.geometry()) && finding.code != Code::F0408;
    bool addition = finding.code == Code::F1002 || finding.code == Code::F1003 || finding.code == Code::F1006;
    if (code_info(finding.code).severity == Severity::kNote || !mended) continue;
    if (!result.structure_damaged || addition) ++result.repaired;
  }
  report = std::move(context.report);
  return result;
}

} // namespace pmemfile::fsck
