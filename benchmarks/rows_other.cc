#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <iterator>

#include "rows.h"

extern char** environ;

namespace bench {
namespace {

struct stat st;

int open_new(const std::string& path) { return must_fd(open(path.c_str(), O_CREAT | O_RDWR, 0644), path.c_str()); }

void lock(int fd, short type) {
  struct flock range = {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_len = 100;
  must(fcntl(fd, F_SETLK, &range), "fcntl");
}

void add_size_rows(Table& table, int fd, const char* path) {
  table.add("ftruncate", [=](long i) { must(ftruncate(fd, (i & 1) ? 4096 : 8192), "ftruncate"); });
  table.add("truncate", [=](long i) { must(truncate(path, (i & 1) ? 4096 : 8192), "truncate"); });
  table.add_windowed(
      "fallocate 4 KiB", 1000, [=](long i) { must(fallocate(fd, 0, i * 4096, 4096), "fallocate"); },
      [=](long) { must(ftruncate(fd, 0), "ftruncate"); }, [=](long) { must(ftruncate(fd, 8192), "ftruncate"); });
}

// Dependent loads over 8 MiB and arithmetic between them, as a path walk is made of: no kernel, no file system.
void add_yardstick(Table& table) {
  constexpr std::uint32_t kLines = (8 << 20) / 64;
  struct Line {
    std::uint32_t next;
    std::uint32_t words[15];
  };
  auto* lines = new Line[kLines]();
  const auto order = shuffled(kLines);
  for (std::uint32_t i = 0; i < kLines; i++) lines[order[i]].next = order[(i + 1) % kLines];
  auto* state = new std::uint64_t[2]{0, 1};
  table.add("yardstick", [lines, state](long) {
    for (int step = 0; step < 4; step++) {
      const Line& line = lines[state[0]];
      std::uint64_t hash = state[1];
      for (std::uint32_t word : line.words) hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
      state[1] = hash;
      state[0] = line.next;
    }
  });
}

// Code and data in the first caches, no kernel: calls through pointers, short strings hashed and compared, a structure stored and read
// again, locked instructions. A neighbour on the same core slows this down up to twice, and loads from memory hardly.
struct Found {
  std::uint64_t hash, length, words[16];
};
using Look = void (*)(const char* name, std::size_t length, Found& found);

template <std::uint64_t Seed>
[[gnu::noinline]] void look(const char* name, std::size_t length, Found& found) {
  found.hash = Seed, found.length = length;
  for (std::size_t i = 0; i < length; i++) found.hash = (found.hash ^ static_cast<unsigned char>(name[i])) * 0x100000001b3u;
  for (std::size_t i = 0; i < std::size(found.words); i++) found.words[i] = found.hash + i;
  found.length += memcmp(name, "a name that is known", length) == 0 ? found.words[found.hash & 15] & 1 : 1;
}

void add_warm_yardstick(Table& table) {
  static Look looks[] = {look<1>, look<2>, look<3>, look<4>};
  static std::atomic<std::uint64_t> held, seen;
  table.add("warm yardstick", [](long i) {
    for (const Look& one : looks) {
      Found found;
      held.fetch_add(1, std::memory_order_acquire);
      one("a name that is known" + (i & 3), static_cast<std::size_t>(8 + (i & 7)), found);
      seen.store(seen.load(std::memory_order_relaxed) + found.length, std::memory_order_relaxed);
      held.fetch_sub(1, std::memory_order_release);
    }
  });
}

} // namespace

void add_file_rows(Table& table, const Places& places) {
  static const std::string path = places.dir + "/file", deep = places.dir + "/1/2/3/4/5", link = places.dir + "/symlink";
  for (const char* level : {"/1", "/1/2", "/1/2/3", "/1/2/3/4"}) must(mkdir((places.dir + level).c_str(), 0755), "mkdir");
  close(open_new(deep));
  must(symlink("file", link.c_str()), "symlink");
  const int fd = open_new(path);
  table.add("stat, depth 5", [](long) { must(stat(deep.c_str(), &st), "stat"); });
  table.add("readlink", [](long) {
    char target[64];
    must(readlink(link.c_str(), target, sizeof target), "readlink");
  });
  table.add("fstat", [=](long) { must(fstat(fd, &st), "fstat"); });
  table.add("lseek", [=](long i) { must(lseek(fd, i & 7, SEEK_SET), "lseek"); });
  table.add("chmod", [](long i) { must(chmod(path.c_str(), (i & 1) ? 0600 : 0644), "chmod"); });
  table.add("fsync", [=](long) { must(fsync(fd), "fsync"); });
  table.add("lock+unlock, fcntl", [=](long) { lock(fd, F_WRLCK), lock(fd, F_UNLCK); });
  table.add("lock+unlock, flock", [=](long) { must(flock(fd, LOCK_EX), "flock"), must(flock(fd, LOCK_UN), "flock"); });
  add_size_rows(table, fd, path.c_str());
}

void add_control_rows(Table& table, const Places& places) {
  static volatile long sink [[maybe_unused]];
  table.add("empty loop", [](long i) { sink = i; });
  table.add("trivial system call", [](long) { syscall(SYS_getppid); });
  const int fd = open_new(places.dir + "/control");
  table.add("empty call", [=](long) { must(fcntl(fd, F_GETFD), "fcntl"); });
  add_yardstick(table);
  add_warm_yardstick(table);
}

void add_kernel_rows(Table& table, const Places& places) {
  static const std::string path = places.kernel_dir + "/kernel-file";
  static std::vector<char> buffer(4096, 'k');
  const int fd = open_new(path);
  must(pwrite(fd, buffer.data(), buffer.size(), 0), "kernel file");
  table.add("kernel file: pread 4 KiB", [=](long) { must(pread(fd, buffer.data(), buffer.size(), 0), "pread"); });
  table.add("kernel file: stat", [](long) { must(stat(path.c_str(), &st), "stat"); });
  table.add("kernel file: open+close", [](long) { close(must_fd(open(path.c_str(), O_RDONLY), "open")); });
  // A child that inherits what this process was started with.
  table.add("/bin/true", [](long) {
    static char program[] = "/bin/true";
    char* arguments[] = {program, nullptr};
    pid_t pid;
    int status;
    if (posix_spawn(&pid, program, nullptr, nullptr, arguments, environ) != 0) die("spawn");
    must(waitpid(pid, &status, 0), "wait");
    if (status != 0) die("/bin/true failed");
  });
}

} // namespace bench
