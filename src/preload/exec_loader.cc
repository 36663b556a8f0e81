// The dynamic loader run as a program: `ld.so [options] PROGRAM`, as ldd does it. It opens PROGRAM before anything of ours is
// in the process, so that one that lies in a pool is handed to it as a copy.

#include <fcntl.h>
#include <unistd.h>

#include "preload/exec.h"
#include "preload/exec_state.h"
#include "preload/handlers.h"
#include "preload/paths.h"

namespace pmemfile::preload {
namespace {

bool is(const char* argument, std::string_view option) { return std::string_view(argument, strlen(argument)) == option; }

struct LoaderArguments {
  u64 program = 0;      // index; 0: there is none, or an option that is not known, which the loader refuses
  u64 library_path = 0; // index of the value of --library-path; 0: not given
  bool names_argument0 = false;
};

// Options as `ld.so --help` of glibc 2.36 lists them.
LoaderArguments parse(const char* const* argv) {
  constexpr std::string_view kAlone[] = {"--list", "--verify", "--inhibit-cache"};
  constexpr std::string_view kWithValue[] = {"--library-path", "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask", "--inhibit-rpath", "--audit", "--preload", "--argv0"};
  LoaderArguments found;
  for (u64 i = argv[0] == nullptr ? 0 : 1; argv[i] != nullptr;) {
    const char* argument = argv[i];
    if (argument[0] != '-' || argument[1] != '-') {
      found.program = i;
      return found;
    }
    if (argument[2] == '\0') {
      found.program = argv[i + 1] != nullptr ? i + 1 : 0;
      return found;
    }
    u64 step = 0;
    for (std::string_view option : kAlone) step = is(argument, option) ? 1 : step;
    for (std::string_view option : kWithValue) step = is(argument, option) ? 2 : step;
    if (step == 0 || argv[i + 1] == nullptr) return found;
    if (is(argument, "--library-path")) found.library_path = i + 1;
    if (is(argument, "--argv0")) found.names_argument0 = true;
    i += step;
  }
  return found;
}

// What the loader finds in place of these arguments.
bool replace(ExecRoom& room, const LoaderArguments& found, int program, const Libraries& libraries) {
  FixedText<16> number;
  number << static_cast<i64>(program);
  room.argv[found.program] = room.keep("/proc/self/fd/", number.view());
  if (found.library_path != 0 && !libraries.dir_view().empty()) {
    FixedText<128> front;
    front << libraries.dir_view() << ":";
    const char* given = room.argv[found.library_path];
    room.argv[found.library_path] = room.keep(front.view(), std::string_view(given, strlen(given)));
    if (room.argv[found.library_path] == nullptr) return false;
  }
  return room.argv[found.program] != nullptr;
}

} // namespace

Result<int> give_loader_its_program(Call& call, ExecRoom& room, u64 user_envp, long variables, Libraries& libraries, Text& state) {
  LoaderArguments found = parse(room.argv);
  if (found.program == 0) return -1;
  const char* path = room.argv[found.program];
  long bytes = pmemfile_preload_strnlen(path, kPathBytes);
  if (bytes <= 0 || bytes == static_cast<long>(kPathBytes)) return -1;
  Target target;
  // It is read, not executed. What is wrong with it the loader says.
  if (find_target(call, AT_FDCWD, path, kFollowLast, R_OK, target) != 0 || !target.ours) return -1;
  const char* library_path = found.library_path != 0 ? room.argv[found.library_path] : variable_of(user_envp, variables, "LD_LIBRARY_PATH");
  ProgramCopy copy = TRY(copy_program(call, target.mount, target.ino, path, library_path, CopyFor::kLoader, libraries, state));
  Libraries::remove_old(); // a loader that only lists leaves its own
  if (!replace(room, found, copy.fd, libraries)) {
    raw_syscall(SYS_close, copy.fd);
    libraries.remove();
    return Error(E2BIG);
  }
  raw_syscall(SYS_fcntl, copy.fd, F_SETFD, 0); // the next image closes it
  FixedText<16> number;
  number << static_cast<i64>(copy.fd);
  put_item(state, kItemLibraryFd, number.view());
  if (!found.names_argument0) put_item(state, kItemArgument0, std::string_view(path, static_cast<u64>(bytes)));
  return copy.fd;
}

} // namespace pmemfile::preload
