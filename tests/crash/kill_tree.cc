// The starting tree, and what can be seen of it without a lock.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "crash/kill_world.h"
#include "dir/dir.h"

namespace pmemfile::kill_steps {
namespace {

constexpr i64 kLongAgo_s = 1'600'000'000; // times before were set by somebody
constexpr u64 kBlock = 4096;

struct Entry {
  std::string name;
  Ino ino{};
};

int list_names(Actor& actor, Ino dir, std::vector<Entry>& entries) {
  return dir::list(actor.pool->store(), dir, 0, [](void* context, const dir::Listed& entry) {
    static_cast<std::vector<Entry>*>(context)->push_back({std::string(entry.name), entry.ino});
    return true;
  }, &entries).error();
}

int read_all(Actor& actor, Ino ino, u64 size, std::string& content) {
  content.assign(size, '?');
  data::IoVec vector{content.data(), size};
  auto bytes = data::read(actor.pool->store(), ino, 0, &vector, 1);
  if (!bytes.ok()) return bytes.error();
  content.resize(bytes.value());
  return 0;
}

int look_at_xattrs(Actor& actor, const std::string& path, std::string& text) {
  char names[512], value[8192];
  auto listed = vfs::listxattr_at(actor.task, actor.at(path), vfs::Follow::kNo, false, names, sizeof names);
  if (!listed.ok()) return listed.error();
  for (u64 i = 0; i < listed.value(); i += strlen(names + i) + 1) {
    if (strncmp(names + i, "user.peer", 9) == 0) continue;
    auto got = vfs::getxattr_at(actor.task, actor.at(path), vfs::Follow::kNo, false, names + i, value, sizeof value);
    if (!got.ok()) return got.error();
    text += std::string(names + i) + "=" + std::string(value, got.value()) + ";";
  }
  return 0;
}

int look_at(Actor& actor, const std::string& path, Tree& tree, Watch& where, bool with_peers);

int look_into(Actor& actor, const std::string& path, Ino ino, Tree& tree, Watch& where, bool with_peers) {
  std::vector<Entry> entries;
  where = "path of " + path;
  char text[512];
  if (auto size = vfs::dir_path(actor.task, ino, text, sizeof text); !size.ok() || path != text) return size.ok() ? EIO : size.error();
  where = "list " + path;
  if (int error = list_names(actor, ino, entries)) return error;
  for (const Entry& entry : entries) {
    if (!with_peers && entry.name.starts_with(kPeerPrefix)) continue;
    if (int error = look_at(actor, path + (path == "/" ? "" : "/") + entry.name, tree, where, with_peers)) return error;
  }
  return 0;
}

// What mmap does before it maps: the blocks that it finds stay the file's, whatever the victim was about to do with them.
int look_through_mapping(Actor& actor, const std::string& path, vfs::Description opened, const Node& node, Watch& where) {
  constexpr u32 kMappingHandle = 86;
  where = "map " + path;
  if (int error = vfs::pin_mapping(*actor.pool, opened, kMappingHandle).error()) return error;
  journal::Store& store = actor.pool->store();
  Ino ino = vfs::info(*actor.pool, opened).ino;
  data::Run runs[2][32];
  u32 counts[2];
  int error = 0;
  for (unsigned look = 0; look < 2 && error == 0; ++look) {
    auto found = data::runs(store, ino, 0, (node.size + kBlock - 1) / kBlock, runs[look], 32);
    error = found.error();
    counts[look] = found.value_or(0);
  }
  bool same = error != 0 || (counts[0] == counts[1] && std::equal(runs[0], runs[0] + counts[0], runs[1], [](const data::Run& a, const data::Run& b) {
                               return a.block == b.block && a.count == b.count;
                             }));
  where = "unmap " + path;
  int unpinned = vfs::unpin_mapping(*actor.pool, kMappingHandle).error();
  return error != 0 ? error : !same ? EIO : unpinned;
}

// As a program reads: what is open, and by whom, is nothing that it may have to wait for.
int look_through_open(Actor& actor, const std::string& path, const Node& node, Watch& where) {
  constexpr u32 kReaderHandle = 85;
  static std::string content; // once touched, it is no first touch that is measured
  if (content.size() <= node.size) content.assign(node.size + 1, '?');
  where = "open " + path;
  vfs::Description opened{};
  if (int error = actor.open(path, O_RDONLY | (S_ISDIR(node.mode) ? O_DIRECTORY : 0), kReaderHandle, &opened)) return error;
  int error = 0;
  if (S_ISREG(node.mode)) {
    where = "read from the open " + path;
    data::IoVec vector{content.data(), node.size + 1};
    error = vfs::read_file(actor.task, opened, 0, &vector, 1).error();
    if (error == 0) error = look_through_mapping(actor, path, opened, node, where);
  }
  where = "close " + path;
  int closed = actor.close(kReaderHandle);
  return error != 0 ? error : closed;
}

int look_at(Actor& actor, const std::string& path, Tree& tree, Watch& where, bool with_peers) {
  where = "stat " + path;
  struct stat status{};
  if (int error = vfs::stat_at(actor.task, actor.at(path), vfs::Follow::kNo, false, &status).error()) return error;
  where = "access " + path;
  if (!S_ISLNK(status.st_mode))
    if (int error = vfs::access_at(actor.task, actor.at(path), vfs::Follow::kNo, false, R_OK, false).error()) return error;
  Node node{status.st_mode, status.st_uid, status.st_gid, status.st_nlink, 0, 0, "", ""};
  if (status.st_mtim.tv_sec < kLongAgo_s) node.old_mtime_s = status.st_mtim.tv_sec;
  Ino ino{status.st_ino};
  int error = 0;
  if (S_ISREG(status.st_mode)) {
    where = "read " + path;
    node.size = static_cast<u64>(status.st_size);
    error = read_all(actor, ino, node.size, node.content);
  } else if (S_ISLNK(status.st_mode)) {
    where = "readlink " + path;
    node.content.resize(4096);
    auto size = vfs::readlink_at(actor.task, actor.at(path), false, node.content.data(), node.content.size());
    error = size.error();
    node.content.resize(size.value_or(0));
  }
  if (error == 0 && !S_ISLNK(status.st_mode)) {
    where = "xattrs of " + path;
    error = look_at_xattrs(actor, path, node.xattrs);
  }
  if (error == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) error = look_through_open(actor, path, node, where);
  if (error != 0) return error;
  tree[path] = std::move(node);
  return S_ISDIR(status.st_mode) ? look_into(actor, path, ino, tree, where, with_peers) : 0;
}

bool content_between(const Node& before, const Node& after, const Node& found) {
  const std::string &old = before.content, &fresh = after.content, &now = found.content;
  if (now.size() < std::min(old.size(), fresh.size()) || now.size() > std::max(old.size(), fresh.size())) return false;
  for (u64 i = 0; i < now.size(); ++i)
    if (!(i < old.size() && now[i] == old[i]) && !(i < fresh.size() && now[i] == fresh[i])) return false;
  return true;
}

std::string contents_differ(const std::string& expected, const std::string& found) {
  if (expected == found) return "";
  u64 at = 0, left = 0;
  while (at < expected.size() && at < found.size() && expected[at] == found[at]) ++at;
  for (u64 i = at; i < expected.size() && i < found.size(); ++i) left += expected[i] != found[i];
  char text[100];
  snprintf(text, sizeof text, " %lu bytes from %lu on differ (%02x is %02x)", left, at, at < expected.size() ? u8(expected[at]) : 0,
           at < found.size() ? u8(found[at]) : 0);
  return text;
}

} // namespace

Actor::Actor() {
  credentials.capabilities = ~u64{0};
  task.credentials = &credentials;
  task.umask = 0;
  task.root = world().root;
}

int Actor::attach() {
  vfs::AttachFailure failure{};
  vfs::AttachOptions options;
  options.shm_dir = world().shm_dir.c_str();
  auto attached = vfs::Pool::attach(world().pool_path.c_str(), options, &failure);
  if (!attached.ok()) {
    snprintf(world().control->complaint, sizeof world().control->complaint, "attach: %s (errno %d)", failure.text, attached.error());
    return attached.error();
  }
  use(attached.value());
  return 0;
}

void Actor::use(vfs::Pool* attached) {
  pool = attached;
  task.pool = attached;
}

int Actor::open(std::string_view path, int flags, u32 handle, vfs::Description* out) {
  auto opened = vfs::open_at(task, at(path), flags, 0644, handle);
  if (opened.ok() && out != nullptr) *out = opened.value().description;
  return opened.error();
}

int Actor::write(vfs::Description to, i64 offset, u64 bytes, char fill) {
  std::string text(bytes, fill);
  data::IoVec vector{text.data(), bytes};
  auto written = vfs::write_file(task, to, offset, &vector, 1);
  return written.ok() && written.value() != bytes ? EIO : written.error();
}

int Actor::make_file(std::string_view path, u64 bytes, char fill) {
  vfs::Description made{};
  if (int error = open(path, O_CREAT | O_EXCL | O_WRONLY, 40, &made)) return error;
  if (int error = bytes != 0 ? write(made, 0, bytes, fill) : 0) return error;
  return close(40);
}

int Actor::record_lock(vfs::Description of, int command, short type, i64 start, i64 bytes) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_start = start;
  lock.l_len = bytes;
  return vfs::record_lock(task, of, command, &lock).error();
}

int look(Actor& actor, Tree& tree, Watch& where, bool with_peers) {
  tree.clear();
  where = "statfs";
  struct statfs space{};
  if (int error = vfs::statfs_pool(actor.task, &space).error()) return error;
  return look_at(actor, "/", tree, where, with_peers);
}

u64 now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

Watch::Watch() : schedstat_(::open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC)) {}
Watch::~Watch() { ::close(schedstat_); }

u64 Watch::waited_for_processor_ns() const {
  char text[64] = "";
  unsigned long ran = 0, waited = 0;
  if (pread(schedstat_, text, sizeof text - 1, 0) > 0) sscanf(text, "%lu %lu", &ran, &waited);
  return waited;
}

namespace {
struct rusage usage_of_thread() {
  struct rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage;
}
} // namespace

void Watch::begin_series() {
  best_.clear();
  verbs_ = 0;
  hiccups_ = Hiccups{};
}

void Watch::begin() {
  at_ = 0;
  verb_.clear();
  struct rusage usage = usage_of_thread();
  sleeps_ = static_cast<u64>(usage.ru_nvcsw);
  faults_ = static_cast<u64>(usage.ru_minflt);
  preemptions_ = static_cast<u64>(usage.ru_nivcsw);
  waited_ns_ = waited_for_processor_ns();
  started_ns_ = now_ns();
}

void Watch::stop() {
  constexpr u64 kWorthAsking_ns = 200'000; // the question costs more than most verbs
  u64 now = now_ns(), took = now - started_ns_;
  if (took > kWorthAsking_ns) {
    u64 waited = waited_for_processor_ns();
    took -= std::min(took, waited - waited_ns_);
    waited_ns_ = waited;
    if (took > kReadLimit_ns) note_hiccup(took);
    now = now_ns();
  }
  if (at_ == best_.size()) best_.push_back({verb_, took});
  best_[at_].best_ns = std::min(best_[at_].best_ns, took);
  ++at_;
  ++verbs_;
  started_ns_ = now;
}

void Watch::note_hiccup(u64 took_ns) {
  ++hiccups_.count;
  if (took_ns <= hiccups_.longest_ns) return;
  struct rusage usage = usage_of_thread();
  char text[160];
  snprintf(text, sizeof text, "%s: %.2f ms, with %lu page faults and %lu preemptions since the look began", verb_.c_str(),
           static_cast<double>(took_ns) / 1e6, static_cast<u64>(usage.ru_minflt) - faults_,
           static_cast<u64>(usage.ru_nivcsw) - preemptions_);
  hiccups_.longest_ns = took_ns;
  hiccups_.longest = text;
}

void Watch::end() {
  stop();
  sleeps_ = static_cast<u64>(usage_of_thread().ru_nvcsw) - sleeps_;
}

const Watch::Timed& Watch::slowest() const {
  static const Timed kNone{"", 0};
  auto found = std::max_element(best_.begin(), best_.end(), [](const Timed& a, const Timed& b) { return a.best_ns < b.best_ns; });
  return found == best_.end() ? kNone : *found;
}

std::string difference(const Tree& expected, const Tree& found) {
  std::string text;
  for (const auto& [path, node] : expected) {
    auto other = found.find(path);
    if (other == found.end()) {
      text += " " + path + " is missing;";
      continue;
    }
    const Node& is = other->second;
    if (is == node) continue;
    char line[256];
    snprintf(line, sizeof line, " %s: mode %o/%o owner %u.%u/%u.%u links %lu/%lu size %lu/%lu mtime %ld/%ld%s%s;", path.c_str(), node.mode,
             is.mode, node.uid, node.gid, is.uid, is.gid, node.nlink, is.nlink, node.size, is.size, node.old_mtime_s, is.old_mtime_s,
             contents_differ(node.content, is.content).c_str(), node.xattrs != is.xattrs ? " attributes differ" : "");
    text += line;
  }
  for (const auto& [path, node] : found)
    if (!expected.contains(path)) text += " " + path + " is there;";
  return text;
}

bool between(const Tree& before, const Tree& after, const Tree& found) {
  if (before.size() != found.size() || after.size() != found.size()) return false;
  for (const auto& [path, node] : found) {
    auto old = before.find(path), fresh = after.find(path);
    if (old == before.end() || fresh == after.end()) return false;
    Node rest = node;
    rest.size = old->second.size;
    rest.content = old->second.content;
    if (!(rest == old->second) || !content_between(old->second, fresh->second, node)) return false;
  }
  return true;
}

int remove_all(Actor& actor) {
  Tree tree;
  Watch where;
  if (int error = look(actor, tree, where, true)) return error;
  for (auto node = tree.rbegin(); node != tree.rend(); ++node) {
    if (node->first == "/") continue;
    int error = S_ISDIR(node->second.mode) ? vfs::rmdir_at(actor.task, actor.at(node->first)).error()
                                           : vfs::unlink_at(actor.task, actor.at(node->first)).error();
    if (error != 0) return error;
  }
  return 0;
}

int build_tree(Actor& actor) {
  constexpr unsigned kFragments = 24, kNamesOfALeaf = 62;
  auto& task = actor.task;
  auto fail = [&](int error) { return error != 0; };
  for (const char* dir : {"/d", "/d/sub", "/e", "/e/empty", "/many"})
    if (int error = vfs::mkdir_at(task, actor.at(dir), 0755).error()) return error;
  if (int error = actor.make_file("/d/f", 300, 'f')) return error;
  if (int error = actor.make_file("/d/g", 9000, 'g')) return error;
  if (int error = actor.make_file("/e/h", 10, 'h')) return error;
  if (int error = vfs::symlink_at(task, "f", actor.at("/d/s")).error()) return error;
  if (int error = vfs::symlink_at(task, std::string(300, 'l'), actor.at("/d/l")).error()) return error;
  if (int error = actor.make_file("/d/x", 0, 0)) return error;
  if (int error = vfs::setxattr_at(task, actor.at("/d/x"), vfs::Follow::kNo, false, "user.a", "value", 5, 0).error()) return error;
  // Two files whose blocks alternate, so that the map of each is long.
  vfs::Description big{}, other{};
  if (fail(actor.open("/d/big", O_CREAT | O_RDWR, 40, &big)) || fail(actor.open("/d/other", O_CREAT | O_RDWR, 41, &other))) return EIO;
  for (unsigned i = 0; i < kFragments; ++i)
    if (fail(actor.write(big, static_cast<i64>(i * kBlock), kBlock, static_cast<char>('A' + i))) ||
        fail(actor.write(other, static_cast<i64>(i * kBlock), kBlock, 'o')))
      return EIO;
  if (fail(actor.close(40)) || fail(actor.close(41))) return EIO;
  for (unsigned i = 0; i < kNamesOfALeaf; ++i)
    if (int error = vfs::link_at(task, actor.at("/e/h"), actor.at("/many/" + std::to_string(i)), vfs::Follow::kNo, false).error())
      return error;
  return 0;
}

} // namespace pmemfile::kill_steps
