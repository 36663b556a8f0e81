// The whole way of fsck.pmemfile -y on a damaged pool: afterwards nothing is found a second time, the pool can be attached,
// and every name in it can be read.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "alloc/alloc.h"
#include "fsck/repair.h"
#include "fuzz/damage.h"
#include "fuzz/kernel.h"
#include "fuzz/operations.h"
#include "fuzz/world.h"
#include "tools/lost_found.h"

using namespace pmemfile;

namespace {

fuzz::Image damaged, image, used; // kept: fresh memory costs more than the execution

[[noreturn]] void fail(const char* what, const fsck::Report& after) {
  std::fprintf(stderr, "fuzz_fsck_repair: %s\n", what);
  fsck::Report before = fsck::check(damaged);
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

// A second repair begins a new epoch in the superblocks and changes nothing else; otherwise it is looked at.
void repair_again(const fsck::Report& second) {
  used = image;
  fsck::Report ignored;
  (void)fsck::repair(used, ignored);
  constexpr long kSuperblocks = layout::kSuperblockCopies * layout::kBlockBytes;
  if (std::equal(used.begin() + kSuperblocks, used.end(), image.begin() + kSuperblocks)) return;
  fsck::Report third = fsck::check(used);
  if (!only_lost(third) || third.errors > second.errors) fail("a second repair does harm", third);
}

// The real code finds a pool that it can use, names the lost inodes and reads everything.
void use(const fsck::Report& second, const std::vector<u64>& lost) {
  fuzz::start(image);
  vfs::Pool* pool = fuzz::attach();
  if (pool == nullptr) fail("the repaired pool cannot be attached", second);
  u64 free_blocks = alloc::count_space(pool->store()).free_blocks;
  u64 named = tools::name_lost_inodes(*pool, lost);
  if (named < lost.size() && free_blocks > 4 + lost.size()) fail("lost inodes are not named", second);
  if (int error = fuzz::walk_tree(*pool, ~u64{0}); error != 0) {
    std::fprintf(stderr, "errno %d\n", error);
    fail("the repaired pool cannot be read", second);
  }
  fuzz::detach(pool);
  fuzz::kernel::read_pool(used);
  fsck::Report last = fsck::check(used);
  if (named == lost.size() ? !last.clean() : !only_lost(last)) fail("not clean after use", last);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  fuzz::damaged_pool(fuzz::parse(data, size), damaged);
  image = damaged;
  fsck::Report report;
  fsck::Repair repair = fsck::repair(image, report);
  fuzz::count_execution("fuzz_fsck_repair", !report.fatal);
  if (report.fatal || repair.unknown_features) return 0;
  fsck::Report second = fsck::check(image);
  if (repair.structure_damaged || !only_lost(second)) fail("not repaired", second);
  if (second.errors != repair.lost.size()) fail("lost inodes differ", second);
  repair_again(second);
  use(second, repair.lost);
  return 0;
}
