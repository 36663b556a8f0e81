// The whole way of fsck.pmemfile -y on a damaged pool: afterwards nothing is found a second time, the pool can be attached,
// and every name in it can be read.
#include <cstdio>
#include <cstdlib>

#include "alloc/alloc.h"
#include "fsck/repair.h"
#include "fuzz/damage.h"
#include "fuzz/operations.h"
#include "fuzz/world.h"
#include "tools/lost_found.h"

using namespace pmemfile;

namespace {

[[noreturn]] void fail(const char* what, const fsck::Report& before, const fsck::Report& after) {
  std::fprintf(stderr, "fuzz_fsck_repair: %s\n", what);
  for (const fsck::Finding& finding : before.findings) std::fprintf(stderr, "  before: %s\n", fsck::to_text(finding).c_str());
  for (const fsck::Finding& finding : after.findings) std::fprintf(stderr, "  after: %s\n", fsck::to_text(finding).c_str());
  std::abort();
}

// What is left is what a full pool has no room to name.
bool only_lost(const fsck::Report& report) {
  for (const fsck::Finding& finding : report.findings)
    if (fsck::code_info(finding.code).severity != fsck::Severity::kNote && finding.code != fsck::Code::F0408) return false;
  return true;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static fuzz::Image image; // kept: fresh memory costs more than the execution
  fuzz::damaged_pool(fuzz::parse(data, size), image);
  fsck::Report before = fsck::check(image), report;
  fsck::Repair repair = fsck::repair(image, report);
  fuzz::count_execution("fuzz_fsck_repair", !report.fatal);
  if (report.fatal || repair.unknown_features) return 0;
  fsck::Report second = fsck::check(image);
  if (repair.structure_damaged || !only_lost(second)) fail("not repaired", before, second);
  if (second.errors != repair.lost.size()) fail("lost inodes differ", before, second);
  static fuzz::Image again;
  again = image;
  (void)fsck::repair(again, report);
  if (!only_lost(fsck::check(again))) fail("a second repair does harm", before, fsck::check(again));

  fuzz::World& world = fuzz::World::get();
  world.fill(image);
  vfs::Pool* pool = world.attach();
  if (pool == nullptr) fail("the repaired pool cannot be attached", before, second);
  u64 free_blocks = alloc::count_space(pool->store()).free_blocks;
  u64 named = tools::name_lost_inodes(*pool, repair.lost);
  if (named < repair.lost.size() && free_blocks > 4 + repair.lost.size()) fail("lost inodes are not named", before, second);
  if (int error = fuzz::walk_tree(*pool, ~u64{0}); error != 0) {
    std::fprintf(stderr, "errno %d\n", error);
    fail("the repaired pool cannot be read", before, second);
  }
  world.detach(pool);
  static fuzz::Image used;
  world.read_back(used);
  fsck::Report third = fsck::check(used);
  if (named == repair.lost.size() ? !third.clean() : !only_lost(third)) fail("not clean after use", before, third);
  return 0;
}
