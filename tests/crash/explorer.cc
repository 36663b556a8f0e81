#include "crash/explorer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "fsck/check.h"

namespace pmemfile::crash {
namespace {

u64 hash_bytes(const u8* bytes, std::size_t size, u64 seed) {
  u64 hash = seed * 0x9e3779b97f4a7c15 + size;
  for (std::size_t i = 0; i < size; i += 8) {
    u64 word = 0;
    std::memcpy(&word, bytes + i, size - i < 8 ? size - i : 8);
    hash = (hash ^ word) * 0xd6e8feb86659fd93;
    hash ^= hash >> 32;
  }
  return hash;
}

} // namespace

std::vector<u8> read_image(const std::string& path) {
  std::vector<u8> image;
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  off_t size = lseek(fd, 0, SEEK_END);
  image.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  if (pread(fd, image.data(), image.size(), 0) != size) image.clear();
  ::close(fd);
  return image;
}

void write_image(const std::string& path, const std::vector<u8>& image) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || pwrite(fd, image.data(), image.size(), 0) != static_cast<ssize_t>(image.size())) {
    std::perror(path.c_str());
    std::abort();
  }
  ::close(fd);
}

std::string check_image(const std::vector<u8>& image, bool at_rest) {
  fsck::Report report = fsck::check(std::as_bytes(std::span(image)));
  for (const fsck::Finding& finding : report.findings)
    if (fsck::code_info(finding.code).severity != fsck::Severity::kNote) return "checker: " + fsck::to_text(finding);
  if (at_rest && report.totals.orphans != 0) return "checker: an orphan is left after recovery";
  return {};
}

std::optional<Violation> Explorer::explore(const Run& run, const Judge& judge) {
  PersistenceModel model(run.image);
  nested_left_ = nested_ ? 0 : limits_.nested;
  seen_.clear();
  const std::vector<Event>& events = run.recording.events;
  std::size_t phase = 0;
  for (std::size_t i = 0; i <= events.size(); ++i) {
    // Once an operation has returned, an image that was fine before may be wrong.
    bool new_phase = run.returned(i) != phase;
    if (new_phase) seen_.clear(), phase = run.returned(i);
    if (i >= run.first && (new_phase || i == events.size() || events[i].kind == EventKind::kFence))
      if (auto violation = explore_point(model, i, judge)) return violation;
    if (i < events.size()) model.apply(run.recording, events[i]);
  }
  return std::nullopt;
}

// Which prefixes to try: all where they are few; else none, all, each line alone, each line missing, and random ones.
std::vector<std::vector<std::size_t>> Explorer::plan(const std::vector<Choice>& choices) {
  std::vector<std::vector<std::size_t>> states;
  std::size_t count = choices.size();
  u64 product = 1;
  for (const Choice& choice : choices) {
    product *= choice.pending->stores.size() + 1;
    if (product > limits_.exhaustive) break;
  }
  std::vector<std::size_t> none(count, 0), all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = choices[i].pending->stores.size();
  if (product <= limits_.exhaustive) {
    ++counts_.exhaustive_points;
    std::vector<std::size_t> state = none;
    for (;;) {
      states.push_back(state);
      std::size_t i = 0;
      while (i < count && state[i] == all[i]) state[i++] = 0;
      if (i == count) return states;
      ++state[i];
    }
  }
  states.push_back(none);
  states.push_back(all);
  for (std::size_t i = 0; i < count && limits_.each_line; ++i)
    for (bool others : {false, true})
      for (std::size_t n = 0; n <= all[i]; ++n) {
        if (all[i] > 16 && n > 2 && n + 2 < all[i]) continue; // long runs of stores to one line: its ends
        std::vector<std::size_t> state = others ? all : none;
        state[i] = n;
        states.push_back(state);
      }
  for (u64 k = 0; k < limits_.sampled; ++k) {
    std::vector<std::size_t> state(count);
    // Mostly whole lines, at varying density: half-written ones are the rarer kind of state.
    u64 density = random_() % 101;
    for (std::size_t i = 0; i < count; ++i)
      state[i] = random_() % 4 == 0 ? random_() % (all[i] + 1) : random_() % 100 < density ? all[i] : 0;
    states.push_back(state);
  }
  return states;
}

std::optional<Violation> Explorer::explore_point(const PersistenceModel& model, std::size_t point, const Judge& judge) {
  ++counts_.crash_points;
  std::vector<Choice> choices;
  for (const auto& [line, pending] : model.pending()) choices.push_back({line, &pending});
  for (const auto& prefix : plan(choices))
    if (auto violation = try_state(model, choices, prefix, point, judge)) return violation;
  return std::nullopt;
}

std::optional<Violation> Explorer::try_state(const PersistenceModel& model, const std::vector<Choice>& choices,
                                             const std::vector<std::size_t>& prefix, std::size_t point,
                                             const Judge& judge) {
  ++counts_.states;
  std::vector<u8> image = model.certain();
  for (std::size_t i = 0; i < choices.size(); ++i)
    for (std::size_t n = 0; n < prefix[i]; ++n) {
      const PendingStore& store = choices[i].pending->stores[n];
      std::memcpy(image.data() + choices[i].line * kCacheLine + store.offset, store.bytes, store.size);
    }
  if (mutator_) mutator_(image);
  if (!seen_.insert(hash_bytes(image.data(), image.size(), 1)).second) return std::nullopt;
  ++counts_.distinct;
  if (nested_) ++counts_.nested_states;
  std::string what = recover_and_judge(image, point, judge);
  if (what.empty()) return std::nullopt;
  return Violation{point, what, std::move(image)};
}

std::string Explorer::recover_and_judge(std::vector<u8> image, std::size_t point, const Judge& judge) {
  if (std::string what = check_image(image, false); !what.empty()) return "before recovery: " + what;
  write_image(work_file_, image);
  vfs::AttachFailure failure{};
  auto pool = vfs::Pool::attach(work_file_.c_str(), attach_options(), &failure);
  if (!pool.ok()) return std::string("attach: ") + failure.text;
  Tree tree = visible_tree(*pool.value());
  pool.value()->detach();
  if (std::string what = judge(point, tree); !what.empty()) return what;
  if (std::string what = check_image(read_image(work_file_), true); !what.empty()) return "after recovery: " + what;
  // Where there is something to replay, the power may fail again.
  if (nested_left_ != 0 && random_() % 8 == 0) {
    --nested_left_;
    return crash_in_recovery(image, tree);
  }
  return {};
}

std::string Explorer::crash_in_recovery(const std::vector<u8>& image, const Tree& tree) {
  Run run;
  run.image = image;
  write_image(work_file_, image);
  pmem::Recorder recorder = recorder_of(run.recording);
  vfs::AttachOptions options = attach_options();
  options.recorder = &recorder;
  vfs::AttachFailure failure{};
  auto pool = vfs::Pool::attach(work_file_.c_str(), options, &failure);
  if (!pool.ok()) return std::string("attach: ") + failure.text;
  pool.value()->detach();
  Limits fewer = limits_;
  fewer.exhaustive = fewer.exhaustive / 4 + 1;
  fewer.sampled = fewer.sampled / 4 + 1;
  Explorer nested(dir_, fewer, "image-in-recovery");
  nested.nested_ = true;
  auto violation = nested.explore(run, [&](std::size_t, const Tree& again) { return difference(tree, again); });
  counts_.nested_states += nested.counts_.nested_states;
  return violation ? "crash during recovery: " + violation->what : std::string();
}

} // namespace pmemfile::crash
