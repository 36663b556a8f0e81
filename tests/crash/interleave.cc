// Pairs of operations of two threads, each with a record slot of its own: B runs as a whole at every stage of A. What
// they do to each other in V shows as well: B may have to wait, and goes on when A has let go.
#include "crash/interleave.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <optional>

#include "crash/interleave_verbs.h"
#include "crash/turns.h"

namespace pmemfile::crash {
namespace {

// A pool in its starting state with the recorder on, and an actor for each side.
class Stage {
 public:
  Stage(const World& world, const Verb& first, const Verb& second, const std::string& dir) : verbs_{&first, &second} {
    std::string path = dir + "/recorded";
    make_pool(path, world.pool_bytes);
    run_.image = read_image(path);
    recorder_ = {record_store, record_flush, record_fence, this};
    vfs::AttachOptions options;
    options.recorder = &recorder_;
    options.force_flush = true;
    options.shm_dir = dir.c_str();
    vfs::AttachFailure failure{};
    auto attached = vfs::Pool::attach(path.c_str(), options, &failure);
    if (!attached.ok()) throw std::runtime_error(failure.text);
    pool_ = attached.value();
    for (int side : {0, 1}) actors_[side].emplace(*pool_);
    actors_[0]->in_slot(0, [&] {
      world.setup(*actors_[0]);
      for (int side : {0, 1})
        if (verbs_[side]->prepare) verbs_[side]->prepare(*actors_[side], static_cast<char>('a' + side));
    });
    run_.first = run_.recording.events.size();
  }
  ~Stage() {
    pool_->store().medium.recorder = nullptr; // what detaching would add is no part of the run
    pool_->detach();
  }

  Tree tree() { return visible_tree(*pool_); }
  // Only a failure that no program could get from these operations is wrong; others are without effect.
  void operate(int side) {
    try {
      verbs_[side]->operate(*actors_[side], static_cast<char>('a' + side));
    } catch (const Impossible& impossible) {
      if (impossible.error == kErrnoCorrupt || impossible.error == EIO || impossible.error >= 1000) wrong_ = impossible.what();
    }
    returns_[side] = run_.recording.events.size();
  }
  void operate_alone(int side) {
    actors_[side]->in_slot(static_cast<u32>(side), [&] { operate(side); });
  }

  // `live`: gets what is to be seen while the first stands still and the second has returned.
  void operate_both(u64 stop_before, std::optional<Tree>& live) {
    shm::Segment& v = pool_->store().segment;
    const shm::Waiter& waiter = pool_->store().waiter;
    for (u32 i = 1; i < v.header->slot_count; ++i) (void)shm::take_slot(v, i, waiter);
    Turns turns(v);
    turns_ = &turns;
    bool lent = false;
    auto lend = [&] { shm::release_slot(v, 1), lent = true; };
    turns.run({[&] { operate(0); }, [&] { operate(1); }}, stop_before, lend, [&] {
      if (returns_[0] == kNotYet) live = tree();
    });
    turns_ = nullptr;
    waited_ = turns.waits() != 0;
    for (u32 i = lent ? 2 : 1; i < v.header->slot_count; ++i) shm::release_slot(v, i);
  }

  static constexpr std::size_t kNotYet = ~std::size_t{0};
  Run run_;
  std::size_t returns_[2] = {kNotYet, kNotYet};
  std::string wrong_;
  bool waited_ = false;

 private:
  static Recording& recording_of(void* self) {
    auto& stage = *static_cast<Stage*>(self);
    if (stage.turns_ != nullptr) stage.turns_->before_event();
    return stage.run_.recording;
  }
  static void record_store(void* self, u64 offset, const void* bytes, u64 size, bool streaming) {
    recording_of(self).add_store(offset, bytes, size, streaming);
  }
  static void record_flush(void* self, u64 offset, u64 size) { recording_of(self).add(EventKind::kFlush, offset, size); }
  static void record_fence(void* self) { recording_of(self).add(EventKind::kFence); }

  const Verb* verbs_[2];
  vfs::Pool* pool_ = nullptr;
  pmem::Recorder recorder_{};
  std::optional<Actor> actors_[2];
  Turns* turns_ = nullptr;
};

// What may be there, by who counts: none, the first alone, the second alone, both in either order.
struct Allowed {
  Tree none, only[2], both[2];
};

class PairExplorer {
 public:
  PairExplorer(const World& world, const Verb& first, const Verb& second, const InterleaveOptions& options, const std::string& dir)
      : world_(world), first_(first), second_(second), options_(options), dir_(dir) {
    mixed_ = first.between == Between::kMixed || second.between == Between::kMixed;
  }

  // Empty: all is well.
  std::string explore() {
    std::vector<Event> events;
    for (int order : {0, 1}) {
      Stage stage(world_, first_, second_, dir_);
      if (order == 0) allowed_.none = stage.tree();
      stage.operate_alone(order);
      if (order == 0) events.assign(stage.run_.recording.events.begin() + static_cast<std::ptrdiff_t>(stage.run_.first),
                                    stage.run_.recording.events.end());
      allowed_.only[order] = stage.tree();
      stage.operate_alone(1 - order);
      allowed_.both[order] = stage.tree();
      if (!stage.wrong_.empty()) return "one after the other: " + stage.wrong_;
    }
    for (u64 stop : stops(events)) {
      std::string what = explore_stop(stop);
      if (!what.empty()) return "stopped at event " + std::to_string(stop) + " of " + std::to_string(events.size()) + ": " + what;
    }
    return {};
  }

  Counts counts;
  u64 interleavings = 0, waits = 0;

 private:
  // Where another state begins: the start, each side of a fence, the first, the middle and the last effect.
  std::vector<u64> stops(const std::vector<Event>& events) const {
    std::vector<u64> found;
    u64 last_fence = 0;
    for (u64 i = 0; i < events.size(); ++i) {
      bool fence = events[i].kind == EventKind::kFence, behind = i != 0 && events[i - 1].kind == EventKind::kFence;
      if (fence) last_fence = i;
      if (options_.every || i == 0 || fence || behind || i + 1 == events.size()) found.push_back(i);
    }
    u64 middle = (last_fence + events.size()) / 2;
    if (middle < events.size() && std::find(found.begin(), found.end(), middle) == found.end()) found.push_back(middle);
    return found;
  }

  std::string judge(bool first_done, bool second_done, const Tree& tree) const {
    std::vector<const Tree*> may{&allowed_.both[0], &allowed_.both[1]};
    if (!first_done && !second_done) may.push_back(&allowed_.none);
    if (!second_done) may.push_back(&allowed_.only[0]);
    if (!first_done) may.push_back(&allowed_.only[1]);
    for (const Tree* one : may)
      if (*one == tree) return {};
    if (mixed_ && is_mixture(tree, may)) return {};
    std::string text = std::string(first_done ? "first returned" : "first under way") + ", " +
                       (second_done ? "second returned" : "second under way");
    for (const Tree* one : may) text += "; not allowed: " + difference(*one, tree);
    return text;
  }

  std::string explore_stop(u64 stop) {
    Stage stage(world_, first_, second_, dir_);
    std::optional<Tree> live;
    stage.operate_both(stop, live);
    ++interleavings;
    if (stage.waited_) ++waits;
    if (!stage.wrong_.empty()) return stage.wrong_;
    if (live)
      if (std::string what = judge(false, true, *live); !what.empty()) return "seen by a reader: " + what;
    if (std::string what = judge(true, true, stage.tree()); !what.empty()) return "at the end: " + what;
    // What comes before the second one's first event is explored with the first one alone.
    Run& run = stage.run_;
    run.first += stop;
    run.returns = {std::min(stage.returns_[0], stage.returns_[1]), std::max(stage.returns_[0], stage.returns_[1])};
    if (options_.plant != nullptr) options_.plant(run, stage.returns_[1]);
    Explorer explorer(dir_, options_.limits);
    auto violation = explorer.explore(run, [&](std::size_t point, const Tree& tree) {
      return judge(stage.returns_[0] <= point, stage.returns_[1] <= point, tree);
    });
    counts += explorer.counts();
    if (!violation) return {};
    if (!options_.keep.empty())
      std::ofstream(options_.keep, std::ios::binary)
          .write(reinterpret_cast<const char*>(violation->image.data()), static_cast<std::streamsize>(violation->image.size()));
    return "power failure at event " + std::to_string(violation->event - run.first) + " after the stop: " + violation->what;
  }

  const World& world_;
  const Verb &first_, &second_;
  const InterleaveOptions& options_;
  std::string dir_;
  Allowed allowed_;
  bool mixed_ = false;
};

struct Pair {
  const World* world;
  const Verb *first, *second;
};

std::vector<Pair> choose(const InterleaveOptions& options) {
  std::vector<Pair> pairs;
  for (const World& world : interleave_worlds())
    for (const Verb& first : interleave_verbs())
      for (const Verb& second : interleave_verbs()) {
        std::string name = std::string(world.name) + ": " + first.name + " | " + second.name;
        if (options.only.empty() || name.find(options.only) != std::string::npos) pairs.push_back({&world, &first, &second});
      }
  if (options.sample == 0 || options.sample >= pairs.size()) return pairs;
  std::mt19937_64 random(options.limits.seed);
  std::shuffle(pairs.begin(), pairs.end(), random);
  pairs.resize(options.sample);
  return pairs;
}

} // namespace

int explore_interleaved(const InterleaveOptions& options, const std::string& dir) {
  Counts total;
  u64 interleavings = 0, waits = 0, pairs = 0, impossible = 0;
  int wrong = 0;
  Shard shard = options.shard;
  for (const Pair& pair : choose(options)) {
    if (!shard.next()) continue;
    std::string name = std::string(pair.world->name) + ": " + pair.first->name + " | " + pair.second->name;
    if (options.list) {
      std::printf("%s\n", name.c_str());
      continue;
    }
    PairExplorer explorer(*pair.world, *pair.first, *pair.second, options, dir);
    std::string what;
    try {
      what = explorer.explore();
    } catch (const Impossible&) {
      ++impossible; // one cannot be prepared in this world
      continue;
    }
    ++pairs;
    interleavings += explorer.interleavings;
    waits += explorer.waits;
    total += explorer.counts;
    if (what.empty()) continue;
    ++wrong;
    std::printf("%s: WRONG: %s\n", name.c_str(), what.c_str());
    std::fflush(stdout);
  }
  if (options.list) return 0;
  std::printf("all: pairs %llu (impossible %llu), interleavings %llu (one waits in %llu), points %llu, states %llu, distinct %llu, in "
              "recovery %llu, wrong pairs %d\n",
              static_cast<unsigned long long>(pairs), static_cast<unsigned long long>(impossible),
              static_cast<unsigned long long>(interleavings), static_cast<unsigned long long>(waits),
              static_cast<unsigned long long>(total.crash_points), static_cast<unsigned long long>(total.states),
              static_cast<unsigned long long>(total.distinct), static_cast<unsigned long long>(total.nested_states), wrong);
  return wrong;
}

} // namespace pmemfile::crash
