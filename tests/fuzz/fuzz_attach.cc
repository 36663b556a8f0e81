// Attaching to a damaged pool, with recovery, and leaving it: for writing, then as one who may only read.
#include "fuzz/damage.h"
#include "fuzz/world.h"

using namespace pmemfile;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static fuzz::Image image; // kept: fresh memory costs more than the execution
  fuzz::damaged_pool(fuzz::parse(data, size), image);
  fuzz::start(image);
  vfs::Pool* pool = fuzz::attach();
  fuzz::count_execution("fuzz_attach", pool != nullptr);
  if (pool == nullptr) return 0;
  fuzz::detach(pool);
  if (vfs::Pool* reader = fuzz::attach(true)) fuzz::detach(reader);
  return 0;
}
