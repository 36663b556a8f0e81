// How many system calls a libc call of a preloaded program costs in steady state.
//
// cost_calls LIBPMEMFILE MKFS [--print]: runs itself in a fresh pool under ptrace. The child marks each operation with
// system calls that do not exist, made by an instruction of its own; what stops between two marks is counted.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr int kTimes = 48; // of each operation, after a few that warm up
constexpr int kWarmUp = 4;
constexpr unsigned long kMark = 900'000; // + row: an operation begins; kMarkEnd: it ended
constexpr unsigned long kMarkEnd = 990'000;

// Where the child works; set from its arguments.
std::string g_pool_dir, g_kernel_file;
int g_file = -1, g_kernel_fd = -1;
DIR* g_dir = nullptr;
char g_block[4096];

[[noreturn]] void die(const char* what) {
  perror(what);
  exit(2);
}
void must(long value, const char* what) {
  if (value < 0) die(what);
}
std::string name(const char* prefix, int i) { return g_pool_dir + "/d/" + prefix + std::to_string(i); }
std::string kernel_name(int i) { return g_kernel_file + std::to_string(i); }

struct Row {
  const char* name;
  unsigned typical; // system calls of most of the operations
  unsigned extra;   // at most, of all kTimes together, beyond that
  void (*run)(int i);
};

// The table. What is not 0 in the pool says why.
const Row kTable[] = {
    {"stat", 0, 0, [](int) { struct stat st; must(stat(name("file", 0).c_str(), &st), "stat"); }},
    {"stat, missing name", 0, 0, [](int) { struct stat st; if (stat(name("none", 0).c_str(), &st) == 0) die("stat"); }},
    {"access", 0, 0, [](int) { must(access(name("file", 0).c_str(), R_OK), "access"); }},
    {"fstat", 0, 0, [](int) { struct stat st; must(fstat(g_file, &st), "fstat"); }},
    {"lseek", 0, 0, [](int) { must(lseek(g_file, 0, SEEK_SET), "lseek"); }},
    {"open, close", 0, 0, [](int) { int fd = open(name("file", 0).c_str(), O_RDONLY); must(fd, "open"); close(fd); }},
    {"create, close", 0, 0, [](int i) { int fd = open(name("new", i).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644); must(fd, "creat"); close(fd); }},
    {"chmod", 0, 0, [](int i) { must(chmod(name("new", i).c_str(), 0600), "chmod"); }},
    {"rename", 0, 0, [](int i) { must(rename(name("new", i).c_str(), name("newer", i).c_str()), "rename"); }},
    {"link", 0, 0, [](int i) { must(link(name("newer", i).c_str(), name("new", i).c_str()), "link"); }},
    {"unlink", 0, 0, [](int i) { must(unlink(name("new", i).c_str()), "unlink"); }},
    {"unlink, last link", 0, 0, [](int i) { must(unlink(name("newer", i).c_str()), "unlink"); }},
    {"symlink", 0, 0, [](int i) { must(symlink("target", name("link", i).c_str()), "symlink"); }},
    {"readlink", 0, 0, [](int i) { must(readlink(name("link", i).c_str(), g_block, sizeof g_block), "readlink"); }},
    {"mkdir", 0, 0, [](int i) { must(mkdir(name("dir", i).c_str(), 0755), "mkdir"); }},
    {"rmdir", 0, 0, [](int i) { must(rmdir(name("dir", i).c_str()), "rmdir"); }},
    {"readdir", 0, 0, [](int) { rewinddir(g_dir); while (readdir(g_dir) != nullptr) {} }},
    {"pread 4 KiB", 0, 0, [](int) { must(pread(g_file, g_block, sizeof g_block, 0), "pread"); }},
    {"pread 64 B", 0, 0, [](int) { must(pread(g_file, g_block, 64, 0), "pread"); }},
    {"pwrite 4 KiB", 0, 0, [](int) { must(pwrite(g_file, g_block, sizeof g_block, 0), "pwrite"); }},
    // New blocks are mapped ahead, some at a time: that costs less than the faults it saves.
    {"append 4 KiB", 0, 8, [](int) { must(lseek(g_file, 0, SEEK_END), "lseek"); must(write(g_file, g_block, sizeof g_block), "write"); }},
    {"fsync", 0, 0, [](int) { must(fsync(g_file), "fsync"); }},
    {"ftruncate", 0, 0, [](int i) { must(ftruncate(g_file, 8192 + (i & 1) * 4096), "ftruncate"); }},
    // Nothing of ours: the call itself. What is known of directories holds for a moment, then each component is looked at once.
    {"kernel file: pread", 1, 0, [](int) { must(pread(g_kernel_fd, g_block, 64, 0), "pread"); }},
    {"kernel file: fstat", 1, 0, [](int) { struct stat st; must(fstat(g_kernel_fd, &st), "fstat"); }},
    {"kernel file: stat", 1, 60, [](int) { struct stat st; must(stat(g_kernel_file.c_str(), &st), "stat"); }},
    {"kernel file: open, close", 2, 60, [](int) { int fd = open(g_kernel_file.c_str(), O_RDONLY); must(fd, "open"); close(fd); }},
    {"kernel file: access", 1, 60, [](int) { must(access(g_kernel_file.c_str(), R_OK), "access"); }},
    {"kernel file: lstat", 1, 60, [](int) { struct stat st; must(lstat(g_kernel_file.c_str(), &st), "lstat"); }},
    {"kernel file: readlink of none", 1, 60, [](int) { if (readlink(g_kernel_file.c_str(), g_block, 64) >= 0) die("readlink"); }},
    // Nobody can have led such a name into a pool a moment ago: that is asked for in the same call.
    {"kernel file: stat, missing name", 1, 60, [](int i) { struct stat st; if (stat(kernel_name(i).c_str(), &st) == 0) die("stat"); }},
    {"kernel file: access, missing name", 1, 60, [](int i) { if (access(kernel_name(i).c_str(), F_OK) == 0) die("access"); }},
    {"kernel file: open, missing name", 1, 0, [](int i) { if (open(kernel_name(i).c_str(), O_RDONLY) >= 0) die("open"); }},
    {"kernel file: create, close", 2, 0, [](int i) { int fd = open(kernel_name(i).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600); must(fd, "open"); close(fd); }},
    // What changes something asks first whether there is a symlink on the way; a name is made or removed in the directory that was opened for it.
    {"kernel file: chmod", 2, 0, [](int i) { must(chmod(kernel_name(i).c_str(), 0640), "chmod"); }},
    {"kernel file: rename", 3, 0, [](int i) { must(rename(kernel_name(i).c_str(), (kernel_name(i) + "x").c_str()), "rename"); }},
    {"kernel file: unlink", 3, 0, [](int i) { must(unlink((kernel_name(i) + "x").c_str()), "unlink"); }},
    {"kernel file: mkdir", 3, 0, [](int i) { must(mkdir(kernel_name(i).c_str(), 0700), "mkdir"); }},
    {"kernel file: rmdir", 3, 0, [](int i) { must(rmdir(kernel_name(i).c_str()), "rmdir"); }},
    {"getppid", 1, 0, [](int) { (void)getppid(); }},
};
constexpr unsigned kRows = sizeof kTable / sizeof kTable[0];

void mark(unsigned long number) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "0"(number) : "rcx", "r11", "memory");
}

// The program under test: an ordinary one.
int work(const char* pool_dir, const char* kernel_file) {
  g_pool_dir = pool_dir;
  g_kernel_file = kernel_file;
  must(mkdir(name("", 0).substr(0, g_pool_dir.size() + 2).c_str(), 0755), "mkdir");
  g_kernel_fd = open(kernel_file, O_CREAT | O_RDWR, 0644);
  must(g_kernel_fd, kernel_file);
  must(write(g_kernel_fd, g_block, sizeof g_block), "write");
  g_file = open(name("file", 0).c_str(), O_CREAT | O_RDWR, 0644);
  must(g_file, "open");
  for (int i = 0; i < 16; i++) must(write(g_file, g_block, sizeof g_block), "write");
  g_dir = opendir((g_pool_dir + "/d").c_str());
  if (g_dir == nullptr) die("opendir");
  for (unsigned row = 0; row < kRows; row++) {
    // Operations on numbered names need those of the row before: so warming up is counted, and left out by the parent.
    for (int i = 0; i < kWarmUp + kTimes; i++) {
      mark(kMark + row);
      kTable[row].run(i);
      mark(kMarkEnd);
    }
  }
  return 0;
}

struct Seen {
  std::vector<unsigned> counts; // of each operation
  std::map<long, unsigned> calls;
};

// Runs the child to its end; what it did in each row.
std::vector<Seen> watch(pid_t child) {
  std::vector<Seen> seen(kRows);
  int status;
  must(waitpid(child, &status, 0), "waitpid");
  ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  long row = -1;
  int pass_on = 0;
  for (;;) {
    must(ptrace(PTRACE_SYSCALL, child, nullptr, pass_on), "ptrace");
    must(waitpid(child, &status, 0), "waitpid");
    pass_on = 0;
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      if (WSTOPSIG(status) != SIGTRAP) pass_on = WSTOPSIG(status);
      continue;
    }
    __ptrace_syscall_info info;
    must(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info), "ptrace");
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    if (info.entry.nr >= kMark && info.entry.nr < kMark + kRows) {
      row = static_cast<long>(info.entry.nr - kMark);
      seen[static_cast<std::size_t>(row)].counts.push_back(0);
    } else if (info.entry.nr == kMarkEnd) {
      row = -1;
    } else if (row >= 0) {
      Seen& here = seen[static_cast<std::size_t>(row)];
      ++here.counts.back();
      if (here.counts.size() > kWarmUp) ++here.calls[static_cast<long>(info.entry.nr)];
    }
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "the program under test ended with status %x\n", status);
    exit(2);
  }
  return seen;
}

pid_t start(char** argv, const std::string& dir) {
  pid_t child = fork();
  must(child, "fork");
  if (child != 0) return child;
  setenv("LD_PRELOAD", argv[1], 1);
  setenv("PMEMFILE_POOLS", (dir + "/mnt:" + dir + "/pool").c_str(), 1);
  setenv("PMEMFILE_SHM_DIR", dir.c_str(), 1);
  ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  execl("/proc/self/exe", argv[0], "--child", (dir + "/mnt").c_str(), (dir + "/kernel-file").c_str(), nullptr);
  die("exec");
}

bool judge(const Row& row, Seen& seen, bool print_only) {
  if (seen.counts.size() != kWarmUp + kTimes) {
    printf("%s: marks are missing\n", row.name);
    return false;
  }
  unsigned total = 0;
  for (auto& [number, times] : seen.calls) total += times;
  std::vector<unsigned> counts(seen.counts.begin() + kWarmUp, seen.counts.end());
  std::nth_element(counts.begin(), counts.begin() + kTimes / 2, counts.end());
  unsigned typical = counts[kTimes / 2];
  long extra = static_cast<long>(total) - static_cast<long>(typical) * kTimes;
  bool same = typical == row.typical && extra <= static_cast<long>(row.extra);
  if (same && !print_only) return true;
  printf("%s%s: %u system calls, %ld more in %d times (pinned: %u, at most %u):", same ? "" : "DIFFERS: ", row.name, typical, extra, kTimes,
         row.typical, row.extra);
  for (auto& [number, times] : seen.calls) printf(" number %ld %u times", number, times);
  printf("\n");
  return same;
}

} // namespace

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "--child") == 0) return work(argv[2], argv[3]);
  if (argc < 3) {
    fprintf(stderr, "cost_calls LIBPMEMFILE MKFS [--print]\n");
    return 2;
  }
  char dir[] = "/dev/shm/pmemfile-cost-XXXXXX";
  if (mkdtemp(dir) == nullptr) die("mkdtemp");
  std::string make = std::string(argv[2]) + " " + dir + "/pool 64M >/dev/null";
  if (system(make.c_str()) != 0) die("mkfs");
  std::vector<Seen> seen = watch(start(argv, dir));
  bool all = true;
  for (unsigned row = 0; row < kRows; row++) all &= judge(kTable[row], seen[row], argc > 3);
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
  return all ? 0 : 1;
}
