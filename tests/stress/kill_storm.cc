// A storm of deaths: workers change private and shared objects of one pool; a controller kills and stops them at
// random; each successor compares what it finds with the model of its predecessor (in memory that survives): what had
// returned is there, what had not is there wholly or not at all. In the end the pool is checked and every block must
// have come back.
//
//   kill_storm [--workers N] [--seconds N] [--seed N] [--pool PATH] [--calm 1: nobody dies]
//
// Prints the seed, the deaths, the longest time an operation of a survivor took, and exits with 1 on a difference.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>

#include "alloc/alloc.h"
#include "fsck/check.h"
#include "vfs/pool.h"

namespace pmemfile {
namespace {

constexpr int kNames = 8, kMaxWorkers = 64;
constexpr u64 kMaxRecords = 3000; // of 8 bytes: some blocks, so that appends and truncations change the map

struct NameState {
  u32 kind = 0; // 0 nothing, 1 file, 2 directory, 3 symlink
  u32 file = 0; // which file: its records say so
  u64 records = 0;
  bool operator==(const NameState&) const = default;
};

// Outlives the worker it describes.
struct WorkerModel {
  NameState names[kNames], after[kNames]; // `after`: if the operation under way has happened
  u32 under_way = 0;
  u32 next_file = 1;
  u64 operations = 0, slowest_ns = 0;
  char complaint[256] = "";
};
struct Shared {
  WorkerModel workers[kMaxWorkers];
  u32 finish = 0;
};

u64 now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

class Worker {
 public:
  Worker(const std::string& pool_path, int index, WorkerModel& model, u64 seed)
      : index_(index), model_(model), random_(seed) {
    vfs::AttachFailure failure{};
    auto pool = vfs::Pool::attach(pool_path.c_str(), {}, &failure);
    if (!pool.ok()) complain(std::string("attach: ") + failure.text);
    pool_ = pool.value();
    task_.pool = pool_;
    task_.credentials = &credentials_;
    credentials_.capabilities = ~u64{0};
    root_ = task_.root = Ino{pool_->store().geometry.root_ino[0]};
  }

  void run(const u32& finish) {
    std::string dir = "/w" + std::to_string(index_);
    (void)vfs::mkdir_at(task_, at(dir), 0755);
    (void)vfs::mkdir_at(task_, at("/shared"), 0755);
    settle();
    while (load_relaxed(finish) == 0) {
      u64 start = now_ns();
      if (random_() % 3 == 0) shared_step(); else private_step();
      u64 took = now_ns() - start;
      if (took > model_.slowest_ns) model_.slowest_ns = took;
      ++model_.operations;
    }
    clean_up();
    pool_->detach();
  }

 private:
  [[noreturn]] void complain(const std::string& text) {
    snprintf(model_.complaint, sizeof model_.complaint, "worker %d: %s", index_, text.c_str());
    _exit(1);
  }
  vfs::At at(const std::string& path) { return vfs::At{root_, path}; }
  std::string path_of(int name) { return "/w" + std::to_string(index_) + "/a name of the worker " + std::to_string(name); }
  static constexpr u32 kHandle = 50;

  // ---- what is there ----
  NameState look(int name) {
    NameState state;
    auto attr = vfs::resolve(task_, at(path_of(name)), vfs::Follow::kNo);
    if (attr.error() == ENOENT) return state;
    if (!attr.ok()) complain("resolve " + path_of(name) + ": errno " + std::to_string(attr.error()));
    if (S_ISDIR(attr.value().mode)) state.kind = 2;
    if (S_ISLNK(attr.value().mode)) state.kind = 3;
    if (!S_ISREG(attr.value().mode)) return state;
    state.kind = 1;
    state.records = attr.value().size / 8;
    if (attr.value().size % 8 != 0) complain("size " + std::to_string(attr.value().size));
    auto opened = vfs::open_at(task_, at(path_of(name)), O_RDONLY, 0, kHandle);
    if (!opened.ok()) complain("open: errno " + std::to_string(opened.error()));
    static u64 buffer[kMaxRecords + 1];
    data::IoVec vector{buffer, sizeof buffer};
    u64 bytes = vfs::read_file(task_, opened.value().description, 0, &vector, 1).value_or(0);
    if (bytes != attr.value().size) complain("short read " + std::to_string(bytes) + " of " + std::to_string(attr.value().size));
    for (u64 i = 0; i < state.records; ++i) {
      if (i == 0) state.file = static_cast<u32>(buffer[0] >> 32);
      if (buffer[i] != (u64{state.file} << 32 | i)) complain("name " + std::to_string(name) + " ino " + std::to_string(raw(attr.value().ino)) + ": record " + std::to_string(i) +
                 " of " + std::to_string(state.records) + " holds " + std::to_string(buffer[i]) + "; model before " +
                 std::to_string(model_.names[name].records) + ", after " + std::to_string(model_.after[name].records) +
                 (model_.under_way != 0 ? ", under way" : ", at rest"));
    }
    if (!vfs::close_handle(*pool_, kHandle).ok()) complain("close");
    return state;
  }
  // An empty file does not say which it is.
  static bool same(NameState model, NameState found) {
    if (model.records == 0) model.file = found.file;
    return model == found;
  }

  // Which of the two states did the predecessor leave?
  void settle() {
    bool before = true, after = true;
    std::string what;
    for (int name = 0; name < kNames; ++name) {
      NameState found = look(name);
      if (!same(model_.names[name], found)) {
        before = false;
        what = std::to_string(name) + ": kind " + std::to_string(found.kind) + " records " + std::to_string(found.records) +
               ", before " + std::to_string(model_.names[name].kind) + "/" + std::to_string(model_.names[name].records) +
               ", after " + std::to_string(model_.after[name].kind) + "/" + std::to_string(model_.after[name].records);
      }
      after = after && same(model_.after[name], found);
    }
    if (!before && !(model_.under_way != 0 && after)) complain("neither before nor after: " + what);
    if (!before) memcpy(model_.names, model_.after, sizeof model_.names);
    model_.under_way = 0;
  }

  // ---- one operation with its model ----
  template <class Operation>
  void step(Operation&& operation) {
    compiler_fence();
    model_.under_way = 1;
    compiler_fence();
    int error = operation();
    if (error != 0) complain("errno " + std::to_string(error));
    compiler_fence();
    // A death in this copy leaves names equal to `after`, in part or whole.
    memcpy(model_.names, model_.after, sizeof model_.names);
    compiler_fence();
    model_.under_way = 0;
  }

  void private_step() {
    int a = static_cast<int>(random_() % kNames), b = static_cast<int>(random_() % kNames);
    memcpy(model_.after, model_.names, sizeof model_.names);
    NameState& state = model_.after[a];
    NameState& other = model_.after[b];
    u64 dice = random_() % 10;
    if (state.kind == 0) {
      state.kind = dice < 6 ? 1 : dice < 8 ? 2 : 3;
      state.file = model_.next_file++;
      if (state.kind == 1) step([&] { return create(a); });
      if (state.kind == 2) step([&] { return vfs::mkdir_at(task_, at(path_of(a)), 0700).error(); });
      if (state.kind == 3) step([&] { return vfs::symlink_at(task_, std::string(dice == 8 ? 20 : 300, 't'), at(path_of(a))).error(); });
    } else if (dice < 2) {
      u32 kind = state.kind;
      state = NameState{};
      step([&] { return kind == 2 ? vfs::rmdir_at(task_, at(path_of(a))).error() : vfs::unlink_at(task_, at(path_of(a))).error(); });
    } else if (dice < 4 && a != b && (other.kind == 0 || (other.kind == 2) == (state.kind == 2))) {
      other = state;
      state = NameState{};
      step([&] { return vfs::rename_at(task_, at(path_of(a)), at(path_of(b)), 0).error(); });
    } else if (dice < 5 && a != b && other.kind != 0) {
      std::swap(state, other);
      step([&] { return vfs::rename_at(task_, at(path_of(a)), at(path_of(b)), RENAME_EXCHANGE).error(); });
    } else if (state.kind == 1) {
      file_step(a, state, dice);
    }
  }

  int create(int name) {
    auto opened = vfs::open_at(task_, at(path_of(name)), O_CREAT | O_EXCL | O_WRONLY, 0644, kHandle);
    return opened.ok() ? vfs::close_handle(*pool_, kHandle).error() : opened.error();
  }

  void file_step(int name, NameState& state, u64 dice) {
    if (dice == 5 && state.records != 0) {
      state.records = random_() % state.records;
      step([&] { return vfs::truncate_at(task_, at(path_of(name)), state.records * 8).error(); });
      return;
    }
    if (state.records == 0) state.file = model_.next_file++;
    u64 first = state.records;
    // Up to one block: a write of one chunk is wholly there or not at all.
    u64 count = dice == 6 ? 1 + random_() % 400 : 1;
    if (first + count > kMaxRecords) return;
    state.records += count;
    u32 file = state.file;
    auto opened = vfs::open_at(task_, at(path_of(name)), O_WRONLY | O_APPEND, 0, kHandle);
    if (!opened.ok()) complain("open to append: errno " + std::to_string(opened.error()));
    u64 buffer[400];
    for (u64 i = 0; i < count; ++i) buffer[i] = u64{file} << 32 | (first + i);
    data::IoVec vector{buffer, count * 8};
    step([&] {
      auto written = vfs::write_file(task_, opened.value().description, -1, &vector, 1);
      return written.ok() && written.value() != count * 8 ? EIO : written.error();
    });
    if (!vfs::close_handle(*pool_, kHandle).ok()) complain("close");
  }

  // Names that all workers fight for: any outcome but damage is right.
  void shared_step() {
    std::string path = "/shared/" + std::to_string(random_() % 12), other = "/shared/" + std::to_string(random_() % 12);
    u64 dice = random_() % 8;
    int error = 0;
    switch (dice) {
      case 0:
      case 1: {
        auto opened = vfs::open_at(task_, at(path), O_CREAT | O_RDWR | (random_() % 2 != 0 ? O_APPEND : 0), 0644, kHandle);
        error = opened.error();
        if (!opened.ok()) break;
        u64 buffer[64] = {};
        data::IoVec vector{buffer, sizeof buffer};
        (void)vfs::write_file(task_, opened.value().description, -1, &vector, 1);
        (void)vfs::read_file(task_, opened.value().description, 0, &vector, 1);
        if (!vfs::close_handle(*pool_, kHandle).ok()) complain("close of a shared file");
        break;
      }
      case 2: error = vfs::unlink_at(task_, at(path)).error(); break;
      case 3: error = vfs::rename_at(task_, at(path), at(other), 0).error(); break;
      case 4: error = vfs::mkdir_at(task_, at(path), 0755).error(); break;
      case 5: error = vfs::rmdir_at(task_, at(path)).error(); break;
      case 6: error = vfs::link_at(task_, at(path), at(other), vfs::Follow::kNo, false).error(); break;
      default: error = vfs::resolve(task_, at(path), vfs::Follow::kNo).error();
    }
    switch (error) {
      case 0: case ENOENT: case EEXIST: case EISDIR: case ENOTDIR: case EPERM: case ENOTEMPTY: case EINVAL: break;
      default: complain("shared operation " + std::to_string(dice) + " on " + path + ", " + other + ": errno " + std::to_string(error));
    }
  }

  void clean_up() {
    for (int name = 0; name < kNames; ++name) {
      if (model_.names[name].kind == 0) continue;
      int error = model_.names[name].kind == 2 ? vfs::rmdir_at(task_, at(path_of(name))).error()
                                               : vfs::unlink_at(task_, at(path_of(name))).error();
      if (error != 0) complain("clean up: errno " + std::to_string(error));
    }
    if (vfs::rmdir_at(task_, at("/w" + std::to_string(index_))).error() != 0) complain("rmdir of its own directory");
    for (int i = 0; i < 12; ++i) {
      std::string path = "/shared/" + std::to_string(i);
      if (vfs::unlink_at(task_, at(path)).error() == EISDIR) (void)vfs::rmdir_at(task_, at(path));
    }
  }

  int index_;
  WorkerModel& model_;
  std::mt19937_64 random_;
  vfs::Pool* pool_ = nullptr;
  vfs::Credentials credentials_;
  vfs::Task task_;
  Ino root_{};
};

pid_t start_worker(const std::string& pool, int index, Shared& shared, u64 seed) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Worker(pool, index, shared.workers[index], seed).run(shared.finish);
  _exit(0);
}

// Reaps; a worker that ended by itself has complained.
bool reap(pid_t pid, Shared& shared, int index) {
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
    fprintf(stderr, "worker %d died of signal %d\n", index, WTERMSIG(status));
    return false;
  }
  if (shared.workers[index].complaint[0] != '\0') {
    fprintf(stderr, "%s\n", shared.workers[index].complaint);
    return false;
  }
  return true;
}

bool check_pool(const std::string& path, u64 free_at_start) {
  vfs::AttachFailure failure{};
  auto pool = vfs::Pool::attach(path.c_str(), {}, &failure);
  if (!pool.ok()) {
    fprintf(stderr, "last attach: %s\n", failure.text);
    return false;
  }
  journal::Store& store = pool.value()->store();
  auto report = fsck::check({reinterpret_cast<const std::byte*>(store.medium.base), store.medium.bytes});
  for (const auto& finding : report.findings) fprintf(stderr, "%s\n", fsck::to_text(finding).c_str());
  u64 free_now = alloc::count_space(store).free_blocks;
  printf("free blocks: %lu at the start, %lu now; orphans %lu\n", free_at_start, free_now, report.totals.orphans);
  pool.value()->detach();
  // The directory /shared with a leaf, and blocks of inodes in which a root or a leased inode stands, may remain.
  return report.clean() && report.totals.orphans == 0 && free_now + 40 >= free_at_start;
}

int run(int workers, double seconds, u64 seed, const std::string& path, bool calm) {
  printf("seed %lu\n", seed);
  vfs::AttachFailure failure{};
  vfs::Pool::MakeOptions options;
  options.bytes = 64 << 20;
  options.force = true;
  auto geometry = vfs::Pool::make(path.c_str(), options, &failure);
  if (!geometry.ok()) {
    fprintf(stderr, "%s\n", failure.text);
    return 1;
  }
  u64 free_at_start = geometry.value().block_count - geometry.value().data_start_block - 1;
  auto* shared = static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  new (shared) Shared();
  std::mt19937_64 random(seed);
  pid_t pids[kMaxWorkers];
  for (int i = 0; i < workers; ++i) pids[i] = start_worker(path, i, *shared, random());
  u64 deaths = 0, end = now_ns() + static_cast<u64>(seconds * 1e9);
  bool good = true;
  while (good && now_ns() < end) {
    usleep(static_cast<useconds_t>(random() % 3000));
    if (calm) continue;
    int victim = static_cast<int>(random() % static_cast<u64>(workers));
    if (random() % 8 == 0) {
      kill(pids[victim], SIGSTOP);
      usleep(static_cast<useconds_t>(random() % 2000));
      if (random() % 2 != 0) kill(pids[victim], SIGCONT);
    }
    kill(pids[victim], SIGKILL);
    good = reap(pids[victim], *shared, victim);
    ++deaths;
    pids[victim] = good ? start_worker(path, victim, *shared, random()) : -1;
  }
  shared->finish = 1;
  for (int i = 0; i < workers; ++i) {
    if (pids[i] > 0 && !good) kill(pids[i], SIGKILL);
    if (pids[i] > 0) good = reap(pids[i], *shared, i) && good;
  }
  u64 operations = 0, slowest = 0;
  for (int i = 0; i < workers; ++i) {
    operations += shared->workers[i].operations;
    slowest = max_of(slowest, shared->workers[i].slowest_ns);
  }
  printf("%lu deaths, %lu operations, the slowest took %.1f ms\n", deaths, operations, static_cast<double>(slowest) / 1e6);
  if (good) good = check_pool(path, free_at_start);
  if (good) unlink(path.c_str());
  printf(good ? "every state was right\n" : "FAILED (the pool is kept)\n");
  return good ? 0 : 1;
}

} // namespace
} // namespace pmemfile

int main(int argc, char** argv) {
  int workers = 4;
  double seconds = 5;
  bool calm = false;
  unsigned long seed = std::random_device{}();
  std::string path = "/dev/shm/pmemfile-kill-storm-" + std::to_string(getpid());
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string option = argv[i];
    if (option == "--workers") workers = std::min(atoi(argv[i + 1]), pmemfile::kMaxWorkers);
    if (option == "--seconds") seconds = atof(argv[i + 1]);
    if (option == "--seed") seed = strtoul(argv[i + 1], nullptr, 0);
    if (option == "--pool") path = argv[i + 1];
    if (option == "--calm") calm = atoi(argv[i + 1]) != 0;
  }
  return pmemfile::run(workers, seconds, seed, path, calm);
}
