// Writes one stub; x86_64/entry.md shows it and says why it looks so.
//
// Owner: the planner; single-threaded; never in a hook.
#pragma once

#include <span>

#include "intercept/planner/code.h"
#include "intercept/planner/plan.h"

namespace pmemfile::intercept::planner {

class StubWriter {
 public:
  StubWriter(Plan& plan, const ElfFile& elf);

  u64 start() const { return start_; }
  // The instructions moved from before the site, and the call of the entry.
  void begin(std::span<const Instruction> moved, u64 after_site);
  // Then one of: the site still holds its instruction ...
  void end_with_original(u64 site);
  // ... or it is overwritten, with the instructions behind it up to `resume`.
  void end_with_copy(std::span<const Instruction> moved, u64 resume);

 private:
  u64 here() const;
  void put(std::initializer_list<u8> bytes);
  void put32(i32 value);
  // A distance from behind itself to an address in the object.
  void put_distance_to(u64 address);
  void put_short_distance_to(u64 address);
  void jump_to(u64 address);
  void move(const Instruction& instruction);

  Plan& plan_;
  const ElfFile& elf_;
  u64 start_;
  u64 after_site_ = 0;
  std::size_t pass_at_ = 0, done_at_ = 0; // where the distances of jrcxz and loop stand
  u64 again_ = 0;
};

} // namespace pmemfile::intercept::planner
