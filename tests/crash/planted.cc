#include "crash/planted.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include "crash/interleave.h"
#include "crash/scenario.h"

namespace pmemfile::crash {
namespace {

// Where things lie in the recorded pool.
struct Places {
  u64 records_begin, records_end, data_begin;
  u32 slots;
  explicit Places(const std::vector<u8>& image) {
    layout::Geometry geometry;
    std::memcpy(&geometry, image.data(), sizeof geometry);
    records_begin = geometry.record_start_block * layout::kBlockBytes;
    records_end = geometry.orphan_block * layout::kBlockBytes;
    data_begin = geometry.data_start_block * layout::kBlockBytes;
    slots = static_cast<u32>(geometry.record_slot_count);
  }
  bool in_records(const Event& event) const { return event.offset >= records_begin && event.offset < records_end; }
};

bool is_store(const Event& event) {
  return event.kind == EventKind::kStore || event.kind == EventKind::kStreamingStore;
}

using EventFilter = bool (*)(const Places& places, const Event& event);
using Events = std::vector<Event>;

// Takes out the events of the explored part that the filter names.
void drop(Run& run, EventFilter filter) {
  Places places(run.image);
  Events kept;
  std::vector<std::size_t> returns;
  const Events& events = run.recording.events;
  for (std::size_t i = 0; i <= events.size(); ++i) {
    for (std::size_t end : run.returns)
      if (end == i) returns.push_back(kept.size());
    if (i < events.size() && (i < run.first || !filter(places, events[i]))) kept.push_back(events[i]);
  }
  run.recording.events = kept;
  run.returns = returns;
}

// Rearranges the events of each operation.
void rearrange(Run& run, void (*change)(const Places& places, Events::iterator begin, Events::iterator end)) {
  Places places(run.image);
  std::size_t begin = run.first;
  for (std::size_t end : run.returns) {
    change(places, run.recording.events.begin() + static_cast<std::ptrdiff_t>(begin),
           run.recording.events.begin() + static_cast<std::ptrdiff_t>(end));
    begin = end;
  }
}

void effects_first(const Places& places, Events::iterator begin, Events::iterator end) {
  std::stable_partition(begin, end, [&](const Event& event) {
    return event.kind != EventKind::kFence && !places.in_records(event);
  });
}

void trailers_first(const Places& places, Events::iterator begin, Events::iterator end) {
  for (auto it = begin; it != end; ++it) {
    if (!is_store(*it) || places.in_records(*it) || it->offset % kCacheLine != 56) continue;
    auto first = it;
    while (first != begin && is_store(*(first - 1)) && (first - 1)->offset / kCacheLine == it->offset / kCacheLine) --first;
    std::rotate(first, it, it + 1);
  }
}

u64 word_at(const std::vector<u8>& image, u64 offset) {
  u64 word;
  std::memcpy(&word, image.data() + offset, sizeof word);
  return word;
}
void put_word(std::vector<u8>& image, u64 offset, u64 word) { std::memcpy(image.data() + offset, &word, sizeof word); }

template <class Body>
void for_each_area(const std::vector<u8>& image, Body&& body) {
  Places places(image);
  for (u64 area = places.records_begin; area < places.records_end; area += layout::kRecordAreaBytes)
    if (word_at(image, area) == layout::kRecordMagic && word_at(image, area + 8) >> 32 <= layout::kRecordAreaBytes) body(area);
}

u32 record_crc(const std::vector<u8>& image, u64 area) {
  u32 crc = ~u32{0};
  for (u64 at = 0; at < word_at(image, area + 8) >> 32; at += 8)
    crc = crc32c_word(crc, at == 56 ? 0 : word_at(image, area + at));
  return crc;
}

// A recovery that forgets the versions: every valid record is applied, the newest of a slot last.
void replay_without_versions(std::vector<u8>& image) {
  Places places(image);
  std::vector<std::pair<u64, u64>> order; // sequence, area
  for_each_area(image, [&](u64 area) {
    if (word_at(image, area + 56) == record_crc(image, area)) order.push_back({word_at(image, area + 16), area});
  });
  std::sort(order.begin(), order.end());
  for (auto [sequence, area] : order) {
    u64 at = area + sizeof(layout::RecordHeader);
    for (u64 lines = word_at(image, area + 8) >> 16 & 0xffff; lines != 0; --lines) {
      u64 where = word_at(image, at), trailer = word_at(image, at + 8), line = (where >> 8) * layout::kLineBytes;
      at += 16;
      for (unsigned word = 0; word < layout::kLineWords; ++word)
        if ((where >> word & 1) != 0) put_word(image, line + 8 * word, word_at(image, at)), at += 8;
      put_word(image, line + 56, trailer);
    }
  }
  // As after any recovery, the records are void.
  for (auto [sequence, area] : order) put_word(image, area, 0);
}

// A checksum that does not cover the body: a new head over an old tail counts.
void trust_heads(std::vector<u8>& image) {
  for_each_area(image, [&](u64 area) { put_word(image, area + 56, record_crc(image, area)); });
}

Scenario creates() {
  Scenario scenario;
  scenario.name = "creates";
  scenario.setup = [](Actor& a) { a.make_directory("/d"); a.make_file("/d/0"); };
  for (const char* name : {"/d/a", "/d/b", "/d/c", "/d/e"})
    scenario.operations.push_back([name](Actor& a) { a.make_file(name); });
  return scenario;
}

Scenario appends() {
  Scenario scenario;
  scenario.name = "appends";
  scenario.setup = [](Actor& a) { a.make_file("/f", std::string(100, 'x')); };
  for (int i = 0; i < 3; ++i)
    scenario.operations.push_back([i](Actor& a) { a.append("/f", std::string(5000, static_cast<char>('a' + i))); });
  return scenario;
}

// One inode changed from two slots by turns.
Scenario two_slots() {
  Scenario scenario;
  scenario.name = "two-slots";
  scenario.setup = [](Actor& a) { a.make_file("/f"); };
  for (u32 i = 0; i < 5; ++i)
    scenario.operations.push_back([i](Actor& a) {
      auto change = [&] { a.change_mode("/f", 0600 + i); };
      if (i == 1) a.other_slot(change);
      else change();
    });
  return scenario;
}

// One inode changed in one slot from two threads by turns.
Scenario two_threads() {
  Scenario scenario;
  scenario.name = "two-threads";
  scenario.setup = [](Actor& a) { a.make_file("/f"); };
  for (u32 i = 0; i < 6; ++i)
    scenario.operations.push_back([i](Actor& a) {
      auto change = [&] { a.change_mode("/f", 0600 + i); };
      if (i % 2 == 1) std::thread(change).join();
      else change();
    });
  return scenario;
}

// Who takes over a slot from another thread does not flush the effects of its last record again.
void drop_second_flushes(Run& run) {
  Places places(run.image);
  Events& events = run.recording.events;
  for (std::size_t i = std::max<std::size_t>(run.first, 1); i < events.size(); ++i) {
    bool of_a_line = events[i].kind == EventKind::kFlush && !places.in_records(events[i]) && events[i].size == kCacheLine;
    if (of_a_line && !is_store(events[i - 1])) events[i].size = 0;
  }
}

// Of two at once, the second trusts in a fence that the first has made or will make.
void drop_fences_of_second(Run& run, std::size_t second_returned) {
  std::vector<Event>& events = run.recording.events;
  u32 thread = second_returned != 0 && second_returned <= events.size() ? events[second_returned - 1].thread : 0;
  for (std::size_t i = run.first; i < events.size(); ++i)
    if (events[i].kind == EventKind::kFence && events[i].thread == thread) events[i] = Event{EventKind::kFlush};
}

int find_bug_of_two(const std::string& dir, const Limits& limits) {
  InterleaveOptions options{limits, "small: append | create", ""};
  options.plant = drop_fences_of_second;
  int wrong = explore_interleaved(options, dir);
  options.plant = nullptr;
  int false_alarms = explore_interleaved(options, dir);
  std::printf("a fence of another thread (two at once): %s\n", wrong != 0 && false_alarms == 0 ? "found" : "NOT FOUND");
  return wrong == 0 || false_alarms != 0;
}

struct Bug {
  const char* name;
  Scenario (*scenario)();
  void (*plant)(Run& run);
  Explorer::Mutator mutator;
};

const Bug kBugs[] = {
    {"none: creates", creates, [](Run&) {}, {}},
    {"none: appends", appends, [](Run&) {}, {}},
    {"none: two slots", two_slots, [](Run&) {}, {}},
    {"none: two threads", two_threads, [](Run&) {}, {}},
    {"effects of another thread not flushed again", two_threads, drop_second_flushes, {}},
    {"record not flushed", creates,
     [](Run& run) { drop(run, [](const Places& p, const Event& e) { return e.kind == EventKind::kFlush && p.in_records(e); }); }, {}},
    {"effects not flushed", creates,
     [](Run& run) { drop(run, [](const Places& p, const Event& e) { return e.kind == EventKind::kFlush && !p.in_records(e); }); }, {}},
    {"no fences", creates,
     [](Run& run) { drop(run, [](const Places&, const Event& e) { return e.kind == EventKind::kFence; }); }, {}},
    {"effects applied before the commit", creates, [](Run& run) { rearrange(run, effects_first); }, {}},
    {"version stored before the words", creates, [](Run& run) { rearrange(run, trailers_first); }, {}},
    {"new data not flushed", appends,
     [](Run& run) {
       for (Event& event : run.recording.events)
         if (event.kind == EventKind::kStreamingStore) event.kind = EventKind::kStore;
       drop(run, [](const Places& p, const Event& e) { return e.kind == EventKind::kFlush && e.offset >= p.data_begin && e.size > kCacheLine; });
     }, {}},
    {"new data not fenced before the record", appends,
     [](Run& run) {
       // The fence that comes before a record's first store.
       Places places(run.image);
       Events& events = run.recording.events;
       // The flush again of what another thread did may stand between.
       auto record_follows = [&](std::size_t i) {
         while (++i < events.size() && events[i].kind == EventKind::kFlush) {}
         return i < events.size() && is_store(events[i]) && places.in_records(events[i]);
       };
       for (std::size_t i = run.first; i + 1 < events.size(); ++i)
         if (events[i].kind == EventKind::kFence && record_follows(i))
           events[i] = Event{EventKind::kFlush};
     }, {}},
    {"stale record replayed", two_slots, [](Run&) {}, replay_without_versions},
    {"record completed by an old tail", creates, [](Run&) {}, trust_heads},
};

} // namespace

int find_planted_bugs(const std::string& dir, const Limits& limits) {
  int failed = 0;
  for (const Bug& bug : kBugs) {
    bool harmless = std::strncmp(bug.name, "none", 4) == 0;
    Played played = play(bug.scenario(), dir);
    bug.plant(played.run);
    Explorer explorer(dir, limits);
    if (bug.mutator) explorer.set_mutator(bug.mutator);
    auto violation = explorer.explore(played.run, judge_of(played, Between::kOldOrNew));
    bool right = harmless != violation.has_value();
    std::printf("%-44s %s after %llu states%s%s\n", bug.name,
                harmless ? (right ? "clean" : "FALSE ALARM") : (right ? "found" : "NOT FOUND"),
                static_cast<unsigned long long>(explorer.counts().states), violation ? ": " : "",
                violation ? violation->what.substr(0, 160).c_str() : "");
    std::fflush(stdout);
    if (!right) ++failed;
  }
  return failed + find_bug_of_two(dir, limits);
}

} // namespace pmemfile::crash
