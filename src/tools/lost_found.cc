#include "tools/lost_found.h"

#include <sys/stat.h>
#include <unistd.h>

#include "dir/dir.h"
#include "fmt/format.h"
#include "tools/common.h"
#include "vfs/pool.h"

namespace pmemfile::tools {
namespace {

Result<void> give_name(journal::Store& store, Ino found, Ino lost, const std::string& name) {
  TRY(dir::make_room(store, found, name));
  return journal::run_tx(store, journal::Opcode::kRepair, [&](journal::Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, found)));
    TRY(tx.lock(shm::inode_key(store.segment, lost)));
    inode::Attr attr = TRY(inode::load(tx.view(), lost));
    inode::Attr parent = TRY(inode::load(tx.view(), found));
    dir::Slot slot;
    TRY(dir::lock_entry(tx, found, name, slot));
    if (slot.found) return Error(EEXIST);
    u64 key = TRY(dir::insert(tx, slot, name, lost, static_cast<u8>(attr.mode >> 12)));
    attr.flags &= layout::kFlagBeyondEof; // its contents stay what they are
    if (S_ISDIR(attr.mode)) {
      inode::store_parent(tx, lost, found, key);
      ++parent.nlink;
      inode::store_mode(tx, parent);
    } else {
      attr.nlink = 1;
    }
    inode::store_mode(tx, attr);
    return tx.commit();
  });
}

// "#" and the number; another one if that is taken.
Result<void> name_one(journal::Store& store, Ino found, Ino lost) {
  std::string name = fmt::format("#{}", raw(lost));
  for (int i = 1;; ++i) {
    auto result = give_name(store, found, lost, name);
    if (result.error() != EEXIST || i == 10) return result;
    name = fmt::format("#{}.{}", raw(lost), i);
  }
}

// Where they go; made if it is not there. A file of that name stays what it is, and another name is taken.
Result<Ino> lost_and_found(vfs::Task& task) {
  constexpr const char* kNames[] = {"lost+found", "lost+found.1", "lost+found.2", "lost+found.3"};
  int error = 0;
  for (const char* name : kNames) {
    error = vfs::mkdir_at(task, {task.root, name}, 0700).error();
    auto found = vfs::resolve(task, {task.root, name}, vfs::Follow::kNo);
    if (found.ok() && S_ISDIR(found.value().mode)) return found.value().ino;
  }
  return Error(error);
}

} // namespace

u64 name_lost_inodes(vfs::Pool& pool, const std::vector<u64>& inodes, std::string* error) {
  vfs::Credentials credentials{.capabilities = ~u64{0}};
  vfs::Task task;
  task.pool = &pool;
  task.credentials = &credentials;
  task.root = Ino{pool.store().geometry.root_ino[0]};
  auto note = [&](std::string text) {
    if (error != nullptr) *error = std::move(text);
  };
  if (inodes.empty()) return 0;
  auto found = lost_and_found(task);
  if (!found.ok()) return note("/lost+found cannot be made: " + error_text(found.error())), 0;
  u64 named = 0;
  for (u64 ino : inodes) {
    auto result = name_one(pool.store(), found.value(), Ino{ino});
    if (result.ok()) ++named;
    else note(fmt::format("inode {}: {}", ino, error_text(result.error())));
  }
  return named;
}

u64 name_lost_inodes(const std::string& path, const std::vector<u64>& inodes, std::string& error) {
  vfs::AttachOptions options;
  options.shm_dir = std::getenv("PMEMFILE_SHM_DIR");
  vfs::AttachFailure failure{};
  auto attached = vfs::Pool::attach(path.c_str(), options, &failure);
  if (!attached.ok()) return error = failure.text, 0;
  u64 named = name_lost_inodes(*attached.value(), inodes, &error);
  attached.value()->detach();
  return named;
}

} // namespace pmemfile::tools
