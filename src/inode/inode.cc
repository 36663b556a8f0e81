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

// create() writes both lines whole.
static_assert(layout::kInodeOwnerWord == 8 && layout::kInodeSize == 16 && layout::kInodeBlocks == 24 && layout::kInodeMtime == 32 &&
              layout::kInodeCtime == 40 && layout::kInodeAtime == 48 && layout::kInodeBtime == 72 && layout::kInodeParent == 80 &&
              layout::kInodeParentKey == 88 && layout::kInodeXattrBlock == 96 && layout::kInodeNextOrphan == 104 &&
              layout::kInodeRdev == 112);

PoolOff field(Ino ino, u64 offset) { return layout::inode_offset(ino) + offset; }

} // namespace

// 0 or an errno; `attr` is whole only with 0.
static int decode(const View& view, Ino ino, Attr& attr) {
  if (!view.store().inode_in_range(ino)) return kErrnoCorrupt;
  layout::Line room[2];
  const u64* line0 = view.words(field(ino, 0), room[0]);
  const u64* line1 = view.words(field(ino, layout::kLineBytes), room[1]);
  auto word = [&](u64 offset) {
    return load_relaxed(offset < layout::kLineBytes ? line0[offset / 8] : line1[(offset - layout::kLineBytes) / 8]);
  };
  attr.ino = ino;
  u64 mode = word(layout::kInodeModeWord);
  if (mode == 0) return ESTALE;
  attr.mode = mode & 0xffff;
  attr.flags = static_cast<u16>(mode >> 16);
  attr.nlink = static_cast<u32>(mode >> 32);
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
    return kErrnoCorrupt;
  merge_volatile_times(view.store(), attr);
  return 0;
}

Result<void> load_into(const View& view, Ino ino, Attr& attr) {
  int error = decode(view, ino, attr);
  if (PMEMFILE_UNLIKELY(error != 0)) return Error(error);
  return {};
}

Result<Attr> load(const View& view, Ino ino) {
  Attr attr;
  TRY(load_into(view, ino, attr));
  return attr;
}

Result<void> read_into(Store& store, Ino ino, Attr& attr) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  return journal::read_consistent(store, shm::inode_key(store.segment, ino),
                                  [&](const View& view) { return load_into(view, ino, attr); });
}

Result<Attr> read(Store& store, Ino ino) {
  Attr attr;
  TRY(read_into(store, ino, attr));
  return attr;
}

Result<void> read_links(Store& store, Ino ino, Links& links) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  return journal::read_consistent(store, shm::inode_key(store.segment, ino), [&](const View& view) -> Result<void> {
    u64 mode = view.load(field(ino, layout::kInodeModeWord)), identity = view.load(field(ino, layout::kInodeIdentity));
    if (mode == 0) return Error(ESTALE);
    if ((identity & 0xffff) != layout::kInodeMagic) return Error(kErrnoCorrupt);
    links.nlink = static_cast<u32>(mode >> 32);
    links.flags = static_cast<u16>(mode >> 16);
    links.generation = identity >> 16;
    return {};
  });
}

i64 now_ns() { return coarse_realtime_ns(); }

namespace {
void fill(Tx& tx, Ino ino, const NewInode& what) {
  i64 now = now_ns();
  Attr attr;
  attr.ino = ino;
  attr.mode = what.mode;
  attr.nlink = what.nlink;
  attr.uid = what.uid;
  attr.gid = what.gid;
  attr.mtime_ns = attr.ctime_ns = attr.atime_ns = now;
  u64 generation = layout::trailer_version(tx.load(field(ino, 8 * layout::kLineWords))) + 1;
  // What V has of an earlier inode of this number belongs to another generation.
  u64 time = static_cast<u64>(now);
  tx.store_line(field(ino, 0), {mode_word(attr), attr.uid | u64{attr.gid} << 32, attr.size, attr.blocks, time, time, time});
  tx.store_line(field(ino, layout::kLineBytes), {layout::kInodeMagic | generation << 16, time, raw(what.parent), what.parent_key,
                                                 raw(attr.xattr_block), 0, what.rdev});
}
} // namespace

Result<Ino> create(Tx& tx, const NewInode& what, Ino near) {
  Ino ino = TRY(alloc::take_inode(tx, near));
  fill(tx, ino, what);
  return ino;
}

Result<Ino> create_spare(Tx& tx, const NewInode& what, Ino near) {
  Ino ino = TRY(alloc::take_spare_inode(tx, near));
  if (ino == Ino{0}) return ino;
  fill(tx, ino, what);
  tx.note_left(ino); // should this thread end before it has told anybody
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
