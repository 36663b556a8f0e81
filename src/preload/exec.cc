// execve and execveat: programs and scripts of pools, and what the next image inherits.

#include "preload/exec.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "preload/config.h"
#include "preload/descriptors.h"
#include "preload/exec_state.h"
#include "preload/handlers.h"
#include "preload/names_of.h"
#include "preload/paths.h"
#include "preload/procfs.h"
#include "preload/report.h"
#include "preload/signals.h"

namespace pmemfile::preload {
namespace {

constexpr u64 kStateBytes = 24 * 1024; // three paths, and names of descriptors

// Counts a null-terminated array of the program; -EFAULT, -E2BIG.
long count_pointers(u64 array) {
  if (array == 0) return 0;
  for (long count = 0; count < 1 << 20; ++count) {
    u64 entry;
    if (pmem::copy_guarded(&entry, reinterpret_cast<void*>(array + static_cast<u64>(count) * 8), 8) != 0) return -EFAULT;
    if (entry == 0) return count;
  }
  return -E2BIG;
}

bool has_name(const char* variable, std::string_view name) {
  return pmemfile_preload_match(variable, name.data(), name.size()) == 1 && variable[name.size()] == '=';
}

std::string_view name_of(const char* variable) {
  u64 bytes = 0;
  while (variable[bytes] != '=' && variable[bytes] != '\0') ++bytes;
  return {variable, bytes};
}

// Where an element of a ':' list that names this library stands in `list`.
bool names_library(const char* list) {
  std::string_view library(g_config.library, strlen(g_config.library));
  for (u64 at = 0;; ++at) {
    if ((at == 0 || list[at - 1] == ':' || list[at - 1] == ' ') &&
        pmemfile_preload_match(list + at, library.data(), library.size()) == 1) {
      char end = list[at + library.size()];
      if (end == '\0' || end == ':' || end == ' ') return true;
    }
    if (list[at] == '\0') return false;
  }
}

} // namespace

const char* ExecRoom::keep(std::string_view a, std::string_view b) {
  u64 bytes = a.size() + b.size() + 1;
  if (bytes > static_cast<u64>(end - used)) return nullptr;
  char* text = used;
  memcpy(text, a.data(), a.size());
  memcpy(text + a.size(), b.data(), b.size());
  text[bytes - 1] = '\0';
  used += bytes;
  return text;
}

long map_exec_room(u64 bytes) {
  return raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

namespace {

// Memory for the new image's arguments.
long make_room(Call& call, u64 arguments, u64 variables, ExecRoom& room) {
  u64 bytes = align_up((arguments + variables + 64) * 8 + kStateBytes + 128 * 1024, 4096);
  room.base = kept_exec_room(call, bytes);
  room.is_kept = room.base != nullptr;
  if (!room.is_kept) {
    long made = map_exec_room(bytes);
    if (is_syscall_error(made)) return made;
    room.base = reinterpret_cast<char*>(made);
  }
  room.bytes = bytes;
  room.argv = reinterpret_cast<const char**>(room.base);
  room.envp = room.argv + arguments + 16;
  room.used = reinterpret_cast<char*>(room.envp + variables + 32);
  room.end = room.base + bytes;
  return 0;
}

void put_pools(Call& call, Text& state) {
  for (u32 i = 0; i < g_mount_count; ++i) {
    char text[128] = {};
    vfs::Pool* pool = call.process.pools[i];
    if (pool != nullptr && !pool->prepare_exec(text).ok()) text[0] = '\0';
    put_item(state, kItemPool, std::string_view(text, strlen(text)));
  }
  if (call.process.cwd.in_pool) {
    FixedText<64> cwd;
    cwd << call.process.cwd.mount << " " << raw(call.process.cwd.ino);
    put_item(state, kItemCwd, cwd.view());
  }
}

// A list of the program's with something of ours in front; null: no room.
const char* put_in_front(ExecRoom& room, Text& state, std::string_view variable, std::string_view name, std::string_view ours, std::string_view separator) {
  FixedText<kPathBytes + 64> front;
  front << name << "=" << ours << separator;
  if (front.truncated()) return nullptr;
  FixedText<64> restore;
  restore << name << " " << (front.view().size() - name.size() - 1);
  put_item(state, kItemRestore, restore.view());
  return room.keep(front.view(), part(variable, name.size() + 1));
}

} // namespace

// Copies the program's environment and adds what the next image needs.
long build_environment(Call& call, ExecRoom& room, u64 user_envp, long count, Text& state, std::string_view library_dirs) {
  u32 out = 0;
  bool has_preload = false, has_libraries = false;
  u32 seen = 0; // of g_config.handed_on
  for (long i = 0; i < count; ++i) {
    const char* variable;
    if (pmem::copy_guarded(&variable, reinterpret_cast<void*>(user_envp + static_cast<u64>(i) * 8), 8) != 0) return -EFAULT;
    long bytes = pmemfile_preload_strnlen(variable, 1 << 20);
    if (bytes < 0) return bytes;
    std::string_view whole(variable, static_cast<u64>(bytes));
    if (has_name(variable, kStateVariable)) continue;
    for (u32 k = 0; k < g_config.handed_on_count; ++k)
      if (has_name(variable, name_of(g_config.handed_on[k]))) seen |= 1u << k;
    if (has_name(variable, "LD_PRELOAD") && g_config.library != nullptr) {
      has_preload = true;
      if (!names_library(variable + 11)) {
        variable = put_in_front(room, state, whole, "LD_PRELOAD", std::string_view(g_config.library, strlen(g_config.library)), ":");
      }
    } else if (!library_dirs.empty() && has_name(variable, "LD_LIBRARY_PATH")) {
      has_libraries = true;
      variable = put_in_front(room, state, whole, "LD_LIBRARY_PATH", library_dirs, whole.size() > 16 ? ":" : "");
    }
    if (variable == nullptr) return -E2BIG;
    room.envp[out++] = variable;
  }
  if (!has_preload && g_config.library != nullptr) {
    room.envp[out++] = room.keep("LD_PRELOAD=", std::string_view(g_config.library, strlen(g_config.library)));
    put_item(state, kItemHide, "LD_PRELOAD");
  }
  if (!library_dirs.empty() && !has_libraries) {
    room.envp[out++] = room.keep("LD_LIBRARY_PATH=", library_dirs);
    put_item(state, kItemHide, "LD_LIBRARY_PATH");
  }
  for (u32 k = 0; k < g_config.handed_on_count; ++k) {
    if ((seen >> k & 1) != 0) continue;
    room.envp[out++] = g_config.handed_on[k];
    put_item(state, kItemHide, name_of(g_config.handed_on[k]));
  }
  put_pools(call, state);
  if (state.truncated()) return -E2BIG;
  room.envp[out++] = state.c_str();
  room.envp[out] = nullptr;
  for (u32 i = 0; i < out; ++i)
    if (room.envp[i] == nullptr) return -E2BIG;
  return 0;
}

namespace {

// The environment names other pools: the next image starts afresh.
bool names_other_pools(u64 user_envp, long count) {
  for (long i = 0; i < count; ++i) {
    const char* variable;
    if (pmem::copy_guarded(&variable, reinterpret_cast<void*>(user_envp + static_cast<u64>(i) * 8), 8) != 0) return false;
    if (pmemfile_preload_match(variable, "PMEMFILE_POOLS=", 15) != 1) continue;
    u64 bytes = strlen(g_config.pools);
    return pmemfile_preload_match(variable + 15, g_config.pools, bytes + 1) != 1;
  }
  return false;
}

unsigned follow_options(int at_flags) {
  return ((at_flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : kFollowLast) | ((at_flags & AT_EMPTY_PATH) != 0 ? kAllowEmpty : 0);
}

} // namespace

long find_target(Call& call, int dirfd, const char* path, unsigned options, int wanted, Target& target) {
  for (unsigned round = 0; round < 40; ++round) {
    Place place;
    long error = locate(call, dirfd, path, options | kNeverKnown, 0, place);
    if (error != 0) return error;
    if (!place.ours) {
      target = Target{};
      target.kernel_path = path;
      target.kernel_dirfd = dirfd;
      return 0;
    }
    vfs::Task task = make_task(call, place.mount);
    vfs::Follow follow = (options & kFollowLast) != 0 ? vfs::Follow::kYes : vfs::Follow::kNo;
    Result<inode::Attr> attr = vfs::resolve(task, place.at, follow, place.itself);
    if (attr.error() != vfs::kEscaped) {
      if (!attr.ok()) return -attr.error();
      if (S_ISLNK(attr.value().mode)) return -ELOOP;
      if (!S_ISREG(attr.value().mode) || !vfs::may_access(*task.credentials, attr.value(), wanted) ||
          (wanted == X_OK && (attr.value().mode & 0111) == 0))
        return -EACCES;
      target.ours = true;
      target.name = place.own_exe ? g_exe_path : path;
      target.is_own_exe = place.own_exe;
      target.mount = place.mount;
      target.ino = attr.value().ino;
      target.mode = attr.value().mode;
      return 0;
    }
    memcpy(call.block.rooms[0].path, call.block.escape, kPathBytes);
    path = call.block.rooms[0].path;
    dirfd = AT_FDCWD;
  }
  return -ELOOP;
}

namespace {

// Replaces argv[0] by interpreter, argument, script. False if there is no room.
bool take_interpreter(ExecRoom& room, const InterpreterLine& line, const char* script, const char*& interpreter) {
  interpreter = room.keep(line.interpreter);
  const char* argument = line.argument.empty() ? nullptr : room.keep(line.argument);
  if (interpreter == nullptr || (argument == nullptr && !line.argument.empty())) return false;
  u64 more = argument != nullptr ? 2 : 1;
  u64 count = 0;
  while (room.argv[count] != nullptr) ++count;
  if (count == 0) room.argv[count = 1] = nullptr;
  memmove(room.argv + 1 + more, room.argv + 1, (count - 1 + 1) * 8);
  room.argv[0] = interpreter;
  if (argument != nullptr) room.argv[1] = argument;
  room.argv[more] = script;
  return true;
}

std::string_view base_name(const char* path) {
  u64 bytes = strlen(path), at = bytes;
  while (at != 0 && path[at - 1] != '/') --at;
  return {path + at, bytes - at};
}

// How the kernel tells an interpreter which file to read; null: no room.
const char* name_for_interpreter(ExecRoom& room, int dirfd, const char* path) {
  if (path[0] != '\0' && (path[0] == '/' || dirfd == AT_FDCWD)) return path;
  FixedText<32> number;
  number << "/dev/fd/" << dirfd;
  if (path[0] != '\0') number << "/";
  return room.keep(number.view(), std::string_view(path, strlen(path)));
}

// Follows scripts to the program in the end: to the last that lies in a pool, or leads into one. `target` is what `path` leads to.
long find_program(Call& call, ExecRoom& room, int dirfd, const char* path, int flags, Target& target, const char*& script) {
  script = nullptr;
  const char* current = path;
  for (unsigned depth = 0;; ++depth) {
    long error = depth == 0 ? 0 : find_target(call, dirfd, current, follow_options(flags), X_OK, target);
    if (error != 0) return error;
    KernelProgram kernel;
    char text[256];
    u64 bytes = 0;
    if (target.ours) {
      Result<void> usable = vfs::check_not_written(call.pool(target.mount), target.ino);
      if (!usable.ok()) return -usable.error();
      data::IoVec vector{text, sizeof text};
      Result<u64> got = data::read(call.pool(target.mount).store(), target.ino, 0, &vector, 1);
      if (!got.ok()) return -got.error();
      bytes = got.value();
    } else {
      target.flags = flags;
      KernelProgram last;
      bool leads_in = leads_into_pool(call, target.kernel_dirfd, target.kernel_path, flags, kernel, last);
      target.why_not_served = last.why_not_served;
      target.is_loader = kernel.is_loader;
      if (!leads_in) return 0;
      memcpy(text, kernel.line, bytes = kernel.line_bytes);
    }
    if (bytes < 2 || text[0] != '#' || text[1] != '!') return 0;
    if (depth == kMaxInterpreters) return -ELOOP;
    InterpreterLine line;
    if (!parse_interpreter_line(text, bytes, line)) return -ENOEXEC;
    const char* name = name_for_interpreter(room, dirfd, current);
    if (name == nullptr || !take_interpreter(room, line, name, current)) return -E2BIG;
    if (script == nullptr) script = name;
    dirfd = AT_FDCWD;
    flags = 0;
  }
}

long copy_arguments(u64 user_argv, long count, const char** argv) {
  if (pmem::copy_guarded(argv, reinterpret_cast<void*>(user_argv), static_cast<u64>(count) * 8) != 0) return -EFAULT;
  argv[count] = nullptr;
  if (count == 0) argv[0] = "", argv[1] = nullptr; // as Linux does it
  return 0;
}

void undo(Call& call, const ExecRoom& room) {
  for (u32 i = 0; i < g_mount_count; ++i)
    if (vfs::Pool* pool = call.process.pools[i]) pool->keep_after_failed_exec();
  if (room.base != nullptr && !room.is_kept) raw_syscall(SYS_munmap, as_arg(room.base), static_cast<long>(room.bytes));
}

// The last call of this image. Returns only if it failed: with EINTR if a signal waits for the end of this call, which the
// next image would never get; the call is made again behind the signal's handler.
long execute(Call& call, const Target& target, int program, const char** argv, u64 envp) {
  signals_before_exec(call.process);
  long error = program >= 0
                   ? wait_in_kernel(SYS_execveat, program, as_arg(""), as_arg(argv), static_cast<long>(envp), AT_EMPTY_PATH)
                   : wait_in_kernel(SYS_execveat, target.kernel_dirfd, as_arg(target.kernel_path), as_arg(argv), static_cast<long>(envp), target.flags);
  signals_after_failed_exec(call.process);
  return error;
}

long run_target(Call& call, ExecRoom& room, Target& target, const char* script, const char* path, u64 user_envp, long variables) {
  char* state_room = room.used;
  room.used += kStateBytes;
  Text state(state_room, kStateBytes);
  state << kStateVariable << "=";
  Libraries libraries;
  int program = -1;
  if (target.ours) {
    // Of a script it is the interpreter's.
    const char* program_name = script != nullptr || target.is_own_exe ? target.name : path;
    Result<ProgramCopy> copy = copy_program(call, target.mount, target.ino, program_name, variable_of(user_envp, variables, "LD_LIBRARY_PATH"), CopyFor::kKernel, libraries, state);
    if (!copy.ok()) return -copy.error();
    program = copy.value().fd;
    target.why_not_served = copy.value().why_not_served;
  }
  int loaders = -1; // the program that the loader is to load
  if (target.is_loader) {
    Result<int> given = give_loader_its_program(call, room, user_envp, variables, libraries, state);
    if (!given.ok()) return -given.error();
    loaders = given.value();
  }
  const char* shown = script != nullptr ? script : path;
  long error = 0;
  if (target.why_not_served != nullptr || names_other_pools(user_envp, variables)) {
    // It is not continued: its descriptors of pools end here, and nothing of ours is handed on (foundations C1, H8).
    settle_cloexec(call.process);
    if (target.why_not_served != nullptr) report_left_behind(call.process, shown, target.why_not_served);
    error = execute(call, target, program, room.argv, user_envp);
  } else {
    if (target.ours) put_item(state, kItemExecName, std::string_view(shown, strlen(shown)));
    if (call.process.is_traced) put_item(state, kItemTraced, {});
    if (load_relaxed(g_sandboxed)) put_item(state, kItemSandboxed, {});
    put_names(call.process, state);
    if (target.ours || script != nullptr) put_item(state, kItemComm, part(base_name(shown), 0, 15));
    error = build_environment(call, room, user_envp, variables, state, libraries.dir_view());
    if (error == 0) {
      settle_cloexec(call.process);
      error = execute(call, target, program, room.argv, reinterpret_cast<u64>(room.envp));
    }
  }
  libraries.remove();
  for (int fd : {program, loaders})
    if (fd >= 0) raw_syscall(SYS_close, fd);
  return error;
}

long exec_any(Call& call, int dirfd, const char* path, u64 user_argv, u64 user_envp, int flags) {
  if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) != 0) return -EINVAL;
  Target target;
  // The kernel, too, looks at the file before it looks at the arguments.
  long missing = find_target(call, dirfd, path, follow_options(flags), X_OK, target);
  if (missing != 0) return missing;
  long arguments = count_pointers(user_argv), variables = count_pointers(user_envp);
  if (!target.ours && (arguments < 0 || variables < 0)) return kPassOn;
  if (arguments < 0) return arguments;
  if (variables < 0) return variables;
  ExecRoom room{};
  long error = make_room(call, static_cast<u64>(arguments), static_cast<u64>(variables), room);
  if (error == 0) error = copy_arguments(user_argv, arguments, room.argv);
  const char* script = nullptr;
  if (error == 0) error = find_program(call, room, dirfd, path, flags, target, script);
  if (error == 0) error = run_target(call, room, target, script, path, user_envp, variables);
  undo(call, room);
  return error;
}

} // namespace

long h_execve(Call& call) {
  return exec_any(call, AT_FDCWD, call.pointer<const char>(0), call.arg(1), call.arg(2), 0);
}
long h_execveat(Call& call) {
  return exec_any(call, call.fd(0), call.pointer<const char>(1), call.arg(2), call.arg(3), call.fd(4));
}

} // namespace pmemfile::preload
