// A pool in /dev/shm for the tests of open files and processes, and what they ask of V.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "alloc/alloc.h"
#include "shm/handles.h"
#include "shm/locks.h"
#include "shm/opens.h"
#include "shm/process.h"
#include "vfs/pool.h"
#include "vfs/repair.h"

namespace pmemfile::test {

inline u64 seed() {
  static u64 value = [] {
    const char* text = std::getenv("PMEMFILE_TEST_SEED");
    u64 chosen = text != nullptr ? std::strtoull(text, nullptr, 0) : std::random_device{}();
    std::printf("PMEMFILE_TEST_SEED=%llu\n", static_cast<unsigned long long>(chosen));
    return chosen;
  }();
  return value;
}

// A folder for V that the test can remove: V itself outlives its pool's last user.
inline std::string shm_dir_of(const std::string& path) { return path + "-shm"; }

inline vfs::Pool* attach(const std::string& path, bool read_only = false) {
  vfs::AttachFailure failure{};
  vfs::AttachOptions options;
  options.read_only = read_only;
  std::string shm_dir = shm_dir_of(path);
  options.shm_dir = shm_dir.c_str();
  auto pool = vfs::Pool::attach(path.c_str(), options, &failure);
  EXPECT_TRUE(pool.ok()) << failure.text << " errno " << pool.error();
  return pool.ok() ? pool.value() : nullptr;
}

// Entries of V that are in use.
struct Census {
  u64 processes = 0, handles_pages = 0, descriptions = 0, uses = 0, lock_lists = 0, file_locks = 0, slots = 0, stripes = 0, chains = 0;
  bool operator==(const Census&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const Census& c) {
  return out << "processes " << c.processes << " pages " << c.handles_pages << " descriptions " << c.descriptions << " uses "
             << c.uses << " lists " << c.lock_lists << " locks " << c.file_locks << " slots " << c.slots << " stripes " << c.stripes << " chains " << c.chains;
}
inline Census census(const shm::Segment& v) {
  Census c;
  const shm::SegmentHeader& h = *v.header;
  for (u32 i = 0; i < h.process_count; ++i) c.processes += shm::process_entry(v, i).state != 0;
  for (u64 i = 0; i < h.page_count; ++i) c.handles_pages += v.at<u64>(h.page_owners_offset)[i] != 0;
  for (u64 i = 0; i < h.description_count; ++i) c.descriptions += shm::description_at(v, i)->refs != 0;
  for (u64 i = 0; i < h.use_group_count; ++i)
    for (u64 word : shm::use_group(v, i).words) c.uses += word != 0;
  for (u64 i = 0; i < h.lock_list_count; ++i) c.lock_lists += shm::lock_list_at(v, i)->in_use != 0;
  for (u64 i = 0; i < h.file_lock_count; ++i) c.file_locks += shm::file_lock_at(v, i)->in_use != 0;
  for (u64 i = 0; i < h.slot_count; ++i) c.slots += v.slots[i].owner != 0;
  for (u64 i = 0; i < h.stripe_count; ++i) c.stripes += (v.stripes[i].lock & shm::kLockSlotMask) != 0;
  for (u64 i = 0; i < h.file_lock_stripes; ++i) c.chains += v.at<shm::LockBucket>(h.buckets_offset)[i].first_plus_1 != 0;
  return c;
}

// Runs a traced child, which has stopped itself, for so many instructions. True: it has stopped itself again before.
inline bool step(pid_t pid, unsigned instructions) {
  int status = 0;
  for (unsigned i = 0; i < instructions; ++i) {
    ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr);
    waitpid(pid, &status, 0);
    if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP) return true;
  }
  return false;
}

class OpensTest : public ::testing::Test {
 protected:
  explicit OpensTest(u64 bytes = 16 << 20) : path_("/dev/shm/pmemfile-opens-test-" + std::to_string(getpid())) {
    unlink(path_.c_str());
    std::filesystem::create_directory(shm_dir_of(path_));
    vfs::Pool::MakeOptions options;
    options.bytes = bytes;
    options.sparse = true;
    vfs::AttachFailure failure{};
    auto made = vfs::Pool::make(path_.c_str(), options, &failure);
    EXPECT_TRUE(made.ok()) << failure.text;
    root_ = Ino{made.value().root_ino[0]};
    pool_ = attach(path_);
    become(pool_);
  }
  ~OpensTest() override {
    if (pool_ != nullptr) pool_->detach();
    unlink(path_.c_str());
    std::filesystem::remove_all(shm_dir_of(path_));
  }

  void become(vfs::Pool* pool) {
    pool_ = pool;
    credentials_.capabilities = ~u64{0};
    task_.pool = pool;
    task_.credentials = &credentials_;
    task_.root = root_;
  }
  const shm::Segment& v() const { return pool_->store().segment; }
  vfs::At at(std::string_view path) const { return vfs::At{root_, path}; }

  // An open file at `handle`; its description.
  vfs::Description open(std::string_view path, int flags, u32 handle, u32 mode = 0644) {
    auto opened = vfs::open_at(task_, at(path), flags, mode, handle);
    EXPECT_TRUE(opened.ok()) << path << " errno " << opened.error();
    return opened.value().description;
  }
  int open_error(std::string_view path, int flags, u32 handle, u32 mode = 0644) {
    return vfs::open_at(task_, at(path), flags, mode, handle).error();
  }
  int close(u32 handle) { return vfs::close_handle(*pool_, handle).error(); }
  u64 write(vfs::Description description, std::string text, i64 offset = -1) {
    data::IoVec vector{text.data(), text.size()};
    auto result = vfs::write_file(task_, description, offset, &vector, 1);
    EXPECT_TRUE(result.ok()) << "errno " << result.error();
    return result.value();
  }
  std::string read(vfs::Description description, u64 size, i64 offset = -1) {
    std::string text(size, 0);
    data::IoVec vector{text.data(), size};
    auto result = vfs::read_file(task_, description, offset, &vector, 1);
    EXPECT_TRUE(result.ok()) << "errno " << result.error();
    text.resize(result.value());
    return text;
  }
  int unlink_path(std::string_view path) { return vfs::unlink_at(task_, at(path)).error(); }
  u64 free_blocks() const { return alloc::count_space(pool_->store()).free_blocks; }

  std::string path_;
  Ino root_{};
  vfs::Pool* pool_ = nullptr;
  vfs::Credentials credentials_;
  vfs::Task task_;
};

} // namespace pmemfile::test
