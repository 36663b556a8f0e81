#include "fuzz/operations.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <string>

#include "fuzz/pools.h"
#include "linux/fs.h"

namespace pmemfile::fuzz {
namespace {

using vfs::Follow;

constexpr u32 kHandles = 4;        // open files at once
constexpr u32 kMappingHandle = 20; // of mappings; and of held directories
constexpr u32 kBufferBytes = 16 * 4096;

class Operator {
 public:
  explicit Operator(vfs::Pool& pool) : pool_(pool) {
    credentials_.capabilities = ~u64{0};
    task_.pool = &pool;
    task_.credentials = &credentials_;
    task_.root = Ino{pool.store().geometry.root_ino[0]};
  }

  void run(const Record& r);

 private:
  vfs::At first(const Record& r) const { return {task_.root, path_of(r.group)}; }
  vfs::At second(const Record& r) const { return {task_.root, path_of(r.index)}; }
  // An offset that decides something: small, at the ends of trees, at the end of what is possible.
  static u64 offset_of(const Record& r) {
    switch (r.value % 6) {
      case 0: return r.extra;
      case 1: return (r.value >> 8) % (64 * 4096);
      case 2: return (u64{9} + (r.value >> 8) % 1000) * 4096 - r.extra % 3;
      case 3: return r.value >> 20;
      case 4: return layout::kMaxFileBytes - r.extra;
      default: return (r.value >> 8) % (u64{1} << 40);
    }
  }
  static u64 bytes_of(const Record& r) { return r.word % 4 == 0 ? u64{r.word} * 4096 : r.word; }

  void names(unsigned verb, const Record& r);
  void attributes(unsigned verb, const Record& r);
  void files(unsigned verb, const Record& r);
  void open(const Record& r);
  bool is_open(u32 handle);
  void empty(const Record& r);
  void fill(const Record& r);

  vfs::Pool& pool_;
  vfs::Credentials credentials_;
  vfs::Task task_;
  bool open_[kHandles] = {};
  vfs::Description descriptions_[kHandles] = {};
  bool mapped_[kHandles] = {};
  char buffer_[kBufferBytes];
};

void Operator::open(const Record& r) {
  static constexpr int kModes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_PATH};
  static constexpr int kFlags[] = {O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY};
  u32 handle = r.form % kHandles;
  if (open_[handle]) (void)vfs::close_handle(pool_, handle);
  open_[handle] = false;
  int flags = kModes[r.word % 4] | O_NONBLOCK;
  for (unsigned i = 0; i < sizeof kFlags / sizeof kFlags[0]; ++i)
    if ((r.word >> (2 + i) & 1) != 0) flags |= kFlags[i];
  if (r.word >> 12 == 5) flags = O_TMPFILE | O_RDWR;
  auto opened = vfs::open_at(task_, first(r), flags, r.extra & 07777, handle);
  if (!opened.ok()) return;
  open_[handle] = true;
  descriptions_[handle] = opened.value().description;
}

// What no record opened is opened when it is first used, so that few operations miss.
bool Operator::is_open(u32 handle) {
  static constexpr const char* kPaths[kHandles] = {"/f", "/sparse", "/fill", "/d"};
  if (open_[handle]) return true;
  auto opened = vfs::open_at(task_, {task_.root, kPaths[handle]}, handle == 3 ? O_RDONLY : O_RDWR, 0, handle);
  if (opened.ok()) open_[handle] = true, descriptions_[handle] = opened.value().description;
  return open_[handle];
}

void Operator::names(unsigned verb, const Record& r) {
  switch (verb) {
    case 0: (void)vfs::mkdir_at(task_, first(r), r.extra); break;
    case 1: (void)vfs::mknod_at(task_, first(r), (r.word % 2 != 0 ? S_IFREG : S_IFIFO) | (r.extra & 0777), 0); break;
    case 2: (void)vfs::symlink_at(task_, path_of(r.index), first(r)); break;
    case 3: (void)vfs::link_at(task_, first(r), second(r), Follow::kNo, false); break;
    case 4: (void)vfs::unlink_at(task_, first(r)); break;
    case 5: (void)vfs::rmdir_at(task_, first(r)); break;
    case 6: (void)vfs::rename_at(task_, first(r), second(r), r.word % 3); break;
    case 7: (void)vfs::readlink_at(task_, first(r), false, buffer_, bytes_of(r) % kBufferBytes); break;
    case 8: open(r); break;
    case 9:
      if (auto dir = vfs::resolve(task_, first(r), Follow::kYes); dir.ok())
        (void)vfs::dir_path(task_, dir.value().ino, buffer_, bytes_of(r) % kBufferBytes);
      break;
    case 10:
      if (auto dir = vfs::resolve(task_, first(r), Follow::kYes); dir.ok() && S_ISDIR(dir.value().mode)) {
        u32 handle = kMappingHandle + kHandles;
        if (vfs::hold_dir(pool_, dir.value().ino, handle).ok()) (void)vfs::close_handle(pool_, handle);
      }
      break;
  }
}

void Operator::attributes(unsigned verb, const Record& r) {
  struct stat status;
  struct statx more;
  struct statfs all;
  static const char* const kNames[] = {"user.a", "user.b", "user.new", "trusted.x"};
  std::string_view name = kNames[r.index % 4];
  Follow follow = r.form % 2 != 0 ? Follow::kYes : Follow::kNo;
  u64 size = bytes_of(r) % 5000;
  timespec times[2] = {{static_cast<time_t>(r.value), 5}, {static_cast<time_t>(r.extra), UTIME_OMIT}};
  switch (verb) {
    case 0: (void)vfs::stat_at(task_, first(r), follow, false, &status); break;
    case 1: (void)vfs::statx_at(task_, first(r), follow, false, ~0u, &more); break;
    case 2: (void)vfs::access_at(task_, first(r), follow, false, r.word % 8, false); break;
    case 3: (void)vfs::chmod_at(task_, first(r), follow, false, r.extra); break;
    case 4: (void)vfs::chown_at(task_, first(r), follow, false, r.extra, r.word); break;
    case 5: (void)vfs::utimens_at(task_, first(r), follow, false, r.word % 2 != 0 ? times : nullptr); break;
    case 6: (void)vfs::truncate_at(task_, first(r), offset_of(r)); break;
    case 7: (void)vfs::statfs_pool(task_, &all); break;
    case 8: (void)vfs::getxattr_at(task_, first(r), follow, false, name, buffer_, size); break;
    case 9: (void)vfs::listxattr_at(task_, first(r), follow, false, buffer_, size); break;
    case 10: (void)vfs::setxattr_at(task_, first(r), follow, false, name, buffer_, size, r.extra % 3); break;
    case 11: (void)vfs::removexattr_at(task_, first(r), follow, false, name); break;
  }
}

void Operator::files(unsigned verb, const Record& r) {
  static constexpr int kAllocate[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE,
                                      FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
  u32 handle = r.form % kHandles, other = r.index % kHandles;
  if (!is_open(handle)) return;
  vfs::Description file = descriptions_[handle];
  data::IoVec vectors[2] = {{buffer_, bytes_of(r) % kBufferBytes}, {buffer_ + 100, r.extra % 5000u}};
  i64 offset = r.index % 4 == 0 ? -1 : static_cast<i64>(offset_of(r));
  struct flock lock = {};
  switch (verb) {
    case 0: (void)vfs::close_handle(pool_, handle), open_[handle] = false; break;
    case 1: case 2: (void)vfs::read_file(task_, file, offset, vectors, 2); break;
    case 3: case 4: case 5: (void)vfs::write_file(task_, file, offset, vectors, 2); break;
    case 6: (void)vfs::seek_file(task_, file, offset, r.word % 5); break;
    case 7: (void)vfs::truncate_file(task_, file, offset_of(r)); break;
    case 8: case 9:
      (void)vfs::fallocate_file(task_, file, kAllocate[r.group % 7], align_down(offset_of(r), r.index % 2 != 0 ? 4096 : 1),
                                u64{1 + r.word % 64u} * 4096);
      break;
    case 10: (void)vfs::sync_file(task_, file, false); break;
    case 11: (void)vfs::read_dir(task_, file, buffer_, bytes_of(r) % kBufferBytes, r.index % 2 != 0); break;
    case 12:
      if (is_open(other)) {
        i64 to = static_cast<i64>(offset_of(r));
        (void)vfs::copy_range(task_, file, &offset, descriptions_[other], &to, u64{r.word} * 64);
      }
      break;
    case 13: (void)vfs::flock_file(task_, file, (1 << r.index % 2) | 4 /* LOCK_NB */); break;
    case 14:
      lock.l_type = static_cast<short>(r.index % 3);
      lock.l_start = static_cast<off_t>(offset_of(r)), lock.l_len = r.extra;
      (void)vfs::record_lock(task_, file, r.word % 2 != 0 ? F_SETLK : F_GETLK, &lock);
      break;
    case 15:
      if (mapped_[handle]) (void)vfs::unpin_mapping(pool_, kMappingHandle + handle);
      mapped_[handle] = vfs::pin_mapping(pool_, file, kMappingHandle + handle).ok();
      if (mapped_[handle]) {
        Ino ino = vfs::info(pool_, file).ino;
        data::Run runs[16];
        (void)data::runs(pool_.store(), ino, offset_of(r) / 4096, u64{1} + r.word, runs, 16);
        if (r.index % 2 != 0) (void)data::materialize(pool_.store(), ino, offset_of(r), bytes_of(r) % kBufferBytes);
      }
      break;
  }
}

// All names of the large directory go, so that its trie shrinks.
void Operator::empty(const Record& r) {
  for (int i = 0; i < kManyNames; ++i) (void)vfs::unlink_at(task_, {task_.root, "/d/" + long_name(i)});
  if (r.word % 2 != 0) return;
  for (int i = 0; i < kManyNames; ++i) (void)vfs::link_at(task_, first(r), {task_.root, "/d/" + long_name(i)}, Follow::kNo, false);
}

// Until there is no room: in turn a block and, at times, a hole behind it.
void Operator::fill(const Record& r) {
  u32 handle = r.form % kHandles;
  if (!is_open(handle)) return;
  data::IoVec vector{buffer_, 1};
  for (u64 block = 0, at = offset_of(r); block < 64; ++block, at += (1 + (r.word >> block % 16 & 1)) * 4096)
    if (!vfs::write_file(task_, descriptions_[handle], static_cast<i64>(at), &vector, 1).ok()) return;
}

void Operator::run(const Record& r) {
  unsigned verb = r.kind & 0x3f;
  pool_.set_atomic_data((r.word & 0x8000) != 0);
  if (verb < 11) names(verb, r);
  else if (verb < 23) attributes(verb - 11, r);
  else if (verb < 55) files((verb - 23) % 16, r);
  else if (verb < 62) open(r);
  else if (verb == 62) empty(r);
  else fill(r);
}

// Depth first with a list of its own; a directory is entered once.
class Walk {
 public:
  Walk(vfs::Pool& pool, u64 bound) : pool_(pool), left_(bound) {
    credentials_.capabilities = ~u64{0};
    task_.pool = &pool;
    task_.credentials = &credentials_;
  }
  int run() {
    for (u64 root : pool_.store().geometry.root_ino) {
      task_.root = Ino{root};
      enter(task_.root);
      while (!pending_.empty()) {
        Ino dir = pending_.back();
        pending_.pop_back();
        list(dir);
      }
    }
    return error_;
  }

 private:
  void note(int error) {
    if (error_ == 0) error_ = error;
  }
  void enter(Ino dir) {
    if (seen_.insert(raw(dir)).second) pending_.push_back(dir);
  }
  void list(Ino dir) {
    auto opened = vfs::open_at(task_, {dir, "."}, O_RDONLY | O_DIRECTORY, 0, 0);
    if (!opened.ok()) return note(opened.error());
    for (;;) {
      auto got = vfs::read_dir(task_, opened.value().description, buffer_, sizeof buffer_, false);
      if (!got.ok()) note(got.error());
      if (!got.ok() || got.value() == 0 || left_ == 0) break;
      for (u64 at = 0; at < got.value();) {
        u16 length;
        std::memcpy(&length, buffer_ + at + 16, 2);
        std::string name(buffer_ + at + 19);
        at += length;
        if (name != "." && name != ".." && left_ != 0) visit(dir, name);
      }
    }
    (void)vfs::close_handle(pool_, 0);
  }
  void visit(Ino dir, const std::string& name) {
    --left_;
    auto found = vfs::resolve(task_, {dir, name}, Follow::kNo);
    if (!found.ok()) return note(found.error());
    vfs::At at{dir, name};
    auto names = vfs::listxattr_at(task_, at, Follow::kNo, false, more_, sizeof more_);
    if (!names.ok()) note(names.error());
    if (S_ISDIR(found.value().mode)) return enter(found.value().ino);
    if (S_ISLNK(found.value().mode)) return note(vfs::readlink_at(task_, at, false, more_, sizeof more_).error());
    if (S_ISREG(found.value().mode)) read(found.value());
  }
  void read(const inode::Attr& attr) {
    // Holes are passed over: a sparse file may be larger than anybody has time for.
    u64 at = 0;
    for (unsigned step = 0; step < 200; ++step) {
      auto data = data::seek_data(pool_.store(), attr.ino, at);
      if (!data.ok()) return data.error() == ENXIO ? void() : note(data.error());
      data::IoVec vector{more_, sizeof more_};
      auto got = data::read(pool_.store(), attr.ino, data.value(), &vector, 1);
      if (!got.ok()) return note(got.error());
      if (got.value() == 0) return;
      at = data.value() + got.value();
    }
  }

  vfs::Pool& pool_;
  vfs::Credentials credentials_;
  vfs::Task task_;
  u64 left_;
  int error_ = 0;
  std::set<u64> seen_;
  std::vector<Ino> pending_;
  char buffer_[8192], more_[16384];
};

} // namespace

void operate(vfs::Pool& pool, const std::vector<Record>& records) {
  auto one = std::make_unique<Operator>(pool);
  for (std::size_t i = 1; i < records.size(); ++i)
    if ((records[i].kind & kOperationBit) != 0) one->run(records[i]);
}

int walk_tree(vfs::Pool& pool, u64 bound) { return std::make_unique<Walk>(pool, bound)->run(); }

} // namespace pmemfile::fuzz
