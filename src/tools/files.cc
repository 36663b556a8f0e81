// pmemfile ls, stat, df, cp: a pool's files without preloading, through the C library.
//
// A file in a pool is written POOL:/path; cp tells it from a kernel path by the ":/" behind the name of an existing file.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <memory>

#include "libpmemfile-core.h"
#include "tools/commands.h"

namespace pmemfile::tools {
namespace {

struct Place {
  std::string pool; // empty: the kernel's
  std::string path;
};

Place parse_place(const std::string& text) {
  std::size_t colon = text.find(":/");
  if (colon == text.npos || colon == 0) return {"", text};
  struct stat status{};
  std::string pool = text.substr(0, colon);
  if (stat(pool.c_str(), &status) != 0 || S_ISDIR(status.st_mode)) return {"", text};
  return {pool, text.substr(colon + 1)};
}

// For commands that only know pools: a bare POOL is its root.
Place parse_pool(const std::string& text) {
  Place place = parse_place(text);
  return place.pool.empty() ? Place{text, "/"} : place;
}

struct Closer {
  void operator()(PMEMfilepool* pool) const { pmemfile_pool_close(pool); }
};
using Pool = std::unique_ptr<PMEMfilepool, Closer>;

Pool open_pool(const std::string& path) {
  Pool pool(pmemfile_pool_open(path.c_str()));
  if (!pool) complain(kExitFailed, "{}", pmemfile_errormsg());
  else pmemfile_umask(pool.get(), 0);
  return pool;
}

// Either side of a copy: the same verbs on the kernel and on a pool.
class Side {
 public:
  // `file`: of the pool.
  Side(PMEMfilepool* pool, const std::string& file) : pool_(pool) {
    if (pool_ == nullptr || stat(file.c_str(), &file_) != 0) file_ = {};
  }

  bool status(const std::string& path, struct stat& out) const {
    return (pool_ != nullptr ? pmemfile_lstat(pool_, path.c_str(), &out) : lstat(path.c_str(), &out)) == 0;
  }
  // What a copy to this path would be written to.
  bool status_followed(const std::string& path, struct stat& out) const {
    return (pool_ != nullptr ? pmemfile_stat(pool_, path.c_str(), &out) : stat(path.c_str(), &out)) == 0;
  }
  std::string target(const std::string& path) const {
    char text[4096];
    ssize_t size = pool_ != nullptr ? pmemfile_readlink(pool_, path.c_str(), text, sizeof text)
                                    : readlink(path.c_str(), text, sizeof text);
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
  }
  bool make_symlink(const std::string& text, const std::string& path) const {
    return (pool_ != nullptr ? pmemfile_symlink(pool_, text.c_str(), path.c_str()) : symlink(text.c_str(), path.c_str())) == 0;
  }
  bool make_directory(const std::string& path) const {
    return (pool_ != nullptr ? pmemfile_mkdir(pool_, path.c_str(), 0700) : mkdir(path.c_str(), 0700)) == 0;
  }
  // Mode and times of what was copied, last of all.
  bool finish(const std::string& path, const struct stat& from) const {
    struct timespec times[2] = {from.st_atim, from.st_mtim};
    bool link = S_ISLNK(from.st_mode);
    if (pool_ != nullptr)
      return (link || pmemfile_chmod(pool_, path.c_str(), from.st_mode & 07777) == 0) &&
             pmemfile_utimensat(pool_, PMEMFILE_AT_CWD, path.c_str(), times, PMEMFILE_AT_SYMLINK_NOFOLLOW) == 0;
    return (link || chmod(path.c_str(), from.st_mode & 0777) == 0) && utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0;
  }
  // False, with errno: it cannot be read, or not to its end.
  bool names(const std::string& path, std::vector<std::string>& found) const;
  PMEMfilepool* pool() const { return pool_; }
  // Is this file of the kernel what the pool lies in?
  bool is_pool_file(const struct stat& status) const {
    bool same_device = S_ISCHR(status.st_mode) && S_ISCHR(file_.st_mode) && status.st_rdev == file_.st_rdev;
    return pool_ != nullptr && (same_device || (status.st_dev == file_.st_dev && status.st_ino == file_.st_ino));
  }
  // Is `status`, of this side, the same file as `there`, of the other? Two pools may show the same device number.
  bool same(const struct stat& status, const Side& other, const struct stat& there) const {
    if (pool_ != nullptr && other.pool_ != nullptr) return other.is_pool_file(file_) && status.st_ino == there.st_ino;
    return status.st_dev == there.st_dev && status.st_ino == there.st_ino;
  }

 private:
  PMEMfilepool* pool_;
  struct stat file_{};
};

bool Side::names(const std::string& path, std::vector<std::string>& found) const {
  alignas(8) char buffer[32768];
  PMEMfile* dir = nullptr;
  int fd = -1;
  if (pool_ != nullptr) dir = pmemfile_open(pool_, path.c_str(), PMEMFILE_O_RDONLY | PMEMFILE_O_DIRECTORY);
  else fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir == nullptr && fd < 0) return false;
  int error = 0;
  for (;;) {
    long size = pool_ != nullptr ? pmemfile_getdents64(pool_, dir, reinterpret_cast<linux_dirent64*>(buffer), sizeof buffer)
                                 : getdents64(fd, buffer, sizeof buffer);
    if (size < 0) error = errno;
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      auto* entry = reinterpret_cast<struct dirent64*>(buffer + at);
      std::string name = entry->d_name;
      if (name != "." && name != "..") found.push_back(name);
      at += entry->d_reclen;
    }
  }
  if (dir != nullptr) pmemfile_close(pool_, dir);
  if (fd >= 0) close(fd);
  std::sort(found.begin(), found.end());
  errno = error;
  return error == 0;
}

// One open file of either side.
class Stream {
 public:
  Stream(PMEMfilepool* pool, const std::string& path, bool writing) : pool_(pool) {
    int flags = writing ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
    if (pool != nullptr) file_ = pmemfile_open(pool, path.c_str(), flags, 0600);
    else fd_ = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  }
  ~Stream() { (void)finish(); }
  bool good() const { return file_ != nullptr || fd_ >= 0; }
  ssize_t read(char* buffer, std::size_t size) {
    return file_ != nullptr ? pmemfile_read(pool_, file_, buffer, size) : ::read(fd_, buffer, size);
  }
  bool write(const char* buffer, std::size_t size) {
    while (size != 0) {
      ssize_t done = file_ != nullptr ? pmemfile_write(pool_, file_, buffer, size) : ::write(fd_, buffer, size);
      if (done <= 0) return false;
      buffer += done, size -= static_cast<std::size_t>(done);
    }
    return true;
  }
  bool finish() {
    bool good = fd_ < 0 || ::close(fd_) == 0;
    if (file_ != nullptr) pmemfile_close(pool_, file_);
    file_ = nullptr, fd_ = -1;
    return good;
  }

 private:
  PMEMfilepool* pool_;
  PMEMfile* file_ = nullptr;
  int fd_ = -1;
};

std::string join(const std::string& dir, const std::string& name) {
  return dir.empty() || dir.back() == '/' ? dir + name : dir + "/" + name;
}
std::string last_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

class Copier {
 public:
  Copier(Side from, Side to, bool recursive) : from_(from), to_(to), recursive_(recursive) {}

  // What fails is reported, and the rest copied. False: something has.
  bool copy(const std::string& from, const std::string& to) {
    top_ = from;
    pending_.push_back({from, to});
    while (!pending_.empty()) {
      Item item = pending_.back();
      pending_.pop_back();
      struct stat status{};
      if (!from_.status(item.from, status)) fail(item.from);
      else if (S_ISDIR(status.st_mode)) copy_directory(item, status);
      else if (copy_one(item.from, item.to, status) && !to_.finish(item.to, status)) fail(item.to);
    }
    // From the innermost out, so that nothing is added to a directory whose time has been set.
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it)
      if (!to_.finish(it->first, it->second)) fail(it->first);
    return good_;
  }

 private:
  struct Item {
    std::string from, to;
  };
  bool same(const struct stat& from, const struct stat& to) const { return from_.same(from, to_, to); }

  bool fail(const std::string& path) { return fail_with(fmt::format("{}: {}", path, error_text(errno))); }
  bool fail_with(const std::string& text) {
    complain(kExitFailed, "{}", text);
    return good_ = false;
  }
  void copy_directory(const Item& item, const struct stat& status) {
    if (!recursive_) return void(fail_with(fmt::format("{} is a directory: use -r", item.from)));
    // What was made for the copy is no part of it.
    if (!directories_.empty() && same(status, root_))
      return void(fail_with(fmt::format("cannot copy a directory, {}, into itself, {}", top_, directories_[0].first)));
    struct stat there{};
    if (!to_.make_directory(item.to)) {
      int error = errno;
      bool exists = to_.status(item.to, there) && S_ISDIR(there.st_mode);
      errno = error;
      if (!exists) return void(fail(item.to));
    }
    if (directories_.empty() && !to_.status(item.to, root_)) return void(fail(item.to));
    if (same(status, root_)) return void(fail_with(fmt::format("{} and {} are the same directory", item.from, item.to)));
    directories_.push_back({item.to, status});
    std::vector<std::string> names;
    if (!from_.names(item.from, names)) fail(item.from);
    for (const std::string& name : names) pending_.push_back({join(item.from, name), join(item.to, name)});
  }
  bool copy_one(const std::string& from, const std::string& to, const struct stat& status) {
    if (S_ISLNK(status.st_mode)) return to_.make_symlink(from_.target(from), to) || fail(to);
    if (!S_ISREG(status.st_mode)) return fail_with(fmt::format("{}: neither file, directory nor symlink", from));
    if (from_.pool() == nullptr && to_.is_pool_file(status))
      return fail_with(fmt::format("{} is the file of the pool that it would be copied into", from));
    Stream source(from_.pool(), from, false);
    if (!source.good()) return fail(from);
    struct stat there{};
    bool exists = to_.status_followed(to, there);
    if (exists && same(status, there)) return fail_with(fmt::format("{} and {} are the same file", from, to));
    // Opening it for writing would empty the pool.
    if (exists && to_.pool() == nullptr && from_.is_pool_file(there))
      return fail_with(fmt::format("{} is the file of the pool that {} is in", to, from));
    Stream target(to_.pool(), to, true);
    if (!target.good()) return fail(to);
    std::vector<char> buffer(256 * 1024);
    for (;;) {
      ssize_t size = source.read(buffer.data(), buffer.size());
      if (size < 0) return fail(from);
      if (size == 0) return target.finish() || fail(to);
      if (!target.write(buffer.data(), static_cast<std::size_t>(size))) return fail(to);
    }
  }

  Side from_, to_;
  bool recursive_, good_ = true;
  std::string top_;    // what is copied
  struct stat root_{}; // of the copy's first directory
  std::vector<Item> pending_;
  std::vector<std::pair<std::string, struct stat>> directories_;
};

int copy(const std::vector<std::string>& paths, bool recursive) {
  Place to = parse_place(paths.back());
  Pool to_pool = to.pool.empty() ? nullptr : open_pool(to.pool);
  if (!to.pool.empty() && !to_pool) return kExitFailed;
  int result = 0;
  for (std::size_t i = 0; i + 1 < paths.size(); ++i) {
    Place from = parse_place(paths[i]);
    if (from.pool.empty() && to.pool.empty()) return complain(kExitUsage, "name a file in a pool as POOL:/path");
    bool same = !from.pool.empty() && from.pool == to.pool;
    Pool opened = from.pool.empty() || same ? nullptr : open_pool(from.pool);
    if (!from.pool.empty() && !same && !opened) {
      result = kExitFailed;
      continue;
    }
    Side source(same ? to_pool.get() : opened.get(), from.pool), target(to_pool.get(), to.pool);
    std::string path = to.path;
    struct stat status{};
    bool into = target.status(path, status) && S_ISDIR(status.st_mode);
    if (!into && paths.size() > 2) return complain(kExitFailed, "{} is not a directory", paths.back());
    if (into) path = join(path, last_name(from.path));
    if (!Copier(source, target, recursive).copy(from.path, path)) result = kExitFailed;
  }
  return result;
}

std::string mode_text(u32 mode) {
  std::string text = "?rwxrwxrwx";
  text[0] = S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : S_ISFIFO(mode) ? 'p' : S_ISSOCK(mode) ? 's' : S_ISREG(mode) ? '-' : 'c';
  for (unsigned i = 0; i < 9; ++i)
    if ((mode >> (8 - i) & 1) == 0) text[1 + i] = '-';
  return text;
}

std::string time_text(const struct timespec& time) {
  char text[64];
  struct tm parts;
  localtime_r(&time.tv_sec, &parts);
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

int list(const std::string& text, bool details) {
  Place place = parse_pool(text);
  Pool pool = open_pool(place.pool);
  if (!pool) return kExitFailed;
  Side side(pool.get(), place.pool);
  struct stat status{};
  if (!side.status(place.path, status)) return complain(kExitFailed, "{}: {}", text, error_text(errno));
  bool directory = S_ISDIR(status.st_mode);
  std::vector<std::string> names;
  bool whole = !directory || side.names(place.path, names);
  if (!whole) complain(kExitFailed, "{}: {}", text, error_text(errno));
  if (!directory) names = {place.path};
  for (const std::string& name : names) {
    std::string path = directory ? join(place.path, name) : name;
    if (details && !side.status(path, status)) {
      complain(kExitFailed, "{}: {}", path, error_text(errno));
      status = {};
      whole = false;
    } else if (details) {
      fmt::print("{} {:3} {:5} {:5} {:12} {} ", mode_text(status.st_mode), status.st_nlink, status.st_uid, status.st_gid,
                 status.st_size, time_text(status.st_mtim));
    }
    fmt::print("{}{}\n", name, details && S_ISLNK(status.st_mode) ? " -> " + side.target(path) : "");
  }
  return whole ? 0 : kExitFailed;
}

int show_status(const std::string& text) {
  Place place = parse_pool(text);
  Pool pool = open_pool(place.pool);
  if (!pool) return kExitFailed;
  struct stat status{};
  if (!Side(pool.get(), place.pool).status(place.path, status)) return complain(kExitFailed, "{}: {}", text, error_text(errno));
  fmt::print("{}\n  {} inode {} links {} owner {}:{}\n  size {} blocks {}\n  access {}\n  modify {}\n  change {}\n", text,
             mode_text(status.st_mode), status.st_ino, status.st_nlink, status.st_uid, status.st_gid, status.st_size,
             status.st_blocks, time_text(status.st_atim), time_text(status.st_mtim), time_text(status.st_ctim));
  return 0;
}

int show_space(const std::string& path) {
  Pool pool = open_pool(path);
  if (!pool) return kExitFailed;
  struct statfs space{};
  if (pmemfile_statfs(pool.get(), &space) != 0) return complain(kExitFailed, "{}: {}", path, pmemfile_errormsg());
  u64 unit = static_cast<u64>(space.f_bsize), used = space.f_blocks - space.f_bfree;
  fmt::print("{}: {} in all, {} used ({} %), {} free\n", path, size_text(space.f_blocks * unit), size_text(used * unit),
             space.f_blocks == 0 ? 0 : used * 100 / space.f_blocks, size_text(space.f_bavail * unit));
  return 0;
}

} // namespace

void add_files(CLI::App& app, Outcome& outcome) {
  struct Arguments {
    std::vector<std::string> paths;
    std::string path;
    bool flag = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* ls = app.add_subcommand("ls", "lists a directory of a pool");
  ls->add_option("POOL[:/PATH]", arguments->path)->required();
  ls->add_flag("-l", arguments->flag, "with attributes");
  ls->callback([arguments, &outcome] { outcome.code = list(arguments->path, arguments->flag); });
  CLI::App* status = app.add_subcommand("stat", "attributes of a file in a pool");
  status->add_option("POOL:/PATH", arguments->path)->required();
  status->callback([arguments, &outcome] { outcome.code = show_status(arguments->path); });
  CLI::App* df = app.add_subcommand("df", "space in a pool");
  df->add_option("POOL", arguments->path)->required();
  df->callback([arguments, &outcome] { outcome.code = show_space(arguments->path); });
  CLI::App* cp = app.add_subcommand("cp", "copies into, out of and within pools: FROM... TO, in a pool as POOL:/path");
  cp->add_option("PATH", arguments->paths)->required()->expected(2, 100000);
  cp->add_flag("-r,-R", arguments->flag, "directories with all that is in them");
  cp->callback([arguments, &outcome] { outcome.code = copy(arguments->paths, arguments->flag); });
}

} // namespace pmemfile::tools
