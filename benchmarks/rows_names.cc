#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rows.h"

namespace bench {
namespace {

// What the rows of one directory share; it lives as long as the process.
struct Directory {
  std::string path;
  Names files, missing, fresh, other; // present; absent; absent, made and taken away by windows
  unsigned long entries;
  long window;

  explicit Directory(const std::string& where, long count)
      : path(where), files(where + "/file"), missing(where + "/missing"), fresh(where + "/new"), other(where + "/other"), entries(static_cast<unsigned long>(count)),
        // A window adds at most the tenth part, so that the directory keeps its size.
        window(std::clamp(count / 10, 10L, 1000L)) {}
  // In an order that looks random: steps by a prime number over the number of entries.
  const char* file(long i) { return files(static_cast<unsigned long>(i) * 7'368'787u % entries); }
  const char* none(long i) { return missing(static_cast<unsigned long>(i) * 7'368'787u % 10'000u); }
};

const char* at(Names& all, long i) { return all(static_cast<unsigned long>(i)); }
void create(const char* path) { close(must_fd(open(path, O_CREAT | O_EXCL | O_WRONLY, 0644), "create")); }

void create_all(Names& all, long count) {
  for (long i = 0; i < count; i++) create(at(all, i));
}
void unlink_all(Names& all, long count) {
  for (long i = 0; i < count; i++) must(unlink(at(all, i)), "unlink");
}
void rmdir_all(Names& all, long count) {
  for (long i = 0; i < count; i++) must(rmdir(at(all, i)), "rmdir");
}

template <typename Each>
long pass(Directory& d, Each each) {
  DIR* stream = opendir(d.path.c_str());
  if (stream == nullptr) die("opendir");
  long entries = 0;
  while (const dirent* entry = readdir(stream)) each(stream, entry), entries++;
  closedir(stream);
  return entries;
}

void add_lookups(Table& table, Directory& d, const std::string& in) {
  static struct stat st;
  table.add("stat" + in, [&d](long i) { must(stat(d.file(i), &st), "stat"); });
  table.add("stat, missing name" + in, [&d](long i) {
    if (stat(d.none(i), &st) == 0) die("a name that should be missing");
  });
  table.add("access" + in, [&d](long i) { must(access(d.file(i), R_OK), "access"); });
  table.add("open+close" + in, [&d](long i) { close(must_fd(open(d.file(i), O_RDONLY), "open")); });
  auto nothing = [](DIR*, const dirent*) {};
  auto with_stat = [](DIR* stream, const dirent* entry) { must(fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW), "fstatat"); };
  const double entries = static_cast<double>(pass(d, nothing));
  table.add("readdir, per entry" + in, [&d, nothing](long) { pass(d, nothing); }, entries);
  table.add("readdir+stat, per entry" + in, [&d, with_stat](long) { pass(d, with_stat); }, entries);
}

void add_changes(Table& table, Directory& d, const std::string& in) {
  auto makes = [&d](long count) { create_all(d.fresh, count); };
  auto removes = [&d](long count) { unlink_all(d.fresh, count); };
  auto removes_other = [&d](long count) { unlink_all(d.other, count); };
  auto removes_dirs = [&d](long count) { rmdir_all(d.fresh, count); };
  Nothing nothing;
  table.add_windowed("create+close" + in, d.window, [&d](long i) { create(at(d.fresh, i)); }, nothing, removes);
  table.add_windowed("unlink" + in, d.window, [&d](long i) { must(unlink(at(d.fresh, i)), "unlink"); }, makes, nothing);
  table.add_windowed("rename" + in, d.window, [&d](long i) { must(rename(at(d.fresh, i), at(d.other, i)), "rename"); }, makes, removes_other);
  table.add_windowed("link" + in, d.window, [&d](long i) { must(link(d.file(i), at(d.fresh, i)), "link"); }, nothing, removes);
  table.add_windowed("symlink" + in, d.window, [&d](long i) { must(symlink("target", at(d.fresh, i)), "symlink"); }, nothing, removes);
  table.add_windowed("mkdir" + in, d.window, [&d](long i) { must(mkdir(at(d.fresh, i), 0755), "mkdir"); }, nothing, removes_dirs);
  table.add_windowed(
      "rmdir" + in, d.window, [&d](long i) { must(rmdir(at(d.fresh, i)), "rmdir"); },
      [&d](long count) {
        for (long i = 0; i < count; i++) must(mkdir(at(d.fresh, i), 0755), "mkdir");
      },
      nothing);
}

} // namespace

void add_directory_rows(Table& table, const Places& places, long entries) {
  Directory& d = *new Directory(places.dir + "/directory-" + std::to_string(entries), entries);
  if (mkdir(d.path.c_str(), 0755) == 0) create_all(d.files, entries);
  const std::string in = ", " + std::to_string(entries);
  add_lookups(table, d, in);
  add_changes(table, d, in);
}

} // namespace bench
