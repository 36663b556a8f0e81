// Making names: create, mkdir, mknod, symlink, link.
#include "vfs/names.h"

#include <fcntl.h>

#include "alloc/alloc.h"
#include "vfs/change.h"

namespace pmemfile::vfs {
namespace {

struct Newcomer {
  u32 mode = 0; // with type, before umask and setgid rules
  u64 rdev = 0;
  std::string_view target = {}; // of a symlink
};

// The setgid rules of mode_strip_sgid() and inode_init_owner() in Linux: group and bit are inherited from a setgid
// directory; there, an executable file loses the bit if its maker could not have given it. The umask comes after that.
u32 mode_in(const Task& task, const Node& dir, u32 mode, u32& gid) {
  u32 masked = is_link(mode) ? mode : mode & ~task.umask;
  gid = task.credentials->fsgid;
  if ((dir.mode & kSetGid) == 0) return masked;
  gid = dir.gid;
  if (is_dir(mode)) return masked | kSetGid;
  bool both = (mode & (kSetGid | 010)) == (kSetGid | 010);
  if (both && !in_group(*task.credentials, gid) && (task.credentials->capabilities & kCapFsetid) == 0) masked &= ~kSetGid;
  return masked;
}

// The text of a symlink goes into the inode or into one block that nothing points to before the commit.
Result<void> stage_target(Tx& tx, Ino ino, std::string_view target) {
  inode::Attr attr;
  attr.ino = ino;
  attr.size = target.size();
  if (target.size() <= layout::kInlineTargetBytes) {
    for (unsigned word = 0; word * 8 < target.size(); ++word) {
      u64 value = 0;
      memcpy(&value, target.data() + word * 8, min_of<std::size_t>(8, target.size() - word * 8));
      tx.store(layout::inode_offset(ino) + layout::inode_map_word(word), value);
    }
  } else {
    alloc::Extent extent = TRY(alloc::take_data(tx, 1, layout::ino_block(ino)));
    if (pmem::copy_in(tx.store().medium, journal::block_offset(extent.start), target.data(), target.size()) != 0)
      return Error(EFAULT);
    tx.note_fresh_data();
    tx.store(layout::inode_offset(ino) + layout::inode_map_word(0), raw(extent.start));
    attr.blocks = 1;
  }
  inode::store_size(tx, attr);
  return {};
}

// A directory's parent counts its subdirectories.
Result<void> stage_subdirectory(Tx& tx, Ino parent) {
  inode::Attr attr = TRY(inode::load(tx.view(), parent));
  if (attr.nlink == 0) return Error(ENOENT);
  if (attr.nlink == kMaxLinks) return Error(EMLINK);
  ++attr.nlink;
  attr.mtime_ns = attr.ctime_ns = inode::now_ns();
  inode::store_mode(tx, attr);
  inode::store_times(tx, attr);
  return {};
}

// `made` is what was made as it is at the commit: afterwards somebody else may remove it and use its inode again.
Result<void> stage_newcomer(Tx& tx, Task& task, const Node& dir, std::string_view name, const Newcomer& what, inode::Attr& made) {
  bool directory = is_dir(what.mode);
  if (directory) TRY(tx.lock(shm::inode_key(tx.store().segment, dir.ino)));
  dir::Slot slot;
  TRY(dir::lock_entry(tx, dir.ino, name, slot, dir.identity));
  if (slot.found) return Error(EEXIST);
  inode::NewInode fields;
  fields.mode = mode_in(task, dir, what.mode, fields.gid);
  fields.uid = task.credentials->fsuid;
  fields.rdev = what.rdev;
  fields.nlink = directory ? 2 : 1;
  if (directory) fields.parent = dir.ino;
  Ino ino = TRY(inode::create(tx, fields, dir.ino));
  u64 key = TRY(dir::insert(tx, slot, name, ino, type_of_mode(what.mode)));
  if (directory) {
    inode::store_parent(tx, ino, dir.ino, key);
    TRY(stage_subdirectory(tx, dir.ino));
  }
  if (!what.target.empty()) TRY(stage_target(tx, ino, what.target));
  TRY(inode::load_into(tx.view(), ino, made));
  return tx.commit();
}

Opcode opcode_of(u32 mode) {
  return is_dir(mode) ? Opcode::kMkdir : is_link(mode) ? Opcode::kSymlink : Opcode::kCreate;
}

Result<void> make_entry(Task& task, const Node& dir, std::string_view name, const Newcomer& what, inode::Attr& made) {
  Store& store = task.pool->store();
  auto make_room = [&](int error) {
    return error == dir::kNeedsRoom ? dir::make_room(store, dir.ino, name) : nothing_to_prepare(error);
  };
  TRY(run_change(store, opcode_of(what.mode), make_room,
                 [&](Tx& tx) -> Result<void> { return stage_newcomer(tx, task, dir, name, what, made); }));
  if (!is_dir(what.mode)) {
    i64 now = inode::now_ns();
    touch_names(store, dir, now);
  }
  return {};
}

// Why a name cannot be made, in the kernel's order: that it exists comes before all else.
int refusal(Store& store, Ino dir, std::string_view name, int otherwise) {
  Result<dir::Entry> entry = dir::lookup(store, dir, name);
  if (entry.ok()) return EEXIST;
  return entry.error() == ENOENT ? otherwise : entry.error() == ESTALE ? ENOENT : entry.error();
}

// The common half of mkdir, mknod, symlink and link: where the name goes, or why not.
Result<NamePlace> place_of_new_name(Task& task, At at, bool directory, bool check_permission = true) {
  NamePlace place = TRY(find_place(task, at));
  if (place.kind != Walk::Last::kName) return Error(EEXIST);
  TRY(check_length(place.dir, place.name));
  Store& store = task.pool->store();
  int refused = 0;
  if (place.must_be_dir && !directory)
    refused = ENOENT;
  else if (!store.medium.writable)
    refused = EROFS;
  else if (check_permission)
    refused = place.dir.nlink == 0 ? ENOENT : may_change_names(task, place.dir) ? 0 : EACCES;
  if (PMEMFILE_UNLIKELY(refused != 0)) return Error(refusal(store, place.dir.ino, place.name, refused));
  return place;
}

Result<void> make_at(Task& task, At at, const Newcomer& what) {
  NamePlace place = TRY(place_of_new_name(task, at, is_dir(what.mode)));
  inode::Attr made;
  return make_entry(task, place.dir, place.name, what, made);
}

} // namespace

Result<void> create_file(Task& task, Ino dir, std::string_view name, u32 mode, inode::Attr& made) {
  Store& store = task.pool->store();
  Node parent = TRY(read_node(store, dir));
  if (parent.nlink == 0) return Error(ENOENT);
  if (!store.medium.writable) return Error(refusal(store, dir, name, EROFS));
  if (!may_change_names(task, parent)) return Error(refusal(store, dir, name, EACCES));
  return make_entry(task, parent, name, Newcomer{kTypeRegular | (mode & kPermissionBits)}, made);
}

Result<Ino> create_unnamed(Task& task, Ino dir, u32 mode, bool linkable, u64*& pending) {
  Store& store = task.pool->store();
  TRY(check_writable(store));
  Node parent = TRY(read_node(store, dir));
  if (!is_dir(parent.mode)) return Error(ENOTDIR);
  if (parent.nlink == 0) return Error(ENOENT);
  if (!may_change_names(task, parent)) return Error(EACCES);
  auto make = [&](Tx& tx) -> Result<Ino> {
    inode::NewInode fields;
    fields.mode = mode_in(task, parent, kTypeRegular | (mode & kPermissionBits), fields.gid);
    fields.uid = task.credentials->fsuid;
    fields.nlink = 0;
    Ino ino = TRY(inode::create(tx, fields, dir));
    inode::Attr attr;
    attr.ino = ino;
    attr.mode = fields.mode;
    attr.flags = linkable ? layout::kFlagUnnamed : 0;
    TRY(inode::add_orphan(tx, attr));
    inode::store_mode(tx, attr);
    // Before the commit: from there on it is nobody's but ours.
    pending = note_unnamed(store, tx.slot(), ino, tx.load(layout::inode_offset(ino) + layout::kInodeIdentity) >> 16);
    auto committed = tx.commit();
    store_release(store.segment.slots[tx.slot()].pending_ino, u64{0});
    if (!committed.ok() && pending != nullptr) store_release(*std::exchange(pending, nullptr), u64{0});
    TRY(committed);
    return ino;
  };
  return with_space(store, [&] { return journal::run_tx(store, Opcode::kCreate, make); });
}

Result<void> mkdir_at(Task& task, At at, u32 mode) {
  return make_at(task, at, Newcomer{kTypeDir | (mode & (0777 | kSticky))});
}

Result<void> mknod_at(Task& task, At at, u32 mode, u64 rdev, inode::Attr* made) {
  u32 type = mode & kTypeMask;
  if (type == 0) type = kTypeRegular;
  if (type == kTypeDir) return Error(EPERM);
  bool device = type == kTypeChar || type == kTypeBlock;
  if (!device && type != kTypeRegular && type != kTypeFifo && type != kTypeSocket) return Error(EINVAL);
  NamePlace place = TRY(place_of_new_name(task, at, false));
  bool whiteout = type == kTypeChar && rdev == 0; // anybody may make one, as on Linux
  if (device && !whiteout && (task.credentials->capabilities & kCapMknod) == 0)
    return Error(refusal(task.pool->store(), place.dir.ino, place.name, EPERM));
  inode::Attr attr;
  return make_entry(task, place.dir, place.name, Newcomer{type | (mode & kPermissionBits), device ? rdev : 0}, made != nullptr ? *made : attr);
}

Result<void> symlink_at(Task& task, std::string_view target, At at) {
  if (target.empty()) return Error(ENOENT);
  if (target.size() >= kPathMax) return Error(ENAMETOOLONG);
  return make_at(task, at, Newcomer{kTypeLink | 0777, 0, target});
}

namespace {

// fs.protected_hardlinks, which every distribution sets: who does not own a file gives it another name only if it is an
// ordinary file that he may read and write.
bool may_link(const Task& task, const inode::Attr& attr) {
  if (owns(task, attr)) return true;
  if (!is_regular(attr.mode) || (attr.mode & kSetUid) != 0 || (attr.mode & (kSetGid | 010)) == (kSetGid | 010)) return false;
  return may_access(*task.credentials, attr, kRead | kWrite);
}

Result<void> stage_link(Tx& tx, Ino ino, u64 identity, const Node& dir, std::string_view name) {
  Store& store = tx.store();
  TRY(tx.lock(shm::inode_key(store.segment, ino)));
  Result<inode::Attr> loaded = inode::load(tx.view(), ino);
  if (loaded.error() == ESTALE || (loaded.ok() && identity_of(loaded.value()) != identity)) return Error(ENOENT);
  inode::Attr attr = TRY(std::move(loaded));
  dir::Slot slot;
  TRY(dir::lock_entry(tx, dir.ino, name, slot, dir.identity));
  if (slot.found) return Error(EEXIST);
  if (attr.nlink == 0 && (attr.flags & (layout::kFlagUnnamed | layout::kFlagFreeing)) != layout::kFlagUnnamed) return Error(ENOENT);
  if (attr.nlink == kMaxLinks) return Error(EMLINK);
  TRY(dir::insert(tx, slot, name, ino, type_of_mode(attr.mode)));
  ++attr.nlink;
  attr.flags &= static_cast<u16>(~layout::kFlagUnnamed);
  attr.ctime_ns = inode::now_ns();
  inode::store_mode(tx, attr);
  inode::store_times(tx, attr);
  return tx.commit();
}

} // namespace

Result<void> link_at(Task& task, At from, At to, Follow follow, bool allow_empty) {
  task.escaped_argument = 0;
  inode::Attr old = TRY(resolve(task, from, follow, allow_empty));
  task.escaped_argument = 1;
  NamePlace place = TRY(place_of_new_name(task, to, false, false));
  Store& store = task.pool->store();
  const Node& dir = place.dir;
  std::string_view name = place.name;
  int refused = !may_link(task, old) ? EPERM : dir.nlink == 0 ? ENOENT : !may_change_names(task, dir) ? EACCES : is_dir(old.mode) ? EPERM : 0;
  if (refused != 0) return Error(refusal(store, dir.ino, name, refused));
  auto make_room = [&](int error) {
    return error == dir::kNeedsRoom ? dir::make_room(store, dir.ino, name) : nothing_to_prepare(error);
  };
  TRY(run_change(store, Opcode::kLink, make_room,
                 [&](Tx& tx) -> Result<void> { return stage_link(tx, old.ino, identity_of(old), dir, name); }));
  i64 now = inode::now_ns();
  touch_names(store, dir, now);
  return {};
}

// ---- open(2) ---------------------------------------------------------------------------------------------------

namespace {

// may_create_in_sticky() in Linux, as far as it does not depend on sysctls.
bool others_link_in_sticky_dir(const Task& task, const Node& dir, const inode::Attr& attr) {
  return (dir.mode & kSticky) != 0 && (dir.mode & 02) != 0 && attr.uid != dir.uid && attr.uid != task.credentials->fsuid;
}

} // namespace

Result<bool> resolve_for_open(Task& task, At at, int flags, u32 mode, inode::Attr& attr) {
  bool create = (flags & O_CREAT) != 0 && (flags & O_PATH) == 0;
  if (create && (flags & O_DIRECTORY) != 0) return Error(EINVAL);
  if (at.path.empty() && !create) {
    TRY(inode::read_into(task.pool->store(), at.dir, attr));
    return false;
  }
  bool exclusive = create && (flags & O_EXCL) != 0;
  Follow follow = (flags & O_NOFOLLOW) != 0 || exclusive ? Follow::kNo : Follow::kYes;
  for (unsigned i = 0; i < kMaxRestarts; ++i) {
    Walk walk(task, create ? Walk::Until::kCreate : Walk::Until::kObject, follow, attr);
    TRY(walk.run(at));
    if (walk.found()) {
      if (exclusive) return Error(EEXIST);
      if ((flags & O_DIRECTORY) != 0 && !is_dir(walk.attr().mode)) return Error(ENOTDIR);
      if (is_link(walk.attr().mode) && (flags & O_PATH) == 0)
        return Error(create && others_link_in_sticky_dir(task, walk.dir(), walk.attr()) ? EACCES : ELOOP);
      if (create && is_dir(walk.attr().mode)) return Error(EISDIR);
      return false;
    }
    Result<void> made = create_file(task, walk.dir().ino, walk.last(), mode, attr);
    if (made.error() == EEXIST && !exclusive) continue; // somebody was faster: open what he made
    if (made.error() == ESTALE) return Error(ENOENT);
    TRY(made);
    return true;
  }
  return Error(kErrnoCorrupt);
}

} // namespace pmemfile::vfs
