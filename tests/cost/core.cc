// What each operation costs the pool: fences, flushed lines, bytes stored, records and the lines in them.
//
// One process, one thread, one record slot after the other, directories of one leaf. A row that differs from the
// table fails; `--print` prints the table that would pass.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "cost/operations.h"
#include "crash/recording.h"

namespace pmemfile::cost {
namespace {

struct Cost {
  u64 fences, flushed_lines, stored_bytes, records, record_lines;
  bool operator==(const Cost&) const = default;
};

struct Row {
  const char* operation;
  Cost cost;
};

// The table. Fences are the price on persistent memory: 1 is the least for a change (its record, or the data
// overwritten in place), 2 for one that also writes new blocks, 0 for what only reads.
constexpr Row kTable[] = {
#include "cost/core_table.inc"
};

constexpr unsigned kOverTicks = 12'000; // microseconds: longer than any tick of the coarse clock

Cost cost_of(const crash::Recording& recording, const layout::Geometry& geometry) {
  Cost cost{};
  u64 areas = geometry.record_start_block, end = areas + 2 * geometry.record_slot_count;
  for (const crash::Event& event : recording.events) {
    switch (event.kind) {
      case crash::EventKind::kFence: ++cost.fences; break;
      case crash::EventKind::kFlush:
        if (event.size != 0) cost.flushed_lines += (event.offset + event.size - 1) / 64 - event.offset / 64 + 1;
        break;
      case crash::EventKind::kStore:
      case crash::EventKind::kStreamingStore: {
        cost.stored_bytes += event.size;
        u64 block = event.offset / layout::kBlockBytes;
        // The second word of a record's header tells its slot, lines and bytes (docs/format.md).
        if (block < areas || block >= end || event.offset % layout::kBlockBytes != 8 || event.size != 8) break;
        u64 word;
        memcpy(&word, recording.bytes_of(event), sizeof word);
        ++cost.records;
        cost.record_lines += word >> 16 & 0xffff;
        break;
      }
    }
  }
  return cost;
}

void print(const char* operation, const Cost& c) {
  printf("    {\"%s\", {%lu, %lu, %lu, %lu, %lu}},\n", operation, c.fences, c.flushed_lines, c.stored_bytes, c.records, c.record_lines);
}

const Row* find(const char* operation) {
  for (const Row& row : kTable)
    if (strcmp(row.operation, operation) == 0) return &row;
  return nullptr;
}

int run(vfs::Pool& pool, crash::Recording& recording, bool print_only) {
  vfs::Credentials root{};
  root.capabilities = ~u64{0};
  vfs::Task task;
  task.pool = &pool;
  task.credentials = &root;
  task.root = Ino{pool.store().geometry.root_ino[0]};
  Bench bench{pool, task, {}};
  furnish(bench);
  int wrong = 0;
  for (const Operation& operation : operations) {
    if (operation.prepare != nullptr) operation.prepare(bench);
    usleep(kOverTicks); // so that every time that the operation sets differs from the one before
    recording = {};
    operation.run(bench);
    Cost cost = cost_of(recording, pool.store().geometry);
    const Row* row = find(operation.name);
    bool same = row != nullptr && row->cost == cost;
    if (same && !print_only) continue;
    print(operation.name, cost);
    if (same || print_only) continue;
    ++wrong;
    if (row == nullptr)
      printf("// is not in the table\n");
    else
      printf("// differs from the table: "), print(row->operation, row->cost);
  }
  return wrong;
}

} // namespace
} // namespace pmemfile::cost

int main(int argc, char** argv) {
  using namespace pmemfile;
  char dir[] = "/dev/shm/pmemfile-cost-XXXXXX"; // the pool and its V, gone at the end
  if (mkdtemp(dir) == nullptr) return 2;
  std::string path = std::string(dir) + "/pool";
  vfs::AttachFailure failure{};
  vfs::Pool::MakeOptions make;
  make.bytes = 16 << 20;
  auto made = vfs::Pool::make(path.c_str(), make, &failure);
  crash::Recording recording;
  pmem::Recorder recorder = crash::recorder_of(recording);
  vfs::AttachOptions options;
  options.recorder = &recorder;
  options.shm_dir = dir;
  Result<vfs::Pool*> pool = made.ok() ? vfs::Pool::attach(path.c_str(), options, &failure) : Result<vfs::Pool*>(Error(made.error()));
  int wrong = 1;
  if (pool.ok()) {
    wrong = cost::run(*pool.value(), recording, argc > 1 && strcmp(argv[1], "--print") == 0);
    pool.value()->detach();
  } else {
    fprintf(stderr, "%s\n", failure.text);
  }
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
  if (wrong != 0) printf("%d costs are not as pinned in core_table.inc: fields are fences, flushed lines, bytes, records, lines\n", wrong);
  return wrong == 0 ? 0 : 1;
}
