// Superblocks and state: two copies of each.

#include "fsck/context.h"
#include "layout/state.h"

namespace pmemfile::fsck {
namespace {

struct Copies {
  layout::Geometry geometry[2];
  layout::GeometryFault fault[2];
  layout::State state[2];
  bool state_valid[2];
};

Copies load(const Image& image) {
  Copies copies;
  for (unsigned i = 0; i < layout::kSuperblockCopies; ++i) {
    u64 offset = i * layout::kBlockBytes;
    image.copy(offset, &copies.geometry[i], sizeof copies.geometry[i]);
    image.copy(offset + layout::kStateOffset, &copies.state[i], sizeof copies.state[i]);
    copies.fault[i] = layout::check_geometry(copies.geometry[i], image.size());
    copies.state_valid[i] = layout::state_valid(copies.state[i]);
  }
  return copies;
}

void compare(Context& context, const Copies& copies) {
  auto* first = reinterpret_cast<const u8*>(&copies.geometry[0]);
  auto* second = reinterpret_cast<const u8*>(&copies.geometry[1]);
  for (u64 i = 0; i < sizeof(layout::Geometry); ++i)
    if (first[i] != second[i]) {
      context.find(Code::F0103, layout::kBlockBytes + i, 0, second[i], first[i]);
      return;
    }
}

bool choose_state(Context& context, const Copies& copies) {
  if (!copies.state_valid[0] && !copies.state_valid[1]) {
    context.find(Code::F0105, layout::kStateOffset, 0, 0, 0);
    return false;
  }
  layout::State never_written{};
  for (unsigned i = 0; i < 2; ++i)
    if (!copies.state_valid[i] && std::memcmp(&copies.state[i], &never_written, sizeof never_written) != 0)
      context.find(Code::F0104, i * layout::kBlockBytes + layout::kStateOffset, 0, copies.state[i].crc,
                   layout::struct_crc(copies.state[i]));
  unsigned chosen = copies.state_valid[0] ? 0 : 1;
  if (copies.state_valid[0] && copies.state_valid[1] && copies.state[1].sequence > copies.state[0].sequence)
    chosen = 1;
  context.report.state = copies.state[chosen];
  if ((copies.state[chosen].flags & layout::kStateDirty) != 0)
    context.find(Code::F0106, chosen * layout::kBlockBytes + layout::kStateOffset, 0, copies.state[chosen].flags, 0);
  return true;
}

} // namespace

bool check_superblocks(Context& context) {
  Copies copies = load(context.image);
  using layout::GeometryFault;
  bool good[2] = {copies.fault[0] == GeometryFault::kNone, copies.fault[1] == GeometryFault::kNone};
  if (!good[0] && !good[1]) {
    context.find(Code::F0102, 0, 0, static_cast<u64>(copies.fault[0]), 0);
    return false;
  }
  for (unsigned i = 0; i < 2; ++i)
    if (!good[i]) context.find(Code::F0101, i * layout::kBlockBytes, 0, static_cast<u64>(copies.fault[i]), 0);
  if (good[0] && good[1]) compare(context, copies);
  context.report.geometry = copies.geometry[good[0] ? 0 : 1];
  return choose_state(context, copies);
}

} // namespace pmemfile::fsck
