// crash_explorer [--quick | --long] [--scenario TEXT] [--seed N] [--keep FILE] [--pairs | --triples N | --interleaved [--sample N]
// [--every]] [--shard I/N]: explores the crash states of every single operation, of sequences, of two at once; exit 1 if one is
// wrong. `--shard 1/2` and `--shard 2/2` share the work of one run (triples excepted: take two seeds).

#include <malloc.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "crash/interleave.h"
#include "crash/planted.h"
#include "crash/scenario.h"

namespace pmemfile::crash {
namespace {

struct Arguments {
  Limits limits;
  std::string only, keep;
  bool list = false, planted = false, pairs = false, interleaved = false, every = false, thorough = false;
  u64 triples = 0, sample = 0;
  Shard shard;
};

// A directory in /dev/shm for pools and their shared segments, gone at the end.
struct Scratch {
  std::string dir;
  Scratch() {
    char name[] = "/dev/shm/pmemfile-crash-XXXXXX";
    dir = mkdtemp(name) != nullptr ? name : "/dev/shm";
  }
  ~Scratch() {
    std::error_code ignored;
    if (dir != "/dev/shm") std::filesystem::remove_all(dir, ignored);
  }
};

bool explore(const Scenario& scenario, const Arguments& arguments, const std::string& dir, Counts& total) {
  Played played = play(scenario, dir);
  Explorer explorer(dir, arguments.limits);
  auto violation = explorer.explore(played.run, judge_of(played, scenario.between));
  const Counts& counts = explorer.counts();
  total += counts;
  std::printf("%-36s points %3llu (all states at %3llu), states %6llu, distinct %6llu, in recovery %5llu: %s\n",
              scenario.name.c_str(), static_cast<unsigned long long>(counts.crash_points),
              static_cast<unsigned long long>(counts.exhaustive_points), static_cast<unsigned long long>(counts.states),
              static_cast<unsigned long long>(counts.distinct), static_cast<unsigned long long>(counts.nested_states),
              violation ? "WRONG" : played.trees.front() == played.trees.back() ? "ok (nothing visible changes)" : "ok");
  if (!violation) return true;
  std::printf("  at event %zu of %zu (operation starts at %zu): %s\n", violation->event, played.run.recording.events.size(),
              played.run.first, violation->what.c_str());
  if (!arguments.keep.empty())
    std::ofstream(arguments.keep, std::ios::binary)
        .write(reinterpret_cast<const char*>(violation->image.data()), static_cast<std::streamsize>(violation->image.size()));
  return false;
}

// What a scenario is about, by its name.
std::string class_of(const Scenario& scenario) {
  static constexpr struct {
    const char *part, *name;
  } kClasses[] = {{"open", "open files"},      {"tmpfile", "open files"}, {"fsync", "open files"}, {"role", "roles of blocks"},
                  {"reusing", "roles of blocks"}, {"unlink", "removing"},    {"rmdir", "removing"},   {"rename", "renaming"},
                  {"write", "contents"},       {"append", "contents"},    {"truncate", "contents"}, {"fallocate", "contents"},
                  {"punch", "contents"},       {"zero", "contents"},      {"chmod", "attributes"}, {"chown", "attributes"},
                  {"utimens", "attributes"},   {"xattr", "attributes"},   {"attach", "attaching"}};
  for (const auto& known : kClasses)
    if (scenario.name.find(known.part) != std::string::npos) return known.name;
  return "making names";
}

struct PairCounts {
  u64 possible = 0, impossible = 0, wrong = 0;
  Counts counts;

  void print(const std::string& name) const {
    std::printf("%s: pairs %llu (impossible %llu), points %llu, states %llu, distinct %llu, in recovery %llu, wrong pairs %llu\n",
                name.c_str(), static_cast<unsigned long long>(possible), static_cast<unsigned long long>(impossible),
                static_cast<unsigned long long>(counts.crash_points), static_cast<unsigned long long>(counts.states),
                static_cast<unsigned long long>(counts.distinct), static_cast<unsigned long long>(counts.nested_states),
                static_cast<unsigned long long>(wrong));
  }
};

void append(Scenario& to, const Scenario& next) {
  to.name += " + " + next.name;
  to.operations.insert(to.operations.end(), next.operations.begin(), next.operations.end());
  if (next.between == Between::kMixed && to.between != Between::kMixedOrPrefix) to.between = Between::kMixed;
  if (next.between == Between::kOldOrNewThere) to.between = Between::kMixedOrPrefix;
  to.pool_bytes = std::max(to.pool_bytes, next.pool_bytes); // somebody stopped holds one line of the bitmap: there has to be another
}

void explore_pair(const Scenario& first, const Scenario& second, const Arguments& arguments, const std::string& dir,
                  std::initializer_list<PairCounts*> sums) {
  Scenario pair = first;
  append(pair, second);
  Counts counts;
  bool right = true, possible = true;
  try {
    right = explore(pair, arguments, dir, counts);
  } catch (const Impossible&) {
    possible = false;
  }
  for (PairCounts* sum : sums) {
    ++(possible ? sum->possible : sum->impossible);
    sum->wrong += !right;
    sum->counts += counts;
  }
  std::fflush(stdout);
}

// Every operation behind every other one, from the first one's starting state, where both are possible.
int explore_pairs(const Arguments& arguments, const std::string& dir) {
  PairCounts total;
  std::map<std::string, PairCounts> of_class;
  Shard shard = arguments.shard;
  for (const Scenario& first : scenarios())
    for (const Scenario& second : scenarios()) {
      if (!arguments.only.empty() && (first.name + " + " + second.name).find(arguments.only) == std::string::npos) continue;
      if (shard.next()) explore_pair(first, second, arguments, dir, {&total, &of_class[class_of(first) + " + " + class_of(second)]});
    }
  for (const auto& [name, sum] : of_class) sum.print(name);
  total.print("all");
  return total.wrong != 0;
}

// Sequences of three by chance, from the first one's starting state.
int explore_triples(const Arguments& arguments, const std::string& dir) {
  Counts total;
  int wrong = 0;
  std::mt19937_64 random(arguments.limits.seed);
  const std::vector<Scenario>& all = scenarios();
  u64 possible = 0, tried = 0;
  for (; possible < arguments.triples && tried < 100 * arguments.triples; ++tried) {
    Scenario triple = all[random() % all.size()];
    for (int i = 0; i < 2; ++i) append(triple, all[random() % all.size()]);
    try {
      if (!explore(triple, arguments, dir, total)) ++wrong;
      ++possible;
    } catch (const Impossible&) {
    }
    std::fflush(stdout);
  }
  std::printf("all: triples %llu of %llu, points %llu, states %llu, distinct %llu, in recovery %llu, wrong triples %d\n",
              static_cast<unsigned long long>(possible), static_cast<unsigned long long>(tried),
              static_cast<unsigned long long>(total.crash_points), static_cast<unsigned long long>(total.states),
              static_cast<unsigned long long>(total.distinct), static_cast<unsigned long long>(total.nested_states), wrong);
  return wrong != 0;
}

int run(const Arguments& arguments) {
  Scratch scratch;
  if (arguments.planted) return find_planted_bugs(scratch.dir, arguments.limits);
  if (arguments.pairs) return explore_pairs(arguments, scratch.dir);
  if (!arguments.list) std::printf("seed %llu\n", static_cast<unsigned long long>(arguments.limits.seed));
  if (arguments.triples != 0) return explore_triples(arguments, scratch.dir);
  if (arguments.interleaved && !arguments.list && !arguments.thorough) {
    // There are many of them: fewer states of each.
    Limits fewer = arguments.limits;
    fewer.exhaustive = 32, fewer.sampled = 16, fewer.each_line = false, fewer.nested = 1;
    return explore_interleaved({fewer, arguments.only, arguments.keep, arguments.sample, arguments.every, false, arguments.shard},
                               scratch.dir) != 0;
  }
  if (arguments.interleaved)
    return explore_interleaved({arguments.limits, arguments.only, arguments.keep, arguments.sample, arguments.every, arguments.list,
                                arguments.shard}, scratch.dir) != 0;
  Counts total;
  int wrong = 0;
  Shard shard = arguments.shard;
  for (const Scenario& scenario : scenarios()) {
    if (!arguments.only.empty() && scenario.name.find(arguments.only) == std::string::npos) continue;
    if (!shard.next()) continue;
    if (arguments.list) std::printf("%s\n", scenario.name.c_str());
    else if (!explore(scenario, arguments, scratch.dir, total)) ++wrong;
    std::fflush(stdout);
  }
  if (!arguments.list)
    std::printf("all: points %llu, states %llu, distinct %llu, in recovery %llu, wrong scenarios %d\n",
                static_cast<unsigned long long>(total.crash_points), static_cast<unsigned long long>(total.states),
                static_cast<unsigned long long>(total.distinct), static_cast<unsigned long long>(total.nested_states), wrong);
  return wrong != 0;
}

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    std::string option = argv[i];
    auto value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : ""; };
    if (option == "--quick") arguments.limits.exhaustive = 64, arguments.limits.sampled = 24;
    else if (option == "--long") arguments.limits.exhaustive = 4096, arguments.limits.sampled = 4096, arguments.limits.nested = 16, arguments.thorough = true;
    else if (option == "--scenario") arguments.only = value();
    else if (option == "--seed") arguments.limits.seed = std::strtoull(value().c_str(), nullptr, 0);
    else if (option == "--keep") arguments.keep = value();
    else if (option == "--list") arguments.list = true;
    else if (option == "--planted") arguments.planted = true;
    else if (option == "--pairs") arguments.pairs = true;
    else if (option == "--interleaved") arguments.interleaved = true;
    else if (option == "--every") arguments.every = true;
    else if (option == "--triples") arguments.triples = std::strtoull(value().c_str(), nullptr, 0);
    else if (option == "--sample") arguments.sample = std::strtoull(value().c_str(), nullptr, 0);
    else if (option == "--shard") {
      if (std::sscanf(value().c_str(), "%llu/%llu", &arguments.shard.index, &arguments.shard.count) != 2 || !arguments.shard.valid())
        return false;
    }
    else return false;
  }
  return true;
}

} // namespace
} // namespace pmemfile::crash

int main(int argc, char** argv) {
  pmemfile::crash::Arguments arguments;
  if (!pmemfile::crash::parse(argc, argv, arguments)) {
    std::fprintf(stderr, "crash_explorer [--quick | --long] [--scenario TEXT] [--seed N] [--keep FILE] [--list] [--planted]\n"
                         "               [--pairs | --triples N | --interleaved [--sample N] [--every]] [--shard I/N]\n");
    return 2;
  }
  // Some copies of the pool are made for each state. Where page faults are dear, giving their memory back each time takes longer than everything else.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  return pmemfile::crash::run(arguments);
}
