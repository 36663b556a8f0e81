// A death at every store of every operation, with others at work, and a look at everything while the victim is stopped.
//
//   kill_steps [--long [--complete]] [--every] [--scenario TEXT] [--from NAME] [--seed N] [--points N] [--second N] [--second-kills N] [--verbose 1]
//
// A process that dies leaves nothing but what it stored into pool and V and what the kernel knows of it. So all deaths
// between two such stores or system calls are one, and the driver finds these instructions by decoding the window once.
// Each round starts from the same bytes: (1) the victim is stepped to one of them; (2) stopped there, it delays no reader,
// and the survivor sees the tree before or after the operation; (3) it is killed; the survivor still sees either, never goes
// back, and can do the operation again (or it goes on, with what it changes opened by the survivor); (4) everything is removed; (5) all leave: the tables of V are empty, the checker is
// content, every block is back. In some rounds a second victim repairs what the first left and is killed as well; in some
// the survivor changes things all the time; in some nobody repairs anything and the next one to attach recovers the pool.
// `--long` takes every one, but of what one instruction stores more than 256 times in an operation 96; `--complete` these, too.
// Exits with 1 after a difference; `--seed` repeats a choice, `--every` takes every instruction.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "arguments.h"
#include "crash/kill_image.h"
#include "crash/kill_world.h"
#include "vfs/repair.h"

namespace pmemfile::kill_steps {
namespace {

struct Settings {
  bool all = false, every = false, verbose = false;
  bool complete = false;
  std::string scenario, from; // `from`: scenarios before this one are left out
  u64 seed = 0, points = 8, second_points = 1, second_kills = 3, second_every = 5;
};

struct RoundPlan {
  u64 steps = 0;           // where it is killed, for people
  Path path = {};
  bool loop = false;       // the survivor works while the victim runs
  bool nobody_repairs = false;
  bool lives = false;      // stopped and looked at, the victim goes on to its end
  bool hold = false;       // and what it may remove is open by then
  bool release = false;    // what it removes is open while it begins and closed while it is stopped
  bool second = false;     // a second victim repairs
  u64 second_steps = 0;
  Path second_path = {};
  Trace* trace = nullptr;  // fill it in instead of stepping
  Trace* second_trace = nullptr;
};

struct Outcome {
  std::string wrong;
  bool slow = false;
};

constexpr int kHang_ms = 20'000;

// What the second victim does: changes what the first one was at, and buries it.
int repair_all(Actor& a) {
  (void)vfs::setxattr_at(a.task, a.at("/d/f"), vfs::Follow::kNo, false, "user.peer", "p", 1, 0);
  for (const char* path : {"/d/peer3", "/e/peer3"}) {
    (void)a.open(path, O_CREAT | O_RDWR, 91);
    (void)a.close(91);
  }
  vfs::bury_all_dead(*a.pool);
  return 0;
}

class Round {
 public:
  Round(const Scenario& scenario, const RoundPlan& plan, u64 seed) : scenario_(scenario), plan_(plan), seed_(seed) {}
  ~Round() {
    for (pid_t pid : {survivor_, victim_, second_})
      if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, __WALL);
      }
    if (socket_ >= 0) close(socket_);
  }

  Outcome run() {
    Control& control = *world().control;
    control.complaint[0] = control.slow[0] = '\0';
    bool good = play();
    Outcome outcome;
    if (!good) outcome.wrong = control.complaint[0] != '\0' ? control.complaint : text_;
    if (good && control.slow[0] != '\0') {
      outcome.wrong = control.slow;
      outcome.slow = true;
    }
    return outcome;
  }

 private:
  bool play() {
    if (!scenario_.in.alone && !start_survivor()) return false;
    if (plan_.second && !start_second()) return false;
    if (!start_victim()) return false;
    if (!run_window()) return false;
    if (!plan_.second && plan_.nobody_repairs) return leave_without_repair();
    if (scenario_.in.alone && !start_survivor()) return false;
    if (plan_.second && !run_second()) return false;
    // The survivor of a trace does not know yet what is before and after.
    if (plan_.trace == nullptr && !order(Order::kKilled)) return false;
    if (!order(Order::kFinish)) return false;
    text_ = image().check(false);
    return text_.empty();
  }

  bool wrong(std::string text) {
    text_ = std::move(text);
    return false;
  }

  bool start_survivor() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return wrong("socketpair");
    survivor_ = fork();
    if (survivor_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(ends[0]);
      run_survivor(scenario_, ends[1], seed_);
    }
    close(ends[1]);
    socket_ = ends[0];
    return answered();
  }
  bool send(Order what) {
    char byte = static_cast<char>(what);
    last_ = what;
    return ::send(socket_, &byte, 1, MSG_NOSIGNAL) == 1 || wrong("the survivor is gone");
  }
  bool answered() {
    pollfd ready{socket_, POLLIN, 0};
    if (poll(&ready, 1, kHang_ms) != 1) return wrong(std::string("the survivor hangs at order ") + static_cast<char>(last_));
    char byte = 0;
    if (read(socket_, &byte, 1) == 1) return true;
    int status = 0;
    waitpid(survivor_, &status, 0);
    survivor_ = 0;
    if (last_ == Order::kFinish && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    return wrong("the survivor ended with status " + std::to_string(status) + " at order " + static_cast<char>(last_));
  }
  bool order(Order what) { return send(what) && answered(); }

  bool start_victim() {
    if (scenario_.in.related) {
      if (!order(Order::kFork)) return false;
      victim_ = world().control->victim;
    } else {
      victim_ = fork();
      if (victim_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        Actor actor;
        if (!scenario_.in.attaches && actor.attach() != 0) _exit(3);
        run_victim(actor, 0, scenario_.prepare, scenario_.operate);
      }
    }
    return wait_for_window(victim_) || wrong("the victim's preparation: errno " + std::to_string(world().control->victim_error[0]));
  }

  bool start_second() {
    second_ = fork();
    if (second_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      Actor actor;
      if (actor.attach() != 0) _exit(3);
      run_victim(actor, 1, nothing, repair_all);
    }
    return wait_for_window(second_) || wrong("the second victim's preparation");
  }

  bool run_window() {
    // The trace tells what is before and what is after.
    if (plan_.trace != nullptr && !see(world().before)) return false;
    if (plan_.loop && !send(Order::kLoop)) return false;
    if (plan_.release && !order(Order::kHold)) return false;
    Stepped end;
    if (plan_.trace != nullptr) {
      *plan_.trace = trace(victim_, scenario_.in.attaches);
      end = plan_.trace->end;
    } else {
      end = go(victim_, plan_.path);
    }
    if (end == Stepped::kCrashed) return wrong("the victim crashed");
    bool completed = end == Stepped::kCompleted;
    if (completed && world().control->victim_error[0] != 0)
      return wrong("the operation: errno " + std::to_string(world().control->victim_error[0]));
    if (plan_.trace != nullptr && !see(world().after)) return false;
    // A survivor that changes things may wait for the victim here: then it cannot look as well.
    bool may_wait = plan_.loop;
    if (plan_.loop && may_wait && !completed) {
      if (!send(Order::kStopped)) return false;
      pollfd ready{socket_, POLLIN, 0};
      constexpr int kLook_ms = 5;
      poll(&ready, 1, kLook_ms);
      if (!end_victim(false) || !answered() || !answered()) return false;
      return true;
    }
    if (plan_.loop && !(send(Order::kCompleted) && answered() && answered())) return false;
    if (!plan_.loop && socket_ >= 0 && plan_.trace == nullptr && !order(completed ? Order::kCompleted : Order::kStopped)) return false;
    if (plan_.lives && !completed && !plan_.loop && plan_.trace == nullptr) {
      if (plan_.hold && !order(Order::kHold)) return false;
      if (plan_.release && !order(Order::kRelease)) return false;
      return run_to_its_end();
    }
    return end_victim(completed);
  }

  bool run_to_its_end() {
    if (go(victim_, Path{0, 0, kWholeWindow}) != Stepped::kCompleted) return wrong("the victim crashed after it was stopped");
    if (int error = world().control->victim_error[0]) return wrong("the operation, stopped once: errno " + std::to_string(error));
    return order(Order::kCompleted) && end_victim(true);
  }

  bool end_victim(bool completed) {
    if (!completed)
      kill(victim_, SIGKILL);
    else if (ptrace(PTRACE_DETACH, victim_, nullptr, nullptr) != 0)
      kill(victim_, SIGCONT); // it traced itself
    int status = 0;
    waitpid(victim_, &status, __WALL);
    victim_ = 0;
    return !completed || status == 0 || wrong("the victim ended with status " + std::to_string(status));
  }

  // Looks as one more process.
  bool see(Tree& tree) {
    if (scenario_.in.alone) return true;
    Actor actor;
    Watch where;
    if (actor.attach() != 0) return false;
    int error = look(actor, tree, where);
    actor.pool->detach();
    return error == 0 || wrong("looking: " + where.verb() + ": errno " + std::to_string(error));
  }

  bool run_second() {
    Stepped end;
    if (plan_.second_trace != nullptr) {
      *plan_.second_trace = trace(second_, false);
      end = plan_.second_trace->end;
    } else {
      end = go(second_, plan_.second_path);
    }
    if (end == Stepped::kCrashed) return wrong("the second victim crashed");
    kill(second_, SIGKILL);
    waitpid(second_, nullptr, __WALL);
    second_ = 0;
    return true;
  }

  // Everybody dies; who comes next finds the pool as after a power failure on a medium that lost nothing.
  bool leave_without_repair() {
    if (survivor_ > 0) {
      kill(survivor_, SIGKILL);
      waitpid(survivor_, nullptr, 0);
      survivor_ = 0;
    }
    image().forget();
    Actor actor;
    Tree tree;
    Watch where;
    if (actor.attach() != 0) return false;
    int error = look(actor, tree, where);
    bool right = error == 0 && (tree == world().before || tree == world().after ||
                                (scenario_.in.weak && between(world().before, world().after, tree)));
    if (right) error = remove_all(actor);
    actor.pool->detach();
    if (!right)
      return wrong("after recovery: " + where.verb() + " errno " + std::to_string(error) + ", before:" + difference(world().before, tree) +
                   " after:" + difference(world().after, tree));
    if (error != 0) return wrong("removing everything after recovery: errno " + std::to_string(error));
    text_ = image().check(true);
    return text_.empty();
  }

  const Scenario& scenario_;
  const RoundPlan& plan_;
  u64 seed_;
  pid_t survivor_ = 0, victim_ = 0, second_ = 0;
  int socket_ = -1;
  Order last_ = Order::kLoop;
  std::string text_;
};

class Driver {
 public:
  explicit Driver(Settings settings) : settings_(std::move(settings)), random_(settings_.seed) {}

  bool run() {
    printf("seed %lu\n", settings_.seed);
    bool good = true;
    bool begun = settings_.from.empty();
    for (const Scenario& scenario : scenarios()) {
      begun |= scenario.name == settings_.from;
      if (!begun) continue;
      if (std::string(scenario.name).find(settings_.scenario) == std::string::npos) continue;
      good = run(scenario) && good;
    }
    const Control& control = *world().control;
    auto ms = [](u64 ns) { return static_cast<double>(ns) / 1e6; };
    printf("%lu rounds, %lu of them slow at first. Without waiting for a processor: of %lu verbs in %lu looks beside a stopped or dead "
           "victim the slowest took %.2f ms at its best, %lu looks slept; the longest change %.1f ms\n",
           rounds_, slow_, control.seen[1].verbs, control.looks, ms(control.slowest_verb_ns), control.sleeps, ms(control.slowest_change_ns));
    for (unsigned victim : {0u, 1u}) {
      const auto& seen = control.seen[victim];
      printf("%s: %lu of %lu verbs took more than a millisecond%s%s\n", victim ? "beside a victim" : "before there was a victim",
             seen.hiccups, seen.verbs, seen.hiccups != 0 ? ", the longest " : "", seen.longest);
    }
    return good;
  }

 private:
  bool run(const Scenario& scenario) {
    Trace whole;
    RoundPlan plan;
    plan.trace = &whole;
    if (!round(scenario, plan)) return false;
    // Nothing that is there at rest may be missing in the end.
    if (!round(scenario, RoundPlan{.steps = whole.points.back(), .path = Path{0, 0, kWholeWindow}})) return false;
    u64 length = whole.points.back();
    if (settings_.every) {
      whole.points.clear();
      for (u64 i = 0; i <= length; ++i) whole.points.push_back(i);
    }
    std::vector<u64> chosen = settings_.complete || settings_.every ? whole.points
                              : settings_.all                       ? thinned(whole)
                                                                    : choose(whole.points, settings_.points);
    u64 before = rounds_;
    for (u64 steps : chosen) {
      RoundPlan next{.steps = steps, .path = whole.path_to(steps)};
      next.loop = !scenario.in.alone && random_() % 3 == 0;
      next.nobody_repairs = random_() % 8 == 0;
      next.lives = !scenario.in.alone && !next.nobody_repairs && random_() % 3 == 0;
      next.hold = next.lives && random_() % 3 == 0;
      next.release = next.lives && !next.hold && !next.loop && random_() % 2 == 0;
      if (!round(scenario, next)) return false;
    }
    if (!scenario.in.alone && random_() % settings_.second_every == 0 && !run_second(scenario, whole)) return false;
    printf("%-34s %6lu instructions, %5zu stores and calls, %5lu rounds\n", scenario.name, length, whole.points.size(), rounds_ - before);
    fflush(stdout);
    return true;
  }

  bool run_second(const Scenario& scenario, const Trace& whole) {
    for (u64 steps : choose(whole.points, settings_.second_points)) {
      Trace repair;
      RoundPlan plan{.steps = steps, .path = whole.path_to(steps)};
      plan.second = true;
      plan.second_trace = &repair;
      if (!round(scenario, plan)) return false;
      for (u64 second_steps : choose(repair.points, settings_.second_kills)) {
        RoundPlan next{.steps = steps, .path = whole.path_to(steps)};
        next.second = true;
        next.second_steps = second_steps;
        next.second_path = repair.path_to(second_steps);
        if (!round(scenario, next)) return false;
      }
    }
    return true;
  }

  // Copies and new blocks are stored by few instructions, thousands of times, where nothing leads to yet. Of what one instruction stores
  // more than kOften times, the first and the last ones stay, and some in between.
  std::vector<u64> thinned(const Trace& whole) {
    constexpr u64 kOften = 256, kEnds = 16, kBetween = 64;
    std::map<u64, std::vector<u64>> by_instruction;
    std::vector<u64> chosen;
    for (u64 point : whole.points)
      if (point < whole.addresses.size()) by_instruction[whole.addresses[point]].push_back(point);
      else chosen.push_back(point);
    for (const auto& [address, points] : by_instruction) {
      if (points.size() <= kOften) {
        chosen.insert(chosen.end(), points.begin(), points.end());
        continue;
      }
      chosen.insert(chosen.end(), points.begin(), points.begin() + kEnds);
      chosen.insert(chosen.end(), points.end() - kEnds, points.end());
      std::vector<u64> between = choose(std::vector<u64>(points.begin() + kEnds, points.end() - kEnds), kBetween);
      chosen.insert(chosen.end(), between.begin(), between.end());
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

  // One of each of `count` equal parts.
  std::vector<u64> choose(const std::vector<u64>& points, u64 count) {
    if (points.size() <= count) return points;
    std::vector<u64> chosen;
    for (u64 i = 0; i < count; ++i) {
      u64 first = points.size() * i / count, end = points.size() * (i + 1) / count;
      chosen.push_back(points[first + random_() % (end - first)]);
    }
    return chosen;
  }

  // Too slow three times over is slow; once may be anything.
  bool round(const Scenario& scenario, const RoundPlan& plan) {
    constexpr unsigned kTries = 3;
    Outcome outcome;
    for (unsigned attempt = 0; attempt < kTries; ++attempt) {
      if (!image().restore(scenario.in.alone)) {
        outcome.wrong = "the starting pool cannot be made";
        break;
      }
      ++rounds_;
      outcome = Round(scenario, plan, random_()).run();
      if (!outcome.slow) break;
      ++slow_;
    }
    if (settings_.verbose) printf("  %s: %lu steps%s\n", scenario.name, plan.steps, plan.loop ? ", survivor at work" : "");
    if (outcome.wrong.empty()) return true;
    printf("WRONG %s, killed after %lu instructions%s%s", scenario.name, plan.steps, plan.loop ? ", survivor at work" : "",
           plan.nobody_repairs ? ", nobody repairs" : "");
    if (plan.lives) printf(", goes on%s", plan.hold ? ", all opened meanwhile" : plan.release ? ", all closed meanwhile" : "");
    if (plan.second) printf(", the repairer after %lu", plan.second_steps);
    printf(": %s\n", outcome.wrong.c_str());
    fflush(stdout);
    image().forget();
    return false;
  }

  Settings settings_;
  std::mt19937_64 random_;
  u64 rounds_ = 0, slow_ = 0;
};

} // namespace

int run(const Settings& settings) {
  make_world("kill-steps");
  make_room_for_traces();
  return end_world(Driver(settings).run());
}

} // namespace pmemfile::kill_steps

int main(int argc, char** argv) {
  pmemfile::kill_steps::Settings settings;
  settings.seed = std::random_device{}();
  pmemfile::Arguments arguments(argc, argv);
  while (arguments.next()) {
    if (arguments.is("--long")) {
      settings.all = true;
      settings.second_points = 6;
      settings.second_kills = 40;
      settings.second_every = 1;
    } else if (arguments.is("--every")) {
      settings.every = true;
    } else if (arguments.is("--complete")) {
      settings.complete = true;
    } else if (arguments.is("--from")) {
      settings.from = arguments.text();
    } else if (arguments.is("--scenario")) {
      settings.scenario = arguments.text();
    } else if (arguments.is("--seed")) {
      settings.seed = arguments.number();
    } else if (arguments.is("--points")) {
      settings.points = arguments.number();
    } else if (arguments.is("--second")) {
      settings.second_points = arguments.number();
      settings.second_every = 1;
    } else if (arguments.is("--second-kills")) {
      settings.second_kills = arguments.number();
    } else if (arguments.is("--verbose")) {
      settings.verbose = arguments.number() != 0;
    } else {
      arguments.refuse();
    }
  }
  if (!arguments.good("kill_steps [--long [--complete]] [--every] [--scenario TEXT] [--from NAME] [--seed N] [--points N] [--second N] [--second-kills N] [--verbose 1]"))
    return 2;
  return pmemfile::kill_steps::run(settings);
}
