// Inodes: attributes, their times in V, orphans.
//
// Rules: hook-safe. Functions with a Tx want the inode's stripe held; functions with a View are for readers.
#pragma once

#include "alloc/alloc.h"
#include "journal/tx.h"

namespace pmemfile::inode {

// A copy of what is in lines 0 and 1, decoded, checked for range.
struct Attr {
  Ino ino{};
  u32 mode = 0; // type and permissions
  u16 flags = 0; // layout::kFlag*
  u32 nlink = 0, uid = 0, gid = 0;
  u64 size = 0, blocks = 0;
  i64 mtime_ns = 0, ctime_ns = 0, atime_ns = 0, btime_ns = 0;
  // What of them V had, 0: nothing. Set by load.
  i64 volatile_mtime_ns = 0, volatile_ctime_ns = 0, volatile_atime_ns = 0;
  u64 generation = 0;
  Ino parent{};       // directories
  u64 parent_key = 0; // directories
  u64 rdev = 0;
  BlockNo xattr_block{};
};

// ESTALE: the inode is free (a name that was just unlinked); EUCLEAN: not an inode. Times of V are merged in.
Result<Attr> load(const journal::View& view, Ino ino);
// The same with its own validation.
Result<Attr> read(journal::Store& store, Ino ino);
// The same into the caller's room, for the paths that every call takes; it holds nothing of use after an error.
Result<void> load_into(const journal::View& view, Ino ino, Attr& attr);
Result<void> read_into(journal::Store& store, Ino ino, Attr& attr);

// Only who it is and whether it has names, for open and close.
struct Links {
  u32 nlink = 0;
  u32 flags = 0; // layout::kFlag*
  u64 generation = 0;
};
Result<void> read_links(journal::Store& store, Ino ino, Links& links);

struct NewInode {
  u32 mode = 0, uid = 0, gid = 0, nlink = 1;
  u64 rdev = 0;
  Ino parent{};       // of a directory
  u64 parent_key = 0; // of a directory
};
// Takes and fills a new inode; its stripe is held afterwards. All times are now.
Result<Ino> create(journal::Tx& tx, const NewInode& what, Ino near);
// The same for what waits to be freed, noted in the slot (Tx::note_left): see alloc::take_spare_inode.
Result<Ino> create_spare(journal::Tx& tx, const NewInode& what, Ino near);

void store_mode(journal::Tx& tx, const Attr& attr); // mode, flags, nlink
void store_owner(journal::Tx& tx, const Attr& attr);
void store_size(journal::Tx& tx, const Attr& attr); // size, blocks
void store_times(journal::Tx& tx, const Attr& attr); // mtime, ctime, atime; drops those in V
void store_parent(journal::Tx& tx, Ino ino, Ino parent, u64 key);
void store_xattr_block(journal::Tx& tx, Ino ino, BlockNo block);

// Coarse real-time clock, nanoseconds (vDSO).
i64 now_ns();


// Times that need not cost a record (foundations A9): kept in V until the next record of the inode, fsync or
// last close. 0 leaves a time alone. `generation`: of the inode that is meant, taken before the clock is read, so that a caller who is
// stopped on the way does not give its time to the next inode of that number.
void touch(journal::Store& store, Ino ino, u64 generation, i64 mtime_ns, i64 ctime_ns, i64 atime_ns);
// Of an inode that is kept alive by its user.
inline u64 generation_in_place(const journal::Store& store, Ino ino) {
  return load_relaxed(store.medium.word(layout::inode_offset(ino) + layout::kInodeIdentity)) >> 16;
}
// Writes times that are only in V to the pool. kNo: not if the inode's stripe is held by somebody, who may be stopped; they stay in V, EAGAIN.
enum class Wait : u8 { kNo, kYes };
Result<void> flush_times(journal::Store& store, Ino ino, Wait wait = Wait::kYes);
// All of them, for the last one that leaves the pool: V may go. What somebody stopped is at stays.
bool has_times_left(const journal::Store& store);
void write_out_times(journal::Store& store);
// Takes over what is only in an earlier V of the pool, whose last users died. Times older than the pool's are left there, and what belongs to
// nobody any more.
void adopt_times(journal::Store& store, const shm::Segment& old);

// Puts an inode into the list of those that must not outlive their last user (link count 0, or a truncation that
// takes several steps). Sets the flag in `attr`; the caller stores the mode. Idempotent.
Result<void> add_orphan(journal::Tx& tx, Attr& attr);
// Blocks that an operation replaces, and whose line of the bitmap somebody stopped holds, go to an inode without a name, which whoever looks for
// orphans frees with them. What has replaced them is the caller's business, and forget_orphan after the commit if tx.leaves().
// The inode, in its list; the caller stores its mode, and what it is to hold. Its number is 0 if there is none to be had.
Result<Attr> create_holder(journal::Tx& tx, Ino near);
// One metadata block: freed at once, or, once the operation has been restarted because that would have to wait, left. kRecordFull: several of
// them are too much for one record.
Result<void> release_or_leave(journal::Tx& tx, BlockNo meta, Ino near);
// Blocks of data, in at most kPtrsPerNode blocks altogether. False: there is no inode or block for that.
Result<bool> leave_data(journal::Tx& tx, const alloc::Extent* extents, u32 count, Ino near);
// For recovery, by the only process of the pool: every entry leaves its list, after the visitor has brought the inode to rest (freed its
// contents, or finished its truncation).
using OrphanVisitor = Result<void> (*)(void* context, Ino ino);
Result<void> empty_orphans(journal::Store& store, OrphanVisitor visit, void* context);
// The inode is needed in its list no longer: what an inode without links owned has been freed, or a truncation is
// finished. It leaves the list, and an inode without links is freed, once it stands in front; entries that wait
// behind it go along. Nothing happens to an inode of another generation. Idempotent. Behind somebody who is stopped it stays
// (forget_orphan). EAGAIN: one who is stopped is in the way of the inode itself.
Result<void> release_orphan(journal::Store& store, Ino ino, u64 generation);
// What is no orphan any more (a truncation that is finished) leaves its list; nothing is marked: it may have lost its last link meanwhile.
Result<void> leave_list(journal::Store& store, u32 list);
// Something may stand in a list that nobody has noted: one of this process's next opens looks there, and whoever buries one of the dead
// (shm::ProcessTable::forgotten).
void forget_orphan(journal::Store& store);
// Takes what waits in front of its list off every list: somebody may have died who was about to. False: somebody stopped is in the way.
// `empty`: nothing is left in any.
bool trim_orphans(journal::Store& store, bool* empty);
// Shows every entry, without a lock, so others come and go meanwhile. False: there may be more.
using OrphanLook = void (*)(void* context, Ino ino, const Links& links);
bool look_at_orphans(journal::Store& store, OrphanLook look, void* context);

} // namespace pmemfile::inode
