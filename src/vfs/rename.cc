// rename(2), renameat2(2): one operation, one record, in all its forms.
//
// Locks, ascending: inodes of both parents if their counts of subdirectories
// change, of directories that move (their parent pointer), and of what is replaced; then the leaves of both names. If a directory changes its
// parent, topology last of all: for the commit alone, so that who is stopped before it delays nobody.
#include <linux/fs.h>

#include "alloc/alloc.h"
#include "vfs/change.h"

namespace pmemfile::vfs {
namespace {

// No path can be deeper than the pool has inodes.
u64 max_depth(const Store& store) { return store.geometry.block_count * layout::kInodesPerBlock; }

// Is `ancestor` the directory `dir` or above it? Counts if no directory gets another parent from before it on until the commit (Relinking).
Result<bool> is_above(Store& store, Ino ancestor, Ino dir) {
  for (u64 i = 0; i < max_depth(store); ++i) {
    if (dir == ancestor) return true;
    if (!store.inode_in_range(dir)) return Error(kErrnoCorrupt);
    auto parent_of = [&](const journal::View& view) -> Result<u64> {
      return view.load(layout::inode_offset(dir) + layout::kInodeParent);
    };
    Ino parent{TRY(journal::read_consistent(store, shm::inode_key(store.segment, dir), parent_of))};
    if (parent == Ino{0} || parent == dir) return false;
    dir = parent;
  }
  return Error(kErrnoCorrupt);
}

// Gives a directory another parent, if none has been given one since it was made. Else what is_above() has said may be so no more.
class Relinking {
 public:
  explicit Relinking(Store& store) : relinks_(store.segment.header->relinks), seen_(load_acquire(relinks_)) {}

  // Has none got another parent since?
  bool holds() const {
    acquire_fence();
    return load_relaxed(relinks_) == seen_;
  }

  Result<void> commit(Tx& tx) {
    TRY(tx.lock(shm::topology_key(tx.store().segment)));
    u64 now = load_acquire(relinks_);
    if ((now & 1) != 0) store_release(relinks_, ++now); // somebody died below
    if (now != seen_) return Error(kChanged);
    store_release(relinks_, now + 1);
    Result<void> committed = tx.commit();
    store_release(relinks_, now + 2);
    return committed;
  }

 private:
  u64& relinks_;
  u64 seen_;
};

struct Rename {
  Task& task;
  NamePlace from, to;
  unsigned flags;

  bool exchange() const { return (flags & RENAME_EXCHANGE) != 0; }
  bool other_parent() const { return from.dir.ino != to.dir.ino; }
};

struct Outcome {
  bool touch_from = false, touch_to = false; // parents whose times are not in the record
  Ended ended; // what was replaced
  Ino moved{};
};

struct Found {
  dir::Entry from, to;
  bool replaces = false; // `to` exists
  bool from_dir() const { return from.type == type_of_mode(kTypeDir); }
  bool to_dir() const { return replaces && to.type == type_of_mode(kTypeDir); }
};

Result<Found> look_up(const Rename& op) {
  Store& store = op.task.pool->store();
  Found found;
  TRY(check_length(op.from.dir, op.from.name));
  found.from = TRY(dir::lookup(store, op.from.dir.ino, op.from.name));
  TRY(check_length(op.to.dir, op.to.name));
  Result<dir::Entry> to = dir::lookup(store, op.to.dir.ino, op.to.name);
  found.replaces = to.ok();
  if (!to.ok() && to.error() != ENOENT) return Error(to.error());
  if (to.ok()) found.to = to.value();
  if (!store.inode_in_range(found.from.ino) || (to.ok() && !store.inode_in_range(found.to.ino))) return Error(kErrnoCorrupt);
  return found;
}

// The checks of do_renameat2() in Linux, in its order.
Result<void> check_shape(const Rename& op, const Found& found, const Relinking& relinking) {
  Store& store = op.task.pool->store();
  if ((op.flags & RENAME_NOREPLACE) != 0 && found.replaces) return Error(EEXIST);
  if (op.exchange()) {
    if (!found.replaces) return Error(ENOENT);
    if (!found.to_dir() && op.to.must_be_dir) return Error(ENOTDIR);
  }
  if (!found.from_dir() && (op.from.must_be_dir || (!op.exchange() && op.to.must_be_dir))) return Error(ENOTDIR);
  if (!op.other_parent()) return {};
  // What is refused was so at one moment, too, and of the directories that were named, not of who has their numbers now.
  auto is_gone = [&](const Node& dir) { return !same_identity(store, dir.ino, dir.identity); };
  auto refuse = [&](int error) {
    if (is_gone(op.from.dir) || is_gone(op.to.dir)) error = ENOENT;
    return Error(relinking.holds() ? error : kChanged);
  };
  if (found.from_dir() && TRY(is_above(store, found.from.ino, op.to.dir.ino))) return refuse(EINVAL);
  if (found.to_dir() && TRY(is_above(store, found.to.ino, op.from.dir.ino))) return refuse(op.exchange() ? EINVAL : ENOTEMPTY);
  return {};
}

// May this entry leave its directory?
Result<void> check_leaving(const Rename& op, const NamePlace& side, Ino ino) {
  if (!may_change_names(op.task, side.dir)) return Error(EACCES);
  inode::Attr attr = TRY(inode::load(journal::View(op.task.pool->store()), ino));
  if (sticky_forbids(op.task, side.dir, attr)) return Error(EPERM);
  return {};
}

// May a directory's ".." be rewritten?
Result<void> check_rewriting(const Rename& op, const dir::Entry& entry) {
  if (entry.type != type_of_mode(kTypeDir)) return {};
  inode::Attr attr = TRY(inode::load(journal::View(op.task.pool->store()), entry.ino));
  if (!may_access(*op.task.credentials, attr, kWrite)) return Error(EACCES);
  return {};
}

Result<void> check_rights(const Rename& op, const Found& found) {
  TRY(check_leaving(op, op.from, found.from.ino));
  if (!found.replaces) {
    if (!may_change_names(op.task, op.to.dir)) return Error(EACCES);
  } else {
    TRY(check_leaving(op, op.to, found.to.ino));
    if (!op.exchange() && found.from_dir() != found.to_dir()) return Error(found.from_dir() ? ENOTDIR : EISDIR);
  }
  if (!op.other_parent()) return {};
  TRY(check_rewriting(op, found.from));
  return op.exchange() ? check_rewriting(op, found.to) : Result<void>();
}

Result<void> lock_inodes(Tx& tx, const Rename& op, const Found& found) {
  shm::Segment& v = tx.store().segment;
  bool dirs = found.from_dir() || found.to_dir();
  if (dirs && (op.other_parent() || found.replaces)) {
    TRY(tx.lock(shm::inode_key(v, op.from.dir.ino)));
    TRY(tx.lock(shm::inode_key(v, op.to.dir.ino)));
  }
  if (found.replaces) TRY(tx.lock(shm::inode_key(v, found.to.ino)));
  TRY(tx.lock(shm::inode_key(v, found.from.ino)));
  return {};
}

// An inode number may have been used again, for another type of file, between the look-up and the lock.
bool same_entry(const dir::Entry& a, const dir::Entry& b) { return a.ino == b.ino && a.type == b.type; }

// Both names' leaves; kChanged if one of them is not what it was.
struct Slots {
  dir::Slot from, to;
};
Result<Slots> lock_names(Tx& tx, const Rename& op, const Found& found) {
  Slots slots;
  TRY(dir::lock_entry(tx, op.from.dir.ino, op.from.name, slots.from, op.from.dir.identity));
  TRY(dir::lock_entry(tx, op.to.dir.ino, op.to.name, slots.to, op.to.dir.identity));
  if (!slots.from.found || !same_entry(slots.from.entry, found.from)) return Error(kChanged);
  if (slots.to.found != found.replaces || (found.replaces && !same_entry(slots.to.entry, found.to))) return Error(kChanged);
  return slots;
}

// Parents gain and lose subdirectories; what of them is in the record anyway gets its times there.
Result<void> stage_parent(Tx& tx, Ino dir, i64 change) {
  inode::Attr attr = TRY(inode::load(tx.view(), dir));
  if (attr.nlink == 0) return Error(ENOENT);
  if (change > 0 && attr.nlink == kMaxLinks) return Error(EMLINK);
  if (change < 0 && attr.nlink < 3) return Error(kErrnoCorrupt);
  attr.nlink = static_cast<u32>(attr.nlink + change);
  attr.mtime_ns = attr.ctime_ns = inode::now_ns();
  inode::store_mode(tx, attr);
  inode::store_times(tx, attr);
  return {};
}

Result<void> stage_parents(Tx& tx, const Rename& op, const Found& found, Outcome& outcome) {
  i64 from = 0, to = 0;
  if (op.other_parent()) {
    if (found.from_dir()) --from, ++to;
    if (op.exchange() && found.to_dir()) ++from, --to;
  }
  if (!op.exchange() && found.to_dir()) --to;
  outcome.touch_from = from == 0;
  outcome.touch_to = to == 0 && op.other_parent();
  if (!op.other_parent()) {
    from += to;
    outcome.touch_from = from == 0;
  }
  if (from != 0) TRY(stage_parent(tx, op.from.dir.ino, from));
  if (to != 0 && op.other_parent()) TRY(stage_parent(tx, op.to.dir.ino, to));
  return {};
}

Result<void> stage_moved(Tx& tx, const dir::Entry& entry, Ino parent, u64 key) {
  inode::Attr attr = TRY(inode::load(tx.view(), entry.ino));
  if (type_of_mode(attr.mode) != entry.type) return Error(kErrnoCorrupt);
  attr.ctime_ns = inode::now_ns();
  inode::store_times(tx, attr);
  if (is_dir(attr.mode)) inode::store_parent(tx, entry.ino, parent, key);
  return {};
}

Result<void> stage_replaced(Tx& tx, Task& task, const Found& found, Outcome& outcome) {
  inode::Attr attr = TRY(inode::load(tx.view(), found.to.ino));
  if (attr.nlink == 0 || type_of_mode(attr.mode) != found.to.type) return Error(kErrnoCorrupt);
  if (is_dir(attr.mode)) {
    TRY(dir::lock_empty(tx, attr.ino));
    attr.nlink = 0;
  } else {
    --attr.nlink;
  }
  attr.ctime_ns = inode::now_ns();
  note_gone(task, attr);
  if (attr.nlink == 0) return stage_last_unlink(tx, attr, outcome.ended);
  inode::store_mode(tx, attr);
  inode::store_times(tx, attr);
  return {};
}

Result<void> stage_names(Tx& tx, const Rename& op, const Found& found, Slots& slots) {
  if (op.exchange()) {
    TRY(dir::replace(tx, slots.from, found.to.ino, found.to.type));
    TRY(dir::replace(tx, slots.to, found.from.ino, found.from.type));
    TRY(stage_moved(tx, found.to, op.from.dir.ino, slots.from.entry.key));
    return stage_moved(tx, found.from, op.to.dir.ino, slots.to.entry.key);
  }
  u64 key = slots.to.entry.key;
  if (found.replaces)
    TRY(dir::replace(tx, slots.to, found.from.ino, found.from.type));
  else
    key = TRY(dir::insert(tx, slots.to, op.to.name, found.from.ino, found.from.type));
  TRY(dir::remove(tx, slots.from));
  return stage_moved(tx, found.from, op.to.dir.ino, key);
}

Result<Outcome> stage_rename(Tx& tx, const Rename& op) {
  op.task.gone = {}; // of an attempt before
  Store& store = tx.store();
  Found found = TRY(look_up(op));
  Relinking relinking(store);
  TRY(check_shape(op, found, relinking));
  Outcome outcome;
  outcome.moved = found.from.ino;
  if (found.replaces && found.from.ino == found.to.ino) return outcome; // two names of one file stay
  TRY(lock_inodes(tx, op, found));
  Slots slots = TRY(lock_names(tx, op, found));
  TRY(check_rights(op, found));
  if (found.replaces && !op.exchange()) {
    TRY(stage_replaced(tx, op.task, found, outcome));
  }
  TRY(stage_parents(tx, op, found, outcome));
  TRY(stage_names(tx, op, found, slots));
  if (found.from_dir() || found.to_dir()) forget_cached_paths(store);
  bool relinks = (found.from_dir() || found.to_dir()) && op.other_parent();
  TRY(relinks ? relinking.commit(tx) : tx.commit());
  settle_ended(tx, outcome.ended);
  return outcome;
}

// Between two attempts: room for the new name, or fewer leaves in an empty directory that is replaced.
Result<void> prepare(const Rename& op, int error) {
  Store& store = op.task.pool->store();
  if (error == dir::kNeedsRoom) return dir::make_room(store, op.to.dir.ino, op.to.name);
  if (error != journal::kRecordFull) return nothing_to_prepare(error);
  Found found = TRY(look_up(op));
  if (!found.to_dir()) return nothing_to_prepare(error);
  return dir::shrink(store, found.to.ino);
}

} // namespace

Result<void> rename_at(Task& task, At from, At to, unsigned flags) {
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0) return Error(EINVAL);
  if ((flags & RENAME_NOREPLACE) != 0 && (flags & RENAME_EXCHANGE) != 0) return Error(EINVAL);
  Store& store = task.pool->store();
  task.escaped_argument = 0;
  NamePlace from_side = TRY(find_place(task, from));
  task.escaped_argument = 1;
  NamePlace to_side = TRY(find_place(task, to));
  if (from_side.kind != Walk::Last::kName) return Error(EBUSY);
  if (to_side.kind != Walk::Last::kName) return Error((flags & RENAME_NOREPLACE) != 0 ? EEXIST : EBUSY);
  TRY(check_writable(store));
  Rename op{task, from_side, to_side, flags};
  Outcome outcome = TRY(run_change(store, Opcode::kRename, [&](int error) { return prepare(op, error); },
                                   [&](Tx& tx) -> Result<Outcome> { return stage_rename(tx, op); }));
  i64 now = inode::now_ns();
  if (outcome.touch_from) touch_names(store, from_side.dir, now);
  if (outcome.touch_to) touch_names(store, to_side.dir, now);
  free_ended(*op.task.pool, outcome.ended);
  return {};
}

} // namespace pmemfile::vfs
