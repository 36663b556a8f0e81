#include "fuzz/world.h"

#include <cstdio>
#include <cstdlib>

#include "fuzz/kernel.h"

namespace pmemfile::fuzz {
namespace {

u64 executions, believed;
const char* name_of_target;

} // namespace

void start(const Image& image) { kernel::start(image); }

vfs::Pool* attach(bool read_only) {
  vfs::AttachOptions options;
  options.shm_dir = kernel::kShmDir;
  options.read_only = read_only;
  vfs::AttachFailure failure{};
  auto attached = vfs::Pool::attach(kernel::kPoolPath, options, &failure);
  if (attached.ok()) return attached.value();
  kernel::must_be_at_rest();
  return nullptr;
}

void detach(vfs::Pool* pool) {
  pool->detach();
  kernel::must_be_at_rest();
}

void count_execution(const char* target, bool past_validation) {
  if (executions == 0) {
    name_of_target = target;
    std::atexit([] {
      std::fprintf(stderr, "%s: %llu executions, %llu of them past validation (%.1f %%)\n", name_of_target,
                   static_cast<unsigned long long>(executions), static_cast<unsigned long long>(believed),
                   executions == 0 ? 0.0 : 100.0 * static_cast<double>(believed) / static_cast<double>(executions));
    });
  }
  ++executions;
  believed += past_validation;
}

} // namespace pmemfile::fuzz
