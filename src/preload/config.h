// What the environment says. The only place that knows the names of variables.
//
// All texts are copied at start: programs overwrite their environment's memory.
// Rules: start only, but for the constant results.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

struct Config {
  const char* pools = nullptr;   // PMEMFILE_POOLS as given
  const char* library = nullptr; // how this library was named in LD_PRELOAD
  const char* report = nullptr;  // PMEMFILE_REPORT
  const char* log = nullptr;     // PMEMFILE_PRELOAD_LOG
  const char* cd = nullptr;      // PMEMFILE_CD
  const char* shm_dir = nullptr; // PMEMFILE_SHM_DIR
  const char* exec_state = nullptr; // exec_state.h; only between start and main
  bool log_trunc = true;
  bool exit_on_not_supported = false;
  bool pause_at_start = false;
  u32 max_traps = 128; // PMEMFILE_PATCH_AFTER: system calls before the process is patched; 0: at start
  bool atomic_data = false; // PMEMFILE_DATA=atomic
  bool force_flush = false; // PMEMFILE_FORCE_FLUSH
  // Everything to hand on to children: "NAME=value" texts, LD_PRELOAD not among them.
  const char* handed_on[16] = {};
  u32 handed_on_count = 0;
};
extern Config g_config;

// Reads the environment. False: nothing for us to do (no PMEMFILE_POOLS). Ends the process with one clear line if the
// variable is malformed.
bool read_config(char** environment);
// Takes a variable out of the environment.
void remove_variable(char** environment, std::string_view name);

// "pmemfile: <what>" on standard error and the end of the process: 78 (EX_CONFIG).
[[noreturn]] void give_up(std::string_view what, std::string_view where, std::string_view advice);

} // namespace pmemfile::preload
