#include "intercept/planner/plan.h"

#include <cstdio>
#include <cstring>
#include <map>

#include "intercept/planner/stub.h"

namespace pmemfile::intercept::planner {

namespace {

constexpr u64 kJumpBytes = 5;      // e9 rel32
constexpr u64 kShortJumpBytes = 2; // eb rel8
constexpr unsigned kMaxMovedInstructions = 5;

enum Left : unsigned { kNoBounds, kNoRoom, kUndecodable, kSignalReturn };
const char* const kLeftNames[] = {"no-bounds", "no-room", "undecodable", "signal-return"};

class Planner {
 public:
  Planner(const ElfFile& elf, const Code& code) : elf_(elf), code_(code) {
    PlanHeader& h = plan_.header;
    h.text_address = align_down(elf.text_begin(), kPageBytes);
    h.text_file_offset = align_down(elf.text_file_offset(), kPageBytes);
    h.text_bytes = align_up(elf.text_end(), kPageBytes) - h.text_address;
    h.stub_distance = elf.fixed() ? kStubDistanceFixed : kStubDistance;
    for (const Function& gap : code.padding()) padding_.emplace(gap.begin, gap.end);
  }

  Plan run() {
    for (const CallingFunction& f : code_.calling())
      for (std::size_t i = 0; i < f.instructions.size(); ++i)
        if (f.instructions[i].is_syscall) plan_site(f, i);
    plan_.header.left[kNoBounds] += code_.unbounded_sites() - code_.unbounded_signal_returns();
    plan_.header.left[kSignalReturn] += code_.unbounded_signal_returns();
    plan_.header.sites_found += code_.unbounded_sites();
    finish();
    return std::move(plan_);
  }

 private:
  void plan_site(const CallingFunction& f, std::size_t site) {
    ++plan_.header.sites_found;
    if (!f.decoded) return leave(f, site, kUndecodable);
    if (follows_signal_return_number(elf_, f.instructions[site].address)) return leave(f, site, kSignalReturn);
    if (patch_before(f, site) || patch_over(f, site) || patch_short(f, site)) return;
    leave(f, site, kNoRoom);
  }

  // Index of the first instruction that can move, looking back from `site`
  // until `bytes` are gathered; `site` itself if there are not so many.
  std::size_t gather_back(const CallingFunction& f, std::size_t site, u64 bytes) const {
    u64 gathered = 0;
    std::size_t i = site;
    while (gathered < bytes) {
      if (i == 0 || site - i == kMaxMovedInstructions) break;
      if (code_.is_target(f.instructions[i].address)) break; // something may jump behind i - 1
      if (!f.instructions[i - 1].movable) break;
      --i;
      gathered += f.instructions[i].size;
    }
    return i;
  }

  // The best kind: the instruction stays, the jump covers what is before it.
  bool patch_before(const CallingFunction& f, std::size_t site) {
    const std::size_t first = gather_back(f, site, kJumpBytes);
    const u64 begin = f.instructions[first].address, site_address = f.instructions[site].address;
    if (site_address - begin < kJumpBytes || certain_target_within(begin + 1, site_address + 2)) return false;
    StubWriter stub(plan_, elf_);
    stub.begin(span(f, first, site), site_address + 2);
    stub.end_with_original(site_address);
    jump_to_stub(begin, site_address, stub.start());
    ++plan_.header.before;
    note(f, site, "before", begin, site_address);
    return true;
  }

  // The jump covers the instruction too, and maybe some behind it.
  bool patch_over(const CallingFunction& f, std::size_t site) {
    const std::size_t first = gather_back(f, site, kJumpBytes - 2);
    const u64 begin = f.instructions[first].address;
    std::size_t last = site + 1;
    while (last < f.instructions.size() && f.instructions[last - 1].end() - begin < kJumpBytes) {
      const Instruction& next = f.instructions[last];
      if (!next.movable || code_.is_target(next.address)) return false;
      ++last;
    }
    const u64 end = f.instructions[last - 1].end();
    if (end - begin < kJumpBytes || certain_target_within(begin + 1, end)) return false;
    StubWriter stub(plan_, elf_);
    stub.begin(span(f, first, site), f.instructions[site].end());
    stub.end_with_copy(span(f, site + 1, last), end);
    jump_to_stub(begin, end, stub.start());
    ++plan_.header.over;
    note(f, site, "over", begin, end);
    return true;
  }

  // Two bytes reach padding nearby, which holds the long jump.
  bool patch_short(const CallingFunction& f, std::size_t site) {
    const Instruction& call = f.instructions[site];
    const u64 low = call.end() - 128, high = call.end() + 127;
    for (auto gap = padding_.upper_bound(low); gap != padding_.end() && gap->first <= high; ++gap) {
      const u64 pad = gap->first, gap_end = gap->second;
      if (gap_end - pad < kJumpBytes || any_target(pad, gap_end)) continue;
      padding_.erase(gap);
      if (gap_end - pad >= 2 * kJumpBytes) padding_.emplace(pad + kJumpBytes, gap_end);
      StubWriter stub(plan_, elf_);
      stub.begin({}, call.end());
      stub.end_with_copy({}, call.end());
      jump_to_stub(pad, pad + kJumpBytes, stub.start());
      const u8 jump[] = {0xeb, static_cast<u8>(pad - call.end())};
      add_patch(call.address, jump, kShortJumpBytes, kNoRel32);
      ++plan_.header.short_jump;
      note(f, site, "short", call.address, call.end());
      return true;
    }
    return false;
  }

  // A jump into the middle of an instruction says that it is none. Feared
  // targets are checked at the beginnings of instructions only.
  bool certain_target_within(u64 begin, u64 end) const {
    for (u64 at = begin; at < end; ++at)
      if (code_.is_certain_target(at)) return true;
    return false;
  }

  bool any_target(u64 begin, u64 end) const {
    for (u64 at = begin; at < end; ++at)
      if (code_.is_target(at)) return true;
    return false;
  }

  static std::span<const Instruction> span(const CallingFunction& f, std::size_t first, std::size_t last) {
    return {f.instructions.data() + first, last - first};
  }

  void jump_to_stub(u64 begin, u64 end, u64 stub_address) {
    // What the jump leaves over is never executed: no-operations read best.
    u8 bytes[kMaxPatchBytes];
    const u64 size = min_of<u64>(end - begin, kMaxPatchBytes);
    std::memset(bytes, 0x90, sizeof bytes);
    bytes[0] = 0xe9;
    const i32 distance = static_cast<i32>(static_cast<i64>(stub_address) - static_cast<i64>(begin + kJumpBytes));
    std::memcpy(bytes + 1, &distance, 4);
    add_patch(begin, bytes, size, 1);
  }

  void add_patch(u64 address, const u8* bytes, u64 size, u8 rel32_at) {
    TextPatch patch{};
    patch.text_offset = static_cast<u32>(address - plan_.header.text_address);
    patch.size = static_cast<u8>(size);
    patch.rel32_at = rel32_at;
    std::memcpy(patch.bytes, bytes, size);
    std::memcpy(patch.original, elf_.bytes(address, size), size);
    plan_.patches.push_back(patch);
  }

  void leave(const CallingFunction& f, std::size_t site, Left reason) {
    ++plan_.header.left[reason];
    note(f, site, kLeftNames[reason], 0, 0);
  }

  void note(const CallingFunction& f, std::size_t site, const char* what, u64 begin, u64 end) {
    char line[128];
    std::snprintf(line, sizeof line, "%#lx %s %#lx-%#lx", f.instructions[site].address, what, begin, end);
    plan_.lines.emplace_back(line);
  }

  void finish() {
    PlanHeader& h = plan_.header;
    h.magic = kPlanMagic;
    h.version = kPlanVersion;
    std::memcpy(h.key, elf_.key(), sizeof h.key);
    h.patch_count = static_cast<u32>(plan_.patches.size());
    const u64 content = plan_.stubs.size();
    h.stub_bytes = align_up(content, kPageBytes);
    plan_.stubs.resize(h.stub_bytes, 0xcc);
    // The entry pointer lies in the page behind; its distance was not known.
    for (u32 at : plan_.entry_references) {
      const i32 distance = static_cast<i32>(h.stub_bytes - (u64{at} + 4));
      std::memcpy(plan_.stubs.data() + at, &distance, 4);
    }
    h.fixup_count = static_cast<u32>(plan_.fixups.size());
  }

  const ElfFile& elf_;
  const Code& code_;
  Plan plan_;
  std::map<u64, u64> padding_;
};

} // namespace

Plan make_plan(const ElfFile& elf, const Code& code) { return Planner(elf, code).run(); }

Plan empty_plan(const ElfFile& elf, bool refused) {
  Plan plan;
  plan.header.magic = kPlanMagic;
  plan.header.version = kPlanVersion;
  plan.header.refused = refused ? 1 : 0;
  std::memcpy(plan.header.key, elf.key(), sizeof plan.header.key);
  return plan;
}

} // namespace pmemfile::intercept::planner
