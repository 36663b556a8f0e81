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

constexpr u64 kChangeLimit_ns = 50'000'000; // of one verb that may meet the locks of the dead

class Survivor {
 public:
  Survivor(const Scenario& scenario, int socket, u64 seed) : scenario_(scenario), socket_(socket), random_(seed) {
    if (actor_.attach() != 0) _exit(1);
    if (int error = scenario.in.survivor(actor_)) complain("preparation: errno %d", error);
    look_for_control();
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
      case Order::kHold:
        hold_all();
        break;
      case Order::kRelease:
        release_all();
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

  template <class Body>
  int timed(const char* what, Body&& body) {
    Control& control = *world().control;
    u64 waited = watch_.waited_for_processor_ns(), start = now_ns();
    control.in_change = 1;
    int error = body();
    control.in_change = 0;
    u64 took = now_ns() - start, stolen = watch_.waited_for_processor_ns() - waited;
    took -= std::min(took, stolen);
    if (excused_) return error;
    control.slowest_change_ns = std::max(control.slowest_change_ns, took);
    if (took > kChangeLimit_ns && control.slow[0] == '\0')
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
      int error = still ? look_at_once() : look_once();
      bool last = still || attempt == kLooks;
      if (error != 0 && !last) continue;
      if (error != 0) complain("%s: %s: errno %d", when, watch_.verb().c_str(), error);
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

  int look_once() {
    watch_.begin();
    int error = look(actor_, tree_, watch_);
    if (error == 0) error = look_through_handle();
    watch_.end();
    return error;
  }

  // Nobody moves but this process, so a few looks make a series.
  int look_at_once() {
    constexpr unsigned kLooks = 5;
    Control& control = *world().control;
    u64 sleeps = ~u64{0};
    watch_.begin_series();
    for (unsigned i = 0; i < kLooks && (i == 0 || watch_.slowest_ns() > kReadLimit_ns || sleeps != 0); ++i) {
      if (int error = look_once()) return error;
      sleeps = std::min(sleeps, watch_.sleeps());
    }
    ++control.looks;
    control.sleeps += sleeps;
    control.slowest_verb_ns = std::max(control.slowest_verb_ns, watch_.slowest_ns());
    note_hiccups(true);
    if (control.slow[0] == '\0' && (watch_.slowest_ns() > kReadLimit_ns || sleeps != 0))
      snprintf(control.slow, sizeof control.slow, "a reader waits: %s took %.2f ms at least in %u looks; slept %lu times",
               watch_.slowest_verb().c_str(), static_cast<double>(watch_.slowest_ns()) / 1e6, kLooks, sleeps);
    return 0;
  }

  // What the machine does to readers when nobody is in their way.
  void look_for_control() {
    watch_.begin_series();
    for (unsigned i = 0; i < 2; ++i)
      if (int error = look_once()) complain("looking: %s: errno %d", watch_.verb().c_str(), error);
    note_hiccups(false);
  }
  void note_hiccups(bool victim) {
    auto& seen = world().control->seen[victim];
    seen.verbs += watch_.verbs();
    seen.hiccups += watch_.hiccups().count;
    if (watch_.hiccups().longest_ns <= seen.longest_ns) return;
    seen.longest_ns = watch_.hiccups().longest_ns;
    snprintf(seen.longest, sizeof seen.longest, "%s", watch_.hiccups().longest.c_str());
  }

  // What needs no lock either, of a file that is open here and in the victim.
  int look_through_handle() {
    if (!scenario_.in.related) return 0;
    watch_ = "the shared description";
    char text[64];
    data::IoVec vector{text, sizeof text};
    auto bytes = vfs::read_file(actor_.task, actor_.file, 0, &vector, 1);
    if (bytes.ok() && bytes.value() != sizeof text) return EIO;
    if (!bytes.ok()) return bytes.error();
    struct stat status{};
    Ino ino = vfs::info(*actor_.pool, actor_.file).ino;
    return vfs::stat_at(actor_.task, vfs::At{ino, ""}, vfs::Follow::kNo, true, &status).error();
  }

  // Opens everything: what the victim removes from now on lives until it is closed here.
  void hold_all() {
    check("before it is held", true);
    for (const auto& [path, node] : tree_) {
      if (!S_ISREG(node.mode) && !S_ISDIR(node.mode)) continue;
      if (int error = actor_.open(path, O_RDONLY, kFirstHeld + held_)) complain("holding %s: errno %d", path.c_str(), error);
      ++held_;
    }
  }

  void release_all() {
    for (; held_ != 0; --held_)
      if (int error = actor_.close(kFirstHeld + held_ - 1)) complain("closing what was held: errno %d", error);
  }

  // ---- Changing ----

  void change(const char* what, int (*verb)(Actor&)) {
    int error = timed(what, [&] { return verb(actor_); });
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
          int error = timed("open and close", [&] {
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
      error = timed("the conflicting operation", [&] { return scenario_.in.conflict(actor_); });
      if (error != 0) complain("the conflicting operation: errno %d", error);
      return;
    }
    if (state_ != State::kBefore || world().before == world().after) return disturb();
    if (!scenario_.in.related && (error = scenario_.prepare(actor_)) != 0) complain("preparation of the operation again: errno %d", error);
    error = timed("the operation again", [&] { return scenario_.operate(actor_); });
    if (error != 0) complain("the operation again: errno %d", error);
    check("after the operation was done again", true);
    if (state_ != State::kAfter) complain("done again, it is not there:%s", difference(world().after, tree_).c_str());
  }

  [[noreturn]] void finish() {
    disturb();
    timed("funeral", [&] { return vfs::bury_all_dead(*actor_.pool), 0; });
    if (int error = remove_all(actor_)) complain("removing everything: errno %d", error);
    release_all();
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

  static constexpr u32 kOwnHandle = 90, kFirstHeld = 600;

  const Scenario& scenario_;
  int socket_;
  std::mt19937_64 random_;
  Actor actor_;
  Tree tree_;
  Watch watch_;
  State state_ = State::kUnknown;
  bool excused_ = false;
  u32 held_ = 0;
  std::string path_;
};

} // namespace

void run_survivor(const Scenario& scenario, int socket, u64 seed) { Survivor(scenario, socket, seed).run(); }

} // namespace pmemfile::kill_steps
