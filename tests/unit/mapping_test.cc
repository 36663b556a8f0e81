// Mappings that huge pages can stand behind, and pools in memory that are held in such pages.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "base/mapping.h"
#include "vfs/pool.h"

namespace pmemfile {
namespace {

constexpr int kBoth = PROT_READ | PROT_WRITE;

// A file in /dev/shm that goes with the test.
class MemoryFile {
 public:
  explicit MemoryFile(u64 bytes) : path_("/dev/shm/pmemfile-mapping-test-" + std::to_string(getpid())) {
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(ftruncate(fd_, static_cast<off_t>(bytes)), 0);
  }
  ~MemoryFile() {
    close(fd_);
    unlink(path_.c_str());
  }
  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int fd_ = -1;
};

// KiB of the mapping at `address` that huge pages stand behind, by /proc/self/smaps.
long huge_kib(const void* address) {
  FILE* maps = fopen("/proc/self/smaps", "r");
  char line[512], start[32];
  snprintf(start, sizeof start, "%lx-", reinterpret_cast<unsigned long>(address));
  long kib = -1;
  bool inside = false;
  while (fgets(line, sizeof line, maps) != nullptr) {
    if (strncmp(line, start, strlen(start)) == 0) inside = true;
    if (inside && sscanf(line, "ShmemPmdMapped: %ld kB", &kib) == 1) break;
  }
  fclose(maps);
  return kib;
}

// Can this kernel gather at all? Asked of a file that none of our code has touched.
bool kernel_gathers() {
  MemoryFile file(2 * kHugePageBytes);
  auto* room = static_cast<char*>(mmap(nullptr, 3 * kHugePageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto aligned = reinterpret_cast<char*>(align_up(reinterpret_cast<u64>(room), kHugePageBytes));
  mmap(aligned, 2 * kHugePageBytes, kBoth, MAP_SHARED | MAP_FIXED, file.fd(), 0);
  aligned[0] = 1;
  constexpr int kCollapse = 25;
  bool gathers = madvise(aligned, kHugePageBytes, kCollapse) == 0 && (aligned[1] = 1, huge_kib(aligned) > 0);
  munmap(room, 3 * kHugePageBytes);
  return gathers;
}

bool aligned(long address) { return static_cast<u64>(address) % kHugePageBytes == 0; }

TEST(Mapping, BeginsAtAHugePageWhateverTheKernelWouldChoose) {
  constexpr u64 kBytes = 3 * kHugePageBytes + 4096;
  MemoryFile file(kBytes);
  // An odd page now and then, so that no address is aligned by chance.
  for (int i = 0; i < 8; ++i) {
    ASSERT_NE(mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
    long address = map_aligned(file.fd(), kBytes, kBoth, MAP_SHARED, i % 2 == 0 ? 0 : below_library(kBytes, kHugePageBytes));
    ASSERT_GT(address, 0);
    EXPECT_TRUE(aligned(address));
    std::memset(reinterpret_cast<void*>(address), i, kBytes); // all of it is there
  }
}

TEST(Mapping, OfSmallFilesIsAnywhere) {
  MemoryFile file(4096);
  EXPECT_GT(map_aligned(file.fd(), 4096, kBoth, MAP_SHARED, below_library(4096, 0)), 0);
}

TEST(Mapping, ErrorIsTheKernels) {
  EXPECT_EQ(map_aligned(-1, 4 * kHugePageBytes, kBoth, MAP_SHARED, 0), -EBADF);
}

TEST(Mapping, GatheringKeepsWhatIsInTheFile) {
  constexpr u64 kBytes = 2 * kHugePageBytes + 12288;
  MemoryFile file(kBytes);
  for (off_t at : {off_t{0}, off_t{4096 + 17}, off_t{kHugePageBytes}, off_t{kBytes - 1}}) ASSERT_EQ(pwrite(file.fd(), "x", 1, at), 1);
  gather_in_huge_pages(file.fd(), kBytes);
  std::string contents(kBytes, '?');
  ASSERT_EQ(pread(file.fd(), contents.data(), kBytes, 0), static_cast<ssize_t>(kBytes));
  for (u64 at = 0; at < kBytes; ++at) {
    bool written = at == 0 || at == 4096 + 17 || at == kHugePageBytes || at == kBytes - 1;
    ASSERT_EQ(contents[at], written ? 'x' : '\0') << at;
  }
}

TEST(Mapping, PoolInMemoryIsHeldInHugePages) {
  if (!kernel_gathers()) GTEST_SKIP() << "this kernel does not gather pages, or has no huge ones left";
  MemoryFile file(0);
  unlink(file.path().c_str());
  vfs::Pool::MakeOptions make;
  make.bytes = 8 * kHugePageBytes;
  ASSERT_TRUE(vfs::Pool::make(file.path().c_str(), make, nullptr).ok());
  vfs::AttachOptions options;
  auto attached = vfs::Pool::attach(file.path().c_str(), options, nullptr);
  ASSERT_TRUE(attached.ok());
  const pmem::Medium& medium = attached.value()->store().medium;
  EXPECT_TRUE(aligned(reinterpret_cast<long>(medium.base)));
  volatile const u8* last = medium.base + medium.bytes - 1;
  (void)*last;
  EXPECT_GE(huge_kib(medium.base), static_cast<long>(kHugePageBytes / 1024));
  attached.value()->detach();
}

TEST(Mapping, SparsePoolStaysSparse) {
  MemoryFile file(0);
  unlink(file.path().c_str());
  vfs::Pool::MakeOptions make;
  make.bytes = 8 * kHugePageBytes;
  make.sparse = true;
  ASSERT_TRUE(vfs::Pool::make(file.path().c_str(), make, nullptr).ok());
  struct stat status {};
  ASSERT_EQ(stat(file.path().c_str(), &status), 0);
  EXPECT_LT(static_cast<u64>(status.st_blocks) * 512, kHugePageBytes);
}

} // namespace
} // namespace pmemfile
