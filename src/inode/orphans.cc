// Lists of inodes that must not outlive their last user.
#include <sys/stat.h>

#include "alloc/alloc.h"
#include "inode/inode.h"
#include "shm/process.h"

namespace pmemfile::inode {
namespace {

using journal::Store;
using journal::Tx;
using journal::View;

PoolOff head_offset(const Store& store, u32 list) {
  return journal::block_offset(BlockNo{store.geometry.orphan_block}) + u64{list} * layout::kLineBytes;
}
PoolOff next_offset(Ino ino) { return layout::inode_offset(ino) + layout::kInodeNextOrphan; }

// An entry that nobody needs in the list: dead, or linked and whole again.
bool may_leave(u32 nlink, u16 flags) {
  if ((flags & layout::kFlagDead) != 0) return true;
  return nlink != 0 && (flags & layout::kFlagTruncating) == 0;
}

bool stands_in(u32 list, Ino ino, u16 flags) {
  return (flags & layout::kFlagOrphan) != 0 && layout::orphan_list(ino, flags) == list;
}

// Locks the list that the inode is to go into, and returns the flags that name it: one that nobody is at, if there is any, for a holder may
// be stopped.
Result<u16> lock_some_list(Tx& tx, Ino ino) {
  const shm::Segment& v = tx.store().segment;
  for (unsigned beyond = 0; beyond < layout::kOrphanLists; ++beyond) {
    u16 flags = static_cast<u16>(layout::kFlagOrphan | beyond << layout::kFlagListShift);
    if (tx.try_lock(shm::orphan_key(v, layout::orphan_list(ino, flags)))) return flags;
  }
  TRY(tx.lock(shm::orphan_key(v, layout::orphan_list(ino, layout::kFlagOrphan))));
  return layout::kFlagOrphan;
}

// Stages that `attr`, the first of its list, leaves it; a dead inode is freed.
Result<void> pop(Tx& tx, Attr attr) {
  Store& store = tx.store();
  tx.store(head_offset(store, layout::orphan_list(attr.ino, attr.flags)), tx.load(next_offset(attr.ino)));
  if (attr.nlink == 0) return alloc::release_inode(tx, attr.ino);
  attr.flags &= static_cast<u16>(~(layout::kFlagOrphan | layout::kFlagList | layout::kFlagUnnamed));
  store_mode(tx, attr);
  tx.store(next_offset(attr.ino), 0);
  return {};
}

// Takes all entries off the front of a list that may leave it, one commit each. EAGAIN: somebody who is stopped is in the way.
Result<void> trim(Store& store, u32 list) {
  for (;;) {
    bool popped = TRY(journal::run_tx(store, journal::Opcode::kOrphan, [&](Tx& tx) -> Result<bool> {
      // The head is read before it is locked, so that locks are taken in order, and again afterwards.
      Ino head{tx.load(head_offset(store, list))};
      if (head == Ino{0} || !store.inode_in_range(head)) return false;
      // Who makes it one that may leave looks for the head after that, and finds it.
      Links seen;
      if (read_links(store, head, seen).ok() && !may_leave(seen.nlink, seen.flags)) return false;
      if (!tx.lock_soon(shm::inode_key(store.segment, head)) || !tx.lock_soon(shm::orphan_key(store.segment, list))) return Error(EAGAIN);
      if (tx.load(head_offset(store, list)) != raw(head)) return true;
      Attr attr = TRY(load(tx.view(), head));
      if (!stands_in(list, head, attr.flags)) return Error(kErrnoCorrupt); // it would be popped off another list, again and again
      if (!may_leave(attr.nlink, attr.flags)) return false;
      tx.hurry(Tx::Hurry::kOrFail);
      TRY(pop(tx, attr));
      TRY(tx.commit());
      return true;
    }));
    if (!popped) return {};
  }
}

} // namespace

Result<void> add_orphan(Tx& tx, Attr& attr) {
  if ((attr.flags & layout::kFlagOrphan) != 0) return {};
  Store& store = tx.store();
  u16 flags = TRY(lock_some_list(tx, attr.ino));
  PoolOff head = head_offset(store, layout::orphan_list(attr.ino, flags));
  tx.store(next_offset(attr.ino), tx.load(head));
  tx.store(head, raw(attr.ino));
  attr.flags = static_cast<u16>((attr.flags & ~layout::kFlagList) | flags);
  return {};
}

Result<Attr> create_holder(Tx& tx, Ino near) {
  Ino ino = TRY(create_spare(tx, {.mode = S_IFREG, .nlink = 0}, near));
  if (ino == Ino{0}) return Attr{};
  Attr holder = TRY(load(tx.view(), ino));
  TRY(add_orphan(tx, holder));
  return holder;
}

Result<void> release_or_leave(Tx& tx, BlockNo meta, Ino near) {
  if (PMEMFILE_LIKELY(!tx.leaves())) {
    tx.hurry(Tx::Hurry::kOrLeave);
    Result<void> released = alloc::release_meta(tx, meta);
    tx.hurry(Tx::Hurry::kNo);
    return released;
  }
  if (alloc::try_lock_to_release(tx, meta)) return alloc::release_meta(tx, meta);
  // A holder needs its lines, one of the bitmap and the head of a list, and their stripes; the caller goes on with the record.
  constexpr u32 kLines = 14, kLocks = 6;
  if (tx.lines_left() < kLines || tx.locks_left() < kLocks) return Error(journal::kRecordFull);
  Attr holder = TRY(create_holder(tx, near));
  if (holder.ino == Ino{0}) return alloc::release_meta(tx, meta);
  holder.flags |= layout::kFlagHolder;
  store_mode(tx, holder);
  store_xattr_block(tx, holder.ino, meta);
  return {};
}

Result<bool> leave_data(Tx& tx, const alloc::Extent* extents, u32 count, Ino near) {
  alloc::MetaBlock node = TRY(alloc::take_spare_meta(tx));
  if (node.block == BlockNo{0}) return false;
  Attr holder = TRY(create_holder(tx, near));
  if (holder.ino == Ino{0}) {
    alloc::untake_meta(tx, node);
    return false;
  }
  u64 pointers[layout::kPtrsPerNode] = {}, blocks = 0;
  for (u32 i = 0; i < count; ++i)
    for (u64 block = 0; block < extents[i].count; ++block) pointers[blocks++] = raw(extents[i].start) + block;
  journal::write_fresh_block(tx, node.block, node.was_meta, [&](unsigned line, u64(&words)[layout::kLineWords]) {
    for (unsigned i = 0; i < layout::kLineWords; ++i) words[i] = pointers[line * layout::kLineWords + i];
  });
  tx.store(layout::inode_offset(holder.ino) + layout::inode_map_word(layout::kDirectCount), raw(node.block));
  holder.size = (layout::kDirectCount + blocks) * layout::kBlockBytes;
  holder.blocks = blocks + 1;
  store_mode(tx, holder);
  store_size(tx, holder);
  return true;
}

Result<void> release_orphan(Store& store, Ino ino, u64 generation) {
  bool listed = false;
  u32 list = 0;
  TRY(journal::run_tx(store, journal::Opcode::kOrphan, [&](Tx& tx) -> Result<void> {
    if (!tx.lock_soon(shm::inode_key(store.segment, ino))) return Error(EAGAIN);
    auto loaded = load(tx.view(), ino);
    if (loaded.error() == ESTALE) return {}; // freed by whoever repaired a predecessor
    Attr attr = TRY(loaded);
    if ((attr.flags & layout::kFlagOrphan) == 0 || attr.generation != generation) return {};
    listed = true;
    list = layout::orphan_list(ino, attr.flags);
    if (attr.nlink == 0 && (attr.flags & layout::kFlagDead) == 0) {
      attr.flags |= layout::kFlagDead;
      store_mode(tx, attr);
    }
    return tx.commit();
  }));
  return listed ? leave_list(store, list) : Result<void>();
}

Result<void> leave_list(Store& store, u32 list) {
  auto trimmed = trim(store, list);
  if (trimmed.error() != EAGAIN) return trimmed;
  forget_orphan(store);
  return {};
}

void forget_orphan(Store& store) {
  fetch_add(shm::process_table(store.segment).forgotten, u64{1});
  store_release(store.has_left, 1u);
}

bool trim_orphans(Store& store, bool* empty) {
  bool all = true;
  *empty = true;
  for (u32 list = 0; list < layout::kOrphanLists; ++list) {
    if (View(store).load(head_offset(store, list)) == 0) continue;
    if (trim(store, list).error() == EAGAIN) all = false;
    if (View(store).load(head_offset(store, list)) != 0) *empty = false;
  }
  return all;
}

bool look_at_orphans(Store& store, OrphanLook look, void* context) {
  View view(store);
  bool all = true;
  for (u32 list = 0; list < layout::kOrphanLists; ++list) {
    u64 bound = store.geometry.block_count * layout::kInodesPerBlock;
    for (Ino ino{view.load(head_offset(store, list))}; ino != Ino{0};) {
      if (bound-- == 0 || !store.inode_in_range(ino)) return false;
      Ino next{view.load(next_offset(ino))};
      Links links;
      auto read = read_links(store, ino, links);
      // Was it still in a list when its successor was read, and in this one?
      bool gone = read.error() == ESTALE || (read.ok() && (links.flags & layout::kFlagOrphan) == 0);
      bool elsewhere = read.ok() && !gone && !stands_in(list, ino, links.flags);
      if (gone || elsewhere) all = false;
      else if (read.ok()) look(context, ino, links);
      if (elsewhere) break;
      ino = next;
    }
  }
  return all;
}

Result<void> empty_orphans(Store& store, OrphanVisitor visit, void* context) {
  u64 bound = store.geometry.block_count * layout::kInodesPerBlock;
  for (u32 list = 0; list < layout::kOrphanLists; ++list) {
    for (;;) {
      // Always the first: what is behind it may go with it.
      TRY(trim(store, list));
      Ino head{View(store).load(head_offset(store, list))};
      if (head == Ino{0}) break;
      Links links;
      if (bound-- == 0 || !store.inode_in_range(head) || !read_links(store, head, links).ok() || !stands_in(list, head, links.flags)) return Error(kErrnoCorrupt);
      u64 generation = generation_in_place(store, head);
      TRY(visit(context, head));
      TRY(release_orphan(store, head, generation));
      if (View(store).load(head_offset(store, list)) == raw(head)) return Error(kErrnoCorrupt);
    }
  }
  return {};
}

} // namespace pmemfile::inode
