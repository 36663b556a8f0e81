// The checker: every structure and every relation of a pool image, read-only, by the rules of docs/format.md.
//
// What it is: an independent reader of the format: it shares constants with the running code (layout) and nothing
// else, replay of records included, so that a mistake there does not hide itself here.
// Owner: fsck.pmemfile, the crash explorer, fuzzers. Rules: the image may hold anything; nothing outside it is
// ever read, every walk is bounded by the number of blocks, memory by a few bits a block and a few words an inode.
// An ordinary program's code: allocates, not for hooks.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "layout/layout.h"

namespace pmemfile::fsck {

enum class Code : u16 {
#define FINDING(code, severity, text, meaning) code,
#include "fsck/codes.def"
#undef FINDING
};
enum class Severity : u8 { kNote, kError, kFatal };

struct CodeInfo {
  const char* name; // "F0101"
  Severity severity;
  const char* text;
  const char* meaning; // of found and expected
};
const CodeInfo& code_info(Code code);
std::size_t code_count();

// How a pointer that cannot be kept is taken away.
enum class Cut : u8 {
  kNone,
  kZeroWord,     // of a map, a list, an attribute block
  kEmptyPointer, // of a trie: what it stood for is empty
  kDropEntry,    // of a directory: `place` is its first cell
};

struct Finding {
  Code code;
  u64 offset = 0; // in the pool, of the line or block it is about
  u64 ino = 0;    // the inode it is about; 0: none
  u64 found = 0, expected = 0;
  u64 place = 0;  // where the pointer stands that is to be cut
  Cut cut = Cut::kNone;
};
std::string to_text(const Finding& finding);

// What is in the pool, for people.
struct Totals {
  u64 blocks = 0, blocks_used = 0, inodes_used = 0, directories = 0, orphans = 0;
  u64 records_valid = 0, lines_replayed = 0;
};

struct Report {
  std::vector<Finding> findings;
  u64 suppressed = 0; // beyond Options::max_findings
  u64 errors = 0;     // findings that are not notes, suppressed ones included
  bool fatal = false; // the check ended early
  layout::Geometry geometry{};
  layout::State state{};
  Totals totals;

  bool clean() const { return errors == 0; }
};

struct Options {
  bool replay = true; // lay committed records over the image first, as recovery will do
  u64 max_findings = 1000;
  // Called now and then: phase, steps done, steps in all.
  void (*progress)(void* context, const char* phase, u64 done, u64 total) = nullptr;
  void* context = nullptr;
};

Report check(std::span<const std::byte> image, const Options& options = {});

} // namespace pmemfile::fsck
