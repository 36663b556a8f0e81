// The subcommands of `pmemfile`: each adds itself to the command line and sets what is to be done.
//
// Rules: ordinary single-threaded programs.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "fmt/format.h"
#include "tools/common.h"

namespace pmemfile::tools {

// Exit statuses, as in env(1) and timeout(1).
inline constexpr int kExitFailed = 1, kExitUsage = 2, kExitRunFailed = 125, kExitCannotRun = 126, kExitNotFound = 127;

// What the chosen subcommand leaves for main to return.
struct Outcome {
  int code = 0;
};

template <class... Args>
int complain(int code, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "pmemfile: {}\n", fmt::format(format, std::forward<Args>(args)...));
  return code;
}

// `separated`: the words behind "--"; lives until the end.
void add_run(CLI::App& app, Outcome& outcome, const std::vector<std::string>& separated);
void add_info(CLI::App& app, Outcome& outcome);
void add_doctor(CLI::App& app, Outcome& outcome);
void add_files(CLI::App& app, Outcome& outcome);
void add_help(CLI::App& app, Outcome& outcome);

// Why a program cannot be served by preloading; empty: it can. `path` is what execve would get.
std::string unfit_reason(const std::string& path);
// PATH lookup as execvp does it; empty: not found.
std::string find_program(const std::string& name);

// Makes a pool of this size; the text of what went wrong, or nothing.
std::optional<std::string> make_pool(const std::string& path, u64 bytes);

} // namespace pmemfile::tools
