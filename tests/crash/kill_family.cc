// Deaths around fork, vfork, posix_spawn and exec of real programs under the preload library.
//
//   kill_family PRELOAD PROGRAM [--seed N] [--deaths N] [--mode TEXT] [--verbose 1]
//
// A program (family_program.c) holds a record lock, an flock and a file without a name, and makes a child or becomes another
// program. Parent, child or both are killed at a system call of either, before or after it, or some instructions behind one,
// with ptrace following all of them. Who lives goes on to its end and finds its files whole. Meanwhile, and when all are gone, a
// peer looks: the locks of the living are held, those of the dead are free at once; then nothing is left in V, and no inode or
// block in the pool. Exits with 1 after a difference; `--seed` repeats a choice.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "arguments.h"
#include "crash/kill_image.h"
#include "crash/kill_world.h"
#include "vfs/repair.h"

namespace pmemfile::kill_steps {
namespace {

struct Settings {
  std::string preload, program, mode;
  u64 seed = 0, deaths = 5; // of each kind
  bool verbose = false;
};

struct Mode {
  const char* name;
  bool from_pool;  // what is started lies in the pool
  bool has_child;
};
constexpr Mode kModes[] = {{"fork", false, true}, {"vfork", false, true}, {"spawn", true, true},
                           {"exec", true, false}, {"exec", false, false}, {"exec-threads", true, false}};

struct Plan {
  bool step_child = false;
  u64 stop = ~u64{0}; // the n-th stop before or after a system call in the window
  u64 steps = 0;      // and so many instructions
  bool kill_parent = false, kill_child = false;
};

struct Member {
  pid_t pid = 0;
  bool born = false, at_end = false, gone = false, killed = false;
  u64 stops = 0;
  int status = 0;
  bool lives() const { return pid != 0 && !gone; }
};

class Round {
 public:
  Round(const Settings& settings, const Mode& mode, const Plan& plan) : settings_(settings), mode_(mode), plan_(plan) {}
  ~Round() {
    for (Member* member : {&parent_, &child_})
      if (member->lives()) {
        kill(member->pid, SIGKILL);
        waitpid(member->pid, nullptr, __WALL);
      }
  }

  bool run() {
    constexpr unsigned kHang_s = 60;
    alarm(kHang_s);
    bool good = play();
    alarm(0);
    return good;
  }
  const std::string& text() const { return text_; }
  u64 stops(bool of_child) const { return of_child ? child_.stops : parent_.stops; }

 private:
  bool wrong(std::string text) {
    if (text_.empty()) text_ = std::move(text);
    return false;
  }

  bool play() {
    if (!prepare_pool() || !start()) return false;
    if (!advance()) return false;
    if (!peer_looks(false)) return false;
    release();
    if (!advance()) return false;
    if (!ended_well(parent_, "the parent") || !ended_well(child_, "the child")) return false;
    return peer_looks(true);
  }

  bool prepare_pool() {
    image().forget();
    if (!image().restore(false)) return wrong("the pool cannot be made");
    Actor actor;
    if (actor.attach() != 0) return wrong(world().control->complaint);
    std::ifstream file(settings_.program, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    int error = vfs::chmod_at(actor.task, actor.at("/"), vfs::Follow::kYes, false, 0777).error();
    vfs::Description made{};
    if (error == 0) error = actor.open("/program", O_CREAT | O_RDWR, kFirstHandle, &made);
    data::IoVec vector{bytes.data(), bytes.size()};
    if (error == 0) error = vfs::write_file(actor.task, made, 0, &vector, 1).error();
    if (error == 0) error = vfs::chmod_at(actor.task, actor.at("/program"), vfs::Follow::kYes, false, 0755).error();
    actor.pool->detach();
    return error == 0 || wrong("the program in the pool: errno " + std::to_string(error));
  }

  // Until the program stops in front of its window.
  bool start() {
    std::string pools = "PMEMFILE_POOLS=" + mount() + ":" + world().pool_path, preload = "LD_PRELOAD=" + settings_.preload,
                shm = "PMEMFILE_SHM_DIR=" + world().shm_dir, started = mode_.from_pool ? mount() + "/program" : settings_.program;
    parent_.pid = fork();
    if (parent_.pid == 0) {
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      const char* environment[] = {pools.c_str(), preload.c_str(), shm.c_str(), "PATH=/usr/bin:/bin", "HOME=/nonexistent", cache(), nullptr};
      const char* arguments[] = {"/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", mount_text(), settings_.program.c_str(), mode_.name,
                                 started.c_str(), nullptr};
      execve("/bin/sh", const_cast<char**>(arguments), const_cast<char**>(environment));
      _exit(127);
    }
    for (;;) {
      int status = 0;
      if (waitpid(parent_.pid, &status, __WALL) != parent_.pid) return wrong("the program does not begin");
      if (!WIFSTOPPED(status)) return parent_.gone = true, wrong("the program ended before its window with status " + std::to_string(status));
      if (WSTOPSIG(status) == SIGSTOP) break;
      ptrace(PTRACE_CONT, parent_.pid, nullptr, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
    }
    parent_.born = true;
    ptrace(PTRACE_SETOPTIONS, parent_.pid, nullptr,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC);
    go_on(parent_, 0);
    return true;
  }

  void go_on(Member& member, int signal) {
    bool stepped = !done_ && &member == (plan_.step_child ? &child_ : &parent_);
    ptrace(stepped ? PTRACE_SYSCALL : PTRACE_CONT, member.pid, nullptr, signal);
  }

  // Until everybody who lives has come to the end of the window, or is gone if they may end.
  bool advance() {
    auto waited_for = [&](const Member& member) { return member.lives() && !member.at_end; };
    while (waited_for(parent_) || waited_for(child_)) {
      int status = 0;
      pid_t pid = waitpid(-1, &status, __WALL);
      if (pid < 0) return wrong(errno == EINTR ? "somebody hangs" : "nobody to wait for");
      if (pid != parent_.pid && pid != child_.pid) {
        if (child_.pid != 0) continue;
        child_.pid = pid; // before its parent says so
      }
      Member& member = pid == parent_.pid ? parent_ : child_;
      if (!WIFSTOPPED(status)) {
        member.gone = true;
        member.status = status;
        continue;
      }
      stopped(member, status);
    }
    return true;
  }

  void stopped(Member& member, int status) {
    int signal = WSTOPSIG(status), event = status >> 16;
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
      unsigned long pid = 0;
      ptrace(PTRACE_GETEVENTMSG, member.pid, nullptr, &pid);
      child_.pid = static_cast<pid_t>(pid);
      return go_on(member, 0);
    }
    if (event != 0) return go_on(member, 0);
    if (signal == SIGSTOP && !member.born) {
      member.born = true;
      return go_on(member, 0);
    }
    if (signal == SIGSTOP) {
      member.at_end = !ending_;
      if (ending_) go_on(member, 0);
      return;
    }
    if (signal == (SIGTRAP | 0x80)) {
      if (++member.stops == plan_.stop && !done_) return strike(member);
      return go_on(member, 0);
    }
    go_on(member, signal == SIGTRAP ? 0 : signal);
  }

  // The moment has come. `member` is stopped.
  void strike(Member& member) {
    bool stopped_here = true;
    for (u64 i = 0; i < plan_.steps && stopped_here; ++i) {
      int status = 0;
      ptrace(PTRACE_SINGLESTEP, member.pid, nullptr, nullptr);
      if (waitpid(member.pid, &status, __WALL) != member.pid) break;
      if (!WIFSTOPPED(status)) {
        member.gone = true;
        member.status = status;
        stopped_here = false;
      } else if (status >> 16 == PTRACE_EVENT_FORK || status >> 16 == PTRACE_EVENT_VFORK || status >> 16 == PTRACE_EVENT_CLONE) {
        unsigned long pid = 0;
        ptrace(PTRACE_GETEVENTMSG, member.pid, nullptr, &pid);
        child_.pid = static_cast<pid_t>(pid);
      } else if (WSTOPSIG(status) == SIGSTOP) {
        member.at_end = true;
        break;
      }
    }
    done_ = true;
    if (plan_.kill_parent) strike_down(parent_);
    if (plan_.kill_child) strike_down(child_);
    if (member.lives() && !member.killed && !member.at_end) go_on(member, 0);
  }
  void strike_down(Member& member) {
    if (!member.lives()) return;
    member.killed = true;
    member.at_end = false; // its end is to be waited for
    kill(member.pid, SIGKILL);
  }

  void release() {
    ending_ = true;
    for (Member* member : {&parent_, &child_}) {
      if (!member->lives()) continue;
      member->at_end = false;
      ptrace(PTRACE_CONT, member->pid, nullptr, nullptr);
    }
  }

  bool ended_well(const Member& member, const char* who) {
    if (member.pid == 0 || member.killed || member.status == 0) return true;
    return wrong(std::string(who) + " ended with status " + std::to_string(member.status));
  }

  // By a process that is attached beside them.
  bool peer_looks(bool all_gone) {
    Actor actor;
    if (actor.attach() != 0) return wrong(world().control->complaint);
    bool good = look_at_locks(actor, all_gone);
    if (good && all_gone) {
      vfs::bury_all_dead(*actor.pool);
      int error = remove_all(actor);
      if (error != 0) good = wrong("removing everything: errno " + std::to_string(error));
    }
    actor.pool->detach();
    if (!good || !all_gone) return good;
    text_ = image().check(true);
    return text_.empty();
  }

  bool look_at_locks(Actor& actor, bool all_gone) {
    vfs::Description f{}, g{};
    if (int error = actor.open("/f", O_RDWR, kFirstHandle, &f)) return wrong("opening f: errno " + std::to_string(error));
    if (int error = actor.open("/g", O_RDWR, kFirstHandle + 1, &g)) return wrong("opening g: errno " + std::to_string(error));
    bool parent = !all_gone && parent_.lives(), anybody = !all_gone && (parent_.lives() || child_.lives());
    int record = actor.record_lock(f, F_SETLK, F_WRLCK, 0, 10), flock = vfs::flock_file(actor.task, g, LOCK_EX | LOCK_NB).error();
    if (record != (parent ? EAGAIN : 0)) return wrong("the record lock: errno " + std::to_string(record) + (parent ? ", its owner lives" : ""));
    if (flock != (anybody ? EAGAIN : 0)) return wrong("the flock: errno " + std::to_string(flock) + (anybody ? ", somebody lives" : ""));
    int error = actor.close(kFirstHandle);
    if (error == 0) error = actor.close(kFirstHandle + 1);
    return error == 0 || wrong("closing: errno " + std::to_string(error));
  }

  static std::string mount() { return world().shm_dir + "/../mnt"; }
  static const char* mount_text() {
    static std::string text = mount();
    return text.c_str();
  }
  // Where plans of patches are kept: the user's, if he has a place for them.
  static const char* cache() {
    static std::string text = std::string("XDG_CACHE_HOME=") + (getenv("XDG_CACHE_HOME") != nullptr ? getenv("XDG_CACHE_HOME") : "");
    return getenv("XDG_CACHE_HOME") != nullptr ? text.c_str() : "NO_CACHE=1";
  }

  const Settings& settings_;
  const Mode& mode_;
  const Plan& plan_;
  Member parent_, child_;
  bool done_ = false, ending_ = false;
  std::string text_;
};

class Driver {
 public:
  explicit Driver(const Settings& settings) : settings_(settings), random_(settings.seed) {}

  bool run() {
    bool good = true;
    for (const Mode& mode : kModes)
      if (std::string(mode.name).find(settings_.mode) != std::string::npos) good = run(mode) && good;
    printf("%lu rounds\n", rounds_);
    return good;
  }

 private:
  bool run(const Mode& mode) {
    u64 stops[2] = {};
    for (bool child : {false, true})
      if ((!child || mode.has_child) && !round(mode, Plan{.step_child = child}, &stops[child])) return false;
    u64 before = rounds_;
    for (bool child : {false, true}) {
      for (unsigned whom = 1; whom < 4; ++whom) {
        if (!mode.has_child && (child || whom != 1)) continue;
        Plan plan{.step_child = child, .kill_parent = (whom & 1) != 0, .kill_child = (whom & 2) != 0};
        if (!strike(mode, plan, stops[child])) return false;
      }
    }
    printf("%-13s %-12s %4lu stops of the parent, %4lu of the child, %lu deaths\n", mode.name, mode.from_pool ? "from a pool" : "", stops[0],
           stops[1], rounds_ - before);
    fflush(stdout);
    return true;
  }

  // One of each of equal parts of the window; every second one some instructions behind the call.
  bool strike(const Mode& mode, Plan plan, u64 stops) {
    constexpr u64 kMostSteps = 1500;
    u64 deaths = std::min(settings_.deaths, stops);
    for (u64 i = 0; i < deaths; ++i) {
      u64 first = stops * i / deaths, end = stops * (i + 1) / deaths;
      plan.stop = 1 + first + random_() % (end - first);
      plan.steps = random_() % 2 == 0 ? 0 : random_() % kMostSteps;
      if (!round(mode, plan, nullptr)) return false;
    }
    return true;
  }

  bool round(const Mode& mode, const Plan& plan, u64* stops) {
    ++rounds_;
    Round one(settings_, mode, plan);
    bool good = one.run();
    if (stops != nullptr) *stops = one.stops(plan.step_child);
    if (settings_.verbose || !good)
      printf("%s%s%s, %s%s killed at stop %ld of the %s and %lu instructions: %s\n", good ? "" : "WRONG ", mode.name,
             mode.from_pool ? " from a pool" : "", plan.kill_parent ? "the parent" : "", plan.kill_child ? " the child" : "",
             static_cast<long>(plan.stop), plan.step_child ? "child" : "parent", plan.steps, good ? "right" : one.text().c_str());
    return good;
  }

  const Settings& settings_;
  std::mt19937_64 random_;
  u64 rounds_ = 0;
};

void on_alarm(int) {}

} // namespace

int run(const Settings& settings) {
  make_world("kill-family");
  std::filesystem::create_directories(world().shm_dir + "/../mnt");
  struct sigaction action{};
  action.sa_handler = on_alarm; // interrupts waitpid
  sigaction(SIGALRM, &action, nullptr);
  printf("seed %lu\n", settings.seed);
  return end_world(Driver(settings).run());
}

} // namespace pmemfile::kill_steps

int main(int argc, char** argv) {
  pmemfile::kill_steps::Settings settings;
  settings.seed = std::random_device{}();
  pmemfile::Arguments arguments(argc, argv, 3);
  if (argc < 3) arguments.refuse();
  while (arguments.next()) {
    if (arguments.is("--seed")) settings.seed = arguments.number();
    else if (arguments.is("--deaths")) settings.deaths = arguments.number();
    else if (arguments.is("--mode")) settings.mode = arguments.text();
    else if (arguments.is("--verbose")) settings.verbose = arguments.number() != 0;
    else arguments.refuse();
  }
  if (!arguments.good("kill_family PRELOAD PROGRAM [--seed N] [--deaths N] [--mode TEXT] [--verbose 1]")) return 2;
  settings.preload = argv[1];
  settings.program = argv[2];
  return pmemfile::kill_steps::run(settings);
}
