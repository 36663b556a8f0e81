// pmemfile run: starts a program in a pool.

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/commands.h"
#include "vfs/pool.h"

namespace pmemfile::tools {
namespace {

constexpr char kDefaultMount[] = "/mnt/pmemfile";
constexpr u64 kDefaultPoolBytes = u64{256} << 20;

struct RunArguments {
  std::string mount = kDefaultMount, pool, size;
  std::vector<std::string> command;
  bool report = false;
};

std::string default_pool() { return fmt::format("/dev/shm/pmemfile-{}.pool", geteuid()); }

// Absolute, without `.`, `..`, double or trailing slashes; lexically, for what need not exist.
std::string clean_path(const std::string& path) {
  std::string whole = path;
  if (whole.empty() || whole[0] != '/') {
    char cwd[PATH_MAX];
    if (getcwd(cwd, sizeof cwd) == nullptr) return {};
    whole = std::string(cwd) + "/" + whole;
  }
  std::vector<std::string> parts;
  for (std::size_t start = 0; start < whole.size();) {
    std::size_t end = std::min(whole.find('/', start), whole.size());
    std::string part = whole.substr(start, end - start);
    if (part == ".." && !parts.empty()) parts.pop_back();
    else if (!part.empty() && part != "." && part != "..") parts.push_back(part);
    start = end + 1;
  }
  std::string clean;
  for (const std::string& part : parts) clean += "/" + part;
  return clean.empty() ? "/" : clean;
}

// The pool is there afterwards, or something was said and the exit status is not 0.
int provide_pool(RunArguments& arguments) {
  struct stat status{};
  if (stat(arguments.pool.c_str(), &status) == 0) {
    PoolFile pool;
    if (auto error = pool.open(arguments.pool, false)) return complain(kExitRunFailed, "{}", *error);
    layout::Geometry geometry;
    if (auto fault = read_geometry(pool, geometry); fault != layout::GeometryFault::kNone)
      return complain(kExitRunFailed, "{}: {}", arguments.pool, layout::geometry_fault_text(fault));
    return 0;
  }
  if (errno != ENOENT) return complain(kExitRunFailed, "{}: {}", arguments.pool, error_text(errno));
  u64 bytes = kDefaultPoolBytes;
  if (!arguments.size.empty()) {
    auto size = parse_size(arguments.size);
    if (!size) return complain(kExitRunFailed, "'{}' is not a size: use a number, with K, M, G or T", arguments.size);
    bytes = *size;
  }
  if (auto error = make_pool(arguments.pool, bytes)) return complain(kExitRunFailed, "{}", *error);
  fmt::print(stderr, "pmemfile: made a pool of {} in {}\n", size_text(bytes), arguments.pool);
  return 0;
}

bool lies_in(const std::string& path, const std::string& directory) {
  return path == directory || path.compare(0, directory.size() + 1, directory + "/") == 0;
}

void prepend_environment(const char* name, const std::string& value, char separator) {
  const char* old = getenv(name);
  std::string whole = value;
  if (old != nullptr && *old != '\0') whole += separator + std::string(old);
  setenv(name, whole.c_str(), 1);
}

int run(RunArguments& arguments) {
  if (arguments.pool.empty()) arguments.pool = default_pool();
  arguments.mount = clean_path(arguments.mount);
  arguments.pool = clean_path(arguments.pool);
  if (arguments.mount.empty() || arguments.mount == "/")
    return complain(kExitRunFailed, "the mount point must be a directory below /");
  if (arguments.mount.find_first_of(":;") != arguments.mount.npos || arguments.pool.find(';') != arguments.pool.npos)
    return complain(kExitRunFailed, "mount point and pool may contain neither ':' nor ';'");
  std::string library = find_library("libpmemfile.so");
  if (library.empty()) return complain(kExitRunFailed, "libpmemfile.so is neither beside {} nor in its lib directory",
                                       executable_dir());
  if (library.find_first_of(": ") != library.npos)
    return complain(kExitRunFailed, "{}: the loader cannot preload from a path with a blank or colon", library);
  // What lies in the pool is found only by the program itself.
  std::string program = arguments.command[0];
  if (program[0] != '/' || !lies_in(clean_path(program), arguments.mount)) {
    program = find_program(arguments.command[0]);
    if (program.empty()) return complain(kExitNotFound, "{}: not found", arguments.command[0]);
    if (std::string reason = unfit_reason(program); !reason.empty())
      return complain(kExitCannotRun, "{} (mount.pmemfile will be the way for such programs)", reason);
  } else {
    // The kernel cannot start it: env, preloaded, can.
    arguments.command.insert(arguments.command.begin(), "/usr/bin/env");
    program = arguments.command[0];
  }
  if (int code = provide_pool(arguments)) return code;
  prepend_environment("PMEMFILE_POOLS", arguments.mount + ":" + arguments.pool, ';');
  prepend_environment("LD_PRELOAD", library, ':');
  if (arguments.report) setenv("PMEMFILE_REPORT", "1", 1);
  std::vector<char*> argv;
  for (std::string& argument : arguments.command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return complain(errno == ENOENT ? kExitNotFound : kExitCannotRun, "{}: {}", program, error_text(errno));
}

} // namespace

std::optional<std::string> make_pool(const std::string& path, u64 bytes) {
  vfs::Pool::MakeOptions options;
  options.bytes = bytes;
  options.mode = 0600; // of the user who runs the command; mkfs.pmemfile makes pools for others
  options.exclusive = true;
  options.uid = geteuid();
  options.gid = getegid();
  vfs::AttachFailure failure{};
  auto made = vfs::Pool::make(path.c_str(), options, &failure);
  if (made.ok() || made.error() == EEXIST) return std::nullopt; // somebody was faster
  if (failure.text[0] != '\0') return failure.text;
  return fmt::format("cannot make {}: {}", path, error_text(made.error()));
}

void add_run(CLI::App& app, Outcome& outcome, const std::vector<std::string>& separated) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* command = app.add_subcommand("run", "starts a program in a pool: pmemfile run [options] -- CMD...");
  command->add_option("-m,--mount", arguments->mount,
                      fmt::format("where the program sees the pool; need not exist ({})", kDefaultMount));
  command->add_option("-p,--pool", arguments->pool, fmt::format("the pool, made if missing ({})", default_pool()));
  command->add_option("-s,--size", arguments->size, fmt::format("of a pool to be made ({})", size_text(kDefaultPoolBytes)));
  command->add_flag("-r,--report", arguments->report, "print at the end what was served (PMEMFILE_REPORT=1)");
  // Everything from the first word that is no option of ours belongs to the command.
  command->prefix_command();
  command->footer("CMD... REQUIRED             the program and its arguments");
  command->callback([arguments, command, &outcome, &separated] {
    arguments->command = command->remaining();
    arguments->command.insert(arguments->command.end(), separated.begin(), separated.end());
    if (arguments->command.empty()) outcome.code = complain(kExitUsage, "run: name a command (see --help)");
    else outcome.code = run(*arguments);
  });
}

} // namespace pmemfile::tools
