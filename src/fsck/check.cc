#include <cstdio>

#include "fsck/context.h"

namespace pmemfile::fsck {
namespace {

constexpr CodeInfo kCodes[] = {
#define FINDING(code, severity, text, meaning) {#code, Severity::severity, text, meaning},
#include "fsck/codes.def"
#undef FINDING
};

} // namespace

const CodeInfo& code_info(Code code) { return kCodes[static_cast<u16>(code)]; }
std::size_t code_count() { return sizeof kCodes / sizeof kCodes[0]; }

std::string to_text(const Finding& finding) {
  const CodeInfo& info = code_info(finding.code);
  char buffer[320];
  std::string text = info.name;
  std::snprintf(buffer, sizeof buffer, " block %llu offset 0x%llx",
                static_cast<unsigned long long>(finding.offset / layout::kBlockBytes),
                static_cast<unsigned long long>(finding.offset));
  text += buffer;
  if (finding.ino != 0) {
    std::snprintf(buffer, sizeof buffer, " inode %llu", static_cast<unsigned long long>(finding.ino));
    text += buffer;
  }
  text += ": ";
  text += info.text;
  if (info.meaning[0] != '\0') {
    std::snprintf(buffer, sizeof buffer, " (%s: found 0x%llx, expected 0x%llx)", info.meaning,
                  static_cast<unsigned long long>(finding.found),
                  static_cast<unsigned long long>(finding.expected));
    text += buffer;
  }
  return text;
}

void Image::copy(u64 offset, void* to, u64 size) const {
  u64 there = offset >= bytes_.size() ? 0 : min_of<u64>(size, bytes_.size() - offset);
  std::memcpy(to, bytes_.data() + (there != 0 ? offset : 0), there);
  if (there != size) std::memset(static_cast<std::byte*>(to) + there, 0, size - there);
}

layout::Line Image::line(u64 offset) const {
  layout::Line line;
  auto found = overlay_.empty() ? overlay_.end() : overlay_.find(offset);
  if (found != overlay_.end()) line = found->second;
  else copy(offset, &line, sizeof line);
  return line;
}

void Context::find(Code code, u64 offset, u64 ino, u64 found, u64 expected, u64 place, Cut cut) {
  Severity severity = code_info(code).severity;
  if (severity != Severity::kNote) ++report.errors;
  if (severity == Severity::kFatal) report.fatal = true;
  if (report.findings.size() < options.max_findings)
    report.findings.push_back(Finding{code, offset, ino, found, expected, place, cut});
  else
    ++report.suppressed;
}

bool Context::check_version(u64 offset, u64 ino, const layout::Line& line) {
  u64 version = layout::trailer_version(line.trailer);
  if (version < worn_version) return true;
  find(Code::F0302, offset, ino, version, 1);
  return false;
}

bool Context::load_line(u64 offset, u64 ino, layout::Line& line) {
  line = image.line(offset);
  if (line.valid()) {
    check_version(offset, ino, line);
    return true;
  }
  find(Code::F0301, offset, ino, line.trailer,
       layout::make_trailer(line.words, layout::trailer_version(line.trailer)));
  walk_complete = false;
  return false;
}

bool Context::load_block(u64 block, u64 ino, u64 (&words)[layout::kPtrsPerNode]) {
  bool whole = true;
  for (unsigned i = 0; i < layout::kLinesPerBlock; ++i) {
    layout::Line line;
    bool good = load_line(block * layout::kBlockBytes + i * layout::kLineBytes, ino, line);
    for (unsigned w = 0; w < layout::kLineWords; ++w) words[i * layout::kLineWords + w] = good ? line.words[w] : 0;
    whole &= good;
  }
  return whole;
}

bool Context::claim(u64 block, Owner owner, u64 place, u64 ino, Code out_of_range, Cut cut) {
  if (!allocatable(block)) {
    find(out_of_range, place, ino, block, 0, place, cut);
    walk_complete = false;
    return false;
  }
  Owner before = owners.at(block);
  if (before != Owner::kNobody) {
    find(Code::F0502, block * layout::kBlockBytes, ino, static_cast<u64>(before), static_cast<u64>(owner), place, cut);
    return false;
  }
  owners.set(block, owner);
  return true;
}

// The order: the tree from its roots (so that the first owner of a block is the reachable one), then what should be
// unreachable only for good reasons, then the counts.
void check_structure(Context& context) {
  context.owners.resize(context.geometry().block_count);
  context.report.totals.blocks = context.geometry().block_count;
  for (u64 ino : context.geometry().root_ino)
    if (reach_inode(context, ino, 0, ino))
      context.inode_block(ino / layout::kInodesPerBlock).roots |= u16(1u << (ino % layout::kInodesPerBlock));
  visit_pending(context);
  check_orphans(context);
  find_unreachable(context);
  check_links(context);
  check_bitmap(context);
}

Report check(std::span<const std::byte> image, const Options& options) {
  Context context(image, options);
  if (!check_superblocks(context)) return std::move(context.report);
  if (options.replay) replay_records(context);
  check_structure(context);
  return std::move(context.report);
}

} // namespace pmemfile::fsck
