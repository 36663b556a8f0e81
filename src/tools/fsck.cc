// fsck.pmemfile: checks a pool that nobody uses.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "fmt/format.h"
#include "fsck/check.h"
#include "tools/common.h"

namespace pmemfile::tools {
namespace {

// The bits that fsck(8) and its callers know.
constexpr int kExitErrorsLeft = 4, kExitOperational = 8, kExitUsage = 16;

struct Arguments {
  std::string path;
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

int check(const Arguments& arguments) {
  PoolFile pool;
  if (auto error = pool.open(arguments.path, false)) return fail(kExitOperational, *error);
  if (!pool.lock_exclusively())
    return fail(kExitOperational, fmt::format("{} is in use: stop the programs that use it (pmemfile info --live lists them)",
                                              arguments.path));
  fsck::Options options;
  options.replay = !arguments.raw;
  if (arguments.progress) options.progress = show_progress;
  fsck::Report report =
      fsck::check(std::span(reinterpret_cast<const std::byte*>(pool.bytes()), pool.file_bytes()), options);
  if (arguments.progress) fmt::print(stderr, "\n");
  print(arguments, report);
  if (report.clean()) return 0;
  if (arguments.preen || arguments.automatic || arguments.yes)
    fmt::print(stderr, "fsck.pmemfile: this version only checks: nothing was repaired\n");
  return kExitErrorsLeft;
}

} // namespace
} // namespace pmemfile::tools

int main(int argc, char** argv) {
  pmemfile::tools::Arguments arguments;
  CLI::App app{"Checks a pmemfile pool that nobody uses.\n"
               "Exit status, a sum of: 0 no errors, 1 errors corrected, 4 errors left, 8 the check could not be made, "
               "16 wrong usage."};
  app.set_version_flag("-V,--version", "fsck.pmemfile " PMEMFILE_VERSION);
  app.add_option("POOL", arguments.path, "pool file or device")->required();
  auto* no = app.add_flag("-n", arguments.no, "change nothing");
  app.add_flag("-p", arguments.preen, "repair what is safe to repair, without questions")->excludes(no);
  app.add_flag("-a", arguments.automatic, "the same as -p")->excludes(no);
  app.add_flag("-y", arguments.yes, "repair everything that can be repaired")->excludes(no);
  app.add_flag("-f", arguments.force, "check although the pool looks clean (it is always checked)");
  app.add_flag("-C", arguments.progress, "show progress on standard error");
  app.add_flag("--no-replay", arguments.raw, "look at the pool as it is, without committed records laid over it");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "fsck.pmemfile: {} (see --help)\n", error.what());
    return pmemfile::tools::kExitUsage;
  }
  return pmemfile::tools::check(arguments);
}
