// The ordering rule of docs/architecture.md, explored: operations of two threads that take over each other's slots, a
// power failure after any store, flush or fence, any prefix of each line's unfenced stores. After replay every
// returned operation is there, every other wholly or not at all.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <functional>
#include <map>
#include <random>
#include <vector>

#include "journal/recovery.h"
#include "journal/tx.h"
#include "shm/segment_file.h"

namespace pmemfile::journal {
namespace {

struct Event {
  enum Kind { kStore, kFlush, kFence } kind;
  int thread;
  u64 offset, size, value;
};

// Logs the persist events of whichever virtual thread runs.
struct Log {
  std::vector<Event> events;
  int thread = 0;
  pmem::Recorder recorder{
      [](void* self, u64 offset, const void* bytes, u64 size, bool) {
        auto* log = static_cast<Log*>(self);
        for (u64 at = 0; at < size; at += 8) {
          u64 value;
          __builtin_memcpy(&value, static_cast<const char*>(bytes) + at, 8);
          log->events.push_back({Event::kStore, log->thread, offset + at, 8, value});
        }
      },
      [](void* self, u64 offset, u64 size) {
        auto* log = static_cast<Log*>(self);
        log->events.push_back({Event::kFlush, log->thread, offset, size, 0});
      },
      [](void* self) {
        auto* log = static_cast<Log*>(self);
        log->events.push_back({Event::kFence, log->thread, 0, 0, 0});
      },
      this};
};

constexpr u64 kPoolBytes = layout::kMinPoolBytes;
constexpr int kObjects = 5;

// A pool in memory with a segment in memory, seen by two threads of two processes.
struct Rig {
  std::vector<u64> image = std::vector<u64>(kPoolBytes / 8);
  Log log;
  Store stores[2];
  void* segment_memory = nullptr;
  u64 segment_bytes = 0;

  Rig() {
    layout::Geometry geometry = layout::plan_geometry(kPoolBytes).value();
    shm::SegmentHeader plan = shm::plan_segment(geometry);
    segment_bytes = plan.bytes;
    segment_memory = mmap(nullptr, segment_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 2; ++i) {
      Store& store = stores[i];
      store.geometry = geometry;
      store.medium.base = reinterpret_cast<u8*>(image.data());
      store.medium.bytes = kPoolBytes;
      store.medium.writable = true;
      store.medium.flushes = true;
      store.medium.recorder = &log.recorder;
      shm::Segment& v = store.segment;
      v.base = static_cast<u8*>(segment_memory);
      v.bytes = segment_bytes;
      v.header = static_cast<shm::SegmentHeader*>(segment_memory);
      *v.header = plan;
      v.slots = v.at<shm::Slot>(plan.slots_offset);
      v.stripes = v.at<shm::Stripe>(plan.stripes_offset);
      v.self = shm::ProcessRef{static_cast<u32>(i + 1), 1};
      store.staging = static_cast<u8*>(mmap(nullptr, geometry.record_slot_count * kStagingBytes,
                                            PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      store.record_epoch = 1;
    }
  }
  ~Rig() {
    munmap(segment_memory, segment_bytes);
    for (Store& store : stores) munmap(store.staging, store.geometry.record_slot_count * kStagingBytes);
  }
};

PoolOff object_offset(const Store& store, int object) {
  return block_offset(BlockNo{store.geometry.data_start_block}) + static_cast<u64>(object) * layout::kLineBytes;
}

struct Operation {
  u64 id;
  std::vector<int> objects;
  std::size_t first_event, last_event; // returned after last_event
};

std::vector<Operation> run_operations(Rig& rig, std::mt19937_64& random, int count) {
  std::vector<Operation> operations;
  for (int i = 0; i < count; ++i) {
    Operation operation{static_cast<u64>(i) + 1, {}, rig.log.events.size(), 0};
    for (int object = 0; object < kObjects; ++object)
      if (random() % 3 == 0) operation.objects.push_back(object);
    if (operation.objects.empty()) operation.objects.push_back(static_cast<int>(random() % kObjects));
    rig.log.thread = static_cast<int>(random() % 2);
    Store& store = rig.stores[rig.log.thread];
    // Another slot than the thread's own now and then: slots change hands.
    store.segment.self.index_plus_1 = 1 + static_cast<u32>(2 * (random() % 4)) + static_cast<u32>(rig.log.thread);
    auto result = run_tx(store, Opcode::kSetAttr, [&](Tx& tx) -> Result<void> {
      for (int object : operation.objects) {
        TRY(tx.lock(shm::inode_key(store.segment, Ino{static_cast<u64>(object) + 100})));
        // Two words a line: a torn line shows.
        tx.store(object_offset(store, object), operation.id);
        tx.store(object_offset(store, object) + 48, operation.id);
      }
      return tx.commit();
    });
    EXPECT_EQ(result.error(), 0);
    operation.last_event = rig.log.events.size();
    operations.push_back(operation);
  }
  return operations;
}

// What may be on the medium after a power failure behind event `cut`: each line at some prefix of its stores, at least
// those that were flushed and then fenced by the thread that flushed.
void make_crash_image(const std::vector<Event>& events, std::size_t cut, std::mt19937_64& random, std::vector<u64>& image) {
  std::map<u64, std::vector<std::size_t>> stores; // line -> indices of its stores
  std::map<u64, std::size_t> durable;             // line -> number of stores
  std::map<u64, std::size_t> flushed[2];
  for (std::size_t i = 0; i < cut; ++i) {
    const Event& event = events[i];
    if (event.kind == Event::kStore) stores[event.offset / 64].push_back(i);
    if (event.kind == Event::kFlush)
      for (u64 line = event.offset / 64; line <= (event.offset + event.size - 1) / 64; ++line)
        flushed[event.thread][line] = stores[line].size();
    if (event.kind == Event::kFence) {
      for (auto [line, count] : flushed[event.thread]) durable[line] = std::max(durable[line], count);
      flushed[event.thread].clear();
    }
  }
  image.assign(kPoolBytes / 8, 0);
  unsigned style = static_cast<unsigned>(random() % 3);
  for (auto& [line, indices] : stores) {
    std::size_t least = durable[line], most = indices.size();
    std::size_t count = style == 0 ? least : style == 1 ? most : least + random() % (most - least + 1);
    if (style == 2 && random() % 2 == 0) count = random() % 2 == 0 ? least : most;
    for (std::size_t i = 0; i < count; ++i) image[events[indices[i]].offset / 8] = events[indices[i]].value;
  }
}

// Replays and compares. Returns a complaint, or an empty string.
std::string check(const Rig& rig, std::vector<u64>& image, const std::vector<Operation>& operations, std::size_t cut) {
  Store store = rig.stores[0];
  store.medium.base = reinterpret_cast<u8*>(image.data());
  store.medium.recorder = nullptr;
  store.segment = {};
  if (!replay_all(store).ok()) return "replay refuses the image";
  std::vector<u64> before(kObjects), after(kObjects);
  for (const Operation& operation : operations) {
    if (operation.first_event >= cut) break;
    bool returned = operation.last_event <= cut;
    for (int object : operation.objects) {
      if (returned) before[object] = operation.id;
      after[object] = operation.id;
    }
  }
  std::vector<u64> found(kObjects);
  for (int object = 0; object < kObjects; ++object) {
    found[object] = store.medium.word(object_offset(store, object));
    if (store.medium.word(object_offset(store, object) + 48) != found[object]) return "torn line";
    if (!View(store).load_line(object_offset(store, object)).valid()) return "line checksum";
  }
  if (found != before && found != after) return "neither before nor after";
  return "";
}

// Runs seeds and cuts; returns how many images broke a promise.
int explore(u64 seeds, int cuts, const std::function<bool(const Rig&, const Event&)>& dropped, std::string* complaint) {
  int broken = 0;
  std::vector<u64> image; // one for all: new memory for each costs more than the check
  for (u64 seed = 1; seed <= seeds; ++seed) {
    std::mt19937_64 random(seed);
    Rig rig;
    auto operations = run_operations(rig, random, 12);
    std::vector<Event> events = rig.log.events;
    for (Event& event : events)
      if (dropped && dropped(rig, event)) event = {Event::kFlush, event.thread, kPoolBytes - 8, 8, 0};
    for (int i = 0; i < cuts; ++i) {
      std::size_t cut = random() % (events.size() + 1);
      make_crash_image(events, cut, random, image);
      std::string result = check(rig, image, operations, cut);
      if (result.empty()) continue;
      if (broken++ == 0) *complaint = result + ", seed " + std::to_string(seed) + ", cut " + std::to_string(cut);
    }
  }
  return broken;
}

TEST(JournalCrash, EveryReturnedOperationIsThereAndOthersWhollyOrNotAtAll) {
  std::string complaint;
  EXPECT_EQ(explore(300, 300, nullptr, &complaint), 0) << complaint;
}

// The tester is tested: each planted bug must show.
bool in_record_area(const Rig& rig, const Event& event) {
  u64 start = rig.stores[0].geometry.record_start_block * layout::kBlockBytes;
  return event.offset >= start && event.offset < rig.stores[0].geometry.orphan_block * layout::kBlockBytes;
}

TEST(JournalCrash, FindsRecordsThatAreNotFlushed) {
  std::string complaint;
  EXPECT_GT(explore(30, 300, [](const Rig& rig, const Event& e) { return e.kind == Event::kFlush && in_record_area(rig, e); },
                    &complaint), 0);
}

TEST(JournalCrash, FindsEffectsThatAreNotFlushed) {
  std::string complaint;
  EXPECT_GT(explore(30, 300, [](const Rig& rig, const Event& e) { return e.kind == Event::kFlush && !in_record_area(rig, e); },
                    &complaint), 0);
}

TEST(JournalCrash, FindsMissingFences) {
  std::string complaint;
  EXPECT_GT(explore(30, 300, [](const Rig&, const Event& e) { return e.kind == Event::kFence; }, &complaint), 0);
}

TEST(JournalCrash, FindsSlotsThatChangeHandsWithoutFlushingAgain) {
  // Drop the second flush of a line that is not preceded by a store of the same thread.
  std::string complaint;
  std::map<u64, int> last_storer;
  EXPECT_GT(explore(300, 300,
                    [&](const Rig& rig, const Event& e) {
                      if (e.kind == Event::kStore) last_storer[e.offset / 64] = e.thread;
                      return e.kind == Event::kFlush && !in_record_area(rig, e) && last_storer[e.offset / 64] != e.thread;
                    },
                    &complaint), 0);
}

TEST(Journal, ChangesNothingWhenTheRecordIsFull) {
  Rig rig;
  Store& store = rig.stores[0];
  auto result = run_tx(store, Opcode::kSetAttr, [&](Tx& tx) -> Result<void> {
    for (unsigned i = 0; i <= layout::kMaxRecordLines; ++i) tx.store(object_offset(store, static_cast<int>(i)), 7);
    return tx.commit();
  });
  EXPECT_EQ(result.error(), kRecordFull);
  EXPECT_EQ(View(store).load(object_offset(store, 0)), 0u);
}

TEST(Journal, RefusesToBuildOnADamagedLine) {
  Rig rig;
  Store& store = rig.stores[0];
  rig.image[raw(object_offset(store, 0)) / 8 + 3] = 1;
  auto result = run_tx(store, Opcode::kSetAttr, [&](Tx& tx) -> Result<void> {
    tx.store(object_offset(store, 0), 7);
    return tx.commit();
  });
  EXPECT_EQ(result.error(), kErrnoCorrupt);
}

TEST(Journal, OneFenceForPureMetadataTwoWithNewBlocks) {
  Rig rig;
  Store& store = rig.stores[0];
  auto fences = [&] {
    int count = 0;
    for (const Event& event : rig.log.events) count += event.kind == Event::kFence ? 1 : 0;
    rig.log.events.clear();
    return count;
  };
  auto operate = [&](bool fresh) {
    return run_tx(store, Opcode::kSetAttr, [&](Tx& tx) -> Result<void> {
      if (fresh) tx.note_fresh_data();
      tx.store(object_offset(store, 0), tx.load(object_offset(store, 0)) + 1);
      return tx.commit();
    });
  };
  EXPECT_EQ(operate(false).error(), 0);
  EXPECT_EQ(fences(), 1);
  EXPECT_EQ(operate(true).error(), 0);
  EXPECT_EQ(fences(), 2);
}

// A reader meets a writer that was stopped between two stores of its commit.
TEST(Journal, ReaderSeesTheCommittedStateOfAWriterStoppedWhileApplying) {
  Rig rig;
  Store& store = rig.stores[0];
  shm::LockKey key = shm::inode_key(store.segment, Ino{100});
  struct Probe {
    Store* reader_store;
    shm::LockKey key;
    int seen_new = 0, seen_old = 0;
  } probe{&rig.stores[1], key};
  static Probe* current;
  current = &probe;
  pmem::Recorder spy = rig.log.recorder;
  spy.store = [](void*, u64, const void*, u64, bool) {
    Store& reader = *current->reader_store;
    u64 value = read_consistent(reader, current->key, [&](const View& view) -> Result<u64> {
      u64 a = view.load(object_offset(reader, 0)), b = view.load(object_offset(reader, 1));
      if (a != b) return Error(EIO);
      return a;
    }).value_or(99);
    ASSERT_TRUE(value == 0 || value == 7) << value;
    (value == 7 ? current->seen_new : current->seen_old)++;
  };
  store.medium.recorder = &spy;
  auto result = run_tx(store, Opcode::kSetAttr, [&](Tx& tx) -> Result<void> {
    TRY(tx.lock(key));
    tx.store(object_offset(store, 0), 7);
    tx.store(object_offset(store, 1), 7);
    return tx.commit();
  });
  EXPECT_EQ(result.error(), 0);
  EXPECT_GT(probe.seen_new, 0);
  EXPECT_GT(probe.seen_old, 0);
}

} // namespace
} // namespace pmemfile::journal
