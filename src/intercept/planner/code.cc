#include "intercept/planner/code.h"

#include <algorithm>
#include <cstring>

namespace pmemfile::intercept::planner {

namespace {

bool is_rip_relative(const ZydisDecodedInstruction& in) {
  return (in.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0 && in.raw.modrm.mod == 0 && in.raw.modrm.rm == 5 &&
         in.raw.disp.size == 32;
}

bool changes_flow(const ZydisDecodedInstruction& in) {
  switch (in.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSTEM:
      return true;
    default:
      return in.raw.imm[0].is_relative != 0;
  }
}

bool is_endbr(const ZydisDecodedInstruction& in) { return in.mnemonic == ZYDIS_MNEMONIC_ENDBR64; }

} // namespace

bool follows_signal_return_number(const ElfFile& elf, u64 address) {
  static constexpr u8 kMovRax[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0}, kMovEax[] = {0xb8, 15, 0, 0, 0};
  const u8* rax = elf.bytes(address - sizeof kMovRax, sizeof kMovRax);
  const u8* eax = elf.bytes(address - sizeof kMovEax, sizeof kMovEax);
  return (rax != nullptr && std::memcmp(rax, kMovRax, sizeof kMovRax) == 0) ||
         (eax != nullptr && std::memcmp(eax, kMovEax, sizeof kMovEax) == 0);
}

Code::Code(const ElfFile& elf) : elf_(elf), targets_(elf.text_end() - elf.text_begin()), certain_(targets_.size()) {
  ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  for (u64 address : elf.known_addresses()) add_target(address);
  u64 at = elf.text_begin();
  for (std::size_t i = 0; i < elf.functions().size(); ++i) {
    Function f = elf.functions()[i];
    if (f.begin > at) sweep_gap(at, f.begin);
    Decoded decoded = decode(f.begin, f.end);
    // clone(3) ends its entry before the system call, because the child cannot
    // unwind, and begins another after it: the instructions run on.
    if (i + 1 < elf.functions().size() && runs_on(decoded, f.end, elf.functions()[i + 1].begin)) {
      f.end = elf.functions()[i + 1].begin;
      decoded = decode(f.begin, f.end);
    }
    add_tables(decoded);
    if (decoded.has_syscall) calling_.push_back({f, std::move(decoded.instructions), decoded.complete});
    at = f.end;
  }
  if (at < elf.text_end()) sweep_gap(at, elf.text_end());
}

bool Code::decode_one(u64 address, u64 room, ZydisDecodedInstruction& out) const {
  while (room != 0 && elf_.bytes(address, room) == nullptr) --room;
  return room != 0 && ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder_, static_cast<ZydisDecoderContext*>(nullptr),
                                                                 elf_.bytes(address, room), room, &out));
}

Code::Decoded Code::decode(u64 begin, u64 end) {
  Decoded out;
  u64 at = begin;
  while (at < end) {
    ZydisDecodedInstruction in;
    if (!decode_one(at, std::min<u64>(end - at, ZYDIS_MAX_INSTRUCTION_LENGTH), in)) return out;
    note_references(in, at, out);
    at += in.length;
  }
  out.complete = at == end;
  return out;
}

// Does what is before the gap surely go on in it, and the gap decode up to the
// next function?
bool Code::runs_on(const Decoded& before, u64 gap, u64 next) {
  constexpr u64 kMaxGap = 256;
  if (gap >= next || next - gap > kMaxGap || !before.complete || before.instructions.empty() ||
      !before.instructions.back().falls_through)
    return false;
  return decode(gap, next).complete;
}

void Code::note_references(const ZydisDecodedInstruction& in, u64 address, Decoded& out) {
  const u64 next = address + in.length;
  Instruction i{address, in.length, in.mnemonic == ZYDIS_MNEMONIC_SYSCALL, in.mnemonic == ZYDIS_MNEMONIC_NOP,
                in.meta.category != ZYDIS_CATEGORY_CALL && in.meta.category != ZYDIS_CATEGORY_RET &&
                    in.meta.category != ZYDIS_CATEGORY_UNCOND_BR && in.mnemonic != ZYDIS_MNEMONIC_UD2 &&
                    in.mnemonic != ZYDIS_MNEMONIC_HLT,
                false, 0, 0};
  if (i.is_syscall) out.has_syscall = true;
  if (is_endbr(in)) add_target(address);
  if (in.raw.imm[0].is_relative != 0) add_target(next + static_cast<u64>(in.raw.imm[0].value.s));
  // Where a call returns to is entered from outside.
  if (in.meta.category == ZYDIS_CATEGORY_CALL) add_target(next);
  if (in.meta.category == ZYDIS_CATEGORY_UNCOND_BR && in.raw.imm[0].is_relative == 0) out.has_indirect_jump = true;
  if (is_rip_relative(in)) {
    i.rip_at = in.raw.disp.offset;
    i.rip_target = next + static_cast<u64>(in.raw.disp.value);
    if (elf_.in_text(i.rip_target)) {
      add_target(i.rip_target);
      out.code_references.push_back(i.rip_target);
    } else {
      out.data_references.push_back(i.rip_target);
    }
  }
  // Immediate code addresses occur where the addresses are fixed.
  if (elf_.fixed() && in.raw.imm[0].size >= 32 && in.raw.imm[0].is_relative == 0) add_target(in.raw.imm[0].value.u);
  i.movable = !changes_flow(in) && !is_endbr(in) && !(in.raw.imm[0].is_relative != 0);
  out.instructions.push_back(i);
}

// Between functions lies padding, or code that has no bounds: what it may
// jump to is collected from every offset, as its instructions are not known.
void Code::sweep_gap(u64 begin, u64 end) {
  bool only_padding = true;
  for (u64 at = begin; at < end;) {
    ZydisDecodedInstruction in;
    if (!decode_one(at, std::min<u64>(end - at, ZYDIS_MAX_INSTRUCTION_LENGTH), in)) {
      only_padding = false;
      ++at;
      continue;
    }
    if (in.mnemonic != ZYDIS_MNEMONIC_NOP && in.mnemonic != ZYDIS_MNEMONIC_INT3) only_padding = false;
    if (in.mnemonic == ZYDIS_MNEMONIC_SYSCALL) {
      ++unbounded_sites_;
      if (follows_signal_return_number(elf_, at)) ++unbounded_signal_returns_;
    }
    at += in.length;
  }
  if (only_padding) {
    padding_.push_back({begin, end});
    return;
  }
  for (u64 at = begin; at < end; ++at) {
    ZydisDecodedInstruction in;
    if (!decode_one(at, std::min<u64>(end - at, ZYDIS_MAX_INSTRUCTION_LENGTH), in)) continue;
    if (in.raw.imm[0].is_relative != 0) add_target(at + in.length + static_cast<u64>(in.raw.imm[0].value.s));
    if (in.meta.category == ZYDIS_CATEGORY_CALL) add_target(at + in.length);
  }
}

// Tables of switch statements hold distances from the table itself, tables of
// computed gotos distances from a label. Which of a function's references is
// a table is not known, so each is read as one; a target too many does no harm.
void Code::add_tables(const Decoded& function) {
  for (u64 table : function.data_references) {
    add_table(table, table);
    if (!function.has_indirect_jump) continue;
    for (u64 label : function.code_references) add_table(table, label);
  }
}

void Code::add_table(u64 table, u64 base) {
  constexpr u64 kMaxEntries = 1 << 16;
  for (u64 i = 0; i < kMaxEntries; ++i) {
    const auto distance = elf_.read<i32>(table + i * 4);
    if (!distance) return;
    const u64 target = base + static_cast<u64>(static_cast<i64>(*distance));
    if (!elf_.in_text(target)) return;
    add_feared_target(target);
  }
}

} // namespace pmemfile::intercept::planner
