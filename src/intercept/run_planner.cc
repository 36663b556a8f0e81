#include "intercept/run_planner.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include "base/syscall.h"
#include "base/text.h"

namespace pmemfile::intercept {

namespace {

constexpr unsigned kMaxArguments = 16;

// The child shares our memory and stack until exec, and has its own
// descriptors: what the planner says is not for the program's terminal.
[[noreturn]] void become_planner(const PlannerCommand& command, const char* const* argv) {
  const long null = raw_syscall(SYS_open, as_arg("/dev/null"), O_RDWR);
  for (int fd = 0; fd < 3 && null >= 0; ++fd)
    if (null != fd) raw_syscall(SYS_dup2, null, fd);
  const char* const environment[] = {"PMEMFILE_PLANNING=1", nullptr};
  for (const char* const* program = command.programs; *program != nullptr; ++program)
    raw_syscall(SYS_execve, as_arg(*program), as_arg(argv), as_arg(environment));
  raw_syscall(SYS_exit_group, 127);
  __builtin_unreachable();
}

} // namespace

Result<void> run_planner(const PlannerCommand& command, const char* object_path) {
  const char* argv[kMaxArguments];
  unsigned count = 0;
  argv[count++] = "pmemfile-plan";
  for (const char* const* cache = command.caches; *cache != nullptr && count + 4 < kMaxArguments; ++cache) {
    argv[count++] = "--cache";
    argv[count++] = *cache;
  }
  FixedText<16> output;
  if (command.output >= 0) {
    count = 1;
    argv[count++] = "--output-descriptor";
    argv[count++] = (output << static_cast<i64>(command.output)).c_str();
  }
  argv[count++] = object_path;
  argv[count] = nullptr;

  // No handler of the program may run in the child; and with no exit signal
  // the program does not see that there was one.
  u64 all = ~u64{0}, old = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, as_arg(&all), as_arg(&old), sizeof all);
  const long pid = raw_syscall(SYS_clone, CLONE_VM | CLONE_VFORK, 0, 0, 0, 0);
  if (pid == 0) become_planner(command, argv);
  int status = -1;
  long waited = pid;
  if (pid > 0) waited = raw_syscall(SYS_wait4, pid, as_arg(&status), __WALL, 0);
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, as_arg(&old), 0, sizeof old);
  if (is_syscall_error(waited)) return Error(static_cast<int>(-waited));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return Error(ENOENT);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Error(ENOEXEC);
  return {};
}

} // namespace pmemfile::intercept
