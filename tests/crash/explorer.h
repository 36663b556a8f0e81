// The explorer: builds the images that a power failure could leave, recovers each and compares it with what may be seen.
#pragma once

#include <functional>
#include <optional>
#include <random>
#include <unordered_set>

#include "crash/persistence.h"
#include "crash/tree.h"

namespace pmemfile::crash {

struct Limits {
  u64 exhaustive = 512;  // states of one crash point up to which all of them are built
  u64 sampled = 128;     // random ones beside the systematic ones where there are more
  bool each_line = true; // there, each line alone and each line missing, too
  u64 nested = 2;        // of a scenario's images: crashes during their recovery are explored, too
  u64 seed = 1;
};

struct Counts {
  u64 crash_points = 0, states = 0, distinct = 0, exhaustive_points = 0, nested_states = 0;

  Counts& operator+=(const Counts& more) {
    crash_points += more.crash_points;
    states += more.states;
    distinct += more.distinct;
    exhaustive_points += more.exhaustive_points;
    nested_states += more.nested_states;
    return *this;
  }
};

// Which of the things that are to be explored are ours: each `count`th, from the `index`th on (counted from 1).
struct Shard {
  unsigned long long index = 1, count = 1, seen = 0;

  bool valid() const { return index >= 1 && index <= count; }
  bool next() { return seen++ % count + 1 == index; }
};

// One recorded run: from `image` on, `recording`; the states at events >= `first` are explored.
struct Run {
  std::vector<u8> image;
  Recording recording;
  std::size_t first = 0;
  std::vector<std::size_t> returns; // number of events when each operation returned, ascending

  // Operations that have returned when the event `point` is about to happen.
  std::size_t returned(std::size_t point) const {
    std::size_t count = 0;
    while (count < returns.size() && returns[count] <= point) ++count;
    return count;
  }
};

struct Violation {
  std::size_t event = 0; // number of the crash point
  std::string what;
  std::vector<u8> image;
};

class Explorer {
 public:
  // `dir`: where the images and their shared segments are put.
  Explorer(const std::string& dir, Limits limits, const char* file = "image")
      : dir_(dir), work_file_(dir + "/" + file), limits_(limits), random_(limits.seed) {}

  // Trees that may be seen after a crash at event `point` (at the end: the number of events). Returns what is wrong,
  // or nothing.
  using Judge = std::function<std::string(std::size_t point, const Tree& tree)>;
  // Changes an image before it is looked at: planted bugs of recovery.
  using Mutator = std::function<void(std::vector<u8>& image)>;
  std::optional<Violation> explore(const Run& run, const Judge& judge);
  void set_mutator(Mutator mutator) { mutator_ = std::move(mutator); }

  const Counts& counts() const { return counts_; }

 private:
  struct Choice { // one uncertain line of a crash point
    u64 line;
    const PendingLine* pending;
  };
  std::optional<Violation> explore_point(const PersistenceModel& model, std::size_t point, const Judge& judge);
  std::optional<Violation> try_state(const PersistenceModel& model, const std::vector<Choice>& choices,
                                     const std::vector<std::size_t>& prefix, std::size_t point, const Judge& judge);
  std::string recover_and_judge(std::vector<u8> image, std::size_t point, const Judge& judge);
  std::string crash_in_recovery(const std::vector<u8>& image, const Tree& tree);
  std::vector<std::vector<std::size_t>> plan(const std::vector<Choice>& choices);

  vfs::AttachOptions attach_options() const {
    vfs::AttachOptions options;
    options.shm_dir = dir_.c_str();
    options.force_flush = true;
    return options;
  }

  std::string dir_, work_file_;
  Limits limits_;
  std::mt19937_64 random_;
  Counts counts_;
  Mutator mutator_;
  std::unordered_set<u64> seen_;
  u64 nested_left_ = 0;
  bool nested_ = false;
};

// The image of a pool file.
std::vector<u8> read_image(const std::string& path);
void write_image(const std::string& path, const std::vector<u8>& image);
// What the checker says about an image; empty: clean. `at_rest`: nothing may wait for replay or be an orphan.
std::string check_image(const std::vector<u8>& image, bool at_rest);

} // namespace pmemfile::crash
