#include "shm/vlog.h"

namespace pmemfile::shm {

void repair_vlog(Segment& v, u32 slot) {
  Slot& s = v.slots[slot];
  u32 count = min_of<u32>(load_acquire(s.vlog_count), kMaxVlogWords);
  bool committed = load_acquire(s.vlog_committed) == 1;
  auto each = [&](auto&& body) {
    for (u32 i = 0; i < count; ++i) {
      u64 offset = s.vlog[i].offset;
      if (offset % 8 == 0 && offset <= v.bytes - 8) body(*v.at<u64>(offset), s.vlog[i].value);
    }
  };
  if (committed) each([](u64& word, u64 value) { store_release(word, value); });
  store_release(s.vlog_committed, 0u);
  // What was claimed in vain, or is to be free. Not before the list is void: others may take it from here on.
  each([&](u64& word, u64) {
    if (is_claimed_by(load_acquire(word), slot)) store_release(word, u64{0});
  });
  store_release(s.vlog_count, 0u);
}

Ino begun_use(const Segment& v, u32 slot) {
  const Slot& s = v.slots[slot];
  if (load_acquire(s.vlog_committed) == 1) return Ino{};
  u32 count = min_of<u32>(load_acquire(s.vlog_count), kMaxVlogWords);
  for (u32 i = 0; i < count; ++i) {
    u64 offset = s.vlog[i].offset;
    if (offset % 8 != 0 || offset > v.bytes - 8) continue;
    u64 word = load_acquire(*v.at<u64>(offset));
    if ((word & kUseClaim) != 0 && is_claimed_by(word, slot)) return Ino{word & ((u64{1} << kUseClaimSlotShift) - 1)};
  }
  return Ino{};
}

} // namespace pmemfile::shm
