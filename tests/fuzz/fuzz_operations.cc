// Every operation on a damaged pool, then a look at every name that is left.
#include "fuzz/damage.h"
#include "fuzz/operations.h"
#include "fuzz/world.h"

using namespace pmemfile;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  std::vector<fuzz::Record> records = fuzz::parse(data, size);
  static fuzz::Image image; // kept: fresh memory costs more than the execution
  fuzz::damaged_pool(records, image);
  fuzz::start(image);
  vfs::Pool* pool = fuzz::attach();
  fuzz::count_execution("fuzz_operations", pool != nullptr);
  if (pool == nullptr) return 0;
  fuzz::operate(*pool, records);
  fuzz::walk_tree(*pool, 300);
  fuzz::detach(pool);
  return 0;
}
