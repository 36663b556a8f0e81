// A storm of deaths: workers change private and shared objects of one pool and fork children that share their open files;
// a controller kills and stops them at random, up to three at once, mostly in the middle of an operation; each successor compares what
// it finds with the model of its predecessor (in memory that survives): what had returned is there, what had not is there wholly
// or not at all. In the end the pool is checked and every block must have come back.
//
// Between phases of storm there are calm ones, in which nobody dies or stops: the control. No operation may take 10 ms more
// in a storm than the slowest of the control (stalls.h says what counts).
//
// Workers pause between bursts of operations, so that processes are stopped by the storm and not by each other: sixteen that
// always want one of two processors wait for it, and for the deaths of others, nearly all the time.
//
//   kill_storm [--workers N] [--seconds N] [--events N] [--seed N] [--dir PATH: of its own] [--calm 1: nobody dies]
//
// Prints the seed, the kills, stops and forks, the slowest operations, and exits with 1 on a difference or a stall.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "alloc/alloc.h"
#include "arguments.h"
#include "fsck/check.h"
#include "stress/stalls.h"
#include "vfs/open_files.h"
#include "vfs/pool.h"

namespace pmemfile {
namespace {

using storm::Disturbance;
using storm::now_ns;
using storm::Slowest;

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
  u64 forks = 0, began_ns = 0; // began_ns: of the operation under way
  Slowest slowest;
  Disturbance own; // by its children
  char complaint[256] = "";
};
struct Shared {
  WorkerModel workers[kMaxWorkers];
  Disturbance controller;
  u32 finish = 0, storm = 0;

  u64 disturbed_ns(storm::Interval in) const {
    std::vector<storm::Interval> parts;
    controller.add_parts_of(in, parts);
    for (const WorkerModel& worker : workers) worker.own.add_parts_of(in, parts);
    return storm::length_of_union(std::move(parts));
  }
};

// V stands in the pool's directory, which is this test's own.
vfs::AttachOptions beside(const std::string& pool_path) {
  static std::string folder;
  folder = std::filesystem::path(pool_path).parent_path();
  vfs::AttachOptions options;
  options.shm_dir = folder.c_str();
  return options;
}

class Worker {
 public:
  Worker(const std::string& pool_path, int index, Shared& shared, u64 seed)
      : index_(index), shared_(shared), model_(shared.workers[index]), random_(seed) {
    if (model_.own.goes_on()) model_.own.end(now_ns()); // its predecessor died meanwhile
    vfs::AttachFailure failure{};
    auto pool = vfs::Pool::attach(pool_path.c_str(), beside(pool_path), &failure);
    if (!pool.ok()) complain(std::string("attach: ") + failure.text);
    pool_ = pool.value();
    task_.pool = pool_;
    task_.credentials = &credentials_;
    credentials_.capabilities = ~u64{0};
    root_ = task_.root = Ino{pool_->store().geometry.root_ino[0]};
  }

  void run() {
    std::string dir = "/w" + std::to_string(index_);
    (void)vfs::mkdir_at(task_, at(dir), 0755);
    (void)vfs::mkdir_at(task_, at("/shared"), 0755);
    settle();
    constexpr unsigned kForkEvery = 60, kPauseEvery = 5, kLongestPause_us = 4000;
    usage_ = thread_.read();
    while (load_relaxed(shared_.finish) == 0) {
      if (load_relaxed(shared_.storm) != 0 && random_() % kForkEvery == 0) fork_step();
      if (random_() % kPauseEvery == 0) pause(random_() % kLongestPause_us);
      timed([&] { if (random_() % 3 == 0) shared_step(); else private_step(); });
    }
    clean_up();
    pool_->detach();
  }

 private:
  [[noreturn]] void complain(const std::string& text) {
    snprintf(model_.complaint, sizeof model_.complaint, "worker %d: %s", index_, text.c_str());
    _exit(1);
  }

  void pause(u64 us) {
    usleep(static_cast<useconds_t>(us));
    usage_ = thread_.read();
  }

  Slowest::Phase phase() const { return load_relaxed(shared_.storm) != 0 ? Slowest::kStorm : Slowest::kCalm; }

  template <class Step>
  void timed(Step&& step) {
    constexpr u64 kWorthAsking_ns = 300'000; // the question costs more than most operations
    Slowest::Phase before = phase();
    u64 start = now_ns();
    store_relaxed(model_.began_ns, start);
    step();
    store_relaxed(model_.began_ns, u64{0});
    u64 end = now_ns();
    ++model_.slowest.operations[before];
    if (end - start > kWorthAsking_ns && before == phase()) note(before, {start, end});
  }
  void note(Slowest::Phase phase, storm::Interval when) {
    auto worst = [](u64& of, u64 took) { of = max_of(of, took); };
    storm::ThreadUsage::Reading now = thread_.read();
    u64 took = when.end - when.begin, waited = now.waited_for_processor_ns - usage_.waited_for_processor_ns;
    bool slept = now.sleeps != usage_.sleeps;
    usage_ = now;
    worst(model_.slowest.whole_ns[phase], took);
    took -= min_of(took, waited);
    if (!slept) return worst(model_.slowest.awake_ns[phase], took);
    worst(model_.slowest.excused_ns[phase], took);
    model_.slowest.note_asleep(phase, took - min_of(took, shared_.disturbed_ns(when)), doing_);
  }

  // A child that shares an open file works until it is killed, or ends by itself.
  void fork_step() {
    std::string path = "/w" + std::to_string(index_) + "/shared with children";
    auto opened = vfs::open_at(task_, at(path), O_CREAT | O_RDWR | O_APPEND, 0644, kSharedHandle);
    if (!opened.ok()) complain("open for a child: errno " + std::to_string(opened.error()));
    auto ticket = pool_->prepare_child();
    if (!ticket.ok()) complain("prepare_child: errno " + std::to_string(ticket.error()));
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(0);
      pool_->become_child(ticket.value());
      be_child(opened.value().description);
    }
    if (child < 0) {
      pool_->cancel_child(ticket.value());
    } else {
      pool_->parent_after_fork(ticket.value());
      ++model_.forks;
      usleep(static_cast<useconds_t>(random_() % 1500));
      model_.own.begin(now_ns());
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
      model_.own.end(now_ns());
    }
    if (!vfs::close_handle(*pool_, kSharedHandle).ok()) complain("close of what a child shared");
    int error = vfs::unlink_at(task_, at(path)).error();
    if (error != 0) complain("unlink of what a child shared: errno " + std::to_string(error));
    usage_ = thread_.read();
  }
  [[noreturn]] void be_child(vfs::Description file) {
    random_.seed(random_() ^ static_cast<u64>(getpid()));
    for (u64 steps = random_() % 40; steps != 0; --steps) {
      u64 record = steps;
      data::IoVec vector{&record, sizeof record};
      auto written = vfs::write_file(task_, file, -1, &vector, 1);
      if (!written.ok()) complain("write by a child: errno " + std::to_string(written.error()));
      shared_step();
    }
    if (random_() % 2 == 0) pool_->detach();
    _exit(0);
  }

  vfs::At at(const std::string& path) { return vfs::At{root_, path}; }
  std::string path_of(int name) { return "/w" + std::to_string(index_) + "/a name of the worker " + std::to_string(name); }
  static constexpr u32 kHandle = 50, kSharedHandle = 51;

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
  void step(const char* what, Operation&& operation) {
    doing_ = what;
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
      if (state.kind == 1) step("create", [&] { return create(a); });
      if (state.kind == 2) step("mkdir", [&] { return vfs::mkdir_at(task_, at(path_of(a)), 0700).error(); });
      if (state.kind == 3) step("symlink", [&] { return vfs::symlink_at(task_, std::string(dice == 8 ? 20 : 300, 't'), at(path_of(a))).error(); });
    } else if (dice < 2) {
      u32 kind = state.kind;
      state = NameState{};
      step("remove", [&] { return kind == 2 ? vfs::rmdir_at(task_, at(path_of(a))).error() : vfs::unlink_at(task_, at(path_of(a))).error(); });
    } else if (dice < 4 && a != b && (other.kind == 0 || (other.kind == 2) == (state.kind == 2))) {
      other = state;
      state = NameState{};
      step("rename", [&] { return vfs::rename_at(task_, at(path_of(a)), at(path_of(b)), 0).error(); });
    } else if (dice < 5 && a != b && other.kind != 0) {
      std::swap(state, other);
      step("exchange", [&] { return vfs::rename_at(task_, at(path_of(a)), at(path_of(b)), RENAME_EXCHANGE).error(); });
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
      step("truncate", [&] { return vfs::truncate_at(task_, at(path_of(name)), state.records * 8).error(); });
      return;
    }
    if (state.records == 0) state.file = model_.next_file++;
    u64 first = state.records;
    // Up to one block: a write of one chunk is wholly there or not at all.
    u64 count = dice == 6 ? 1 + random_() % 400 : 1;
    doing_ = "open to append";
    if (first + count > kMaxRecords) return;
    state.records += count;
    u32 file = state.file;
    auto opened = vfs::open_at(task_, at(path_of(name)), O_WRONLY | O_APPEND, 0, kHandle);
    if (!opened.ok()) complain("open to append: errno " + std::to_string(opened.error()));
    u64 buffer[400];
    for (u64 i = 0; i < count; ++i) buffer[i] = u64{file} << 32 | (first + i);
    data::IoVec vector{buffer, count * 8};
    step("append", [&] {
      auto written = vfs::write_file(task_, opened.value().description, -1, &vector, 1);
      return written.ok() && written.value() != count * 8 ? EIO : written.error();
    });
    if (!vfs::close_handle(*pool_, kHandle).ok()) complain("close");
  }

  // Names that all workers fight for: any outcome but damage is right.
  void shared_step() {
    std::string path = "/shared/" + std::to_string(random_() % 12), other = "/shared/" + std::to_string(random_() % 12);
    static constexpr const char* kWhat[] = {"open, write, read, close", "open, write, read, close", "unlink", "rename",
                                            "mkdir", "rmdir", "link", "resolve"};
    u64 dice = random_() % 8;
    int error = 0;
    doing_ = kWhat[dice];
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
      default: complain(std::string(doing_) + " of " + path + ", " + other + ": errno " + std::to_string(error));
    }
  }

  void clean_up() {
    for (int name = 0; name < kNames; ++name) {
      if (model_.names[name].kind == 0) continue;
      int error = model_.names[name].kind == 2 ? vfs::rmdir_at(task_, at(path_of(name))).error()
                                               : vfs::unlink_at(task_, at(path_of(name))).error();
      if (error != 0) complain("clean up: errno " + std::to_string(error));
    }
    (void)vfs::unlink_at(task_, at("/w" + std::to_string(index_) + "/shared with children"));
    if (vfs::rmdir_at(task_, at("/w" + std::to_string(index_))).error() != 0) complain("rmdir of its own directory");
    for (int i = 0; i < 12; ++i) {
      std::string path = "/shared/" + std::to_string(i);
      if (vfs::unlink_at(task_, at(path)).error() == EISDIR) (void)vfs::rmdir_at(task_, at(path));
    }
  }

  int index_;
  Shared& shared_;
  WorkerModel& model_;
  const char* doing_ = ""; // for people
  storm::ThreadUsage thread_;
  storm::ThreadUsage::Reading usage_; // before the operation under way, or somewhat earlier
  std::mt19937_64 random_;
  vfs::Pool* pool_ = nullptr;
  vfs::Credentials credentials_;
  vfs::Task task_;
  Ino root_{};
};

// Leads a process group: its children are in it, and come to the controller when it dies.
pid_t start_worker(const std::string& pool, int index, Shared& shared, u64 seed) {
  pid_t pid = fork();
  if (pid != 0) {
    setpgid(pid, pid);
    return pid;
  }
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Worker(pool, index, shared, seed).run();
  _exit(0);
}

// Waits for a worker and the children it leaves, and counts those that were killed. A worker that ended by itself has complained.
bool reap(pid_t worker, Shared& shared, int index, u64& killed) {
  int status = 0;
  while (waitpid(-worker, &status, 0) > 0) {
    if (!WIFSIGNALED(status)) continue;
    ++killed;
    if (WTERMSIG(status) == SIGKILL) continue;
    fprintf(stderr, "worker %d or a child of it died of signal %d\n", index, WTERMSIG(status));
    return false;
  }
  if (shared.workers[index].complaint[0] == '\0') return true;
  fprintf(stderr, "%s\n", shared.workers[index].complaint);
  return false;
}

// For people: what is left, and whether somebody meant to free it.
void describe_orphans(journal::Store& store) {
  const shm::Segment& v = store.segment;
  const shm::ProcessTable& table = shm::process_table(v);
  journal::View view(store);
  for (u64 list = 0; list < layout::kOrphanLists; ++list) {
    PoolOff head = journal::block_offset(BlockNo{store.geometry.orphan_block}) + list * layout::kLineBytes;
    for (Ino ino{view.load(head)}; ino != Ino{}; ino = Ino{view.load(layout::inode_offset(ino) + layout::kInodeNextOrphan)}) {
      auto attr = inode::read(store, ino);
      if (!attr.ok()) {
        fprintf(stderr, "orphan %lu: errno %d\n", raw(ino), attr.error());
        break;
      }
      unsigned noted = 0;
      for (u32 i = 0; i < v.header->process_count; ++i)
        for (u64 word : shm::process_entry(v, i).pending) noted += (word & ~shm::kPendingLeft) == vfs::pending_word(ino, attr.value().generation);
      fprintf(stderr, "orphan %lu, generation %lu, list %lu: links %u, flags %x, blocks %lu, in use %d, noted %u\n", raw(ino), attr.value().generation,
              list, attr.value().nlink, attr.value().flags, attr.value().blocks, shm::in_use(v, ino), noted);
    }
  }
  printf("V: epoch %lu; entries occupied %lu, buried %lu, unburied %lu\n", v.header->record_epoch, table.occupied, table.buried, table.unburied);
}

bool check_pool(const std::string& path, u64 free_at_start) {
  vfs::AttachFailure failure{};
  auto pool = vfs::Pool::attach(path.c_str(), beside(path), &failure);
  if (!pool.ok()) {
    fprintf(stderr, "last attach: %s\n", failure.text);
    return false;
  }
  journal::Store& store = pool.value()->store();
  auto report = fsck::check({reinterpret_cast<const std::byte*>(store.medium.base), store.medium.bytes});
  for (const auto& finding : report.findings) fprintf(stderr, "%s\n", fsck::to_text(finding).c_str());
  u64 free_now = alloc::count_space(store).free_blocks;
  printf("free blocks: %lu at the start, %lu now; orphans %lu\n", free_at_start, free_now, report.totals.orphans);
  describe_orphans(store);
  pool.value()->detach();
  // The directory /shared with a leaf, and blocks of inodes in which a root or a leased inode stands, may remain.
  return report.clean() && report.totals.orphans == 0 && free_now + 40 >= free_at_start;
}

struct Settings {
  int workers = 4;
  double seconds = 0; // both may be given: whichever is reached first
  u64 events = 0, seed = 0;
  std::string path;
  bool calm = false;
};

class Storm {
 public:
  Storm(const Settings& settings, Shared& shared) : settings_(settings), shared_(shared), random_(settings.seed) {}

  bool run() {
    constexpr u64 kStorm_ns = 2'000'000'000, kCalm_ns = 500'000'000;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int i = 0; i < settings_.workers; ++i) pids_[i] = start_worker(settings_.path, i, shared_, random_());
    u64 end = now_ns() + static_cast<u64>(settings_.seconds * 1e9);
    bool good = true;
    auto over = [&] {
      return (settings_.events != 0 && kills_ + stops_ + forks() >= settings_.events) || (settings_.seconds != 0 && now_ns() >= end);
    };
    while (good && !over()) {
      shared_.storm = settings_.calm ? 0 : 1;
      for (u64 until = now_ns() + kStorm_ns; good && now_ns() < until && !over();) good = event();
      shared_.storm = 0;
      usleep(kCalm_ns / 1000);
      good = good && nobody_hangs();
    }
    shared_.finish = 1;
    u64 not_counted = 0;
    for (int i = 0; i < settings_.workers; ++i) {
      if (pids_[i] > 0 && !good) kill(pids_[i], SIGKILL);
      if (pids_[i] > 0) good = reap(pids_[i], shared_, i, not_counted) && good;
    }
    return report() && good;
  }

 private:
  u64 forks() const {
    u64 sum = 0;
    for (const WorkerModel& worker : shared_.workers) sum += load_relaxed(worker.forks);
    return sum;
  }

  bool event() {
    constexpr u64 kLongestRest_us = 2000;
    usleep(static_cast<useconds_t>(random_() % kLongestRest_us));
    if (settings_.calm) return true;
    std::vector<int> victims = choose_victims();
    bool stop = random_() % 4 == 0, good = true;
    shared_.controller.begin(now_ns());
    if (stop && stop_for_a_while(victims)) {
      shared_.controller.end(now_ns());
      return true;
    }
    for (int victim : victims) kill(pids_[victim], SIGKILL);
    for (int victim : victims) {
      good = reap(pids_[victim], shared_, victim, kills_) && good;
      pids_[victim] = -1;
    }
    shared_.controller.end(now_ns());
    for (int victim : victims)
      if (good) pids_[victim] = start_worker(settings_.path, victim, shared_, random_());
    return good;
  }

  // One, two or three; if there are any, such as are in the middle of an operation.
  std::vector<int> choose_victims() {
    constexpr u64 kPatience_ns = 300'000;
    std::vector<int> victims;
    u64 wanted = 1 + random_() % 3, until = now_ns() + kPatience_ns;
    while (victims.size() < wanted) {
      int victim = static_cast<int>(random_() % static_cast<u64>(settings_.workers));
      bool at_work = load_relaxed(shared_.workers[victim].began_ns) != 0 || now_ns() >= until;
      if (at_work && std::find(victims.begin(), victims.end(), victim) == victims.end()) victims.push_back(victim);
      else if (victims.size() == static_cast<u64>(settings_.workers)) break;
    }
    return victims;
  }

  // True: they go on again.
  bool stop_for_a_while(const std::vector<int>& victims) {
    constexpr u64 kLongestStop_us = 2000;
    for (int victim : victims) kill(pids_[victim], SIGSTOP);
    stops_ += victims.size();
    usleep(static_cast<useconds_t>(random_() % kLongestStop_us));
    if (random_() % 3 == 0) return false;
    for (int victim : victims) kill(pids_[victim], SIGCONT);
    return true;
  }

  bool nobody_hangs() {
    constexpr u64 kHang_ns = 60'000'000'000;
    for (int i = 0; i < settings_.workers; ++i) {
      u64 began = load_relaxed(shared_.workers[i].began_ns), now = now_ns();
      if (began == 0 || now < began + kHang_ns || kill(pids_[i], 0) != 0) continue;
      fprintf(stderr, "worker %d is in one operation since %lu s\n", i, (now - began) / 1'000'000'000);
      return false;
    }
    return true;
  }

  bool report() {
    constexpr u64 kStall_ns = 10'000'000;
    Slowest slowest;
    for (const WorkerModel& worker : shared_.workers) slowest.take_worst_of(worker.slowest);
    auto ms = [](u64 ns) { return static_cast<double>(ns) / 1e6; };
    printf("%lu kills, %lu stops, %lu forks with a kill, %.0f s; %lu operations in the storm, %lu in the control\n", kills_, stops_, forks(),
           ms(now_ns() - began_ns_) / 1e3, slowest.operations[Slowest::kStorm], slowest.operations[Slowest::kCalm]);
    u64 in_storm = slowest.asleep_ns[Slowest::kStorm], in_calm = slowest.asleep_ns[Slowest::kCalm];
    printf("the slowest took %.1f ms in the storm (%s), %.1f ms in the control (%s)\n", ms(in_storm), slowest.asleep_in[Slowest::kStorm],
           ms(in_calm), slowest.asleep_in[Slowest::kCalm]);
    printf("of those that did not sleep %.1f and %.1f ms; with the times in which somebody was stopped or dying %.1f and %.1f ms, with "
           "waiting for a processor, too, %.1f and %.1f ms\n",
           ms(slowest.awake_ns[Slowest::kStorm]), ms(slowest.awake_ns[Slowest::kCalm]), ms(slowest.excused_ns[Slowest::kStorm]),
           ms(slowest.excused_ns[Slowest::kCalm]), ms(slowest.whole_ns[Slowest::kStorm]), ms(slowest.whole_ns[Slowest::kCalm]));
    bool good = in_storm <= in_calm + kStall_ns;
    if (!good) fprintf(stderr, "an operation was stalled\n");
    return good;
  }

  const Settings& settings_;
  Shared& shared_;
  std::mt19937_64 random_;
  pid_t pids_[kMaxWorkers] = {};
  u64 kills_ = 0, stops_ = 0, began_ns_ = now_ns();
};

int run(const Settings& settings) {
  printf("seed %lu\n", settings.seed);
  vfs::AttachFailure failure{};
  vfs::Pool::MakeOptions options;
  options.bytes = 64 << 20;
  options.force = true;
  std::filesystem::create_directories(std::filesystem::path(settings.path).parent_path());
  auto geometry = vfs::Pool::make(settings.path.c_str(), options, &failure);
  if (!geometry.ok()) {
    fprintf(stderr, "%s\n", failure.text);
    return 1;
  }
  u64 free_at_start = geometry.value().block_count - geometry.value().data_start_block - 1;
  auto* shared = static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  new (shared) Shared();
  bool good = Storm(settings, *shared).run();
  for (const WorkerModel& worker : shared->workers) {
    if (worker.complaint[0] != '\0') good = false, fprintf(stderr, "%s\n", worker.complaint);
  }
  if (good) good = check_pool(settings.path, free_at_start);
  if (good) std::filesystem::remove_all(std::filesystem::path(settings.path).parent_path());
  printf(good ? "every state was right\n" : "FAILED (the pool is kept)\n");
  return good ? 0 : 1;
}

} // namespace
} // namespace pmemfile

int main(int argc, char** argv) {
  pmemfile::Settings settings;
  settings.seed = std::random_device{}();
  settings.path = "/dev/shm/kill-storm-" + std::to_string(getpid()) + "/pool";
  pmemfile::Arguments arguments(argc, argv);
  while (arguments.next()) {
    if (arguments.is("--workers")) settings.workers = std::min(static_cast<int>(arguments.number()), pmemfile::kMaxWorkers);
    else if (arguments.is("--seconds")) settings.seconds = arguments.real();
    else if (arguments.is("--events")) settings.events = arguments.number();
    else if (arguments.is("--seed")) settings.seed = arguments.number();
    else if (arguments.is("--dir")) settings.path = arguments.text() + "/pool";
    else if (arguments.is("--calm")) settings.calm = arguments.number() != 0;
    else arguments.refuse();
  }
  if (!arguments.good("kill_storm [--workers N] [--seconds N] [--events N] [--seed N] [--dir PATH] [--calm 1]")) return 2;
  if (settings.seconds == 0 && settings.events == 0) settings.seconds = 5;
  return pmemfile::run(settings);
}
