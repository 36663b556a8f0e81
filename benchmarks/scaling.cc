// How work of several threads or processes at once scales: the cases of FxMark, by its names, and a memcpy loop.
//
//   pmemfile-bench-scaling DIR
//
// Commands on standard input, one a line, each answered by one line:
//   CASE threads|processes RUNNERS MILLISECONDS        operations a second, of all runners together
//
// First letter: data or metadata; second: read or write; third: what; last: low sharing (each runner its own), medium (one
// file or directory, parts of their own), high (the same thing).
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "measure.h"

namespace {

using bench::die;
using bench::must;
using bench::must_fd;

constexpr std::size_t kBlock = 4096;
constexpr long kBlocks = 1024;        // of a runner's part of a file
constexpr long kFiles = 512;          // of a directory
constexpr int kMaxRunners = 16;

std::string dir;

// In memory that runners of both kinds share.
struct Shared {
  std::atomic<int> ready, go, stop;
  struct alignas(128) Count {
    std::atomic<long> value;
  } counts[kMaxRunners];
};
Shared* shared;

// What a runner works with. `own` and `common` are directories five levels deep.
struct Runner {
  int number, runners;
  int fd = -1;
  char* block;
  std::string own, common, path;
  std::vector<std::string> names;
};

struct Case {
  const char* name;
  void (*prepare)(Runner&);
  void (*step)(Runner&, long i);
  long warm_up = kBlocks; // steps that are not counted: first touches and new processes' caches are measured elsewhere
};

std::string in(const std::string& directory, const char* prefix, long number) { return directory + "/" + prefix + std::to_string(number); }

std::string make_deep(const std::string& name) {
  std::string path = dir + "/" + name;
  for (const char* level : {"", "/1", "/2", "/3", "/4"}) {
    path += level;
    if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) die("mkdir");
  }
  return path;
}
void make_file(const std::string& path, long blocks) {
  std::vector<char> block(kBlock, 'x');
  const int fd = must_fd(open(path.c_str(), O_CREAT | O_WRONLY, 0644), "make");
  for (long i = 0; i < blocks; i++) must(pwrite(fd, block.data(), kBlock, static_cast<off_t>(i) * static_cast<off_t>(kBlock)), "pwrite");
  close(fd);
}

// The random block of a step, spread so that neighbours differ.
long spread(long i, long of) { return static_cast<long>(static_cast<unsigned long>(i) * 2654435761u % static_cast<unsigned long>(of)); }
off_t offset(long block) { return static_cast<off_t>(block) * static_cast<off_t>(kBlock); }

void open_own(Runner& r) {
  make_file(in(r.own, "data", 0), kBlocks);
  r.fd = must_fd(open(in(r.own, "data", 0).c_str(), O_RDWR), "open");
}
void open_common(Runner& r) { r.fd = must_fd(open(in(r.common, "data", 0).c_str(), O_RDWR), "open"); }
void open_empty(Runner& r) {
  r.path = in(r.own, "append", 0);
  r.fd = must_fd(open(r.path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_APPEND, 0644), "open");
}
void fill(Runner& r, const std::string& directory) {
  for (long i = 0; i < kFiles; i++) {
    r.names.push_back(in(directory, ("f" + std::to_string(r.number) + "-").c_str(), i));
    make_file(r.names.back(), 0);
  }
}
// The directory is no longer for being shared by more: an operation lists all of it.
void fill_part(Runner& r) {
  for (long i = r.number; i < kFiles; i += r.runners) make_file(in(r.common, "f", i), 0);
}
void fill_own(Runner& r) { fill(r, r.own); }
void fill_common(Runner& r) { fill(r, r.common); }
const char* name_of(Runner& r, long i) { return r.names[static_cast<std::size_t>(spread(i, kFiles))].c_str(); }

void read_block(Runner& r, long block) { must(pread(r.fd, r.block, kBlock, offset(block)), "pread"); }
void write_block(Runner& r, long block) { must(pwrite(r.fd, r.block, kBlock, offset(block)), "pwrite"); }
void open_close(const char* path) { close(must_fd(open(path, O_RDONLY), "open")); }
void list(const std::string& directory) {
  DIR* stream = opendir(directory.c_str());
  if (stream == nullptr) die("opendir");
  while (readdir(stream) != nullptr) {
  }
  closedir(stream);
}
// Creates kFiles names, then removes them; each call counts as one operation.
void make_and_remove(Runner& r, const std::string& directory, long i) {
  char path[512];
  snprintf(path, sizeof path, "%s/c%d-%ld", directory.c_str(), r.number, i % kFiles);
  if (i / kFiles % 2 == 0)
    close(must_fd(open(path, O_CREAT | O_EXCL | O_WRONLY, 0644), "create"));
  else
    must(unlink(path), "unlink");
}
void rename_there_and_back(Runner& r, const std::string& other, long i) {
  const std::string& name = r.names[static_cast<std::size_t>(i / 2 % kFiles)];
  char path[512];
  snprintf(path, sizeof path, "%s/r%d", other.c_str(), r.number);
  must(i % 2 == 0 ? rename(name.c_str(), path) : rename(path, name.c_str()), "rename");
}

const Case kCases[] = {
    {"memcpy", [](Runner& r) { r.names.assign(1, std::string(static_cast<std::size_t>(kBlocks) * kBlock, 'm')); },
     [](Runner& r, long i) {
       memcpy(r.block, r.names[0].data() + offset(spread(i, kBlocks)), kBlock);
       __asm__ volatile("" ::: "memory");
     }},
    {"DRBL", open_own, [](Runner& r, long i) { read_block(r, spread(i, kBlocks)); }},
    {"DRBM", open_common, [](Runner& r, long i) { read_block(r, r.number * kBlocks + spread(i, kBlocks)); }},
    {"DRBH", open_common, [](Runner& r, long) { read_block(r, 0); }},
    {"DWOL", open_own, [](Runner& r, long i) { write_block(r, spread(i, kBlocks)); }},
    {"DWOM", open_common, [](Runner& r, long i) { write_block(r, r.number * kBlocks + spread(i, kBlocks)); }},
    {"DWOH", open_common, [](Runner& r, long) { write_block(r, 0); }},
    {"DWAL", open_empty,
     [](Runner& r, long i) {
       if (i % kBlocks == 0) must(ftruncate(r.fd, 0), "ftruncate");
       must(write(r.fd, r.block, kBlock), "append");
     }},
    {"DWTL", open_own, [](Runner& r, long i) { must(ftruncate(r.fd, offset(kBlocks - i % kBlocks)), "ftruncate"); }},
    {"DWSL", open_own,
     [](Runner& r, long i) {
       write_block(r, spread(i, kBlocks));
       must(fsync(r.fd), "fsync");
     }},
    {"MRPL", fill_own, [](Runner& r, long i) { open_close(name_of(r, i)); }},
    {"MRPM", fill_common, [](Runner& r, long i) { open_close(name_of(r, i)); }},
    {"MRPH", [](Runner& r) { r.path = in(r.common, "data", 0); }, [](Runner& r, long) { open_close(r.path.c_str()); }},
    {"MRDL", fill_own, [](Runner& r, long) { list(r.own); }, 2},
    {"MRDM", fill_part, [](Runner& r, long) { list(r.common); }, 2},
    {"MWCL", [](Runner&) {}, [](Runner& r, long i) { make_and_remove(r, r.own, i); }},
    {"MWCM", [](Runner&) {}, [](Runner& r, long i) { make_and_remove(r, r.common, i); }},
    {"MWRL", fill_own, [](Runner& r, long i) { rename_there_and_back(r, r.own, i); }},
    {"MWRM", fill_own, [](Runner& r, long i) { rename_there_and_back(r, r.common, i); }},
};

struct Job {
  const Case* test;
  int number, runners;
  std::string root;
};

void work(const Job& job) {
  Runner r;
  r.number = job.number;
  r.runners = job.runners;
  r.block = static_cast<char*>(aligned_alloc(kBlock, kBlock));
  memset(r.block, 'r', kBlock);
  r.common = make_deep(job.root + "-common");
  r.own = make_deep(job.root + "-own" + std::to_string(job.number));
  job.test->prepare(r);
  long step = 0;
  while (step < job.test->warm_up) job.test->step(r, step++);
  shared->ready++;
  while (shared->go == 0) usleep(100);
  const long first = step;
  while (shared->stop.load(std::memory_order_relaxed) == 0) job.test->step(r, step++);
  shared->counts[job.number].value = step - first;
  if (r.fd >= 0) close(r.fd);
  free(r.block);
}
void* work_in_thread(void* job) {
  work(*static_cast<Job*>(job));
  return nullptr;
}

// Waits until all have furnished their part, lets them run, and tells what they did in a second.
double run_all(int runners, long milliseconds) {
  while (shared->ready != runners) usleep(100);
  const auto start = bench::now_ns();
  shared->go = 1;
  usleep(static_cast<useconds_t>(milliseconds * 1000));
  shared->stop = 1;
  return static_cast<double>(bench::now_ns() - start) / 1e9;
}

double measure(const Case& test, bool threads, int runners, long milliseconds) {
  static int serial;
  shared->ready = 0, shared->go = 0, shared->stop = 0;
  std::vector<Job> jobs;
  const std::string root = std::string(test.name) + "-" + std::to_string(serial++);
  for (int i = 0; i < runners; i++) jobs.push_back({&test, i, runners, root});
  if (strcmp(test.name, "memcpy") != 0) make_file(in(make_deep(root + "-common"), "data", 0), test.name[0] == 'D' ? kBlocks * runners : 1);
  double seconds;
  if (threads) {
    std::vector<pthread_t> all(static_cast<std::size_t>(runners));
    for (int i = 0; i < runners; i++)
      if (pthread_create(&all[static_cast<std::size_t>(i)], nullptr, work_in_thread, &jobs[static_cast<std::size_t>(i)]) != 0) die("thread");
    seconds = run_all(runners, milliseconds);
    for (pthread_t thread : all) pthread_join(thread, nullptr);
  } else {
    for (int i = 0; i < runners; i++) {
      if (must(fork(), "fork") == 0) {
        work(jobs[static_cast<std::size_t>(i)]);
        _exit(0);
      }
    }
    seconds = run_all(runners, milliseconds);
    int status;
    while (wait(&status) > 0)
      if (status != 0) die("a runner");
  }
  double total = 0;
  for (int i = 0; i < runners; i++) total += static_cast<double>(shared->counts[i].value);
  if (system(("rm -rf " + dir + "/" + root + "-*").c_str()) != 0) die("rm");
  return total / seconds;
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DIR\n", argv[0]);
    return 2;
  }
  dir = argv[1];
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  shared = new (memory) Shared();
  char line[256], name[32], kind[32];
  int runners;
  long milliseconds;
  while (fgets(line, sizeof line, stdin) != nullptr) {
    if (sscanf(line, "%31s %31s %d %ld", name, kind, &runners, &milliseconds) != 4 || runners < 1 || runners > kMaxRunners) return 2;
    const Case* test = nullptr;
    for (const Case& candidate : kCases)
      if (strcmp(candidate.name, name) == 0) test = &candidate;
    if (test == nullptr) return 2;
    printf("%.1f\n", measure(*test, strcmp(kind, "threads") == 0, runners, milliseconds));
    fflush(stdout);
  }
  return 0;
}
