// Many threads of one process at the same few names, files and descriptions, with every kind of verb: for ThreadSanitizer above all,
// which sees threads and no processes. What must hold by itself: no errno but those of races, the pool is whole at the end, and
// everything comes back.
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <thread>

#include "dir/dir.h"
#include "fsck/check.h"
#include "opens_pool.h"

namespace pmemfile::test {
namespace {

constexpr unsigned kThreads = 6;

class ThreadsTest : public OpensTest {
 protected:
  ThreadsTest() : OpensTest(8 << 20) {}

  // One thread: names and numbers by its own dice, among a dozen that all use.
  class Hand {
   public:
    Hand(ThreadsTest& test, unsigned number) : task_(test.task_), root_(test.root_), random_(seed() + number), handle_(100 + 8 * number) {}

    void step(vfs::Description shared) {
      switch (random_() % 5) {
        case 0: return names();
        case 1: return attributes();
        case 2: return contents();
        case 3: return looks();
        default: return through(shared);
      }
    }

   private:
    std::string path() {
      static const char* const kPaths[] = {"f", "g", "d", "d/f", "d/g", "e", "e/f", "d/s", "e/d", "a name that is longer than what stands inline"};
      return kPaths[random_() % std::size(kPaths)];
    }
    vfs::At at(const std::string& path) const { return {root_, path}; }

    void allow(int error, const char* what) {
      switch (error) {
        case 0: case ENOENT: case EEXIST: case ENOTDIR: case EISDIR: case ENOTEMPTY: case EINVAL: case ENODATA: case ELOOP: case EPERM:
        case EAGAIN: case ENAMETOOLONG: case ESTALE: case ENXIO: case EBUSY: return;
        default: ADD_FAILURE() << what << ": errno " << error;
      }
    }

    void names() {
      std::string from = path(), to = path();
      switch (random_() % 7) {
        case 0: return allow(vfs::mkdir_at(task_, at(from), 0755).error(), "mkdir");
        case 1: return allow(vfs::unlink_at(task_, at(from)).error(), "unlink");
        case 2: return allow(vfs::rmdir_at(task_, at(from)).error(), "rmdir");
        case 3: return allow(vfs::link_at(task_, at(from), at(to), vfs::Follow::kNo, false).error(), "link");
        case 4: return allow(vfs::symlink_at(task_, std::string(random_() % 2 != 0 ? 5 : 300, 't'), at(from)).error(), "symlink");
        case 5: return allow(vfs::mknod_at(task_, at(from), S_IFIFO | 0600, 0).error(), "mknod");
        default: return allow(vfs::rename_at(task_, at(from), at(to), static_cast<unsigned>(random_() % 3)).error(), "rename");
      }
    }

    void attributes() {
      std::string of = path(), name = "user." + std::to_string(random_() % 3), value(random_() % 200, 'v');
      switch (random_() % 6) {
        case 0: return allow(vfs::chmod_at(task_, at(of), vfs::Follow::kNo, false, 0600 + random_() % 8).error() % EOPNOTSUPP, "chmod");
        case 1: return allow(vfs::chown_at(task_, at(of), vfs::Follow::kNo, false, static_cast<u32>(random_() % 5), ~0u).error(), "chown");
        case 2: return allow(vfs::utimens_at(task_, at(of), vfs::Follow::kNo, false, nullptr).error(), "utimens");
        case 3: return allow(vfs::truncate_at(task_, at(of), random_() % 30000).error(), "truncate");
        case 4: return allow(vfs::setxattr_at(task_, at(of), vfs::Follow::kNo, false, name, value.data(), value.size(), 0).error(), "setxattr");
        default: return allow(vfs::removexattr_at(task_, at(of), vfs::Follow::kNo, false, name).error(), "removexattr");
      }
    }

    void looks() {
      std::string of = path();
      struct stat status;
      struct statfs space;
      char text[512];
      switch (random_() % 6) {
        case 0: return allow(vfs::stat_at(task_, at(of), vfs::Follow::kNo, false, &status).error(), "stat");
        case 1: return allow(vfs::readlink_at(task_, at(of), false, text, sizeof text).error(), "readlink");
        case 2: return allow(vfs::listxattr_at(task_, at(of), vfs::Follow::kNo, false, text, sizeof text).error(), "listxattr");
        case 3: return allow(vfs::statfs_pool(task_, &space).error(), "statfs");
        case 4: return allow(vfs::access_at(task_, at(of), vfs::Follow::kYes, false, R_OK, true).error(), "access");
        default: return list(of);
      }
    }
    void list(const std::string& of) {
      auto opened = vfs::open_at(task_, at(of), O_RDONLY | O_DIRECTORY, 0, handle_);
      if (!opened.ok()) return allow(opened.error(), "open of a directory");
      alignas(8) char entries[1024];
      allow(vfs::read_dir(task_, opened.value().description, entries, sizeof entries, false).error(), "read_dir");
      allow(vfs::close_handle(*task_.pool, handle_).error(), "close");
    }

    void contents() {
      int flags = O_RDWR | O_NONBLOCK | (random_() % 2 != 0 ? O_CREAT : 0) | (random_() % 4 == 0 ? O_TRUNC : 0) | (random_() % 2 != 0 ? O_APPEND : 0);
      auto opened = vfs::open_at(task_, at(path()), flags, 0644, handle_);
      if (!opened.ok()) return allow(opened.error(), "open");
      vfs::Description file = opened.value().description;
      for (u64 steps = random_() % 4; steps != 0; --steps) use(file);
      if (random_() % 2 == 0) {
        allow(vfs::add_handle(*task_.pool, handle_ + 1, file).error(), "dup");
        allow(vfs::close_handle(*task_.pool, handle_ + 1).error(), "close");
      }
      allow(vfs::close_handle(*task_.pool, handle_).error(), "close");
    }
    void use(vfs::Description file) {
      char bytes[6000];
      memset(bytes, 'b', sizeof bytes);
      data::IoVec vector{bytes, 1 + random_() % sizeof bytes};
      i64 offset = random_() % 2 != 0 ? -1 : static_cast<i64>(random_() % 20000);
      switch (random_() % 6) {
        case 0: return allow(vfs::write_file(task_, file, offset, &vector, 1).error(), "write");
        case 1: return allow(vfs::read_file(task_, file, offset, &vector, 1).error(), "read");
        case 2: return allow(vfs::fallocate_file(task_, file, static_cast<int>(random_() % 2), random_() % 20000, 1 + random_() % 9000).error(), "fallocate");
        case 3: return allow(vfs::fallocate_file(task_, file, 3, random_() % 20000, 1 + random_() % 9000).error(), "punch");
        case 4: return allow(vfs::truncate_file(task_, file, random_() % 30000).error(), "ftruncate");
        default: return allow(vfs::sync_file(task_, file, false).error(), "fsync");
      }
    }

    void through(vfs::Description shared) {
      struct flock lock {};
      lock.l_type = static_cast<short>(random_() % 3);
      lock.l_start = static_cast<off_t>(random_() % 100);
      lock.l_len = 10;
      switch (random_() % 4) {
        case 0: return allow(vfs::record_lock(task_, shared, F_OFD_SETLK, &lock).error(), "record lock");
        case 1: return allow(vfs::flock_file(task_, shared, (random_() % 2 != 0 ? LOCK_EX : LOCK_UN) | LOCK_NB).error(), "flock");
        case 2: return allow(vfs::seek_file(task_, shared, static_cast<i64>(random_() % 1000), SEEK_SET).error(), "seek");
        default: return use(shared);
      }
    }

    vfs::Task task_;
    Ino root_;
    std::mt19937_64 random_;
    u32 handle_;
  };

  void empty(Ino dir) {
    struct Found {
      std::string name;
      Ino ino;
    };
    std::vector<Found> found;
    auto add = [](void* context, const dir::Listed& entry) {
      static_cast<std::vector<Found>*>(context)->push_back({std::string(entry.name), entry.ino});
      return true;
    };
    ASSERT_TRUE(dir::list(pool_->store(), dir, 0, add, &found).ok());
    for (const Found& entry : found) {
      vfs::At at{dir, entry.name};
      if (vfs::unlink_at(task_, at).error() != EISDIR) continue;
      empty(entry.ino);
      EXPECT_EQ(vfs::rmdir_at(task_, at).error(), 0) << entry.name;
    }
  }
};

TEST_F(ThreadsTest, everything_at_once_leaves_a_whole_pool_and_nothing_else) {
  constexpr unsigned kSteps = 6000;
  u64 free_before = free_blocks();
  Census census_before = census(v());
  vfs::Description shared = open("shared", O_CREAT | O_RDWR, 50);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([this, shared, hand = Hand(*this, t)]() mutable {
      for (unsigned i = 0; i < kSteps && !HasFailure(); ++i) hand.step(shared);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(close(50), 0);
  empty(root_);
  Census left = census(v());
  left.handles_pages = census_before.handles_pages; // a process keeps the pages of its table
  EXPECT_EQ(left, census_before);
  const journal::Store& store = pool_->store();
  auto report = fsck::check({reinterpret_cast<const std::byte*>(store.medium.base), store.medium.bytes});
  for (const auto& finding : report.findings)
    if (fsck::code_info(finding.code).severity != fsck::Severity::kNote) ADD_FAILURE() << fsck::to_text(finding);
  EXPECT_EQ(report.totals.orphans, 0u);
  constexpr u64 kBlocksOfInodes = 2 * kThreads; // each begins with one of its own
  EXPECT_GE(free_blocks() + kBlocksOfInodes, free_before);
}

// truncate(2) opens the file for a moment: each thread its own.
TEST_F(ThreadsTest, truncations_by_path_leave_nothing_open) {
  Census census_before = census(v());
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([this, t, task = task_]() mutable {
      std::string path = "file" + std::to_string(t);
      ASSERT_EQ(vfs::mknod_at(task, at(path), S_IFREG | 0644, 0).error(), 0);
      for (unsigned i = 0; i < 3000; ++i) ASSERT_EQ(vfs::truncate_at(task, at(path), i % 7 * 1000).error(), 0);
    });
  for (std::thread& thread : threads) thread.join();
  Census left = census(v());
  left.handles_pages = census_before.handles_pages;
  EXPECT_EQ(left, census_before);
}

// An inode number is used again at once, so who walks finds a directory, a symlink or a file where the entry that it read said
// another thing.
TEST_F(ThreadsTest, a_name_that_changes_its_kind_is_no_damage) {
  // Blocks of inodes that are full but for one number, so that each object gets that one.
  inode::Attr last;
  for (unsigned i = 0; i == 0 || raw(last.ino) % layout::kInodesPerBlock != layout::kInodesPerBlock - 1; ++i)
    ASSERT_EQ(vfs::mknod_at(task_, at("full" + std::to_string(i)), S_IFREG | 0644, 0, &last).error(), 0);
  ASSERT_EQ(unlink_path("full0"), 0);
  bool stop = false;
  std::vector<std::thread> readers;
  for (unsigned t = 0; t < kThreads - 1; ++t)
    readers.emplace_back([this, &stop, task = task_]() mutable {
      char text[512];
      struct stat status;
      while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        auto fine = [](int error) { return error == 0 || error == ENOENT || error == ENOTDIR || error == EINVAL; };
        for (const char* path : {"n", "n/x"})
          for (vfs::Follow follow : {vfs::Follow::kYes, vfs::Follow::kNo}) {
            int error = vfs::stat_at(task, at(path), follow, false, &status).error();
            ASSERT_TRUE(fine(error)) << path << " errno " << error;
          }
        int error = vfs::readlink_at(task, at("n"), false, text, sizeof text).error();
        ASSERT_TRUE(fine(error)) << "readlink: errno " << error;
      }
    });
  for (unsigned i = 0; i < 8000 && !HasFailure(); ++i) {
    ASSERT_EQ(vfs::mkdir_at(task_, at("n"), 0755).error(), 0);
    ASSERT_EQ(vfs::rmdir_at(task_, at("n")).error(), 0);
    ASSERT_EQ(vfs::symlink_at(task_, std::string(i % 2 != 0 ? 10 : 200, 't'), at("n")).error(), 0);
    ASSERT_EQ(unlink_path("n"), 0);
    ASSERT_EQ(vfs::mknod_at(task_, at("n"), S_IFREG | 0644, 0).error(), 0);
    ASSERT_EQ(unlink_path("n"), 0);
  }
  __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
  for (std::thread& reader : readers) reader.join();
}

} // namespace
} // namespace pmemfile::test
