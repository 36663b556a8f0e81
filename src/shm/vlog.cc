#include "shm/vlog.h"

namespace pmemfile::shm {

void repair_vlog(Segment& v, u32 slot) {
  Slot& s = v.slots[slot];
  u32 count = min_of<u32>(load_acquire(s.vlog_count), kMaxVlogWords);
  bool committed = load_acquire(s.vlog_committed) == 1;
  for (u32 i = 0; i < count; ++i) {
    u64 offset = s.vlog[i].offset;
    if (offset % 8 != 0 || offset > v.bytes - 8) continue;
    u64& word = *v.at<u64>(offset);
    if (committed)
      store_release(word, s.vlog[i].value);
    else if (load_acquire(word) == claim_mark(slot))
      store_release(word, u64{0});
  }
  store_release(s.vlog_committed, 0u);
  store_release(s.vlog_count, 0u);
}

} // namespace pmemfile::shm
