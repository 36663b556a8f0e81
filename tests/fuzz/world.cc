#include "fuzz/world.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pmemfile::fuzz {
namespace {

constexpr u64 kGuardBytes = 1 << 20;

void must(bool good, const char* what) {
  if (good) return;
  std::perror(what);
  std::abort();
}

u64 executions, believed;
const char* name_of_target;

} // namespace

World& World::get() {
  static World world;
  return world;
}

World::World() : path_(scratch_dir() + "/pool") {
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  must(fd_ >= 0 && ftruncate(fd_, layout::kMinPoolBytes) == 0, path_.c_str());
  bytes_ = layout::kMinPoolBytes;
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  must(memory != MAP_FAILED, "mmap");
  mapped_ = static_cast<std::byte*>(memory);
  void* guarded = mmap(nullptr, bytes_ + 2 * kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  must(guarded != MAP_FAILED, "mmap");
  guarded_ = static_cast<std::byte*>(guarded);
}

void World::reserve() {
  void* at = mmap(guarded_ + kGuardBytes, layout::kMinPoolBytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  must(at != MAP_FAILED, "mmap");
}

void World::fill(const Image& image) {
  if (image.size() != bytes_) must(ftruncate(fd_, static_cast<off_t>(image.size())) == 0, "ftruncate");
  bytes_ = image.size();
  std::memcpy(mapped_, image.data(), image.size());
}

void World::read_back(Image& image) const {
  image.resize(bytes_);
  std::memcpy(image.data(), mapped_, bytes_);
}

vfs::Pool* World::attach(bool read_only) {
  vfs::AttachOptions options;
  options.shm_dir = scratch_dir().c_str();
  options.read_only = read_only;
  vfs::AttachFailure failure{};
  auto attached = vfs::Pool::attach(path_.c_str(), options, &failure);
  if (!attached.ok()) return nullptr;
  pmem::Medium& medium = attached.value()->store().medium;
  // A pool that says it is smaller ends before the guard.
  std::byte* place = guarded_ + kGuardBytes + layout::kMinPoolBytes - medium.bytes;
  void* moved = mremap(medium.base, medium.bytes, medium.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  must(moved == place, "mremap");
  medium.base = static_cast<u8*>(moved);
  return attached.value();
}

void World::detach(vfs::Pool* pool) {
  pool->detach();
  reserve();
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
