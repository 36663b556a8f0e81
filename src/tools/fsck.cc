// fsck.pmemfile: checks a pool that nobody uses, and repairs what can be derived from the rest.

#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "fmt/format.h"
#include "fsck/check.h"
#include "fsck/repair.h"
#include "tools/common.h"
#include "tools/lost_found.h"
#include "tools/undo.h"

namespace pmemfile::tools {
namespace {

// The bits that fsck(8) and its callers know.
constexpr int kExitCorrected = 1, kExitErrorsLeft = 4, kExitOperational = 8, kExitUsage = 16;

struct Arguments {
  std::string path, undo, put_back;
  bool no = false, preen = false, automatic = false, yes = false, force = false, progress = false, raw = false;
};

int fail(int code, const std::string& text) {
  fmt::print(stderr, "fsck.pmemfile: {}\n", text);
  return code;
}

void show_progress(void*, const char* phase, u64 done, u64 total) {
  fmt::print(stderr, "\r{:<8} {:3}% ({} of {})", phase, total == 0 ? 100 : done * 100 / total, done, total);
  std::fflush(stderr);
}

void print(const Arguments& arguments, const fsck::Report& report) {
  for (const fsck::Finding& finding : report.findings) fmt::print("{}\n", fsck::to_text(finding));
  if (report.suppressed != 0) fmt::print("... and {} more findings\n", report.suppressed);
  if (report.fatal) return;
  const fsck::Totals& totals = report.totals;
  fmt::print("{}: {} inodes ({} directories, {} orphans), {} of {} blocks in use, {} records valid, {} lines waiting: {}\n",
             arguments.path, totals.inodes_used, totals.directories, totals.orphans, totals.blocks_used, totals.blocks,
             totals.records_valid, totals.lines_replayed,
             report.clean() ? "clean" : fmt::format("{} ERRORS", report.errors));
}

fsck::Options options_of(const Arguments& arguments) {
  fsck::Options options;
  options.replay = !arguments.raw;
  if (arguments.progress) options.progress = show_progress;
  return options;
}

fsck::Report check(const Arguments& arguments, const PoolFile& pool) {
  fsck::Report report = fsck::check(std::span(reinterpret_cast<const std::byte*>(pool.bytes()), pool.file_bytes()),
                                    options_of(arguments));
  if (arguments.progress) fmt::print(stderr, "\n");
  return report;
}

std::string undo_path(const Arguments& arguments) {
  if (!arguments.undo.empty()) return arguments.undo;
  std::string base = arguments.path.substr(arguments.path.rfind('/') + 1);
  for (int i = 1;; ++i)
    if (std::string path = fmt::format("{}.undo.{}", base, i); access(path.c_str(), F_OK) != 0) return path;
}

void* private_copy(PoolFile& pool) {
  constexpr int kProtection = PROT_READ | PROT_WRITE, kFlags = MAP_PRIVATE | MAP_NORESERVE;
  if (pool.medium().page_bytes == 4096) {
    void* mapped = mmap(nullptr, pool.file_bytes(), kProtection, kFlags, pool.fd(), 0);
    if (mapped != MAP_FAILED || errno != EINVAL) return mapped;
  }
  // A device-DAX node has no private mappings, and huge pages may be short.
  void* memory = mmap(nullptr, pool.file_bytes(), kProtection, kFlags | MAP_ANONYMOUS, -1, 0);
  if (memory != MAP_FAILED) std::memcpy(memory, pool.bytes(), pool.file_bytes());
  return memory;
}

// Repairs on a private copy, saves what was there, then stores the changes. The inodes without names are left in `lost`.
// `changed`: something was.
int mend(const Arguments& arguments, PoolFile& pool, const fsck::Report& before, std::vector<u64>& lost, bool& changed) {
  void* memory = private_copy(pool);
  if (memory == MAP_FAILED) return fail(kExitOperational, fmt::format("cannot map {}: {}", arguments.path, error_text(errno)));
  std::span image(static_cast<std::byte*>(memory), pool.file_bytes());
  fsck::Report report;
  fsck::Repair repair = fsck::repair(image, report, options_of(arguments));
  if (arguments.progress) fmt::print(stderr, "\n");
  std::set<std::string> known;
  for (const fsck::Finding& finding : before.findings) known.insert(fsck::to_text(finding));
  for (const fsck::Finding& finding : repair.mended)
    if (std::string text = fsck::to_text(finding); known.insert(text).second) fmt::print("found in the repair: {}\n", text);
  int code = 0;
  if (repair.unknown_features)
    fmt::print("{}: uses features that this version does not know: it is not repaired\n", arguments.path);
  if (!repair.originals.empty()) {
    std::string undo = undo_path(arguments);
    if (auto error = write_undo(undo, report.geometry, repair.originals)) {
      code = fail(kExitOperational, *error);
    } else {
      std::map<u64, fsck::Piece> pieces = repair.originals;
      for (auto& [offset, piece] : pieces) std::memcpy(piece.data(), image.data() + offset, piece.size());
      store_pieces(pool, pieces);
      changed = true;
      fmt::print("{}: {} findings repaired; what was there before is in {}\n", arguments.path, repair.repaired, undo);
      if (repair.structure_damaged)
        fmt::print("{}: some of the damage could not be repaired: nothing was marked free\n", arguments.path);
      lost = repair.lost;
    }
  }
  munmap(memory, image.size());
  return code;
}

int repair(const Arguments& arguments, const fsck::Report& before) {
  std::vector<u64> lost;
  bool changed = false;
  {
    PoolFile pool;
    if (auto error = pool.open(arguments.path, true)) return fail(kExitOperational, *error);
    if (!pool.lock_exclusively()) return fail(kExitOperational, fmt::format("{} is in use", arguments.path));
    if (int code = mend(arguments, pool, before, lost, changed)) return code;
  }
  if (!lost.empty()) {
    std::string error;
    u64 named = name_lost_inodes(arguments.path, lost, error);
    fmt::print("{}: {} of {} inodes without a name are in /lost+found now\n", arguments.path, named, lost.size());
    if (!error.empty()) fmt::print(stderr, "fsck.pmemfile: {}\n", error);
  }
  PoolFile pool;
  if (auto error = pool.open(arguments.path, false)) return fail(kExitOperational, *error);
  if (!pool.lock_exclusively()) {
    fmt::print("{}: is in use again, and is not checked a second time\n", arguments.path);
    return changed ? kExitCorrected : 0;
  }
  fsck::Report report = check(arguments, pool);
  print(arguments, report);
  return (changed ? kExitCorrected : 0) | (report.clean() ? 0 : kExitErrorsLeft);
}

int put_back(const Arguments& arguments) {
  PoolFile pool;
  if (auto error = pool.open(arguments.path, true)) return fail(kExitOperational, *error);
  if (!pool.lock_exclusively()) return fail(kExitOperational, fmt::format("{} is in use", arguments.path));
  if (auto error = apply_undo(arguments.put_back, pool)) return fail(kExitOperational, *error);
  fmt::print("{}: as it was before the repair\n", arguments.path);
  return 0;
}

int run(const Arguments& arguments) {
  if (!arguments.put_back.empty()) return put_back(arguments);
  fsck::Report report;
  {
    PoolFile pool;
    if (auto error = pool.open(arguments.path, false)) return fail(kExitOperational, *error);
    if (!pool.lock_exclusively())
      return fail(kExitOperational, fmt::format("{} is in use: stop the programs that use it (pmemfile info --live lists them)",
                                                arguments.path));
    report = check(arguments, pool);
  }
  print(arguments, report);
  bool wanted = arguments.preen || arguments.automatic || arguments.yes;
  // A pool that is whole keeps its mark until somebody who may write looked at it: then it may be used again.
  bool marked = std::any_of(report.findings.begin(), report.findings.end(),
                            [](const fsck::Finding& finding) { return finding.code == fsck::Code::F0106; });
  if (report.clean() && !(wanted && marked)) return 0;
  if (!wanted) return kExitErrorsLeft;
  return repair(arguments, report);
}

} // namespace
} // namespace pmemfile::tools

int main(int argc, char** argv) {
  pmemfile::tools::Arguments arguments;
  CLI::App app{"Checks a pmemfile pool that nobody uses, and repairs what can be derived from the rest of it.\n"
               "Exit status, a sum of: 0 no errors, 1 errors corrected, 4 errors left, 8 the check could not be made, "
               "16 wrong usage."};
  app.set_version_flag("-V,--version", "fsck.pmemfile " PMEMFILE_VERSION);
  app.add_option("POOL", arguments.path, "pool file or device")->required();
  auto* no = app.add_flag("-n", arguments.no, "change nothing");
  app.add_flag("-p", arguments.preen, "repair without questions")->excludes(no);
  app.add_flag("-a", arguments.automatic, "the same as -p")->excludes(no);
  app.add_flag("-y", arguments.yes, "repair everything that can be repaired")->excludes(no);
  app.add_flag("-f", arguments.force, "check although the pool looks clean (it is always checked)");
  app.add_flag("-C", arguments.progress, "show progress on standard error");
  app.add_option("--undo", arguments.undo, "where to save what a repair changes (POOL.undo.N in the working directory)");
  app.add_option("--put-back", arguments.put_back, "undo the repair that saved this file")->excludes(no);
  app.add_flag("--no-replay", arguments.raw, "look at the pool as it is, without committed records laid over it");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "fsck.pmemfile: {} (see --help)\n", error.what());
    return pmemfile::tools::kExitUsage;
  }
  return pmemfile::tools::run(arguments);
}
