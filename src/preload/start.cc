#include "preload/start.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "preload/attach.h"
#include "preload/children.h"
#include "preload/config.h"
#include "preload/cwd.h"
#include "preload/descriptors.h"
#include "preload/exec_state.h"
#include "preload/handlers.h"
#include "preload/names_of.h"
#include "preload/report.h"
#include "preload/signals.h"

namespace pmemfile::preload {

namespace {

// AT_SECURE stands behind the environment on the initial stack.
bool is_secure(char** environment) {
  char** at = environment;
  while (*at != nullptr) ++at;
  for (auto* entry = reinterpret_cast<Elf64_auxv_t*>(at + 1); entry->a_type != AT_NULL; ++entry)
    if (entry->a_type == AT_SECURE) return entry->a_un.a_val != 0;
  return false;
}

// What does not begin as zero; initialisers would make the struct's pages copies of the library file's.
void start_process(Process& process) {
  process.placeholder = -1;
  process.own_floor = ~u32{0};
  process.cwd.generation = 1;
  process.umask = 022;
  process.known_epoch = 1;
  process.file_size_limit = ~u64{0};
}

void warn(std::string_view line) {
  FixedText<512> text;
  text << "pmemfile: " << line << "\n";
  text.write_to(2);
}

void engine_failed(int error) {
  FixedText<16> number;
  number << static_cast<i64>(error);
  give_up("cannot intercept the system calls of this process", number.view(), "see PMEMFILE_REPORT; is another copy of the library loaded?");
}

// PMEMFILE_CD and PMEMFILE_PRELOAD_PAUSE_AT_START.
void wishes_of_the_user() {
  if (g_config.cd != nullptr && g_config.exec_state == nullptr) {
    intercept::Frame frame{};
    frame.rax = SYS_chdir;
    frame.rdi = reinterpret_cast<u64>(g_config.cd);
    long result = hook(frame) == intercept::Verdict::Done ? static_cast<long>(frame.rax) : raw_syscall(SYS_chdir, as_arg(g_config.cd));
    if (result < 0) give_up("cannot change to the directory", g_config.cd, "check PMEMFILE_CD");
  }
  while (load_acquire(g_config.pause_at_start)) { // set it to false in a debugger
    u64 delay[2] = {0, 100000000};
    raw_syscall(SYS_nanosleep, as_arg(delay), 0);
  }
}

// The linker marks this library so that its constructor is the first to run (initfirst): what others open in theirs is seen.
// Order: nothing of the program may run between taking over the old image's state and patching; the environment is
// cleaned even if there is nothing to take over.
__attribute__((constructor)) void start(int, char** arguments, char** environment) {
  if (environment == nullptr || is_secure(environment)) return;
  if (!read_config(environment)) return;
  start_process(g_process);
  if (g_config.exec_state != nullptr) adopt_state(g_config.exec_state, arguments, environment);
  remove_variable(environment, kStateVariable);
  start_pools();
  start_signals(g_process);
  intercept::go_to_end_of_object_list();
  open_log();
  open_report();
  intercept::Options options;
  if (g_config.report != nullptr) options.warn = warn; // otherwise standard error is the program's
  // The report and the log tell of patched sites, from the first call on.
  if (g_config.report == nullptr && g_log_fd < 0 && !g_process.is_traced) options.max_traps = g_config.max_traps;
  options.failed = engine_failed;
  Result<void> started = intercept::start(hook, &kChildEvents, options);
  if (!started.ok()) engine_failed(started.error());
  wishes_of_the_user();
}

} // namespace

} // namespace pmemfile::preload
