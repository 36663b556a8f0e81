// pmemfile help environment.

#include "tools/commands.h"

namespace pmemfile::tools {
namespace {

struct Variable {
  const char* name;
  const char* meaning;
};

constexpr Variable kVariables[] = {
    {"PMEMFILE_POOLS", "mount_point:pool[;mount_point:pool...]: which pool the program sees where"},
    {"LD_PRELOAD", "absolute path of libpmemfile.so; a name without a slash is silently ignored where it is not found"},
    {"PMEMFILE_REPORT", "1: print at exit what was served and what was refused; a file name (%p: process id) instead of 1"},
    {"PMEMFILE_SHM_DIR", "directory of the shared volatile segments (/dev/shm); the same for all users of a pool"},
    {"PMEMFILE_DATA", "atomic: overwriting is atomic, too, in pieces of 512 KiB; plain (the default): in place"},
    {"PMEMFILE_FORCE_FLUSH", "1: flush as persistent memory needs it, whatever the medium (for measurements)"},
    {"PMEMFILE_PRELOAD_LOG", "file to which every call on a pool is written"},
    {"PMEMFILE_PRELOAD_LOG_TRUNC", "1: start that file anew"},
    {"PMEMFILE_EXIT_ON_NOT_SUPPORTED", "1: abort when a call on a pool is not supported, instead of failing it"},
    {"PMEMFILE_PRELOAD_PAUSE_AT_START", "1: wait at start for a debugger"},
    {"PMEMFILE_PATCH_AFTER", "system calls that a process may make before its code is patched (128); 0: patched at start, for debuggers"},
    {"PMEMFILE_CD", "directory to change to at start"},
};

} // namespace

void add_help(CLI::App& app, Outcome& outcome) {
  CLI::App* help = app.add_subcommand("help", "more about: environment");
  help->require_subcommand(1);
  help->add_subcommand("environment", "variables that the preload library reads")->callback([&outcome] {
    for (const Variable& variable : kVariables) fmt::print("{}\n    {}\n", variable.name, variable.meaning);
    fmt::print("\nAll of them are ignored in setuid and setgid programs.\n");
    outcome.code = 0;
  });
}

} // namespace pmemfile::tools
