// Micro-benchmarks of the rooms, with the core linked into this program: no interception, no system calls.
//
//   pmemfile-bench-rooms [--benchmark_...]     FORCE_FLUSH=1 in the environment: as persistent memory needs it
//
// A name is ROOM/what. One process, one thread, a pool in /dev/shm.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "alloc/alloc.h"
#include "base/crc32c.h"
#include "dir/dir.h"
#include "inode/inode.h"
#include "pmem/map.h"
#include "vfs/pool.h"

namespace pmemfile {
namespace {

constexpr long kFiles = 10'000;
constexpr u32 kFile = vfs::kFirstPrivateHandle + 100, kOther = vfs::kFirstPrivateHandle + 101;

// What all benchmarks use: a directory of kFiles entries and a file of 16 MiB.
struct World {
  vfs::Pool& pool;
  vfs::Task task;
  vfs::Credentials root{};
  Ino dir{};
  vfs::Description file{};
  std::vector<std::string> names;

  journal::Store& store() { return pool.store(); }
  vfs::At at(const std::string& path) { return {task.root, path.c_str()}; }
  const std::string& name(u64 i) const { return names[i * 7919 % kFiles]; }
};
World* world;

template <class T>
T must(const char* what, Result<T> result) {
  if (result.ok()) return result.value();
  fprintf(stderr, "%s: %s\n", what, strerror(result.error()));
  exit(1);
}
void must(const char* what, Result<void> result) {
  if (result.ok()) return;
  fprintf(stderr, "%s: %s\n", what, strerror(result.error()));
  exit(1);
}

vfs::Description open(const std::string& path, int flags, u32 handle) {
  return must("open", vfs::open_at(world->task, world->at(path), flags, 0644, handle)).description;
}
void close(u32 handle) { must("close", vfs::close_handle(world->pool, handle)); }
void create(const std::string& path) {
  open(path, O_CREAT | O_EXCL | O_WRONLY, kOther);
  close(kOther);
}

void furnish() {
  World& w = *world;
  must("mkdir", vfs::mkdir_at(w.task, w.at("/d"), 0755));
  for (long i = 0; i < kFiles; ++i) {
    w.names.push_back("file" + std::to_string(i));
    create("/d/" + w.names.back());
  }
  struct stat st;
  must("stat", vfs::stat_at(w.task, w.at("/d"), vfs::Follow::kYes, false, &st));
  w.dir = Ino{st.st_ino};
  w.file = open("/data", O_CREAT | O_RDWR, kFile);
  static char chunk[1 << 20];
  for (i64 offset = 0; offset < 16 << 20; offset += sizeof chunk) {
    data::IoVec vector{chunk, sizeof chunk};
    must("write", vfs::write_file(w.task, w.file, offset, &vector, 1));
  }
}

using benchmark::State;

void base_crc32c(State& state) {
  u64 words[7] = {1, 2, 3, 4, 5, 6, 7};
  for (auto _ : state) benchmark::DoNotOptimize(words[0] = crc32c_words(~0u, words, 7));
}

void pmem_copy_in(State& state) {
  static char block[1 << 20];
  const auto bytes = static_cast<u64>(state.range(0));
  // Into the data area's end, which no file of ours uses.
  const pmem::Medium& medium = world->store().medium;
  for (auto _ : state) {
    pmem::copy_in(medium, PoolOff{medium.bytes - (4 << 20)}, block, bytes);
    pmem::fence(medium);
  }
}
void pmem_word_durable(State& state) {
  const pmem::Medium& medium = world->store().medium;
  PoolOff word{medium.bytes - (4 << 20)};
  for (auto _ : state) {
    pmem::store_word(medium, word, 1);
    pmem::flush(medium, word, 8);
    pmem::fence(medium);
  }
}

void journal_empty_tx(State& state) {
  for (auto _ : state) must("tx", journal::run_tx(world->store(), journal::Opcode::kTimes, [](journal::Tx&) -> Result<void> { return {}; }));
}
// Takes a block and commits, gives it back and commits: two records of one bitmap line each.
void alloc_take_and_release(State& state) {
  for (auto _ : state) {
    auto extent = must("take", journal::run_tx(world->store(), journal::Opcode::kFallocate, [](journal::Tx& tx) -> Result<alloc::Extent> {
      auto taken = alloc::take_data(tx, 1, BlockNo{0});
      if (!taken.ok()) return taken;
      auto committed = tx.commit();
      if (!committed.ok()) return Error(committed.error());
      return taken;
    }));
    must("release", journal::run_tx(world->store(), journal::Opcode::kFree, [&](journal::Tx& tx) -> Result<void> {
      auto released = alloc::release_data(tx, extent);
      return released.ok() ? tx.commit() : released;
    }));
  }
}
void inode_read(State& state) {
  inode::Attr attr;
  for (auto _ : state) must("read", inode::read_into(world->store(), world->dir, attr));
}
void dir_lookup(State& state) {
  u64 i = 0;
  for (auto _ : state) must("lookup", dir::lookup(world->store(), world->dir, world->name(i++)));
}
void dir_lookup_missing(State& state) {
  u64 i = 0;
  for (auto _ : state) {
    char name[32];
    int length = snprintf(name, sizeof name, "missing%lu", static_cast<unsigned long>(i++ % kFiles));
    if (dir::lookup(world->store(), world->dir, {name, static_cast<std::size_t>(length)}).error() != ENOENT) exit(1);
  }
}
void dir_list(State& state) {
  i64 entries = 0;
  for (auto _ : state)
    must("list", dir::list(world->store(), world->dir, 0, [](void* count, const dir::Listed&) { ++*static_cast<i64*>(count); return true; }, &entries));
  state.SetItemsProcessed(entries);
}

void data_read(State& state) {
  static char block[1 << 20];
  const auto bytes = static_cast<u64>(state.range(0));
  data::IoVec vector{block, bytes};
  i64 offset = 0;
  for (auto _ : state) {
    must("read", vfs::read_file(world->task, world->file, offset, &vector, 1));
    offset = (offset + static_cast<i64>(bytes)) % (16 << 20);
  }
}
void data_overwrite(State& state) {
  static char block[1 << 20];
  const auto bytes = static_cast<u64>(state.range(0));
  data::IoVec vector{block, bytes};
  i64 offset = 0;
  for (auto _ : state) {
    must("write", vfs::write_file(world->task, world->file, offset, &vector, 1));
    offset = (offset + static_cast<i64>(bytes)) % (16 << 20);
  }
}

void vfs_stat(State& state) {
  struct stat st;
  u64 i = 0;
  for (auto _ : state) must("stat", vfs::stat_at(world->task, world->at("/d/" + world->name(i++)), vfs::Follow::kYes, false, &st));
}
void vfs_open_close(State& state) {
  u64 i = 0;
  for (auto _ : state) {
    open("/d/" + world->name(i++), O_RDONLY, kOther);
    close(kOther);
  }
}
void vfs_create_unlink(State& state) {
  for (auto _ : state) {
    create("/d/new");
    must("unlink", vfs::unlink_at(world->task, world->at("/d/new")));
  }
}
void vfs_rename(State& state) {
  create("/d/one");
  for (auto _ : state) {
    must("rename", vfs::rename_at(world->task, world->at("/d/one"), world->at("/d/two"), 0));
    must("rename", vfs::rename_at(world->task, world->at("/d/two"), world->at("/d/one"), 0));
  }
  must("unlink", vfs::unlink_at(world->task, world->at("/d/one")));
}

void announce() {
  using benchmark::RegisterBenchmark;
  RegisterBenchmark("base/crc32c of a line", base_crc32c);
  for (long bytes : {64, 4096, 1 << 20}) {
    RegisterBenchmark("pmem/copy in and fence, bytes", pmem_copy_in)->Arg(bytes);
    RegisterBenchmark("data/read, bytes", data_read)->Arg(bytes);
    RegisterBenchmark("data/overwrite, bytes", data_overwrite)->Arg(bytes);
  }
  RegisterBenchmark("pmem/store, flush, fence of a word", pmem_word_durable);
  RegisterBenchmark("journal/Tx that changes nothing", journal_empty_tx);
  RegisterBenchmark("alloc/take a block, give it back, two commits", alloc_take_and_release);
  RegisterBenchmark("inode/read", inode_read);
  RegisterBenchmark("dir/lookup", dir_lookup);
  RegisterBenchmark("dir/lookup, missing name", dir_lookup_missing);
  RegisterBenchmark("dir/list 10000 entries", dir_list);
  RegisterBenchmark("vfs/stat", vfs_stat);
  RegisterBenchmark("vfs/open and close", vfs_open_close);
  RegisterBenchmark("vfs/create, close and unlink", vfs_create_unlink);
  RegisterBenchmark("vfs/rename there and back", vfs_rename);
}

} // namespace
} // namespace pmemfile

int main(int argc, char** argv) {
  using namespace pmemfile;
  benchmark::Initialize(&argc, argv);
  char folder[] = "/dev/shm/pmb-rooms-XXXXXX"; // the pool and its V, gone at the end
  if (mkdtemp(folder) == nullptr) return 2;
  std::string path = std::string(folder) + "/pool";
  vfs::AttachFailure failure{};
  vfs::Pool::MakeOptions make;
  make.bytes = 128 << 20;
  if (!vfs::Pool::make(path.c_str(), make, &failure).ok()) {
    fprintf(stderr, "%s\n", failure.text);
    return 1;
  }
  vfs::AttachOptions options;
  options.shm_dir = folder;
  options.force_flush = getenv("FORCE_FLUSH") != nullptr;
  auto pool = vfs::Pool::attach(path.c_str(), options, &failure);
  if (!pool.ok()) {
    fprintf(stderr, "%s\n", failure.text);
    return 1;
  }
  world = new World{*pool.value(), {}, {}, {}, {}, {}};
  world->root.capabilities = ~u64{0};
  world->task.pool = pool.value();
  world->task.credentials = &world->root;
  world->task.root = Ino{pool.value()->store().geometry.root_ino[0]};
  furnish();
  announce();
  benchmark::RunSpecifiedBenchmarks();
  pool.value()->detach();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return 0;
}
