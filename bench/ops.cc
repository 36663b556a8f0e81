// The operations of the benchmark, by plain libc calls in an ordinary process.
// The same binary runs in a pool (preloaded) and on tmpfs; it does not know.
//
//   ops DIR KERNEL_DIR SCALE    DIR: an empty directory to work in
//                               KERNEL_DIR: a directory that never is in a pool
//                               SCALE: 1, or less for a shorter run
//
// Prints one JSON object a line, one for each row.

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "measure.h"

extern char** environ;

namespace {

using bench::measure;
using bench::Result;

constexpr std::size_t kBlock = 4096;
constexpr int kEntries = 10'000;  // of the directory that names are looked up in

std::string dir, kernel_dir;
double scale = 1;

long scaled(long count) { return std::max(100L, static_cast<long>(static_cast<double>(count) * scale)); }

[[noreturn]] void die(const char* what) {
  perror(what);
  exit(1);
}
long must(long value, const char* what) {
  if (value < 0) die(what);
  return value;
}

void print(const Result& r) {
  printf("{\"row\": \"%s\", \"mean\": %.1f, \"p50\": %.1f, \"p99\": %.1f, \"p9999\": %.1f, \"max\": %.1f, \"count\": %ld}\n",
         r.name.c_str(), r.mean_ns, r.p50_ns, r.p99_ns, r.p9999_ns, r.max_ns, r.count);
  fflush(stdout);
}

// Names of a run, made before the clock starts.
std::vector<std::string> names(const std::string& prefix, long count) {
  std::vector<std::string> all;
  for (long i = 0; i < count; i++) all.push_back(prefix + std::to_string(i));
  return all;
}

// A pseudo-random order that is the same in every process.
std::vector<std::uint32_t> shuffled(std::uint32_t count) {
  std::vector<std::uint32_t> order(count);
  for (std::uint32_t i = 0; i < count; i++) order[i] = i;
  std::uint64_t state = 42;
  for (std::uint32_t i = count - 1; i > 0; i--) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(order[i], order[static_cast<std::uint32_t>(state >> 33) % (i + 1)]);
  }
  return order;
}

void control_rows() {
  volatile long sink = 0;
  print(measure("empty loop", scaled(400'000), [&](long i) { sink = i; }));
}

// First, in a fresh process: no page of the medium has been touched by it.
void append_rows() {
  const std::string path = dir + "/append";
  const long count = scaled(4000);
  std::vector<char> block(kBlock, 'a');
  for (const char* row : {"append 4 KiB, first touch", "append 4 KiB"}) {
    const int fd = static_cast<int>(must(open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644), "append"));
    print(measure(row, count, [&](long) { must(write(fd, block.data(), kBlock), "append"); }));
    close(fd);
    must(unlink(path.c_str()), "unlink");
  }
  const int fd = static_cast<int>(must(open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644), "append"));
  print(measure("append 4 KiB + fsync", count, [&](long) {
    must(write(fd, block.data(), kBlock), "append");
    must(fsync(fd), "fsync");
  }));
  long length = 0;
  print(measure("ftruncate", scaled(20'000), [&](long i) {
    length = (i & 1) ? 4096 : 8192;
    must(ftruncate(fd, length), "ftruncate");
  }));
  close(fd);
  must(unlink(path.c_str()), "unlink");
}

void lookup_rows(const std::vector<std::string>& files, const std::vector<std::uint32_t>& order) {
  struct stat st;
  const long count = scaled(100'000);
  auto name = [&](long i) { return files[order[static_cast<std::size_t>(i) % order.size()]].c_str(); };
  print(measure("stat, depth 1", count, [&](long i) { must(stat(name(i), &st), "stat"); }));
  const std::string deep = dir + "/1/2/3/4/5";
  print(measure("stat, depth 5", count, [&](long) { must(stat(deep.c_str(), &st), "stat"); }));
  const auto missing = names(dir + "/big/missing", kEntries);
  print(measure("stat, missing name", count, [&](long i) {
    if (stat(missing[order[static_cast<std::size_t>(i) % order.size()]].c_str(), &st) == 0) die("missing");
  }));
  print(measure("access", count, [&](long i) { must(access(name(i), R_OK), "access"); }));
  print(measure("open+close", count, [&](long i) {
    close(static_cast<int>(must(open(name(i), O_RDONLY), "open")));
  }));
  const int fd = static_cast<int>(must(open(name(0), O_RDONLY), "open"));
  print(measure("fstat", count, [&](long) { must(fstat(fd, &st), "fstat"); }));
  print(measure("lseek", count, [&](long i) { must(lseek(fd, i & 7, SEEK_SET), "lseek"); }));
  close(fd);
}

void readdir_row() {
  const std::string big = dir + "/big";
  long entries = 0;
  auto pass = [&](long) {
    DIR* d = opendir(big.c_str());
    if (d == nullptr) die("opendir");
    entries = 0;
    while (readdir(d) != nullptr) entries++;
    closedir(d);
  };
  pass(0);
  print(measure("readdir, per entry", std::max(5L, scaled(1000) / 50), pass, static_cast<double>(entries)));
}

// In a directory that has kEntries already.
void change_rows() {
  const long count = scaled(5000);
  const auto from = names(dir + "/big/new", 2 * count);
  const auto to = names(dir + "/big/other", 2 * count);
  auto at = [](const std::vector<std::string>& all, long i) { return all[static_cast<std::size_t>(i)].c_str(); };
  print(measure("create+close", count, [&](long i) {
    close(static_cast<int>(must(open(at(from, i), O_CREAT | O_EXCL | O_WRONLY, 0644), "create")));
  }));
  print(measure("rename", count, [&](long i) { must(rename(at(from, i), at(to, i)), "rename"); }));
  print(measure("link", count, [&](long i) { must(link(at(to, i), at(from, i)), "link"); }));
  for (const auto& name : from) must(unlink(name.c_str()), "unlink");
  print(measure("unlink", count, [&](long i) { must(unlink(at(to, i)), "unlink"); }));
  print(measure("symlink", count, [&](long i) { must(symlink("target", at(from, i)), "symlink"); }));
  for (const auto& name : from) must(unlink(name.c_str()), "unlink");
  print(measure("mkdir", count, [&](long i) { must(mkdir(at(from, i), 0755), "mkdir"); }));
  print(measure("rmdir", count, [&](long i) { must(rmdir(at(from, i)), "rmdir"); }));
}

void data_rows() {
  const std::size_t file_bytes = static_cast<std::size_t>(scale < 1 ? 64 : 256) << 20;
  const auto blocks = static_cast<std::uint32_t>(file_bytes / kBlock);
  const std::string path = dir + "/data";
  const int fd = static_cast<int>(must(open(path.c_str(), O_CREAT | O_RDWR, 0644), "data"));
  std::vector<char> buffer(1 << 20, 'd');
  for (std::size_t at = 0; at < file_bytes; at += buffer.size())
    must(write(fd, buffer.data(), buffer.size()), "write");
  // The limit: the same copies between the same buffer and plain memory.
  char* memory = static_cast<char*>(mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE,
                                         MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
  if (memory == MAP_FAILED) die("mmap");
  memset(memory, 'm', file_bytes);
  const auto order = shuffled(blocks);
  auto sequential = [&](long i, std::size_t size) { return static_cast<off_t>((static_cast<std::size_t>(i) * size) % file_bytes); };
  auto random = [&](long i, std::size_t) { return static_cast<off_t>(order[static_cast<std::size_t>(i) % blocks]) * static_cast<off_t>(kBlock); };

  auto rows = [&](const std::string& what, std::size_t size, long count, auto place) {
    for (long i = 0; i < std::min<long>(blocks, 4096); i++) must(pread(fd, buffer.data(), size, place(i, size)), "pread");
    print(measure("pread " + what, count, [&](long i) { must(pread(fd, buffer.data(), size, place(i, size)), "pread"); }));
    print(measure("memcpy from, " + what, count, [&](long i) { memcpy(buffer.data(), memory + place(i, size), size); __asm__ volatile("" ::: "memory"); }));
    print(measure("pwrite " + what, count, [&](long i) { must(pwrite(fd, buffer.data(), size, place(i, size)), "pwrite"); }));
    print(measure("memcpy to, " + what, count, [&](long i) { memcpy(memory + place(i, size), buffer.data(), size); __asm__ volatile("" ::: "memory"); }));
  };
  rows("4 KiB, sequential", kBlock, scaled(60'000), sequential);
  rows("4 KiB, random", kBlock, scaled(60'000), random);
  rows("64 B, sequential", 64, scaled(100'000), sequential);
  rows("1 MiB, sequential", 1 << 20, scaled(400), sequential);
  munmap(memory, file_bytes);
  close(fd);
  must(unlink(path.c_str()), "unlink");
}

// What has nothing to do with a pool must cost what it costs without one.
void kernel_rows() {
  const std::string path = kernel_dir + "/kernel-file";
  const int fd = static_cast<int>(must(open(path.c_str(), O_CREAT | O_RDWR, 0644), "kernel file"));
  std::vector<char> buffer(kBlock, 'k');
  must(pwrite(fd, buffer.data(), kBlock, 0), "kernel file");
  const long count = scaled(60'000);
  struct stat st;
  print(measure("kernel file: pread 4 KiB", count, [&](long) { must(pread(fd, buffer.data(), kBlock, 0), "pread"); }));
  print(measure("kernel file: stat", count, [&](long) { must(stat(path.c_str(), &st), "stat"); }));
  print(measure("kernel file: open+close", count, [&](long) {
    close(static_cast<int>(must(open(path.c_str(), O_RDONLY), "open")));
  }));
  close(fd);
}

// A child that inherits what this process was started with.
void start_row() {
  char program[] = "/bin/true";
  char* arguments[] = {program, nullptr};
  print(measure("/bin/true", scaled(200), [&](long) {
    pid_t pid;
    int status;
    if (posix_spawn(&pid, program, nullptr, nullptr, arguments, environ) != 0) die("spawn");
    must(waitpid(pid, &status, 0), "wait");
    if (status != 0) die("/bin/true failed");
  }));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "ops DIR KERNEL_DIR SCALE\n");
    return 2;
  }
  dir = argv[1];
  kernel_dir = argv[2];
  scale = atof(argv[3]);
  bench::ns_per_tick();

  append_rows();
  must(mkdir((dir + "/big").c_str(), 0755), "mkdir");
  const auto files = names(dir + "/big/file", kEntries);
  for (const auto& file : files) close(static_cast<int>(must(creat(file.c_str(), 0644), "creat")));
  std::string deep = dir;
  for (const char* level : {"/1", "/2", "/3", "/4"}) must(mkdir((deep += level).c_str(), 0755), "mkdir");
  close(static_cast<int>(must(creat((deep + "/5").c_str(), 0644), "creat")));

  control_rows();
  lookup_rows(files, shuffled(kEntries));
  readdir_row();
  change_rows();
  data_rows();
  kernel_rows();
  start_row();
  return 0;
}
