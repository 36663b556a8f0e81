#include "tools/lost_found.h"

#include <sys/stat.h>
#include <unistd.h>

#include "dir/dir.h"
#include "fmt/format.h"
#include "tools/common.h"
#include "vfs/pool.h"

namespace pmemfile::tools {
namespace {

Result<void> name_one(journal::Store& store, Ino found, Ino lost) {
  std::string name = fmt::format("#{}", raw(lost));
  return journal::run_tx(store, journal::Opcode::kRepair, [&](journal::Tx& tx) -> Result<void> {
    TRY(tx.lock(shm::inode_key(store.segment, found)));
    TRY(tx.lock(shm::inode_key(store.segment, lost)));
    inode::Attr attr = TRY(inode::load(tx.view(), lost));
    inode::Attr parent = TRY(inode::load(tx.view(), found));
    dir::Slot slot;
    TRY(dir::lock_entry(tx, found, name, slot));
    if (slot.found) return Error(EEXIST);
    u64 key = TRY(dir::insert(tx, slot, name, lost, static_cast<u8>(attr.mode >> 12)));
    attr.flags = 0;
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

} // namespace

u64 name_lost_inodes(const std::string& path, const std::vector<u64>& inodes, std::string& error) {
  vfs::AttachOptions options;
  options.shm_dir = std::getenv("PMEMFILE_SHM_DIR");
  vfs::AttachFailure failure{};
  auto attached = vfs::Pool::attach(path.c_str(), options, &failure);
  if (!attached.ok()) return error = failure.text, 0;
  vfs::Pool& pool = *attached.value();
  vfs::Credentials credentials{.capabilities = ~u64{0}};
  vfs::Task task;
  task.pool = &pool;
  task.credentials = &credentials;
  task.root = Ino{pool.store().geometry.root_ino[0]};
  auto made = vfs::mkdir_at(task, {task.root, "lost+found"}, 0700);
  auto found = vfs::resolve(task, {task.root, "lost+found"}, vfs::Follow::kNo);
  u64 named = 0;
  if (!found.ok() || !S_ISDIR(found.value().mode)) {
    error = "/lost+found cannot be made: " + error_text(made.error());
  } else {
    for (u64 ino : inodes) {
      auto room = dir::make_room(pool.store(), found.value().ino, fmt::format("#{}", ino));
      auto result = room.ok() ? name_one(pool.store(), found.value().ino, Ino{ino}) : room;
      if (result.ok()) ++named;
      else error = fmt::format("inode {}: {}", ino, error_text(result.error()));
    }
  }
  pool.detach();
  return named;
}

} // namespace pmemfile::tools
