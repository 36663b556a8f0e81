// The code of an object: instructions around each system call, and every
// address that a jump may go to, known or feared.
//
// Owner: the planner; single-threaded; never in a hook.
#pragma once

#include <Zydis/Zydis.h>

#include <vector>

#include "intercept/planner/elf_file.h"

namespace pmemfile::intercept::planner {

struct Instruction {
  u64 address;
  u8 size;
  bool is_syscall;
  bool is_nop;
  bool falls_through; // surely into the next one
  // May be executed elsewhere, with the distance at rip_at adjusted.
  bool movable;
  u8 rip_at;      // index of a 32-bit distance to an address; 0: none
  u64 rip_target; // that address
  u64 end() const { return address + size; }
};

// `mov $15, %rax` or `%eax` just before the address: the return from a signal
// handler, which unwinders and debuggers know by these bytes.
bool follows_signal_return_number(const ElfFile& elf, u64 address);

// A function that contains a system call.
struct CallingFunction {
  Function bounds;
  std::vector<Instruction> instructions;
  bool decoded; // to the last byte
};

class Code {
 public:
  explicit Code(const ElfFile& elf);

  const std::vector<CallingFunction>& calling() const { return calling_; }
  // System calls outside all functions with bounds.
  u32 unbounded_sites() const { return unbounded_sites_; }
  // Those among them that return from a signal handler.
  u32 unbounded_signal_returns() const { return unbounded_signal_returns_; }
  bool is_target(u64 address) const { return elf_.in_text(address) && targets_[address - elf_.text_begin()]; }
  // Without those that are only feared because a table of distances might be.
  bool is_certain_target(u64 address) const { return elf_.in_text(address) && certain_[address - elf_.text_begin()]; }
  // Padding between functions: no-operations that nothing reaches.
  const std::vector<Function>& padding() const { return padding_; }

 private:
  struct Decoded {
    std::vector<Instruction> instructions;
    std::vector<u64> code_references, data_references;
    bool has_syscall = false, has_indirect_jump = false, complete = false;
  };
  bool decode_one(u64 address, u64 room, ZydisDecodedInstruction& out) const;
  Decoded decode(u64 begin, u64 end);
  bool runs_on(const Decoded& before, u64 gap, u64 next);
  void note_references(const ZydisDecodedInstruction& in, u64 address, Decoded& out);
  void sweep_gap(u64 begin, u64 end);
  void add_tables(const Decoded& function);
  void add_table(u64 table, u64 base);
  void add_target(u64 address) {
    if (!elf_.in_text(address)) return;
    targets_[address - elf_.text_begin()] = true;
    certain_[address - elf_.text_begin()] = true;
  }
  void add_feared_target(u64 address) {
    if (elf_.in_text(address)) targets_[address - elf_.text_begin()] = true;
  }

  const ElfFile& elf_;
  ZydisDecoder decoder_;
  std::vector<bool> targets_, certain_;
  std::vector<CallingFunction> calling_;
  std::vector<Function> padding_;
  u32 unbounded_sites_ = 0, unbounded_signal_returns_ = 0;
};

} // namespace pmemfile::intercept::planner
