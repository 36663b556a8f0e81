#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <thread>

#include "alloc/alloc.h"
#include "crash/scenario.h"

namespace pmemfile::crash {

using vfs::Follow;

void Actor::must(const char* what, const std::string& path, int error) {
  if (error == 0) return;
  throw Impossible(error, std::string(what) + " " + path + ": " + (error < 1000 ? strerror(error) : std::to_string(error).c_str()));
}

Ino Actor::ino_of(const std::string& path) {
  auto found = vfs::resolve(task_, at(path), Follow::kNo);
  must("resolve", path, found.error());
  return found.value().ino;
}

void Actor::make_file(const std::string& path, const std::string& contents) {
  must("mknod", path, vfs::mknod_at(task_, at(path), S_IFREG | 0644, 0).error());
  if (!contents.empty()) write(path, 0, contents);
}
void Actor::make_directory(const std::string& path) { must("mkdir", path, vfs::mkdir_at(task_, at(path), 0755).error()); }
void Actor::make_symlink(const std::string& path, const std::string& target) {
  must("symlink", path, vfs::symlink_at(task_, target, at(path)).error());
}
void Actor::make_fifo(const std::string& path) {
  must("mkfifo", path, vfs::mknod_at(task_, at(path), S_IFIFO | 0600, 0).error());
}
void Actor::link(const std::string& from, const std::string& to) {
  must("link", to, vfs::link_at(task_, at(from), at(to), Follow::kNo, false).error());
}
void Actor::unlink(const std::string& path) { must("unlink", path, vfs::unlink_at(task_, at(path)).error()); }
void Actor::remove_directory(const std::string& path) { must("rmdir", path, vfs::rmdir_at(task_, at(path)).error()); }
void Actor::rename(const std::string& from, const std::string& to, unsigned flags) {
  must("rename", to, vfs::rename_at(task_, at(from), at(to), flags).error());
}

void Actor::write(const std::string& path, u64 offset, const std::string& contents, bool atomic) {
  data::IoVec vector{const_cast<char*>(contents.data()), contents.size()};
  data::WriteFlags flags;
  flags.atomic = atomic;
  auto written = data::write(pool_.store(), ino_of(path), offset, &vector, 1, flags);
  must("write", path, written.error());
  if (written.value().bytes != contents.size()) must("short write", path, ENOSPC);
}
void Actor::append(const std::string& path, const std::string& contents, bool atomic) {
  data::IoVec vector{const_cast<char*>(contents.data()), contents.size()};
  data::WriteFlags flags;
  flags.atomic = atomic;
  flags.append = true;
  must("append", path, data::write(pool_.store(), ino_of(path), 0, &vector, 1, flags).error());
}
void Actor::truncate(const std::string& path, u64 size) {
  must("truncate", path, data::truncate(pool_.store(), ino_of(path), size).error());
}
void Actor::fallocate(const std::string& path, int mode, u64 offset, u64 bytes) {
  must("fallocate", path, data::fallocate(pool_.store(), ino_of(path), mode, offset, bytes).error());
}
void Actor::change_mode(const std::string& path, u32 mode) {
  must("chmod", path, vfs::chmod_at(task_, at(path), Follow::kYes, false, mode).error());
}
void Actor::change_owner(const std::string& path, u32 uid, u32 gid) {
  must("chown", path, vfs::chown_at(task_, at(path), Follow::kYes, false, uid, gid).error());
}
void Actor::set_attribute(const std::string& path, const std::string& name, const std::string& value) {
  must("setxattr", path, vfs::setxattr_at(task_, at(path), Follow::kYes, false, name, value.data(), value.size(), 0).error());
}
void Actor::remove_attribute(const std::string& path, const std::string& name) {
  must("removexattr", path, vfs::removexattr_at(task_, at(path), Follow::kYes, false, name).error());
}
void Actor::touch(const std::string& path) {
  must("utimens", path, vfs::utimens_at(task_, at(path), Follow::kYes, false, nullptr).error());
}

void Actor::open(const std::string& path, int flags, u32 handle) {
  auto opened = vfs::open_at(task_, at(path), flags, 0644, vfs::kFirstPrivateHandle + handle);
  must("open", path, opened.error());
  opened_[handle] = opened.value().description;
}
void Actor::close(u32 handle) {
  must("close", "", vfs::close_handle(pool_, vfs::kFirstPrivateHandle + handle).error());
}
void Actor::write_open(u32 handle, u64 offset, const std::string& contents, bool atomic, bool append) {
  data::IoVec vector{const_cast<char*>(contents.data()), contents.size()};
  data::WriteFlags flags;
  flags.atomic = atomic;
  flags.append = append;
  must("write", "", data::write(pool_.store(), ino_of_open(handle), offset, &vector, 1, flags).error());
}
void Actor::truncate_open(u32 handle, u64 size) {
  must("truncate", "", data::truncate(pool_.store(), ino_of_open(handle), size).error());
}
void Actor::fallocate_open(u32 handle, int mode, u64 offset, u64 bytes) {
  must("fallocate", "", data::fallocate(pool_.store(), ino_of_open(handle), mode, offset, bytes).error());
}
Ino Actor::ino_of_open(u32 handle) { return vfs::info(pool_, opened_[handle]).ino; }
void Actor::sync(u32 handle) { must("fsync", "", vfs::sync_file(task_, opened_[handle], false).error()); }

void Actor::in_slot(u32 slot, const std::function<void()>& body) {
  shm::Segment& v = pool_.store().segment;
  slot_ = slot;
  for (u32 i = 0; i < v.header->slot_count; ++i)
    if (i != slot) held_.push_back(shm::take_slot(v, i, pool_.store().waiter));
  std::exception_ptr failure;
  std::thread([&] {
    try {
      body();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  for (u32 i : held_) shm::release_slot(v, i);
  held_.clear();
  if (failure) std::rethrow_exception(failure);
}

void Actor::other_slot(const std::function<void()>& body) {
  u32 slot = slot_;
  for (u32 i : held_) shm::release_slot(pool_.store().segment, i);
  held_.clear();
  u32 next = (slot + 1) % static_cast<u32>(pool_.store().segment.header->slot_count);
  std::exception_ptr failure;
  try {
    in_slot(next, body);
  } catch (...) {
    failure = std::current_exception();
  }
  slot_ = slot;
  shm::Segment& v = pool_.store().segment;
  for (u32 i = 0; i < v.header->slot_count; ++i)
    if (i != slot) held_.push_back(shm::take_slot(v, i, pool_.store().waiter));
  if (failure) std::rethrow_exception(failure);
}

void Actor::beside_stopped(const std::function<void()>& body) {
  if (held_.empty()) throw std::logic_error("somebody stopped needs a slot of his own (in_slot)");
  journal::Store& store = pool_.store();
  shm::LockKey key = shm::bitmap_key(store.segment, 0);
  shm::lock_stripe(store.segment, held_.back(), key, store.waiter);
  // Who cannot do without the line waits for it (behind another operation of a pair, whose pool is full): then he goes on.
  std::promise<void> done;
  std::thread stopped([&, ended = done.get_future()] {
    ended.wait_for(std::chrono::seconds(1));
    shm::unlock_stripe(store.segment, held_.back(), key);
  });
  std::exception_ptr failure;
  try {
    body();
  } catch (...) {
    failure = std::current_exception();
  }
  done.set_value();
  stopped.join();
  if (failure) std::rethrow_exception(failure);
}

void Actor::fill(const std::string& path, u64 left) {
  make_file(path);
  u64 free_blocks = alloc::count_space(pool_.store()).free_blocks;
  for (u64 i = 0; free_blocks > left && i < free_blocks; ++i) {
    if (alloc::count_space(pool_.store()).free_blocks <= left) return;
    append(path, std::string(layout::kBlockBytes, 'f'));
  }
}

} // namespace pmemfile::crash
