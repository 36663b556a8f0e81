// Runs a target without libFuzzer: every file of the folders given, then so many random inputs.
//
//   fuzz_attach [--runs N] [--seed S] [FOLDER or FILE...]
//
// The same inputs for the same seed; "random" is one that nobody has had yet. An input that crashes or takes longer than ten seconds of processor time is in
// crash-<target> in the working directory; libFuzzer's builds take it, too.

#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "fuzz/random.h"
#include "fuzz/record.h"

extern "C" int LLVMFuzzerTestOneInput(const pmemfile::u8* data, std::size_t size);

namespace {

using pmemfile::u8;

constexpr std::size_t kMostBytes = pmemfile::fuzz::kMostRecords * sizeof(pmemfile::fuzz::Record);
constexpr unsigned kSecondsOfOne = 10;

u8 g_input[kMostBytes];
std::size_t g_size;
std::string g_crash_file;

void save_and_die(int number) {
  int fd = open(g_crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0 && write(fd, g_input, g_size) == static_cast<ssize_t>(g_size)) {
    constexpr char kText[] = "fuzz: the input is saved in crash-*\n";
    (void)!write(2, kText, sizeof kText - 1);
  }
  signal(number, SIG_DFL);
  raise(number);
}

// Processor time, so that a busy machine is not taken for a hang. The clock is set for many at once: a system call costs as much as
// some inputs. One that does not end is the current one.
void run_one() {
  static unsigned count;
  itimerval clock{{0, 0}, {kSecondsOfOne, 0}};
  if (count++ % 64 == 0) setitimer(ITIMER_PROF, &clock, nullptr);
  LLVMFuzzerTestOneInput(g_input, g_size);
}

void run_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(g_input), sizeof g_input);
  g_size = static_cast<std::size_t>(file.gcount());
  run_one();
}

void run_path(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return run_file(path);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files) run_file(file);
}

unsigned long seed_of(const std::string& text) {
  return text == "random" ? std::random_device{}() : std::strtoul(text.c_str(), nullptr, 0);
}

} // namespace

int main(int argc, char** argv) {
  unsigned long runs = 0, seed = 1;
  g_crash_file = "crash-" + std::filesystem::path(argv[0]).filename().string();
  for (int number : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGPROF, SIGTRAP}) signal(number, save_and_die);
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--runs" && i + 1 < argc) runs = std::strtoul(argv[++i], nullptr, 0);
    else if (argument == "--seed" && i + 1 < argc) seed = seed_of(argv[++i]);
    else run_path(argument);
  }
  std::printf("seed %lu, %lu runs\n", seed, runs);
  std::fflush(stdout);
  pmemfile::fuzz::Random random(seed);
  for (unsigned long run = 0; run < runs; ++run) {
    pmemfile::fuzz::Record start;
    start.group = static_cast<u8>(random());
    std::memcpy(g_input, &start, sizeof start);
    g_size = sizeof start;
    for (unsigned steps = 1 + random() % 12; steps != 0; --steps)
      g_size = pmemfile::fuzz::mutate(g_input, g_size, sizeof g_input, static_cast<pmemfile::u32>(random()));
    run_one();
  }
  return 0;
}
