// What the parts of kill_steps share: the tree that every scenario starts from, processes that act on it, what they see.
//
// The driver (kill_steps.cc) brings pool and V back to the same bytes before every round and starts two or three
// processes: a survivor, which looks and goes on (kill_survivor.cc), a victim, which is stepped through one operation
// and killed (kill_stepper.cc), and at times a second victim, killed while it repairs what the first one left.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "vfs/pool.h"

namespace pmemfile::kill_steps {

// Names that start so are the survivor's own business and no part of what is compared.
inline constexpr char kPeerPrefix[] = "peer";
inline constexpr u32 kFirstHandle = 3;

// One process with the pool attached, or about to.
struct Actor {
  vfs::Pool* pool = nullptr;
  vfs::Credentials credentials;
  vfs::Task task;
  vfs::Description file{}, second{};
  vfs::Pool::ChildTicket ticket;
  char text[128] = {};

  Actor();
  int attach(); // the pool and V of the current directory; prints what is wrong
  void use(vfs::Pool* attached);
  vfs::At at(std::string_view path) const { return vfs::At{task.root, path}; }
  // Errnos, 0 for success; short writes are EIO.
  int open(std::string_view path, int flags, u32 handle, vfs::Description* out = nullptr);
  int close(u32 handle) { return vfs::close_handle(*pool, handle).error(); }
  int write(vfs::Description to, i64 offset, u64 bytes, char fill);
  int make_file(std::string_view path, u64 bytes, char fill);
  int record_lock(vfs::Description of, int command, short type, i64 start, i64 bytes);
};

struct Node {
  u32 mode = 0, uid = 0, gid = 0;
  u64 nlink = 0, size = 0;
  i64 old_mtime_s = 0; // if it was set to long ago
  std::string content, xattrs;
  bool operator==(const Node&) const = default;
};
using Tree = std::map<std::string, Node>;

// Which verb of a look is under way, and how long each took, without waiting for a processor. Who waits for a stopped process
// does so every time, and what the machine does to a thread (a page fault, an interrupt, a processor that the host took away) it
// does now and then: so several looks at the same things make a series, and of each verb its best time in the series counts.
class Watch {
 public:
  Watch();
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void begin_series();
  void begin(); // of a look
  Watch& operator=(std::string verb) {
    stop();
    verb_ = std::move(verb);
    return *this;
  }
  void end(); // of the look
  const std::string& verb() const { return verb_; }
  // The slowest verb of the series, by its best time.
  u64 slowest_ns() const { return slowest().best_ns; }
  const std::string& slowest_verb() const { return slowest().verb; }
  u64 sleeps() const { return sleeps_; } // how often this thread went to sleep in the last look
  u64 verbs() const { return verbs_; }   // of all looks of the series
  u64 waited_for_processor_ns() const;

  // Verbs of this series that took longer than a millisecond, once or more often.
  struct Hiccups {
    u64 count = 0, longest_ns = 0;
    std::string longest; // for people
  };
  const Hiccups& hiccups() const { return hiccups_; }

 private:
  struct Timed {
    std::string verb;
    u64 best_ns;
  };
  void stop();
  void note_hiccup(u64 took_ns);
  const Timed& slowest() const;

  int schedstat_;
  u64 started_ns_ = 0, waited_ns_ = 0, sleeps_ = 0, at_ = 0, verbs_ = 0;
  u64 faults_ = 0, preemptions_ = 0; // of the thread, when last asked
  std::string verb_;
  std::vector<Timed> best_;
  Hiccups hiccups_;
};
inline constexpr u64 kReadLimit_ns = 1'000'000; // of one verb that takes no lock
u64 now_ns();

// Everything visible, by functions that take no lock. Not 0: an errno; `where` tells of which verb.
int look(Actor& actor, Tree& tree, Watch& where, bool with_peers = false);
// Where two trees differ, for people; empty: nowhere.
std::string difference(const Tree& expected, const Tree& found);
// Each byte of each file the old or the new one, each size between the two, all else as in one of them.
bool between(const Tree& before, const Tree& after, const Tree& found);
// Removes all that is there.
int remove_all(Actor& actor);

int build_tree(Actor& actor);

using Step = int (*)(Actor&); // 0 or an errno
inline int nothing(Actor&) { return 0; }

struct Circumstances {
  bool weak = false;       // killed in the middle, it may leave something between before and after
  bool related = false;    // the victim is a child of the survivor with its handles
  bool attaches = false;   // the window is an attach: the victim is not attached before
  bool alone = false;      // nobody else is attached meanwhile, and there is no V
  Step survivor = nothing; // by the survivor before the victim is made
  Step conflict = nullptr; // by the survivor after the death: must succeed; null: `operate` again if it has not happened
};
struct Scenario {
  const char* name;
  Step prepare; // by the victim before its window
  Step operate; // its window
  Circumstances in = {};
};
const std::vector<Scenario>& scenarios();

// In memory that all processes of a round share.
struct Mapped {
  u64 pool_base, pool_bytes, segment_base, segment_bytes;
};
inline constexpr unsigned kVictims = 2; // the first, and the one that repairs what it left
struct Control {
  Mapped mapped[kVictims];
  int victim_error[kVictims];
  pid_t victim; // if the survivor made it
  u32 in_change;       // the survivor may wait for the victim's locks just now
  u32 state;           // what it saw last, see State
  u64 slowest_verb_ns, looks, sleeps, slowest_change_ns; // of looks beside a stopped or dead victim
  struct {
    u64 verbs, hiccups, longest_ns;
    char longest[160];
  } seen[2]; // before there was a victim, and beside a stopped or dead one
  char slow[256];      // the first thing that took too long in this round
  char complaint[1024];
};
enum class State : u32 { kUnknown, kBefore, kAfter, kBetween };

struct World {
  std::string pool_path, shm_dir;
  Ino root{};
  Tree before, after;
  Control* control = nullptr;
};
World& world();

// What the driver asks of the survivor: one byte there, one byte back when it is done.
enum class Order : char { kLoop = 'L', kFork = 'F', kStopped = 'S', kHold = 'H', kRelease = 'R', kCompleted = 'C', kKilled = 'K', kFinish = 'E' };
[[noreturn]] void run_survivor(const Scenario& scenario, int socket, u64 seed);

// ---- kill_stepper.cc ----

// Called by a process that wants to be stepped: `operate` is its window, between two stops.
[[noreturn]] void run_victim(Actor& actor, unsigned index, Step prepare, Step operate);
// Waits for the stop in front of the window. False: it ended before.
bool wait_for_window(pid_t victim);
// How a stretch of the window ended.
enum class Stepped { kInside, kCompleted, kCrashed };
// Single steps cost microseconds each, so most of the way to an instruction is run up to a breakpoint.
struct Path {
  u64 breakpoint = 0; // 0: none
  u64 hits = 0;       // so often
  u64 steps = 0;      // and so many instructions from there
};
inline constexpr u64 kWholeWindow = ~u64{0};
Stepped go(pid_t victim, const Path& path);

// One run through the whole window, instruction by instruction: the victim steps itself, and stops at the end.
struct Trace {
  // Numbers of instructions after which the next one stores into memory that others see, or calls the kernel; the last
  // entry is the length of the window.
  std::vector<u64> points;
  std::vector<u64> addresses;   // of each instruction
  std::vector<u32> occurrences; // which execution of that address it was, from 1
  Stepped end = Stepped::kInside;

  Path path_to(u64 instruction) const;
};
// `any_memory`: everything but the stack counts, for who maps pool and V within the window.
Trace trace(pid_t victim, bool any_memory);
void make_room_for_traces(); // before the first process is made

} // namespace pmemfile::kill_steps
