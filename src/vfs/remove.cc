// Removing names: unlink, rmdir, and the end of inodes without names.
#include "alloc/alloc.h"
#include "shm/opens.h"
#include "vfs/change.h"

namespace pmemfile::vfs {
namespace {

// Lines that release_contents and release_inode may need at most beside what the operation has staged; below that
// the inode is freed in steps of its own.
constexpr unsigned kLinesForInode = 12;

Result<void> stage_release_xattrs(Tx& tx, const inode::Attr& attr) {
  if (raw(attr.xattr_block) == 0) return {};
  if (!tx.store().data_block(attr.xattr_block)) return Error(kErrnoCorrupt);
  return alloc::release_meta(tx, attr.xattr_block);
}

// Stages that the inode and everything it owns is free. kRecordFull before anything is staged if that is too much.
Result<void> stage_release_all(Tx& tx, const inode::Attr& attr) {
  if (tx.lines_left() < kLinesForInode) return Error(journal::kRecordFull);
  if (owns_blocks(attr)) TRY(data::release_contents(tx, attr));
  if (is_dir(attr.mode)) TRY(dir::release_trie(tx, attr.ino));
  TRY(stage_release_xattrs(tx, attr));
  return alloc::release_inode(tx, attr.ino);
}

// What the walk found and the locks confirmed: the entry and the inode that it names.
struct Victim {
  dir::Slot slot;
  inode::Attr attr;
};

Result<void> lock_victim(Tx& tx, Task& task, const Node& dir, std::string_view name, bool directory, Victim& victim) {
  Store& store = tx.store();
  dir::Entry entry = TRY(dir::lookup(store, dir.ino, name));
  if (!store.inode_in_range(entry.ino)) return Error(kErrnoCorrupt);
  TRY(tx.lock(shm::inode_key(store.segment, entry.ino)));
  TRY(dir::lock_entry(tx, dir.ino, name, victim.slot, dir.identity));
  if (!victim.slot.found) return Error(ENOENT);
  if (victim.slot.entry.ino != entry.ino) return Error(kChanged);
  Result<void> loaded = inode::load_into(tx.view(), entry.ino, victim.attr);
  if (!loaded.ok()) return Error(loaded.error() == ESTALE ? kErrnoCorrupt : loaded.error());
  if (sticky_forbids(task, dir, victim.attr)) return Error(EPERM);
  if (is_dir(victim.attr.mode) != directory) return Error(directory ? ENOTDIR : EISDIR);
  if (victim.attr.nlink == 0) return Error(kErrnoCorrupt);
  return {};
}

Result<Ended> stage_unlink(Tx& tx, Task& task, const Node& dir, std::string_view name) {
  Victim victim;
  TRY(lock_victim(tx, task, dir, name, false, victim));
  Ended ended;
  TRY(dir::remove(tx, victim.slot));
  inode::Attr& attr = victim.attr;
  --attr.nlink;
  attr.ctime_ns = inode::now_ns();
  note_gone(task, attr);
  if (attr.nlink == 0) {
    TRY(stage_last_unlink(tx, attr, ended));
  } else {
    inode::store_mode(tx, attr);
    inode::store_times(tx, attr);
  }
  TRY(tx.commit());
  settle_ended(tx, ended);
  return ended;
}

Result<Ended> stage_rmdir(Tx& tx, Task& task, const Node& dir, std::string_view name) {
  Store& store = tx.store();
  TRY(tx.lock(shm::inode_key(store.segment, dir.ino)));
  Victim victim;
  TRY(lock_victim(tx, task, dir, name, true, victim));
  inode::Attr& attr = victim.attr;
  if (attr.ino == dir.ino) return Error(kErrnoCorrupt);
  TRY(dir::lock_empty(tx, attr.ino));
  Ended ended;
  inode::Attr parent = TRY(inode::load(tx.view(), dir.ino));
  if (parent.nlink < 3 || attr.nlink != 2) return Error(kErrnoCorrupt);
  --parent.nlink;
  parent.mtime_ns = parent.ctime_ns = inode::now_ns();
  inode::store_mode(tx, parent);
  inode::store_times(tx, parent);
  TRY(dir::remove(tx, victim.slot));
  attr.nlink = 0;
  attr.ctime_ns = inode::now_ns();
  TRY(stage_last_unlink(tx, attr, ended));
  TRY(tx.commit());
  settle_ended(tx, ended);
  return ended;
}

int refusal(Store& store, Ino dir, std::string_view name, int otherwise) {
  Result<dir::Entry> entry = dir::lookup(store, dir, name);
  return entry.ok() ? otherwise : entry.error() == ESTALE ? ENOENT : entry.error();
}

} // namespace

Result<void> stage_last_unlink(Tx& tx, inode::Attr& attr, Ended& ended) {
  Store& store = tx.store();
  ended = Ended{};
  ended.ino = attr.ino;
  tx.announce_ending(attr.ino);
  bool used = shm::in_use(store.segment, attr.ino);
  // What is in a list already leaves it from its front only.
  if (!used && (attr.flags & layout::kFlagOrphan) == 0 && PMEMFILE_LIKELY(!tx.leaves())) {
    tx.hurry(Tx::Hurry::kOrLeave);
    Result<void> released = stage_release_all(tx, attr);
    tx.hurry(Tx::Hurry::kNo);
    if (released.ok()) return {};
    if (released.error() != journal::kRecordFull) return released;
  }
  ended.claimed = !used;
  ended.word = pending_word(attr.ino, attr.generation);
  tx.note_left(attr.ino);
  if (used)
    tx.withdraw_announcement();
  else
    attr.flags |= layout::kFlagFreeing;
  TRY(inode::add_orphan(tx, attr));
  inode::store_mode(tx, attr);
  inode::store_times(tx, attr);
  if (!is_dir(attr.mode)) return {};
  // Who works in it may still go up: its key serves no more, and tells now which use of the parent's inode was meant.
  inode::store_parent(tx, attr.ino, attr.parent, TRY(inode::load(tx.view(), attr.parent)).generation);
  return {};
}

void settle_ended(Tx& tx, Ended& ended) {
  if (PMEMFILE_LIKELY(ended.word == 0)) return;
  const shm::Segment& v = tx.store().segment;
  // Who goes from here on sees that there is no link any more.
  store_full(v.slots[tx.slot()].left_ino, raw(ended.ino));
  if (ended.claimed || !shm::in_use(v, ended.ino)) ended.left.note(v, ended.word);
}

namespace {

// Others may be at it as well, if somebody died over it: each step looks whether it is that inode still. EAGAIN: somebody who is stopped
// is in the way.
Result<void> free_claimed_orphan(Store& store, Ino ino, u64 word) {
  Result<inode::Attr> loaded = inode::read(store, ino);
  if (loaded.error() == ESTALE) return {};
  inode::Attr attr = TRY(std::move(loaded));
  if (attr.nlink != 0 || (attr.flags & layout::kFlagFreeing) == 0 || pending_word(ino, attr.generation) != word) return {};
  if (owns_blocks(attr)) TRY(data::free_contents(store, ino, attr.generation));
  if (is_dir(attr.mode)) TRY(dir::free_trie(store, ino));
  if (raw(attr.xattr_block) != 0) {
    TRY(journal::run_tx(store, Opcode::kFree, [&](Tx& tx) -> Result<void> {
      tx.hurry(Tx::Hurry::kOrFail);
      TRY(tx.lock(shm::inode_key(store.segment, ino)));
      inode::Attr now = TRY(inode::load(tx.view(), ino));
      if (now.generation != attr.generation) return {};
      TRY(stage_release_xattrs(tx, now));
      inode::store_xattr_block(tx, ino, BlockNo{0});
      return tx.commit();
    }));
  }
  return inode::release_orphan(store, ino, attr.generation);
}

} // namespace

void free_ended(Pool& pool, Ended& ended) {
  // The name is gone, whatever happens now; what cannot be freed waits in the orphan list.
  if (PMEMFILE_UNLIKELY(ended.claimed && ended.left.noted())) {
    bool left = free_claimed_orphan(pool.store(), ended.ino, ended.word).error() == EAGAIN;
    left ? ended.left.leave(pool) : ended.left.forget();
  }
  ended.left.free(pool);
}

Result<void> free_orphan(Store& store, Ino ino, bool recovery) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  u64 word = 0;
  bool mine = TRY(journal::run_tx(store, Opcode::kOrphan, [&](Tx& tx) -> Result<bool> {
    if (!tx.lock_soon(shm::inode_key(store.segment, ino))) return Error(EAGAIN);
    Result<inode::Attr> loaded = inode::load(tx.view(), ino);
    if (loaded.error() == ESTALE) return false;
    inode::Attr attr = TRY(std::move(loaded));
    word = pending_word(ino, attr.generation);
    tx.announce_ending(ino);
    if (attr.nlink != 0) return false;
    // Dead: who freed it was killed before it left its list. A use of it now is an open that will fail.
    if ((attr.flags & (layout::kFlagDead | layout::kFlagFreeing)) != 0) return recovery;
    if (shm::in_use(store.segment, ino)) return false;
    attr.flags |= layout::kFlagFreeing;
    inode::store_mode(tx, attr);
    TRY(tx.commit());
    return true;
  }));
  if (!mine) return {};
  return free_claimed_orphan(store, ino, word);
}

Result<void> unlink_at(Task& task, At at) {
  NamePlace place = TRY(find_place(task, at));
  Store& store = task.pool->store();
  if (place.kind != Walk::Last::kName) return Error(EISDIR);
  TRY(check_writable(store));
  const Node& dir = place.dir;
  std::string_view name = place.name;
  TRY(check_length(dir, name));
  if (PMEMFILE_UNLIKELY(place.must_be_dir)) {
    dir::Entry entry = TRY(dir::lookup(store, dir.ino, name));
    return Error(entry.type == type_of_mode(kTypeDir) ? EISDIR : ENOTDIR);
  }
  if (PMEMFILE_UNLIKELY(!may_change_names(task, dir))) return Error(refusal(store, dir.ino, name, EACCES));
  Ended ended = TRY(run_change(store, Opcode::kUnlink, nothing_to_prepare,
                               [&](Tx& tx) -> Result<Ended> { return stage_unlink(tx, task, dir, name); }));
  i64 now = inode::now_ns();
  touch_names(store, dir, now);
  free_ended(*task.pool, ended);
  return {};
}

Result<void> rmdir_at(Task& task, At at) {
  NamePlace place = TRY(find_place(task, at));
  Store& store = task.pool->store();
  switch (place.kind) {
    case Walk::Last::kName: break;
    case Walk::Last::kDot: return Error(EINVAL);
    case Walk::Last::kDotDot: return Error(ENOTEMPTY);
    case Walk::Last::kRoot: return Error(EBUSY);
  }
  TRY(check_writable(store));
  const Node& dir = place.dir;
  std::string_view name = place.name;
  TRY(check_length(dir, name));
  if (PMEMFILE_UNLIKELY(!may_change_names(task, dir))) return Error(refusal(store, dir.ino, name, EACCES));
  // A directory that once was large has more leaves than one record takes: they go first.
  auto shrink = [&](int error) -> Result<void> {
    if (error != journal::kRecordFull) return nothing_to_prepare(error);
    return dir::shrink(store, TRY(dir::lookup(store, dir.ino, name)).ino);
  };
  Ended ended = TRY(run_change(store, Opcode::kRmdir, shrink,
                               [&](Tx& tx) -> Result<Ended> { return stage_rmdir(tx, task, dir, name); }));
  free_ended(*task.pool, ended);
  return {};
}

} // namespace pmemfile::vfs
