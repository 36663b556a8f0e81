#include "fsck/repair.h"

#include <algorithm>

#include "fsck/editor.h"

namespace pmemfile::fsck {
namespace {

// Walks after which damage that is still found is left: each takes something away, so that a few do.
constexpr unsigned kMaxWalks = 100;

void mend_superblocks(Editor& editor, const Report& report) {
  for (u64 copy = 0; copy < layout::kSuperblockCopies; ++copy)
    if (std::memcmp(editor.image().data() + copy * layout::kBlockBytes, &report.geometry, sizeof report.geometry) != 0)
      editor.write(copy * layout::kBlockBytes, &report.geometry, sizeof report.geometry);
}

void put_state(Editor& editor, layout::State state) {
  state.crc = layout::struct_crc(state);
  editor.write(state.sequence % layout::kSuperblockCopies * layout::kBlockBytes + layout::kStateOffset, &state, sizeof state);
}

// Both states are gone. The records tell which epoch was in force: it is the highest.
void make_state(Editor& editor, Context& context) {
  layout::State state{};
  state.sequence = 1;
  state.record_epoch = max_of<u64>(newest_epoch(context), 1);
  put_state(editor, state);
}

// Replays into the image and starts a new epoch, which voids all records and the volatile segment.
void replay(Editor& editor, Context& context) {
  replay_records(context);
  for (const auto& [offset, line] : context.image.overlay()) editor.write(offset, &line, sizeof line);
  layout::State state = context.report.state;
  ++state.sequence;
  // Beyond those of all records: in a damaged pool one may wait for the next.
  state.record_epoch = max_of(state.record_epoch, newest_epoch(context)) + 1;
  state.segment_id = 0;
  state.flags &= ~layout::kStateDirty;
  put_state(editor, state);
}

// False: there is no superblock to begin with, or it says that others than we may change this pool.
bool mend_head(Editor& editor, Repair& result, Report& report, const Options& options) {
  Options first = options;
  first.replay = true;
  for (int attempt = 0; attempt < 2; ++attempt) {
    Context context(editor.image(), first);
    bool sound = check_superblocks(context);
    if ((context.geometry().feature_read_only_compat & ~layout::kKnownReadOnlyCompat) != 0) {
      result.unknown_features = true;
      return report = std::move(context.report), false;
    }
    if (sound) {
      mend_superblocks(editor, context.report);
      replay(editor, context);
      return true;
    }
    report = std::move(context.report);
    bool state_lost = std::any_of(report.findings.begin(), report.findings.end(), [](const Finding& f) { return f.code == Code::F0105; });
    if (!state_lost) return false;
    make_state(editor, context);
  }
  return false;
}

Stage earliest(const Report& report) {
  Stage stage = Stage::kNever;
  for (const Finding& finding : report.findings) stage = min_of(stage, stage_of(finding, report.geometry));
  return stage;
}

void note_mended(Repair& result, const Finding& finding, u64 most) {
  ++result.repaired;
  if (result.mended.size() < most) result.mended.push_back(finding);
}

// Counts and the bitmap, from names and maps that are sound; with `only_add` what is not sound may own anything.
void finish(Editor& editor, Context& context, Repair& result, u64 most, bool only_add) {
  for (const Finding& finding : context.report.findings) {
    if (stage_of(finding, context.geometry()) != Stage::kCounts) continue;
    bool addition = finding.code == Code::F1002 || finding.code == Code::F1003 || finding.code == Code::F1006;
    if (only_add && !addition) continue;
    mend_counts(editor, context, finding);
    if (finding.code == Code::F0408) result.lost.push_back(finding.ino);
    else note_mended(result, finding, most);
  }
  mend_bitmap(editor, context, only_add);
}

// One walk, and what it found of the earliest stage mended. True: nothing was changed, so there is nothing left for another walk.
bool walk_and_mend(Editor& editor, Repair& result, Report& report, const Options& options, u64 most, std::unordered_map<u64, u64>& hunted,
                   bool last) {
  Context context(editor.image(), options);
  context.hunted = std::move(hunted);
  context.worn_version = kWornInRepair;
  check_superblocks(context);
  check_structure(context);
  Stage stage = earliest(context.report);
  bool structure_sound = stage >= Stage::kCounts && context.walk_complete;
  bool mended = false;
  if (stage < Stage::kCounts && !last)
    for (const Finding& finding : context.report.findings)
      if (stage_of(finding, context.geometry()) == stage && mend(editor, context, finding)) note_mended(result, finding, most), mended = true;
  hunted = std::move(context.hunted);
  std::erase_if(hunted, [](const auto& one) { return one.second != 0; });
  if (mended) return false;
  result.structure_damaged = !structure_sound;
  result.lost.clear();
  u64 before = editor.writes();
  finish(editor, context, result, most, !structure_sound);
  report = std::move(context.report);
  // By its new marks a block may show to hold inodes.
  return editor.writes() == before;
}

} // namespace

Repair repair(std::span<std::byte> image, Report& report, const Options& options) {
  Repair result;
  Editor editor(image, result);
  if (!mend_head(editor, result, report, options)) return result;
  Options exact = options;
  exact.replay = false;
  exact.max_findings = 1'000'000;
  std::unordered_map<u64, u64> hunted;
  for (unsigned walk = 1; !walk_and_mend(editor, result, report, exact, options.max_findings, hunted, walk >= kMaxWalks) && walk < 2 * kMaxWalks;) ++walk;
  return result;
}

} // namespace pmemfile::fsck
