#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rows.h"

namespace bench {
namespace {

constexpr std::size_t kBlock = 4096, kMebibyte = 1 << 20;
constexpr std::size_t kColdRegion = 16 * kMebibyte; // what one row of first touches has for itself

struct Size {
  const char* name;
  std::size_t bytes;
};
constexpr Size kSizes[] = {{"64 B", 64}, {"4 KiB", kBlock}, {"64 KiB", 64 << 10}, {"1 MiB", kMebibyte}};

// Where the i-th call goes: within [start, start + length), one behind the other or in a fixed random order.
// Small random accesses go to a block of their own each.
struct Place {
  std::size_t start, length, bytes;
  bool random;
  std::vector<std::uint32_t> order;

  Place(std::size_t from, std::size_t all, std::size_t size, bool shuffle) : start(from), length(all), bytes(size), random(shuffle) {
    if (random) order = shuffled(static_cast<std::uint32_t>(length / std::max(bytes, kBlock)));
  }
  off_t operator()(long i) const {
    const auto index = static_cast<std::size_t>(i);
    if (random) return static_cast<off_t>(start + order[index % order.size()] * std::max(bytes, kBlock));
    return static_cast<off_t>(start + index * bytes % length);
  }
};

char* buffer() {
  static char* memory = static_cast<char*>(aligned_alloc(kBlock, kMebibyte));
  return memory;
}

// pread and pwrite of `bytes`, and the same copies between the same buffer and `memory`: the limit.
void add_rows(Table& table, const std::string& what, int fd, char* memory, const Place* reads, const Place* writes) {
  const std::size_t bytes = reads->bytes;
  char* b = buffer();
  table.add("pread " + what, [=](long i) { must(pread(fd, b, bytes, (*reads)(i)), "pread"); });
  table.add("pwrite " + what, [=](long i) { must(pwrite(fd, b, bytes, (*writes)(i)), "pwrite"); });
  table.add("memcpy: pread " + what, [=](long i) {
    memcpy(b, memory + (*reads)(i), bytes);
    __asm__ volatile("" ::: "memory");
  });
  table.add("memcpy: pwrite " + what, [=](long i) {
    memcpy(memory + (*writes)(i), b, bytes);
    __asm__ volatile("" ::: "memory");
  });
}

int write_file(const std::string& path, std::size_t bytes) {
  const int fd = must_fd(open(path.c_str(), O_CREAT | O_RDWR, 0644), "data");
  memset(buffer(), 'd', kMebibyte);
  for (std::size_t at = 0; at < bytes; at += kMebibyte) must(pwrite(fd, buffer(), kMebibyte, static_cast<off_t>(at)), "pwrite");
  return fd;
}

// A window of the file is mapped, each of its pages touched, and unmapped.
void add_map_rows(Table& table, int fd, std::size_t file_bytes) {
  static constexpr std::size_t kWindow = 4 * kMebibyte;
  for (bool write : {false, true}) {
    auto touch = [fd, file_bytes, write](long i) {
      const auto offset = static_cast<off_t>(static_cast<std::size_t>(i) * kWindow % file_bytes);
      auto* memory = static_cast<volatile char*>(mmap(nullptr, kWindow, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset));
      if (memory == MAP_FAILED) die("mmap");
      for (std::size_t at = 0; at < kWindow; at += kBlock) {
        if (write)
          memory[at] = 1;
        else
          (void)memory[at];
      }
      munmap(const_cast<char*>(memory), kWindow);
    };
    table.add(write ? "mmap touch by writing, per page" : "mmap touch by reading, per page", touch, static_cast<double>(kWindow / kBlock));
  }
}

std::string cold_path(const Places& places) { return places.dir + "/cold"; }
constexpr std::size_t kColdRows = 2 * 2 * 4; // read or written, sequential or random, four sizes

} // namespace

void add_append_rows(Table& table, const Places& places) {
  static std::vector<char> block(kBlock, 'a');
  static const std::string path = places.dir + "/append", first_path = places.dir + "/append-first";
  static const int fd = must_fd(open(path.c_str(), O_CREAT | O_RDWR | O_APPEND, 0644), "append");
  static const int first = must_fd(open(first_path.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644), "append");
  constexpr long kWindow = 1000;
  auto append = [](std::size_t bytes) { must(write(fd, block.data(), bytes), "append"); };
  // The blocks that were cut off are taken again.
  auto empty = [](long) { must(ftruncate(fd, 0), "ftruncate"); };
  table.add("append 4 KiB, first touch", [](long) { must(write(first, block.data(), kBlock), "append"); });
  table.add_windowed("append 4 KiB", kWindow, [append](long) { append(kBlock); }, empty, Nothing{});
  table.add_windowed("append 64 B", kWindow, [append](long) { append(64); }, empty, Nothing{});
  table.add_windowed(
      "append 4 KiB + fsync", kWindow,
      [append](long) {
        append(kBlock);
        must(fsync(fd), "fsync");
      },
      empty, Nothing{});
}

void add_data_rows(Table& table, const Places& places, long mebibytes) {
  const std::size_t bytes = static_cast<std::size_t>(mebibytes) * kMebibyte;
  const int fd = write_file(places.dir + "/data", bytes);
  for (std::size_t at = 0; at < bytes; at += kMebibyte) must(pread(fd, buffer(), kMebibyte, static_cast<off_t>(at)), "pread");
  auto* memory = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
  if (memory == MAP_FAILED) die("mmap");
  memset(memory, 'm', bytes);
  for (const Size& size : kSizes) {
    for (bool random : {false, true}) {
      const auto* place = new Place(0, bytes, size.bytes, random);
      add_rows(table, std::string(size.name) + (random ? ", random" : ", sequential"), fd, memory, place, place);
    }
  }
  add_map_rows(table, fd, bytes);
}

void make_cold_file(const Places& places) { close(write_file(cold_path(places), kColdRows * kColdRegion)); }

void add_cold_rows(Table& table, const Places& places) {
  const int fd = must_fd(open(cold_path(places).c_str(), O_RDWR), "cold");
  memset(buffer(), 'c', kMebibyte);
  auto* memory = static_cast<char*>(mmap(nullptr, kColdRows * kColdRegion, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  if (memory == MAP_FAILED) die("mmap");
  std::size_t region = 0;
  for (const Size& size : kSizes) {
    for (bool random : {false, true}) {
      const auto* reads = new Place(region++ * kColdRegion, kColdRegion, size.bytes, random);
      const auto* writes = new Place(region++ * kColdRegion, kColdRegion, size.bytes, random);
      add_rows(table, std::string(size.name) + (random ? ", random, first touch" : ", sequential, first touch"), fd, memory, reads, writes);
    }
  }
}

} // namespace bench
