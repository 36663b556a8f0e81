#include "data/map.h"

namespace pmemfile::data {

Result<MapSpan> MapCursor::find_slow(u64 first) {
  if (first >= layout::kMaxFileBlocks) return Error(EFBIG);
  TreePath path = tree_path(first);
  PoolOff word = root_offset(ino_, path.levels);
  for (unsigned depth = 0;; ++depth) {
    u64 pointer = view_.load(word);
    if (!node_pointer_ok(view_.store(), pointer)) return Error(kErrnoCorrupt);
    if (pointer == 0) {
      // Nothing below: the hole goes on to the end of the missing subtree.
      u64 inside = 0;
      for (unsigned below = depth; below < path.levels; ++below)
        inside = inside * layout::kPtrsPerNode + path.index[below];
      return MapSpan{0, kSpanOfLevel[path.levels - depth] - inside};
    }
    word = node_word_offset(BlockNo{pointer}, path.index[depth]);
    if (depth + 1 == path.levels) {
      leaf_ = BlockNo{pointer};
      leaf_first_ = first - path.index[depth];
      return check(view_.load(word));
    }
  }
}

Result<MapSpan> MapCursor::span(u64 first, u64 limit) {
  MapSpan span = TRY(find(first));
  // A bound: a damaged map may consist of the same empty node over and over. Callers come back for the rest.
  for (unsigned looks = 0; span.count < limit && looks < kMaxLooks; ++looks) {
    MapSpan next = TRY(find(first + span.count));
    if (span.hole() ? !next.hole() : next.pointer != span.pointer + span.count) break;
    span.count += next.count;
  }
  if (span.count > limit) span.count = limit;
  return span;
}

} // namespace pmemfile::data
