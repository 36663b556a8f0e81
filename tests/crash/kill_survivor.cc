// The process that lives: what it sees while the victim is stopped, and what it can do after its death.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>

#include "crash/kill_world.h"
#include "vfs/repair.h"

namespace pmemfile::kill_steps {
namespace {

constexpr u64 kReadLimit_ns = 5'000'000;    // of one look at everything, about a hundred verbs
constexpr u64 kChangeLimit_ns = 50'000'000; // of one verb that may meet the locks of the dead

u64 now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

class Survivor {
 public:
  Survivor(const Scenario& scenario, int socket, u64 seed) : scenario_(scenario), socket_(socket), random_(seed) {
    schedstat_ = ::open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
    if (actor_.attach() != 0) _exit(1);
    if (int error = scenario.in.survivor(actor_)) complain("preparation: errno %d", error);
  }

  [[noreturn]] void run() {
    answer();
    for (;;) {
      char order = 0;
      if (read(socket_, &order, 1) != 1) _exit(2);
      obey(static_cast<Order>(order));
      answer();
    }
  }

 private:
  void obey(Order order) {
    switch (order) {
      case Order::kLoop:
        loop();
        break;
      case Order::kFork:
        fork_victim();
        break;
      case Order::kStopped:
        check("beside the stopped victim", true);
        break;
      case Order::kCompleted:
        check("after completion", true);
        if (!is(state_, State::kAfter)) complain("a completed operation is not there:%s", difference(world().after, tree_).c_str());
        break;
      case Order::kKilled:
        check("after the death", true);
        go_on();
        break;
      case Order::kFinish:
        finish();
    }
  }

  void answer() {
    world().control->state = static_cast<u32>(state_);
    if (write(socket_, "", 1) != 1) _exit(2);
  }

  [[noreturn]] __attribute__((format(printf, 2, 3))) void complain(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world().control->complaint, sizeof world().control->complaint, format, arguments);
    va_end(arguments);
    _exit(1);
  }

  // ---- Time, without what was spent waiting for a processor ----

  u64 waited_for_processor_ns() const {
    char text[64] = "";
    unsigned long ran = 0, waited = 0;
    if (pread(schedstat_, text, sizeof text - 1, 0) > 0) sscanf(text, "%lu %lu", &ran, &waited);
    return waited;
  }
  template <class Body>
  int timed(bool change, const char* what, Body&& body) {
    Control& control = *world().control;
    u64 waited = waited_for_processor_ns(), start = now_ns();
    control.in_change = change;
    int error = body();
    control.in_change = 0;
    u64 took = now_ns() - start, stolen = waited_for_processor_ns() - waited;
    took -= std::min(took, stolen);
    u64& slowest = change ? control.slowest_change_ns : control.slowest_read_ns;
    if (!excused_) slowest = std::max(slowest, took);
    if (took > (change ? kChangeLimit_ns : kReadLimit_ns) && !excused_ && control.slow[0] == '\0')
      snprintf(control.slow, sizeof control.slow, "%s took %.1f ms", what, static_cast<double>(took) / 1e6);
    return error;
  }

  // ---- Looking ----

  static bool is(State state, State wanted) {
    return state == wanted || (wanted == State::kAfter && state == State::kBefore && world().before == world().after);
  }
  State classify() const {
    const World& w = world();
    if (tree_ == w.before) return State::kBefore;
    if (tree_ == w.after) return State::kAfter;
    return scenario_.in.weak && between(w.before, w.after, tree_) ? State::kBetween : State::kUnknown;
  }

  // `still`: nothing moves, so what is seen belongs together. The state never goes back.
  void check(const char* when, bool still) {
    constexpr unsigned kLooks = 4; // the one operation under way becomes visible at one moment, or at a few if it is weak
    for (unsigned attempt = 1;; ++attempt) {
      std::string where;
      int error = timed(false, "a look at everything", [&] {
        int looked = look(actor_, tree_, where);
        return looked != 0 ? looked : look_through_handle(where);
      });
      bool last = still || attempt == kLooks;
      if (error != 0 && !last) continue;
      if (error != 0) complain("%s: %s: errno %d", when, where.c_str(), error);
      State seen = classify();
      if (seen == State::kUnknown && !last) continue;
      if (seen == State::kUnknown)
        complain("%s: neither before:%s nor after:%s", when, difference(world().before, tree_).c_str(),
                 difference(world().after, tree_).c_str());
      if (state_ == State::kAfter && seen != State::kAfter && !is(seen, State::kAfter))
        complain("%s: what was there is gone:%s", when, difference(world().after, tree_).c_str());
      state_ = seen;
      return;
    }
  }

  // What needs no lock either, of a file that is open here and in the victim.
  int look_through_handle(std::string& where) {
    if (!scenario_.in.related) return 0;
    where = "the shared description";
    char text[64];
    data::IoVec vector{text, sizeof text};
    auto bytes = vfs::read_file(actor_.task, actor_.file, 0, &vector, 1);
    if (bytes.ok() && bytes.value() != sizeof text) return EIO;
    if (!bytes.ok()) return bytes.error();
    struct stat status{};
    Ino ino = vfs::info(*actor_.pool, actor_.file).ino;
    return vfs::stat_at(actor_.task, vfs::At{ino, ""}, vfs::Follow::kNo, true, &status).error();
  }

  // ---- Changing ----

  void change(const char* what, int (*verb)(Actor&)) {
    int error = timed(true, what, [&] { return verb(actor_); });
    // What an earlier step of it could not find it does not have.
    if (error != 0 && error != ENOENT && error != EBADF) complain("%s: errno %d", what, error);
  }
  // Changes of the same objects that leave no trace in what is compared.
  void disturb() {
    switch (random_() % 5) {
      case 0:
        change("setxattr", [](Actor& a) { return vfs::setxattr_at(a.task, a.at("/d/f"), vfs::Follow::kNo, false, "user.peer", "p", 1, 0).error(); });
        change("removexattr", [](Actor& a) {
          int error = vfs::removexattr_at(a.task, a.at("/d/f"), vfs::Follow::kNo, false, "user.peer").error();
          return error == ENODATA ? 0 : error;
        });
        break;
      case 1:
        change("create", [](Actor& a) { return a.open("/d/peer", O_CREAT | O_RDWR, kOwnHandle); });
        change("close", [](Actor& a) { return a.close(kOwnHandle); });
        change("rename", [](Actor& a) { return vfs::rename_at(a.task, a.at("/d/peer"), a.at("/d/peer2"), 0).error(); });
        change("unlink", [](Actor& a) { return vfs::unlink_at(a.task, a.at("/d/peer2")).error(); });
        break;
      case 2:
        change("mkdir", [](Actor& a) { return vfs::mkdir_at(a.task, a.at("/d/peers"), 0700).error(); });
        change("rmdir", [](Actor& a) { return vfs::rmdir_at(a.task, a.at("/d/peers")).error(); });
        break;
      case 3:
        for (const char* path : {"/d/f", "/d/g", "/d/big"}) {
          path_ = path;
          int error = timed(true, "open and close", [&] {
            int opened = actor_.open(path_, O_RDWR, kOwnHandle);
            return opened != 0 ? opened : actor_.close(kOwnHandle);
          });
          if (error != 0 && error != ENOENT) complain("open and close: errno %d", error);
        }
        break;
      default:
        change("mode", [](Actor& a) { return vfs::chmod_at(a.task, a.at("/d/peer"), vfs::Follow::kNo, false, 0600).error(); });
    }
  }

  void loop() {
    constexpr useconds_t kPause_us = 100;
    pollfd order{socket_, POLLIN, 0};
    // The victim holds locks while it is stepped: it may delay changes of the same objects.
    excused_ = true;
    while (poll(&order, 1, 0) == 0) {
      check("beside the running victim", false);
      if (random_() % 3 == 0) disturb();
      usleep(kPause_us);
    }
    excused_ = false;
  }

  // After the death: everything that the victim was at can be changed, and what it had is dropped.
  void go_on() {
    int error = 0;
    if (scenario_.in.conflict != nullptr) {
      error = timed(true, "the conflicting operation", [&] { return scenario_.in.conflict(actor_); });
      if (error != 0) complain("the conflicting operation: errno %d", error);
      return;
    }
    if (state_ != State::kBefore || world().before == world().after) return disturb();
    if (!scenario_.in.related && (error = scenario_.prepare(actor_)) != 0) complain("preparation of the operation again: errno %d", error);
    error = timed(true, "the operation again", [&] { return scenario_.operate(actor_); });
    if (error != 0) complain("the operation again: errno %d", error);
    check("after the operation was done again", true);
    if (state_ != State::kAfter) complain("done again, it is not there:%s", difference(world().after, tree_).c_str());
  }

  [[noreturn]] void finish() {
    disturb();
    timed(true, "funeral", [&] { return vfs::bury_all_dead(*actor_.pool), 0; });
    if (int error = remove_all(actor_)) complain("removing everything: errno %d", error);
    actor_.pool->detach();
    _exit(0);
  }

  // The victim becomes a child of the driver, so that it can be traced.
  void fork_victim() {
    auto ticket = actor_.pool->prepare_child();
    if (!ticket.ok()) complain("prepare_child: errno %d", ticket.error());
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(socket_);
      actor_.pool->become_child(ticket.value());
      run_victim(actor_, 0, scenario_.prepare, scenario_.operate);
    }
    actor_.pool->parent_after_fork(ticket.value());
    world().control->victim = static_cast<pid_t>(pid);
  }

  static constexpr u32 kOwnHandle = 90;

  const Scenario& scenario_;
  int socket_, schedstat_;
  std::mt19937_64 random_;
  Actor actor_;
  Tree tree_;
  State state_ = State::kUnknown;
  bool excused_ = false;
  std::string path_;
};

} // namespace

void run_survivor(const Scenario& scenario, int socket, u64 seed) { Survivor(scenario, socket, seed).run(); }

} // namespace pmemfile::kill_steps
