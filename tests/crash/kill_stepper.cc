// Single steps, and which of them matter to others.
#include <Zydis/Zydis.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <unordered_map>

#include "crash/kill_world.h"

namespace pmemfile::kill_steps {
namespace {

struct Decoded {
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  bool calls_kernel = false, stores = false;
};

// The victim is a fork of this process, so its code can be read here.
const Decoded& decode(u64 address) {
  static std::unordered_map<u64, Decoded> known;
  auto [entry, fresh] = known.try_emplace(address);
  Decoded& decoded = entry->second;
  if (!fresh) return decoded;
  static ZydisDecoder decoder = [] {
    ZydisDecoder made;
    ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return made;
  }();
  auto status = ZydisDecoderDecodeFull(&decoder, reinterpret_cast<const void*>(address), 15, &decoded.instruction, decoded.operands);
  // What cannot be decoded counts as important.
  decoded.calls_kernel = !ZYAN_SUCCESS(status) || decoded.instruction.mnemonic == ZYDIS_MNEMONIC_SYSCALL;
  if (decoded.calls_kernel) return decoded;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) decoded.stores = true;
  }
  return decoded;
}

u64 register_value(const user_regs_struct& registers, ZydisRegister which) {
  switch (which) {
    case ZYDIS_REGISTER_RAX: return registers.rax;
    case ZYDIS_REGISTER_RBX: return registers.rbx;
    case ZYDIS_REGISTER_RCX: return registers.rcx;
    case ZYDIS_REGISTER_RDX: return registers.rdx;
    case ZYDIS_REGISTER_RSI: return registers.rsi;
    case ZYDIS_REGISTER_RDI: return registers.rdi;
    case ZYDIS_REGISTER_RBP: return registers.rbp;
    case ZYDIS_REGISTER_RSP: return registers.rsp;
    case ZYDIS_REGISTER_R8: return registers.r8;
    case ZYDIS_REGISTER_R9: return registers.r9;
    case ZYDIS_REGISTER_R10: return registers.r10;
    case ZYDIS_REGISTER_R11: return registers.r11;
    case ZYDIS_REGISTER_R12: return registers.r12;
    case ZYDIS_REGISTER_R13: return registers.r13;
    case ZYDIS_REGISTER_R14: return registers.r14;
    case ZYDIS_REGISTER_R15: return registers.r15;
    default: return 0;
  }
}

u64 address_of(const Decoded& decoded, const ZydisDecodedOperand& operand, const user_regs_struct& registers) {
  const auto& memory = operand.mem;
  u64 address = memory.disp.has_displacement ? static_cast<u64>(memory.disp.value) : 0;
  if (memory.base == ZYDIS_REGISTER_RIP) return address + registers.rip + decoded.instruction.length;
  address += register_value(registers, memory.base);
  if (memory.index != ZYDIS_REGISTER_NONE) address += register_value(registers, memory.index) * memory.scale;
  return address;
}

bool within(u64 address, u64 base, u64 bytes) { return address - base < bytes; }

bool matters(const Decoded& decoded, const user_regs_struct& registers, const Mapped& mapped, bool any_memory) {
  if (decoded.calls_kernel) return true;
  if (!decoded.stores) return false;
  constexpr u64 kStackBytes = 1 << 20;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0) continue;
    u64 address = address_of(decoded, operand, registers);
    if (any_memory) return !within(address, registers.rsp - kStackBytes / 2, kStackBytes);
    if (within(address, mapped.pool_base, mapped.pool_bytes) || within(address, mapped.segment_base, mapped.segment_bytes)) return true;
  }
  return false;
}

// After one more instruction.
Stepped one_step(pid_t victim) {
  int status = 0;
  if (ptrace(PTRACE_SINGLESTEP, victim, nullptr, nullptr) != 0) return Stepped::kCrashed;
  waitpid(victim, &status, __WALL);
  if (!WIFSTOPPED(status)) return Stepped::kCrashed;
  if (WSTOPSIG(status) == SIGTRAP) return Stepped::kInside;
  return WSTOPSIG(status) == SIGSTOP ? Stepped::kCompleted : Stepped::kCrashed;
}

// Libraries and the vDSO are left alone: of them only code of this program gets breakpoints.
constexpr u64 kHighest = u64{0x7000} << 32;

void stop_here() { syscall(SYS_kill, getpid(), SIGSTOP); }

} // namespace

void run_victim(Actor& actor, unsigned index, Step prepare, Step operate) {
  Control& control = *world().control;
  control.victim_error[index] = prepare(actor);
  if (control.victim_error[index] != 0) _exit(3);
  if (actor.pool != nullptr) {
    const journal::Store& store = actor.pool->store();
    control.mapped[index] = Mapped{reinterpret_cast<u64>(store.medium.base), store.medium.bytes,
                                   reinterpret_cast<u64>(store.segment.base), store.segment.bytes};
  }
  ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  stop_here();
  int error = operate(actor);
  control.victim_error[index] = error;
  stop_here();
  if (actor.pool != nullptr) actor.pool->detach();
  _exit(0);
}

bool wait_for_window(pid_t victim) {
  int status = 0;
  waitpid(victim, &status, __WALL);
  return WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
}

namespace {

// Runs until the instruction at `address` is to be executed for the n-th time.
Stepped run_to(pid_t victim, u64 address, u64 hits) {
  constexpr u64 kInt3 = 0xcc;
  errno = 0;
  u64 word = static_cast<u64>(ptrace(PTRACE_PEEKTEXT, victim, address, nullptr));
  if (errno != 0) return Stepped::kCrashed;
  u64 trapping = (word & ~u64{0xff}) | kInt3;
  for (u64 hit = 1;; ++hit) {
    ptrace(PTRACE_POKETEXT, victim, address, trapping);
    int status = 0;
    if (ptrace(PTRACE_CONT, victim, nullptr, nullptr) != 0) return Stepped::kCrashed;
    waitpid(victim, &status, __WALL);
    if (!WIFSTOPPED(status)) return Stepped::kCrashed;
    ptrace(PTRACE_POKETEXT, victim, address, word);
    if (WSTOPSIG(status) == SIGSTOP) return Stepped::kCompleted;
    if (WSTOPSIG(status) != SIGTRAP) return Stepped::kCrashed;
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, victim, nullptr, &registers);
    if (registers.rip != address + 1) return Stepped::kCrashed;
    registers.rip = address;
    ptrace(PTRACE_SETREGS, victim, nullptr, &registers);
    if (hit == hits) return Stepped::kInside;
    if (Stepped stepped = one_step(victim); stepped != Stepped::kInside) return stepped;
  }
}

} // namespace

Stepped go(pid_t victim, const Path& path) {
  if (path.steps == kWholeWindow) {
    int status = 0;
    ptrace(PTRACE_CONT, victim, nullptr, nullptr);
    waitpid(victim, &status, __WALL);
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP ? Stepped::kCompleted : Stepped::kCrashed;
  }
  Stepped stepped = path.breakpoint == 0 ? Stepped::kInside : run_to(victim, path.breakpoint, path.hits);
  for (u64 made = 0; made < path.steps && stepped == Stepped::kInside; ++made) stepped = one_step(victim);
  return stepped;
}

Path Trace::path_to(u64 instruction) const {
  constexpr u64 kHitCosts = 6, kFarthest = 2000; // in single steps
  Path best{0, 0, instruction};
  u64 best_cost = instruction;
  for (u64 i = std::min<u64>(instruction, addresses.size() - 1); instruction - i < kFarthest && instruction - i < best_cost; --i) {
    u64 cost = instruction - i + kHitCosts * occurrences[i];
    if (cost < best_cost && addresses[i] < kHighest) {
      best = Path{addresses[i], occurrences[i], instruction - i};
      best_cost = cost;
    }
    if (i == 0) break;
  }
  return best;
}

Trace trace(pid_t victim, unsigned index, bool any_memory) {
  constexpr u64 kTooLong = 5'000'000;
  Trace result;
  std::unordered_map<u64, u32> seen;
  u64 made = 0;
  for (; result.end == Stepped::kInside && made < kTooLong; ++made) {
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, victim, nullptr, &registers);
    result.addresses.push_back(registers.rip);
    result.occurrences.push_back(++seen[registers.rip]);
    // The kernel's vDSO page is mapped at the same place here.
    if (matters(decode(registers.rip), registers, world().control->mapped[index], any_memory)) result.points.push_back(made);
    result.end = one_step(victim);
  }
  result.points.push_back(made);
  return result;
}

} // namespace pmemfile::kill_steps
