// Single steps, and which of them matter to others.
#include <Zydis/Zydis.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "crash/kill_world.h"

namespace pmemfile::kill_steps {
namespace {

// What an instruction stores to, as far as it matters here. Made and looked up in a signal handler: no malloc.
struct Decoded {
  struct Operand {
    i64 displacement;
    u8 base, index, scale; // places in Registers; kNoRegister
  };
  static constexpr unsigned kOperands = 3;
  static constexpr u8 kNoRegister = 17;
  u64 address = 0; // of the instruction; 0: the entry is free
  u8 length = 0, operand_count = 0;
  bool calls_kernel = false;
  Operand operands[kOperands];
};
// rax to r15 in the order of their numbers, rip, and 0.
struct Registers {
  u64 value[18];
  u64 rsp() const { return value[4]; }
};
constexpr u8 kRip = 16;

u8 place_of(ZydisRegister which) {
  if (which == ZYDIS_REGISTER_RIP) return kRip;
  if (which >= ZYDIS_REGISTER_RAX && which <= ZYDIS_REGISTER_R15) return static_cast<u8>(which - ZYDIS_REGISTER_RAX);
  return Decoded::kNoRegister;
}

void decode_into(Decoded& decoded, u64 address) {
  ZydisDecoder decoder;
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  auto status = ZydisDecoderDecodeFull(&decoder, reinterpret_cast<const void*>(address), 15, &instruction, operands);
  decoded.address = address;
  // What cannot be decoded counts as important.
  decoded.calls_kernel = !ZYAN_SUCCESS(status) || instruction.mnemonic == ZYDIS_MNEMONIC_SYSCALL;
  if (!ZYAN_SUCCESS(status)) return;
  decoded.length = instruction.length;
  for (unsigned i = 0; i < instruction.operand_count && decoded.operand_count < Decoded::kOperands; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0) continue;
    decoded.operands[decoded.operand_count++] = {operand.mem.disp.has_displacement ? operand.mem.disp.value : 0, place_of(operand.mem.base),
                                                 place_of(operand.mem.index), operand.mem.scale};
  }
}

const Decoded& decode(u64 address) {
  constexpr u64 kEntries = 1 << 16;
  static Decoded known[kEntries];
  for (u64 at = address * 0x9e3779b97f4a7c15 >> 48;; at = (at + 1) % kEntries) {
    if (known[at].address == 0) decode_into(known[at], address);
    if (known[at].address == address) return known[at];
  }
}

bool within(u64 address, u64 base, u64 bytes) { return address - base < bytes; }

bool matters(const Decoded& decoded, const Registers& registers, const Mapped& mapped, bool any_memory) {
  if (decoded.calls_kernel) return true;
  constexpr u64 kStackBytes = 1 << 20;
  for (unsigned i = 0; i < decoded.operand_count; ++i) {
    const Decoded::Operand& operand = decoded.operands[i];
    u64 address = static_cast<u64>(operand.displacement) + registers.value[operand.base] + registers.value[operand.index] * operand.scale;
    if (operand.base == kRip) address += decoded.length;
    if (any_memory) return !within(address, registers.rsp() - kStackBytes / 2, kStackBytes);
    if (within(address, mapped.pool_base, mapped.pool_bytes) || within(address, mapped.segment_base, mapped.segment_bytes)) return true;
  }
  return false;
}

// ---- A victim that traces itself: a trap after each instruction costs a tenth of a stop that the driver sees -------------

// In memory that all processes share.
struct Recording {
  static constexpr u64 kMost = 5'000'000;
  u32 wanted, any_memory;
  u64 count, point_count;
  u64 addresses[kMost], points[kMost];
};
Recording& recording() {
  static auto* made = static_cast<Recording*>(
      mmap(nullptr, sizeof(Recording), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return *made;
}

u64 g_window; // where the window begins: its first instruction
unsigned g_index;

Registers registers_of(const ucontext_t& context) {
  const auto& from = context.uc_mcontext.gregs;
  return {{u64(from[REG_RAX]), u64(from[REG_RCX]), u64(from[REG_RDX]), u64(from[REG_RBX]), u64(from[REG_RSP]), u64(from[REG_RBP]),
           u64(from[REG_RSI]), u64(from[REG_RDI]), u64(from[REG_R8]), u64(from[REG_R9]), u64(from[REG_R10]), u64(from[REG_R11]),
           u64(from[REG_R12]), u64(from[REG_R13]), u64(from[REG_R14]), u64(from[REG_R15]), u64(from[REG_RIP]), 0}};
}

void on_step(int, siginfo_t*, void* context) {
  Recording& r = recording();
  Registers registers = registers_of(*static_cast<ucontext_t*>(context));
  u64 address = registers.value[kRip];
  if (r.count == 0 && address != g_window) return;
  if (r.count + 1 >= Recording::kMost) return;
  // The kernel returns from a call with the trap flag set, so that it is the instruction behind the next that traps.
  if (r.count != 0) {
    const Decoded& last = decode(r.addresses[r.count - 1]);
    if (last.calls_kernel && address != last.address + last.length) r.addresses[r.count++] = last.address + last.length;
  }
  if (matters(decode(address), registers, world().control->mapped[g_index], r.any_memory != 0)) r.points[r.point_count++] = r.count;
  r.addresses[r.count++] = address;
}

void set_trap_flag(bool on) {
  constexpr u64 kTrap = 0x100;
  u64 flags = __builtin_ia32_readeflags_u64();
  __builtin_ia32_writeeflags_u64(on ? flags | kTrap : flags & ~kTrap);
}

int traced(Actor& actor, unsigned index, Step operate) {
  static char stack[1 << 16];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_step;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  sigaction(SIGTRAP, &action, nullptr);
  g_window = reinterpret_cast<u64>(operate);
  g_index = index;
  set_trap_flag(true);
  int error = operate(actor);
  set_trap_flag(false);
  return error;
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
  int error = recording().wanted != 0 ? traced(actor, index, operate) : operate(actor);
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
  constexpr u64 kHitCosts = 6; // in single steps
  Path best{0, 0, kWholeWindow};
  u64 best_cost = ~u64{0};
  for (u64 i = std::min<u64>(instruction, addresses.size() - 1); instruction - i < best_cost; --i) {
    u64 cost = instruction - i + kHitCosts * occurrences[i];
    if (cost < best_cost && addresses[i] < kHighest) {
      best = Path{addresses[i], occurrences[i], instruction - i};
      best_cost = cost;
    }
    if (i == 0) break;
  }
  return best;
}

void make_room_for_traces() { (void)recording(); }

Trace trace(pid_t victim, bool any_memory) {
  Recording& r = recording();
  r.any_memory = any_memory ? 1 : 0;
  r.count = r.point_count = 0;
  Trace result;
  int status = 0;
  r.wanted = 1;
  ptrace(PTRACE_DETACH, victim, nullptr, nullptr);
  waitpid(victim, &status, __WALL | WUNTRACED);
  r.wanted = 0;
  result.end = WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP && r.count != 0 ? Stepped::kCompleted : Stepped::kCrashed;
  std::unordered_map<u64, u32> seen;
  for (u64 i = 0; i < r.count; ++i) {
    result.addresses.push_back(r.addresses[i]);
    result.occurrences.push_back(++seen[r.addresses[i]]);
  }
  result.points.assign(r.points, r.points + r.point_count);
  result.points.push_back(r.count);
  return result;
}

} // namespace pmemfile::kill_steps
