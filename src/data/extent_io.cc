#include "data/extent_io.h"

#include <sys/stat.h>

#include "shm/opens.h"

namespace pmemfile::data {

Result<void> load_locked(journal::Tx& tx, Ino ino, inode::Attr& attr) {
  journal::View view(tx.store()); // nothing is staged yet
  TRY(inode::load_into(view, ino, attr));
  if (attr.size > layout::kMaxFileBytes) return Error(kErrnoCorrupt);
  if (!S_ISREG(attr.mode) && !S_ISLNK(attr.mode)) return Error(EINVAL);
  if ((attr.flags & layout::kFlagTruncating) != 0) return Error(kMustFinish);
  return {};
}

bool may_move_blocks(journal::Tx& tx, Ino ino, Blocks how) {
  how == Blocks::kMove ? tx.announce_moving(ino) : tx.announce_replacing(ino);
  if (PMEMFILE_LIKELY(!shm::is_mapped(tx.store().segment, ino))) return true;
  tx.withdraw_announcement();
  return false;
}

Result<bool> zero_written(journal::Store& store, Ino ino, u64 from, u64 to) {
  journal::View view(store);
  MapCursor cursor(view, ino);
  bool any = false;
  WalkBound bound(store);
  while (from < to) {
    TRY(bound.step());
    u64 first = from / layout::kBlockBytes, inside = from % layout::kBlockBytes;
    MapSpan span = TRY(cursor.span(first, div_up(to, layout::kBlockBytes) - first));
    u64 bytes = min_of(span.count * layout::kBlockBytes - inside, to - from);
    if (span.written()) {
      if (!store.data_blocks(span.block(), span.count)) return Error(kErrnoCorrupt);
      pmem::zero(store.medium, journal::block_offset(span.block()) + inside, bytes);
      any = true;
    }
    from += bytes;
  }
  return any;
}

Result<bool> zero_gap(journal::Store& store, const inode::Attr& attr, u64 to) {
  // Without the flag only the last block can hold anything beyond the end.
  if ((attr.flags & layout::kFlagBeyondEof) == 0) to = min_of(to, align_up(attr.size, layout::kBlockBytes));
  if (attr.size >= to) return false;
  return zero_written(store, attr.ino, attr.size, to);
}

} // namespace pmemfile::data
