// Attaching to a damaged pool, with recovery, and leaving it; then once more, with V found, for writing or as one who may only read.
#include "fuzz/damage.h"
#include "fuzz/kernel.h"
#include "fuzz/world.h"

using namespace pmemfile;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static fuzz::Image image; // kept: fresh memory costs more than the execution
  std::vector<fuzz::Record> records = fuzz::parse(data, size);
  fuzz::damaged_pool(records, image);
  fuzz::start(image);
  vfs::Pool* pool = fuzz::attach();
  fuzz::count_execution("fuzz_attach", fuzz::kernel::was_mapped());
  if (pool == nullptr) return 0;
  fuzz::detach(pool);
  bool read_only = records.empty() || records[0].index % 2 == 0;
  if (vfs::Pool* again = fuzz::attach(read_only)) fuzz::detach(again);
  return 0;
}
