// pmemfile: one command for everything that is not mkfs or fsck.

#include "tools/commands.h"

int main(int argc, char** argv) {
  using namespace pmemfile::tools;
  Outcome outcome;
  CLI::App app{"pmemfile: a user-space file system on persistent memory, for unmodified programs.\n"
               "Exit status: that of the command for `run` (125 if it was not started, 126 if it cannot run, 127 if it\n"
               "was not found); otherwise 0 done, 1 failed, 2 wrong usage."};
  app.set_version_flag("-V,--version", "pmemfile " PMEMFILE_VERSION);
  app.require_subcommand(1);
  // What stands behind "--" belongs to the command that is to be run, whatever it looks like.
  std::vector<std::string> command;
  bool runs = argc > 1 && std::string_view(argv[1]) == "run";
  for (int i = 2; runs && i < argc; ++i) {
    if (std::string_view(argv[i]) != "--") continue;
    command.assign(argv + i + 1, argv + argc);
    argc = i;
  }
  add_run(app, outcome, command);
  add_info(app, outcome);
  add_files(app, outcome);
  add_doctor(app, outcome);
  add_help(app, outcome);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "pmemfile: {} (see --help)\n", error.what());
    return kExitUsage;
  }
  return outcome.code;
}
