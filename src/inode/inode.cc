// Attributes: reading them from the lines, staging them.
#include "inode/inode.h"

#include "alloc/alloc.h"
#include "base/vdso.h"
#include "inode/times.h"

namespace pmemfile::inode {
namespace {

using journal::Store;
using journal::Tx;
using journal::View;

constexpr u32 kTypeMask = 0170000;

bool known_type(u32 mode) {
  switch (mode & kTypeMask) {
    case 0010000: case 0020000: case 0040000: case 0060000: case 0100000: case 0120000: case 0140000: return true;
    default: return false;
  }
}

u64 mode_word(const Attr& attr) { return (attr.mode & 0xffff) | u64{attr.flags} << 16 | u64{attr.nlink} << 32; }

PoolOff field(Ino ino, u64 offset) { return layout::inode_offset(ino) + offset; }

} // namespace

Result<Attr> load(const View& view, Ino ino) {
  if (!view.store().inode_in_range(ino)) return Error(kErrnoCorrupt);
  auto word = [&](u64 offset) { return view.load(field(ino, offset)); };
  Attr attr;
  attr.ino = ino;
  u64 mode = word(layout::kInodeModeWord);
  attr.mode = mode & 0xffff;
  attr.flags = static_cast<u16>(mode >> 16);
  attr.nlink = static_cast<u32>(mode >> 32);
  if (mode == 0) return Error(ESTALE);
  u64 owner = word(layout::kInodeOwnerWord);
  attr.uid = static_cast<u32>(owner);
  attr.gid = static_cast<u32>(owner >> 32);
  attr.size = word(layout::kInodeSize);
  attr.blocks = word(layout::kInodeBlocks);
  attr.mtime_ns = static_cast<i64>(word(layout::kInodeMtime));
  attr.ctime_ns = static_cast<i64>(word(layout::kInodeCtime));
  attr.atime_ns = static_cast<i64>(word(layout::kInodeAtime));
  u64 identity = word(layout::kInodeIdentity);
  attr.generation = identity >> 16;
  attr.btime_ns = static_cast<i64>(word(layout::kInodeBtime));
  attr.parent = Ino{word(layout::kInodeParent)};
  attr.parent_key = word(layout::kInodeParentKey);
  attr.xattr_block = BlockNo{word(layout::kInodeXattrBlock)};
  attr.rdev = word(layout::kInodeRdev);
  if ((identity & 0xffff) != layout::kInodeMagic || !known_type(attr.mode) || attr.size > layout::kMaxFileBytes)
    return Error(kErrnoCorrupt);
  merge_volatile_times(view.store(), attr);
  return attr;
}

Result<Attr> read(Store& store, Ino ino) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  return journal::read_consistent(store, shm::inode_key(store.segment, ino),
                                  [&](const View& view) { return load(view, ino); });
}

i64 now_ns() { return coarse_realtime_ns(); }

Result<Ino> create(Tx& tx, const NewInode& what, Ino near) {
  Ino ino = TRY(alloc::take_inode(tx, near));
  i64 now = now_ns();
  Attr attr;
  attr.ino = ino;
  attr.mode = what.mode;
  attr.nlink = what.nlink;
  attr.uid = what.uid;
  attr.gid = what.gid;
  attr.mtime_ns = attr.ctime_ns = attr.atime_ns = now;
  u64 generation = layout::trailer_version(tx.load(field(ino, 8 * layout::kLineWords))) + 1;
  store_mode(tx, attr);
  tx.store(field(ino, layout::kInodeOwnerWord), attr.uid | u64{attr.gid} << 32);
  store_size(tx, attr);
  store_times(tx, attr);
  tx.store(field(ino, layout::kInodeIdentity), layout::kInodeMagic | generation << 16);
  tx.store(field(ino, layout::kInodeBtime), static_cast<u64>(now));
  store_parent(tx, ino, what.parent, what.parent_key);
  tx.store(field(ino, layout::kInodeRdev), what.rdev);
  return ino;
}

void store_mode(Tx& tx, const Attr& attr) { tx.store(field(attr.ino, layout::kInodeModeWord), mode_word(attr)); }

void store_owner(Tx& tx, const Attr& attr) {
  tx.store(field(attr.ino, layout::kInodeOwnerWord), attr.uid | u64{attr.gid} << 32);
}

void store_size(Tx& tx, const Attr& attr) {
  tx.store(field(attr.ino, layout::kInodeSize), attr.size);
  tx.store(field(attr.ino, layout::kInodeBlocks), attr.blocks);
}

void store_times(Tx& tx, const Attr& attr) {
  tx.store(field(attr.ino, layout::kInodeMtime), static_cast<u64>(attr.mtime_ns));
  tx.store(field(attr.ino, layout::kInodeCtime), static_cast<u64>(attr.ctime_ns));
  tx.store(field(attr.ino, layout::kInodeAtime), static_cast<u64>(attr.atime_ns));
  match_volatile_times(tx.store(), attr);
}

void store_parent(Tx& tx, Ino ino, Ino parent, u64 key) {
  tx.store(field(ino, layout::kInodeParent), raw(parent));
  tx.store(field(ino, layout::kInodeParentKey), key);
}

void store_xattr_block(Tx& tx, Ino ino, BlockNo block) {
  tx.store(field(ino, layout::kInodeXattrBlock), raw(block));
}

} // namespace pmemfile::inode
