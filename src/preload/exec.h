// Pieces of exec that several files share.
//
// A program of a pool is run from a copy in a memfd: the kernel cannot see the
// pool. Libraries that lie in pools are mapped by ld.so before this library is
// there, so they are copied as well, and a directory of links to the copies is put
// in front of LD_LIBRARY_PATH; the new image removes it before main.
// Rules: hook-safe, no memory but what is mapped here.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

// Memory for arguments and environment of the next image.
struct ExecRoom {
  char* base;
  u64 bytes;
  bool is_kept; // by our parent (kept_exec_room)
  const char** argv;
  const char** envp;
  char* used; // free from here
  char* end;
  // A copy of two texts in a row; null if the room is full.
  const char* keep(std::string_view a, std::string_view b = {});
};

// Directory of links to copies of libraries.
class Libraries {
 public:
  std::string_view dir_view() const { return {dir_, dir_bytes_}; }
  // The copy in `memfd` is what ld.so shall find under this name. The descriptor is ours from now on.
  Result<void> add(std::string_view name, int memfd);
  bool has(std::string_view name) const;
  void put_items(Text& state) const;
  // After a failed exec.
  void remove();

 private:
  static constexpr unsigned kMax = 64;
  char dir_[64] = {};
  u64 dir_bytes_ = 0;
  u32 count_ = 0;
  int fds_[kMax];
  u64 hashes_[kMax];
};

// ---- Scripts, and programs of the kernel's file systems (exec_kernel.cc) ------------------------------------------

inline constexpr unsigned kMaxInterpreters = 5; // as in the kernel

// "#!interpreter [argument]" as the kernel reads it. False if the line makes no sense.
struct InterpreterLine {
  std::string_view interpreter, argument;
};
bool parse_interpreter_line(const char* text, u64 bytes, InterpreterLine& line);

struct KernelProgram {
  const char* why_not_served = nullptr; // in words; null: we shall be loaded, or nobody can tell
  u64 line_bytes = 0;                   // not 0: a script, and this is how it begins
  char line[256];
};
KernelProgram look_at_kernel_program(Call& call, int dirfd, const char* path, int at_flags);
// Follows interpreter lines of the kernel's scripts, from this one, which `first` describes, to the `last`. True: its
// interpreter is a name of ours.
bool leads_into_pool(Call& call, int dirfd, const char* path, int at_flags, KernelProgram& first, KernelProgram& last);

struct ProgramCopy {
  int fd;
  const char* why_not_served; // as above
};
// A memfd with the program, and links for the libraries that it needs from pools.
Result<ProgramCopy> copy_program(Call& call, ExecRoom& room, u32 mount, Ino ino, const char* path, u64 user_envp, long variables,
                         Libraries& libraries, Text& state);

// Memory for at least `bytes`, which become what there is. A child that shares its parent's memory gets what its parent keeps
// for it, with what an earlier child left in it (children.cc); others, and where there is no memory: null.
char* kept_exec_room(Call& call, u64& bytes);
long map_exec_room(u64 bytes);

} // namespace pmemfile::preload
