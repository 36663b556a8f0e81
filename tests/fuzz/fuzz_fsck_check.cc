// The checker on a damaged pool, with records replayed and without.
#include "fsck/check.h"
#include "fuzz/damage.h"
#include "fuzz/world.h"

using namespace pmemfile;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static fuzz::Image image; // kept: fresh memory costs more than the execution
  fuzz::damaged_pool(fuzz::parse(data, size), image);
  fsck::Report report = fsck::check(image);
  fuzz::count_execution("fuzz_fsck_check", !report.fatal);
  for (const fsck::Finding& finding : report.findings) (void)fsck::to_text(finding);
  if (report.totals.records_valid == 0) return 0; // it would be the same check
  fsck::Options raw;
  raw.replay = false;
  (void)fsck::check(image, raw);
  return 0;
}
