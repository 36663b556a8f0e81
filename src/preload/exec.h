// Pieces of exec that several files share.
//
// A program of a pool is run from a copy in a memfd: the kernel cannot see the
// pool. Libraries that lie in pools are mapped by ld.so before this library is
// there, so they are copied as well, and a directory of links to the copies is put
// in front of LD_LIBRARY_PATH; the new image removes it before main.
// Rules: hook-safe, no memory but what is mapped here.
#pragma once

#include <fcntl.h>

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
  // Of this user, and of long ago.
  static void remove_old();
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

// The links in it, then itself.
void remove_link_directory(const char* path);

struct Target { // what is to be executed
  bool ours = false;
  u32 mount = 0;
  Ino ino{};
  u32 mode = 0;
  const char* name = nullptr; // by which it was found
  bool is_own_exe = false;    // as /proc/self/exe
  const char* kernel_path = nullptr; // if not ours
  int kernel_dirfd = AT_FDCWD;
  int flags = 0;
  bool is_loader = false; // of the kernel's: the dynamic loader, run as a program
  const char* why_not_served = nullptr; // the next image will be without us
};
// Finds the file, with permission for `wanted`: X_OK or R_OK. `options` of paths.h.
long find_target(Call& call, int dirfd, const char* path, unsigned options, int wanted, Target& target);

// ---- Scripts, and programs of the kernel's file systems (exec_kernel.cc) ------------------------------------------

inline constexpr unsigned kMaxInterpreters = 5; // as in the kernel

// "#!interpreter [argument]" as the kernel reads it. False if the line makes no sense.
struct InterpreterLine {
  std::string_view interpreter, argument;
};
bool parse_interpreter_line(const char* text, u64 bytes, InterpreterLine& line);

struct KernelProgram {
  bool is_loader = false;               // the dynamic loader
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
// Who reads the copy: the kernel, as the new program, or the dynamic loader, which is that program itself.
enum class CopyFor { kKernel, kLoader };
// A memfd with the program, and links for the libraries that it needs from pools.
// `library_path`: LD_LIBRARY_PATH of the next image, or null.
Result<ProgramCopy> copy_program(Call& call, u32 mount, Ino ino, const char* path, const char* library_path, CopyFor reader, Libraries& libraries,
                                 Text& state);
// A variable of an environment that is the program's; null if it has none.
const char* variable_of(u64 user_envp, long count, std::string_view name);
// The program of a pool that the dynamic loader is to load becomes a copy in the loader's arguments. The copy's descriptor, -1 if there is none.
Result<int> give_loader_its_program(Call& call, ExecRoom& room, u64 user_envp, long variables, Libraries& libraries, Text& state);

// Memory for at least `bytes`, which become what there is. A child that shares its parent's memory gets what its parent keeps
// for it, with what an earlier child left in it (children.cc); others, and where there is no memory: null.
char* kept_exec_room(Call& call, u64& bytes);
long map_exec_room(u64 bytes);

} // namespace pmemfile::preload
