// Open files: descriptions, offsets, unlinked files, directories, locks; beside the kernel's where it is the oracle.
//
// PMEMFILE_TEST_SEED repeats a run.
#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "opens_pool.h"

namespace pmemfile::test {
namespace {

TEST_F(OpensTest, ClosingEverythingLeavesNoTraceInV) {
  Census before = census(v());
  for (u32 i = 0; i < 300; ++i) open("file" + std::to_string(i % 7), O_CREAT | O_RDWR, i * 37);
  EXPECT_EQ(census(v()).uses, before.uses + 300);
  EXPECT_EQ(census(v()).descriptions, before.descriptions + 300);
  for (u32 i = 0; i < 300; ++i) EXPECT_EQ(close(i * 37), 0);
  Census after = census(v());
  after.handles_pages = before.handles_pages; // kept by the process for its next handles
  EXPECT_EQ(after, before);
  EXPECT_EQ(close(37), EBADF);
}

TEST_F(OpensTest, ReadAndWriteShareAnOffsetAmongDuplicates) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  EXPECT_EQ(write(file, "hello world"), 11u);
  ASSERT_TRUE(vfs::add_handle(*pool_, 4, file).ok());
  EXPECT_EQ(vfs::seek_file(task_, file, 6, SEEK_SET).value(), 6u);
  EXPECT_EQ(close(3), 0);
  EXPECT_EQ(read(file, 100), "world");
  EXPECT_EQ(read(file, 100), "");
  EXPECT_EQ(read(file, 5, 0), "hello");
  EXPECT_EQ(vfs::seek_file(task_, file, 0, SEEK_CUR).value(), 11u);
  EXPECT_EQ(vfs::seek_file(task_, file, -1, SEEK_END).value(), 10u);
  EXPECT_EQ(vfs::seek_file(task_, file, -100, SEEK_CUR).error(), EINVAL);
  EXPECT_EQ(vfs::seek_file(task_, file, 0, 77).error(), EINVAL);
  EXPECT_EQ(close(4), 0);
  EXPECT_EQ(census(v()).descriptions, 0u);
}

TEST_F(OpensTest, AppendWritesAtTheEndWhateverTheOffset) {
  auto one = open("log", O_CREAT | O_WRONLY | O_APPEND, 3);
  auto two = open("log", O_WRONLY | O_APPEND, 4);
  write(one, "a"), write(two, "b"), write(one, "c", 0);
  auto reader = open("log", O_RDONLY, 5);
  EXPECT_EQ(read(reader, 10), "abc");
  EXPECT_EQ(vfs::set_status_flags(*pool_, one, 0).error(), 0);
  write(one, "X", 0);
  EXPECT_EQ(read(reader, 10, 0), "Xbc");
}

TEST_F(OpensTest, AccessModesAreKept) {
  auto writer = open("f", O_CREAT | O_WRONLY, 3);
  auto reader = open("f", O_RDONLY, 4);
  auto path = open("f", O_PATH, 5);
  char byte;
  data::IoVec vector{&byte, 1};
  EXPECT_EQ(vfs::read_file(task_, writer, -1, &vector, 1).error(), EBADF);
  EXPECT_EQ(vfs::write_file(task_, reader, -1, &vector, 1).error(), EBADF);
  EXPECT_EQ(vfs::read_file(task_, path, -1, &vector, 1).error(), EBADF);
  EXPECT_EQ(vfs::seek_file(task_, path, 0, SEEK_SET).error(), EBADF);
  EXPECT_EQ(vfs::truncate_file(task_, reader, 1).error(), EINVAL);
  EXPECT_EQ(vfs::fallocate_file(task_, reader, 0, 0, 1).error(), EBADF);
  EXPECT_EQ(vfs::info(*pool_, writer).flags, O_WRONLY | 0100000);
  EXPECT_EQ(open_error("f", O_CREAT | O_EXCL | O_RDWR, 6), EEXIST);
  EXPECT_EQ(open_error("f", O_DIRECTORY, 6), ENOTDIR);
  EXPECT_EQ(open_error("none", O_RDONLY, 6), ENOENT);
  EXPECT_EQ(open_error(".", O_RDWR, 6), EISDIR);
  EXPECT_EQ(open_error("f", O_RDONLY, 4), EBUSY);
  credentials_ = {};
  credentials_.fsuid = credentials_.fsgid = credentials_.uid = 1000;
  EXPECT_EQ(open_error("f", O_RDWR, 6), EACCES);
  EXPECT_EQ(open_error("f", O_RDONLY | O_NOATIME, 6), EPERM);
  open("f", O_RDONLY, 6);
}

TEST_F(OpensTest, TruncatingOpenEmptiesTheFile) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  write(file, std::string(10000, 'x'));
  open("f", O_WRONLY | O_TRUNC, 4);
  EXPECT_EQ(inode::read(pool_->store(), vfs::info(*pool_, file).ino).value().size, 0u);
}

TEST_F(OpensTest, UnlinkedFileLivesUntilItsLastClose) {
  close((open("warm", O_CREAT | O_RDWR, 9), 9));
  u64 before = free_blocks();
  auto file = open("f", O_CREAT | O_RDWR, 3);
  write(file, std::string(100000, 'x'));
  ASSERT_TRUE(vfs::add_handle(*pool_, 4, file).ok());
  EXPECT_EQ(unlink_path("f"), 0);
  EXPECT_EQ(open_error("f", O_RDONLY, 8), ENOENT);
  EXPECT_EQ(close(3), 0);
  EXPECT_EQ(read(file, 5, 99995), "xxxxx");
  // Reopened through the descriptor, as by /proc/self/fd/N.
  auto again = vfs::open_at(task_, vfs::At{vfs::info(*pool_, file).ino, ""}, O_RDONLY, 0, 5);
  ASSERT_TRUE(again.ok()) << again.error();
  EXPECT_EQ(close(4), 0);
  EXPECT_EQ(read(again.value().description, 3), "xxx");
  EXPECT_EQ(close(5), 0);
  EXPECT_EQ(free_blocks(), before);
  EXPECT_EQ(census(v()).uses, 0u);
}

TEST_F(OpensTest, UnnamedFileIsFreedUnlessItGotAName) {
  close((open("warm", O_CREAT | O_RDWR, 9), 9));
  u64 before = free_blocks();
  auto file = open(".", O_TMPFILE | O_RDWR, 3);
  write(file, std::string(50000, 'y'));
  EXPECT_EQ(close(3), 0);
  EXPECT_EQ(free_blocks(), before);
  file = open(".", O_TMPFILE | O_RDWR, 3);
  write(file, "named");
  ASSERT_EQ(vfs::link_at(task_, vfs::At{vfs::info(*pool_, file).ino, ""}, at("name"), vfs::Follow::kNo, true).error(), 0);
  EXPECT_EQ(close(3), 0);
  EXPECT_EQ(read(open("name", O_RDONLY, 3), 10), "named");
  auto exclusive = vfs::open_at(task_, at("."), O_TMPFILE | O_RDWR | O_EXCL, 0600, 4);
  ASSERT_TRUE(exclusive.ok()) << exclusive.error();
  EXPECT_EQ(close(4), 0);
}

TEST_F(OpensTest, HeldDirectorySurvivesRmdirAndListsNothing) {
  ASSERT_TRUE(vfs::mkdir_at(task_, at("d"), 0755).ok());
  auto dir = open("d", O_RDONLY | O_DIRECTORY, 3);
  Ino ino = vfs::info(*pool_, dir).ino;
  ASSERT_TRUE(vfs::hold_dir(*pool_, ino, vfs::kFirstPrivateHandle).ok());
  ASSERT_TRUE(vfs::rmdir_at(task_, at("d")).ok());
  char buffer[512];
  EXPECT_EQ(vfs::read_dir(task_, dir, buffer, sizeof buffer, false).error(), ENOENT);
  EXPECT_EQ(close(3), 0);
  EXPECT_TRUE(inode::read(pool_->store(), ino).ok());
  EXPECT_EQ(close(vfs::kFirstPrivateHandle), 0);
  auto gone = inode::read(pool_->store(), ino);
  EXPECT_TRUE(gone.error() == ESTALE || (gone.ok() && (gone.value().flags & layout::kFlagDead) != 0));
}

TEST_F(OpensTest, DirectoryIsReadOnceWhateverTheBufferSize) {
  std::set<std::string> names{".", ".."};
  for (int i = 0; i < 500; ++i) {
    std::string name = "entry-" + std::string(static_cast<std::size_t>(i % 60), 'n') + std::to_string(i);
    open(name, O_CREAT | O_WRONLY, 3);
    close(3);
    names.insert(name);
  }
  for (u64 size : {300u, 1024u, 5000u, 100000u}) {
    auto dir = open(".", O_RDONLY | O_DIRECTORY, 4);
    std::multiset<std::string> seen;
    std::vector<char> buffer(size);
    for (;;) {
      auto got = vfs::read_dir(task_, dir, buffer.data(), size, false);
      ASSERT_TRUE(got.ok()) << got.error();
      if (got.value() == 0) break;
      for (u64 offset = 0; offset < got.value();) {
        auto* entry = reinterpret_cast<struct dirent64*>(buffer.data() + offset);
        seen.insert(entry->d_name);
        offset += entry->d_reclen;
      }
    }
    EXPECT_EQ(seen, std::multiset<std::string>(names.begin(), names.end())) << size;
    ASSERT_EQ(vfs::seek_file(task_, dir, 0, SEEK_SET).error(), 0);
    EXPECT_EQ(vfs::read_dir(task_, dir, buffer.data(), 20, false).error(), EINVAL);
    EXPECT_EQ(close(4), 0);
  }
}

TEST_F(OpensTest, CopyRangeCopiesAndRefusesOverlap) {
  auto from = open("a", O_CREAT | O_RDWR, 3), to = open("b", O_CREAT | O_RDWR, 4);
  std::string text(700000, 'a');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  write(from, text, 0);
  i64 start = 5;
  EXPECT_EQ(vfs::copy_range(task_, from, &start, to, nullptr, 1 << 20).value(), text.size() - 5);
  EXPECT_EQ(start, static_cast<i64>(text.size()));
  EXPECT_EQ(read(to, 1 << 20, 0), text.substr(5));
  i64 zero = 0, two = 2;
  EXPECT_EQ(vfs::copy_range(task_, from, &zero, from, &two, 100).error(), EINVAL);
}

TEST_F(OpensTest, FileSizeLimitCutsAndRefuses) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  task_.file_size_limit = 10;
  EXPECT_EQ(write(file, "0123456789abc"), 10u);
  char byte = 'x';
  data::IoVec vector{&byte, 1};
  EXPECT_EQ(vfs::write_file(task_, file, -1, &vector, 1).error(), EFBIG);
  EXPECT_EQ(vfs::truncate_file(task_, file, 11).error(), EFBIG);
  EXPECT_EQ(vfs::truncate_file(task_, file, 3).error(), 0);
}

TEST_F(OpensTest, WritingDropsSetIdsUnlessPrivileged) {
  auto file = open("f", O_CREAT | O_RDWR, 3, 06777);
  ASSERT_TRUE(vfs::chmod_at(task_, at("f"), vfs::Follow::kYes, false, 06777).ok());
  auto mode = [&] { return inode::read(pool_->store(), vfs::info(*pool_, file).ino).value().mode & 07777; };
  write(file, "x");
  EXPECT_EQ(mode(), 06777u);
  credentials_.capabilities = 0;
  write(file, "x");
  EXPECT_EQ(mode(), 0777u);
}

TEST_F(OpensTest, MappingPinsOutliveTheDescriptor) {
  auto file = open("f", O_CREAT | O_RDWR, 3);
  Ino ino = vfs::info(*pool_, file).ino;
  EXPECT_FALSE(vfs::is_mapped(*pool_, ino));
  ASSERT_TRUE(vfs::pin_mapping(*pool_, file, vfs::kFirstPrivateHandle + 16).ok());
  EXPECT_EQ(close(3), 0);
  EXPECT_TRUE(vfs::is_mapped(*pool_, ino));
  EXPECT_EQ(unlink_path("f"), 0);
  EXPECT_TRUE(inode::read(pool_->store(), ino).ok());
  EXPECT_TRUE(vfs::unpin_mapping(*pool_, vfs::kFirstPrivateHandle + 16).ok());
  EXPECT_FALSE(vfs::is_mapped(*pool_, ino));
}

TEST_F(OpensTest, ReaderOfAPoolOpensFilesWithoutTouchingV) {
  write(open("f", O_CREAT | O_RDWR, 3), "text");
  Census before = census(v());
  vfs::Pool* writer = pool_;
  vfs::Pool* reader = attach(path_, true);
  ASSERT_NE(reader, nullptr);
  become(reader);
  auto file = open("f", O_RDONLY, 3);
  EXPECT_EQ(read(file, 10), "text");
  EXPECT_EQ(open_error("f", O_RDWR, 4), EROFS);
  EXPECT_EQ(vfs::flock_file(task_, file, LOCK_SH).error(), ENOLCK);
  EXPECT_EQ(close(3), 0);
  EXPECT_EQ(census(writer->store().segment), before);
  reader->detach();
  become(writer);
}

// ---- Locks, beside the kernel's on tmpfs ------------------------------------------------------------------------------

class LocksTest : public OpensTest {
 protected:
  LocksTest() {
    kernel_path_ = path_ + "-kernel";
    ::close(::open(kernel_path_.c_str(), O_CREAT | O_RDWR, 0600));
    open("l", O_CREAT | O_RDWR, 100);
  }
  ~LocksTest() override { ::unlink(kernel_path_.c_str()); }
  std::string kernel_path_;
};

// OFD locks of several descriptions in one process exclude each other as those of several processes do, so that one
// process can play all sides of a random sequence.
TEST_F(LocksTest, OfdLocksAnswerAsTheKernels) {
  std::mt19937_64 random(seed());
  constexpr u32 kOwners = 4;
  int kernel[kOwners];
  vfs::Description ours[kOwners];
  for (u32 i = 0; i < kOwners; ++i) {
    kernel[i] = ::open(kernel_path_.c_str(), O_RDWR);
    ours[i] = open("l", O_RDWR, i);
  }
  for (int step = 0; step < 20000; ++step) {
    u32 owner = random() % kOwners;
    struct flock a{};
    a.l_type = static_cast<short>(random() % 3 == 0 ? F_UNLCK : random() % 2 == 0 ? F_RDLCK : F_WRLCK);
    a.l_whence = SEEK_SET;
    a.l_start = static_cast<off_t>(random() % 40);
    a.l_len = static_cast<off_t>(random() % 8 == 0 ? 0 : random() % 20 + 1);
    bool get = random() % 4 == 0 && a.l_type != F_UNLCK;
    struct flock b = a;
    int kernel_error = fcntl(kernel[owner], get ? F_OFD_GETLK : F_OFD_SETLK, &a) == 0 ? 0 : errno;
    int our_error = vfs::record_lock(task_, ours[owner], get ? F_OFD_GETLK : F_OFD_SETLK, &b).error();
    ASSERT_EQ(our_error, kernel_error) << "step " << step << " type " << b.l_type << " " << b.l_start << "+" << b.l_len;
    if (get) {
      ASSERT_EQ(b.l_type == F_UNLCK, a.l_type == F_UNLCK) << "step " << step;
    }
    if (random() % 500 == 0) {
      ::close(kernel[owner]);
      kernel[owner] = ::open(kernel_path_.c_str(), O_RDWR);
      close(owner);
      ours[owner] = open("l", O_RDWR, owner);
    }
  }
  for (u32 i = 0; i < kOwners; ++i) ::close(kernel[i]), close(i);
  EXPECT_EQ(census(v()).file_locks, 0u);
}

TEST_F(LocksTest, FlockAnswersAsTheKernels) {
  std::mt19937_64 random(seed());
  constexpr u32 kOwners = 4;
  int kernel[kOwners];
  vfs::Description ours[kOwners];
  for (u32 i = 0; i < kOwners; ++i) {
    kernel[i] = ::open(kernel_path_.c_str(), O_RDWR);
    ours[i] = open("l", O_RDWR, i);
  }
  for (int step = 0; step < 5000; ++step) {
    u32 owner = random() % kOwners;
    int operation = (random() % 3 == 0 ? LOCK_UN : random() % 2 == 0 ? LOCK_SH : LOCK_EX) | LOCK_NB;
    int kernel_error = flock(kernel[owner], operation) == 0 ? 0 : errno;
    ASSERT_EQ(vfs::flock_file(task_, ours[owner], operation).error(), kernel_error) << "step " << step;
  }
  for (u32 i = 0; i < kOwners; ++i) ::close(kernel[i]), close(i);
  EXPECT_EQ(census(v()).file_locks, 0u);
}

TEST_F(LocksTest, PosixLocksGoWithAnyCloseOfTheFile) {
  auto file = open("l", O_RDWR, 3);
  open("l", O_RDONLY, 4);
  struct flock lock{};
  lock.l_type = F_WRLCK;
  EXPECT_TRUE(vfs::record_lock(task_, file, F_SETLK, &lock).ok());
  EXPECT_EQ(census(v()).file_locks, 1u);
  EXPECT_EQ(close(4), 0);
  EXPECT_EQ(census(v()).file_locks, 0u);
}

TEST_F(LocksTest, BadRequestsAreRefusedAsByTheKernel) {
  auto file = open("l", O_RDWR, 3);
  int kernel = ::open(kernel_path_.c_str(), O_RDWR);
  struct Case { short type, whence; off_t start, len; int pid; int command; };
  const Case cases[] = {{F_WRLCK, 9, 0, 0, 0, F_SETLK},   {7, SEEK_SET, 0, 0, 0, F_SETLK},       {F_WRLCK, SEEK_SET, -1, 0, 0, F_SETLK},
                        {F_WRLCK, SEEK_SET, 5, -9, 0, F_SETLK}, {F_WRLCK, SEEK_SET, 5, -5, 0, F_SETLK}, {F_UNLCK, SEEK_SET, 0, 0, 0, F_GETLK},
                        {F_WRLCK, SEEK_SET, 1, 0x7fffffffffffffff, 0, F_SETLK}, {F_WRLCK, SEEK_SET, 2, 0x7fffffffffffffff, 0, F_SETLK},
                        {F_WRLCK, SEEK_END, 0x7fffffffffffffff, 1, 0, F_SETLK}, {F_WRLCK, SEEK_SET, 0, 0, 5, F_OFD_SETLK}};
  for (const Case& c : cases) {
    struct flock a{};
    a.l_type = c.type, a.l_whence = c.whence, a.l_start = c.start, a.l_len = c.len, a.l_pid = c.pid;
    struct flock b = a;
    int expected = fcntl(kernel, c.command, &a) == 0 ? 0 : errno;
    EXPECT_EQ(vfs::record_lock(task_, file, c.command, &b).error(), expected) << "case " << &c - cases;
  }
  ::close(kernel);
}

TEST_F(OpensTest, ManyThreadsOpenAndCloseTheSameFiles) {
  std::vector<std::thread> threads;
  for (u32 t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed() + t);
      vfs::Task task = task_;
      for (int i = 0; i < 3000; ++i) {
        std::string name = "s" + std::to_string(random() % 3);
        u32 handle = t * 10;
        auto opened = vfs::open_at(task, at(name), O_CREAT | O_RDWR, 0644, handle);
        ASSERT_TRUE(opened.ok()) << opened.error();
        if (random() % 4 == 0) (void)vfs::unlink_at(task, at(name));
        ASSERT_TRUE(vfs::close_handle(*pool_, handle).ok());
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(census(v()).descriptions, 0u);
  EXPECT_EQ(census(v()).uses, 0u);
}

// Not a limit, a figure for who looks at the output.
TEST_F(OpensTest, CostOfOpenAndClose) {
  close((open("f", O_CREAT | O_RDWR, 3), 3));
  constexpr int kRounds = 200000;
  auto time = [](auto&& body) {
    auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; ++i) body();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / kRounds;
  };
  double pair = time([&] {
    (void)vfs::open_at(task_, at("f"), O_RDONLY, 0, 3);
    (void)vfs::close_handle(*pool_, 3);
  });
  auto file = open("f", O_RDWR, 3);
  write(file, std::string(64, 'x'));
  char buffer[64];
  data::IoVec vector{buffer, 64};
  double pread = time([&] { (void)vfs::read_file(task_, file, 0, &vector, 1); });
  double pwrite = time([&] { (void)vfs::write_file(task_, file, 0, &vector, 1); });
  double seek = time([&] { (void)vfs::seek_file(task_, file, 0, SEEK_SET); });
  double dup = time([&] {
    (void)vfs::add_handle(*pool_, 4, file);
    (void)vfs::close_handle(*pool_, 4);
  });
  struct flock lock{};
  double locks = time([&] {
    lock.l_type = F_WRLCK;
    (void)vfs::record_lock(task_, file, F_SETLK, &lock);
    lock.l_type = F_UNLCK;
    (void)vfs::record_lock(task_, file, F_SETLK, &lock);
  });
  std::printf("open+close %.0f ns, pread 64 %.0f, pwrite 64 %.0f, lseek %.0f, dup+close %.0f, lock+unlock %.0f\n", pair, pread, pwrite, seek, dup, locks);
}

} // namespace
} // namespace pmemfile::test
