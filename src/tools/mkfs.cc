// mkfs.pmemfile PATH [SIZE]: makes a pool in a file or on a device-DAX node.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "fmt/format.h"
#include "tools/common.h"
#include "vfs/pool.h"

namespace pmemfile::tools {
namespace {

constexpr int kExitOperational = 8, kExitUsage = 16;

struct Arguments {
  std::string path, size = "0", label, uuid, mode;
  bool force = false, sparse = false, dry_run = false, quiet = false;
};

int fail(int code, const std::string& text) {
  fmt::print(stderr, "mkfs.pmemfile: {}\n", text);
  return code;
}

void print_geometry(const Arguments& arguments, const layout::Geometry& geometry) {
  u64 bytes = geometry.block_count * layout::kBlockBytes;
  fmt::print("{}: {} ({} blocks of {} bytes)\n", arguments.path, size_text(bytes), geometry.block_count,
             layout::kBlockBytes);
  fmt::print("  record slots {}, bitmap {} blocks, room for files {}\n", geometry.record_slot_count,
             geometry.bitmap_block_count,
             size_text((geometry.block_count - geometry.data_start_block) * layout::kBlockBytes));
}

void print_level(pmem::Persistence level) {
  fmt::print("  persistence: {}\n", pmem::persistence_text(level));
}

// What mkfs would overwrite; empty if nothing.
std::string signature(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  u8 head[2 * layout::kBlockBytes] = {};
  ssize_t got = 0;
  struct stat status{};
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) got = pread(fd, head, sizeof head, 0);
  else if (auto mapped = pmem::map(fd, 0, false); mapped.ok()) {
    got = sizeof head;
    std::memcpy(head, mapped.value().medium.base, sizeof head);
    pmem::unmap(mapped.value().medium);
  }
  close(fd);
  for (unsigned copy = 0; copy < layout::kSuperblockCopies; ++copy) {
    layout::Geometry geometry;
    std::memcpy(&geometry, head + copy * layout::kBlockBytes, sizeof geometry);
    if (geometry.magic == layout::kMagic) return "a pool";
  }
  for (ssize_t i = 0; i < got; ++i)
    if (head[i] != 0) return "data";
  return {};
}

// The size of the pool to be made, from the argument and what is there.
int choose_size(const Arguments& arguments, bool* exists, u64* bytes) {
  auto size = parse_size(arguments.size);
  if (!size) return fail(kExitUsage, fmt::format("'{}' is not a size: use a number, with K, M, G or T", arguments.size));
  struct stat status{};
  *exists = stat(arguments.path.c_str(), &status) == 0;
  if (!*exists && errno != ENOENT)
    return fail(kExitOperational, fmt::format("{}: {}", arguments.path, error_text(errno)));
  if (*exists && S_ISDIR(status.st_mode))
    return fail(kExitOperational, fmt::format("{} is a directory: name a file or a device-DAX node", arguments.path));
  *bytes = *size;
  if (*size == 0) {
    if (!*exists) return fail(kExitUsage, fmt::format("{} does not exist: give a size to make it", arguments.path));
    int fd = ::open(arguments.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(kExitOperational, fmt::format("{}: {}", arguments.path, error_text(errno)));
    auto whole = pmem::file_bytes(fd);
    close(fd);
    if (!whole.ok())
      return fail(kExitOperational, fmt::format("{} is neither a file nor a device-DAX node", arguments.path));
    *bytes = whole.value();
  }
  if (*bytes < layout::kMinPoolBytes)
    return fail(*size == 0 ? kExitOperational : kExitUsage,
                fmt::format("{} is too small: a pool needs {}", size_text(*bytes), size_text(layout::kMinPoolBytes)));
  if (*bytes > layout::kMaxPoolBytes)
    return fail(kExitUsage, fmt::format("{} is too large: a pool has at most {}", size_text(*bytes),
                                        size_text(layout::kMaxPoolBytes)));
  return 0;
}

int fill_options(const Arguments& arguments, vfs::Pool::MakeOptions& options) {
  if (arguments.label.size() > sizeof options.label)
    return fail(kExitUsage, fmt::format("the label is longer than {} bytes", sizeof options.label));
  std::memcpy(options.label, arguments.label.data(), arguments.label.size());
  if (!arguments.uuid.empty() && !parse_uuid(arguments.uuid, options.uuid))
    return fail(kExitUsage, fmt::format("'{}' is not a UUID", arguments.uuid));
  if (!arguments.mode.empty()) {
    char* end = nullptr;
    unsigned long mode = std::strtoul(arguments.mode.c_str(), &end, 8);
    if (*end != '\0' || mode > 0777) return fail(kExitUsage, fmt::format("'{}' is not a mode", arguments.mode));
    options.mode = static_cast<u32>(mode);
  }
  options.force = arguments.force;
  options.sparse = arguments.sparse;
  options.uid = geteuid();
  options.gid = getegid();
  return 0;
}

int make(const Arguments& arguments) {
  bool exists = false;
  vfs::Pool::MakeOptions options;
  if (int code = choose_size(arguments, &exists, &options.bytes)) return code;
  if (int code = fill_options(arguments, options)) return code;
  if (exists && !arguments.force)
    if (std::string what = signature(arguments.path); !what.empty())
      return fail(kExitOperational, fmt::format("{} already holds {}: --force overwrites it", arguments.path, what));
  if (arguments.dry_run) {
    auto geometry = layout::plan_geometry(align_down(options.bytes, layout::kBlockBytes));
    if (!geometry.ok()) return fail(kExitOperational, error_text(geometry.error()));
    print_geometry(arguments, geometry.value());
    fmt::print("  dry run: nothing was written\n");
    return 0;
  }
  vfs::AttachFailure failure{};
  auto made = vfs::Pool::make(arguments.path.c_str(), options, &failure);
  if (!made.ok())
    return fail(kExitOperational, failure.text[0] != '\0'
                                      ? std::string(failure.text)
                                      : fmt::format("{}: {}", arguments.path, error_text(made.error())));
  if (arguments.quiet) return 0;
  PoolFile pool;
  if (auto error = pool.open(arguments.path, true)) return fail(kExitOperational, *error);
  print_geometry(arguments, made.value());
  fmt::print("  UUID {}{}{}\n", uuid_text(made.value().uuid), arguments.label.empty() ? "" : ", label ", arguments.label);
  print_level(pool.level());
  if (arguments.sparse)
    fmt::print("  sparse: a program may be killed by SIGBUS when the file system below is full; for tests only\n");
  return 0;
}

} // namespace
} // namespace pmemfile::tools

int main(int argc, char** argv) {
  pmemfile::tools::Arguments arguments;
  CLI::App app{"Makes a pmemfile pool in a file or on a device-DAX node.\n"
               "Exit status: 0 done, 8 it could not be made, 16 wrong usage."};
  app.set_version_flag("-V,--version", "mkfs.pmemfile " PMEMFILE_VERSION);
  app.add_option("PATH", arguments.path, "file (made if missing) or device")->required();
  app.add_option("SIZE", arguments.size, "bytes, or with K, M, G, T; 0 or missing: the whole file or device");
  app.add_option("-L,--label", arguments.label, "label, at most 64 bytes");
  app.add_option("-U,--uuid", arguments.uuid, "UUID; drawn if missing");
  app.add_option("-m,--mode", arguments.mode, "permissions of a new pool file, octal (0666 without umask)");
  app.add_flag("-f,--force", arguments.force, "overwrite what is there");
  app.add_flag("--sparse", arguments.sparse, "do not allocate the blocks: for tests");
  app.add_flag("-n,--dry-run", arguments.dry_run, "say what would be made");
  app.add_flag("-q,--quiet", arguments.quiet, "print nothing but errors");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "mkfs.pmemfile: {} (see --help)\n", error.what());
    return pmemfile::tools::kExitUsage;
  }
  return pmemfile::tools::make(arguments);
}
