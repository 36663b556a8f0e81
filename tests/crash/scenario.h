// Scenarios: what is done to a pool, from which starting state, and what may be seen after a crash in between.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "crash/explorer.h"

namespace pmemfile::crash {

// An operation of a scenario failed: of a pair, that the second is not possible after the first.
struct Impossible : std::runtime_error {
  Impossible(int errno_of_it, const std::string& what) : std::runtime_error(what), error(errno_of_it) {}
  int error;
};

// Does things to an attached pool; throws Impossible.
class Actor {
 public:
  explicit Actor(vfs::Pool& pool) : pool_(pool), task_(superuser(pool)) {}

  void make_file(const std::string& path, const std::string& contents = {});
  void make_directory(const std::string& path);
  void make_symlink(const std::string& path, const std::string& target);
  void make_fifo(const std::string& path);
  void link(const std::string& from, const std::string& to);
  void unlink(const std::string& path);
  void remove_directory(const std::string& path);
  void rename(const std::string& from, const std::string& to, unsigned flags = 0);
  void write(const std::string& path, u64 offset, const std::string& contents, bool atomic = false);
  void append(const std::string& path, const std::string& contents, bool atomic = false);
  void truncate(const std::string& path, u64 size);
  void fallocate(const std::string& path, int mode, u64 offset, u64 bytes);
  void change_mode(const std::string& path, u32 mode);
  void change_owner(const std::string& path, u32 uid, u32 gid);
  void set_attribute(const std::string& path, const std::string& name, const std::string& value);
  void remove_attribute(const std::string& path, const std::string& name);
  void touch(const std::string& path);
  // Open files, by a number of the caller's choice.
  void open(const std::string& path, int flags, u32 handle);
  void close(u32 handle);
  void sync(u32 handle);
  void write_open(u32 handle, u64 offset, const std::string& contents, bool atomic = false, bool append = false);
  void truncate_open(u32 handle, u64 size);
  void fallocate_open(u32 handle, int mode, u64 offset, u64 bytes);
  // Uses up every free block but `left`.
  void fill(const std::string& path, u64 left);
  // The same in a record slot of choice (all others are held meanwhile), from a thread of its own.
  void in_slot(u32 slot, const std::function<void()>& body);
  // Inside such a body: in the next slot.
  void other_slot(const std::function<void()>& body);
  // Inside such a body: while one of the slots held has the first line of the bitmap, where what the setup made stands, as somebody who is
  // stopped might.
  void beside_stopped(const std::function<void()>& body);

  vfs::Pool& pool() { return pool_; }

 private:
  vfs::At at(const std::string& path) const { return {task_.root, path}; }
  Ino ino_of(const std::string& path);
  Ino ino_of_open(u32 handle);
  void must(const char* what, const std::string& path, int error);

  vfs::Pool& pool_;
  vfs::Task task_;
  u32 slot_ = 0;
  std::vector<u32> held_;
  std::map<u32, vfs::Description> opened_;
};

enum class Between : u8 {
  kOldOrNew, // before the operation's return one of the two trees
  // The same, as it writes where nothing is, or has room to append all at once; behind another operation, which may have written there or
  // used up the room, kMixedOrPrefix.
  kOldOrNewThere,
  kMixed,    // each byte of each file's contents may be the old or the new one, independently
  kMixedOrPrefix, // the same, and of what is appended there may be a prefix
};

using Step = std::function<void(Actor&)>;
struct Scenario {
  std::string name;
  Step setup;
  std::vector<Step> operations;
  Between between = Between::kOldOrNew;
  bool from_start = false; // attaching is explored, too
  u64 pool_bytes = layout::kMinPoolBytes;
};
const std::vector<Scenario>& scenarios();

// Starting states (docs/crash-testing.md).
void small(Actor& actor);
void nearly_full_leaf(Actor& actor);
void fragmented(Actor& actor);
void role_change(Actor& actor);
std::string long_name(int i);             // in /d; fifteen fill a leaf
std::string text(u64 bytes, char seed = 'a');

// Plays a scenario with the recorder on. The pool is made in `dir`.
struct Played {
  Run run;
  std::vector<Tree> trees; // before the first operation, after it, after the second, ...
};
Played play(const Scenario& scenario, const std::string& dir);
// The parts of it: a new pool with a fixed hash key, and whether each file is a mixture, byte by byte, of what it
// is in some states.
void make_pool(const std::string& path, u64 bytes);
bool is_mixture(const Tree& found, const std::vector<const Tree*>& allowed, bool or_prefix = false);
// What may be seen at a crash point of a played scenario.
Explorer::Judge judge_of(const Played& played, Between between);

} // namespace pmemfile::crash
