// pmemfile doctor: can this machine do what the preload library needs?

#include <fcntl.h>
#include <gnu/libc-version.h>
#include <spawn.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tools/commands.h"

extern char** environ;

namespace pmemfile::tools {
namespace {

class Doctor {
 public:
  int examine() {
    processor();
    kernel_and_libc();
    shared_memory();
    kernel_locks();
    if (std::string library = find_library("libpmemfile.so"); library.empty())
      say(false, "libpmemfile.so", "not found beside " + executable_dir() + " or in its lib directory");
    else
      preload(library);
    fmt::print("{}\n", sick_ == 0 ? "everything that is needed is there" : "something that is needed is missing: see above");
    return sick_ == 0 ? 0 : kExitFailed;
  }

 private:
  void say(bool good, const std::string& what, const std::string& detail) {
    fmt::print("{:<5}{:<18}{}\n", good ? "ok" : "BAD", what, detail);
    if (!good) ++sick_;
  }

  void processor() {
    bool crc = __builtin_cpu_supports("sse4.2");
    say(crc, "processor", crc ? "SSE4.2 (CRC-32C)" : "has no SSE4.2, which every checksum needs");
  }

  void kernel_and_libc() {
    struct utsname name{};
    uname(&name);
    say(true, "kernel", std::string(name.sysname) + " " + name.release);
    say(true, "C library", std::string("glibc ") + gnu_get_libc_version());
  }

  void shared_memory() {
    const char* dir = std::getenv("PMEMFILE_SHM_DIR");
    std::string path = dir != nullptr ? dir : "/dev/shm";
    struct statfs fs{};
    if (statfs(path.c_str(), &fs) != 0) return say(false, path, error_text(errno));
    constexpr long kTmpfsMagic = 0x01021994;
    bool writable = access(path.c_str(), W_OK) == 0;
    std::string free = size_text(static_cast<u64>(fs.f_bavail) * static_cast<u64>(fs.f_bsize)) + " free";
    if (!writable) return say(false, path, "not writable");
    say(true, path, fs.f_type == kTmpfsMagic ? "tmpfs, " + free : "no tmpfs: works, but slower; " + free);
  }

  // Two open file descriptions of one process exclude each other by OFD locks: the base of liveness.
  void kernel_locks() {
    char name[] = "/tmp/pmemfile-doctor-XXXXXX";
    int first = mkostemp(name, O_CLOEXEC);
    if (first < 0) return say(false, "file locks", error_text(errno));
    int second = ::open(name, O_RDWR | O_CLOEXEC);
    unlink(name);
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_len = 1;
    bool taken = fcntl(first, F_OFD_SETLK, &lock) == 0;
    bool refused = fcntl(second, F_OFD_SETLK, &lock) != 0;
    close(first);
    bool released = fcntl(second, F_OFD_SETLK, &lock) == 0;
    close(second);
    bool good = taken && refused && released;
    say(good, "file locks", good ? "open-file-description locks work" : "open-file-description locks do not work");
  }

  void preload(const std::string& library) {
    char dir[] = "/dev/shm/pmemfile-doctor-XXXXXX";
    if (mkdtemp(dir) == nullptr) return say(false, "preload", error_text(errno));
    std::string pool = std::string(dir) + "/pool", mount = std::string(dir) + "/mnt";
    auto error = make_pool(pool, u64{8} << 20);
    if (error) say(false, "pool", *error);
    else {
      say(true, "pool", "made one of 8 MiB in /dev/shm");
      int status = start("/bin/true", "", library, mount + ":" + pool);
      say(status == 0, "preload", status == 0 ? "/bin/true runs under " + library
                                              : fmt::format("/bin/true under {} ends with status {}", library, status));
      status = start("/bin/ls", mount, library, mount + ":" + pool);
      say(status == 0, "mount point", status == 0 ? "ls sees it" : fmt::format("ls {} ends with status {}", mount, status));
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
  }

  int start(const std::string& program, const std::string& argument, const std::string& library, const std::string& pools) {
    std::vector<std::string> variables{"LD_PRELOAD=" + library, "PMEMFILE_POOLS=" + pools, "PATH=/usr/bin:/bin"};
    variables.push_back("PMEMFILE_SHM_DIR=" + pools.substr(pools.find(':') + 1, pools.rfind('/') - pools.find(':') - 1));
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    char* argv[] = {const_cast<char*>(program.c_str()),
                    argument.empty() ? nullptr : const_cast<char*>(argument.c_str()), nullptr};
    pid_t pid;
    if (int error = posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, environment.data())) return 1000 + error;
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  int sick_ = 0;
};

} // namespace

void add_doctor(CLI::App& app, Outcome& outcome) {
  app.add_subcommand("doctor", "checks whether this machine has what is needed")->callback([&outcome] {
    outcome.code = Doctor().examine();
  });
}

} // namespace pmemfile::tools
