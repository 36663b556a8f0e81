#include "intercept/trap.h"

#include <elf.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "intercept/dispatch.h"
#include "intercept/patch.h"

extern "C" {
extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));
extern const char pmemfile_intercept_restore[] __attribute__((visibility("hidden")));
[[noreturn]] void pmemfile_intercept_resume(ucontext_t* context) __attribute__((visibility("hidden")));
extern pmemfile::u32 pmemfile_vector_save_kind __attribute__((visibility("hidden")));
}

namespace pmemfile::intercept {

namespace {

constexpr long kSetDispatch = 59; // PR_SET_SYSCALL_USER_DISPATCH
constexpr long kDispatchOff = 0, kDispatchOn = 1;
constexpr int kUserDispatch = 2; // si_code SYS_USER_DISPATCH
constexpr u64 kRestorer = 0x04000000;
// Another copy of the engine asks whether its calls are trapped: to the kernel this is a mode that it does not know.
constexpr long kKnock = 0x706d656d, kAnswer = 0x66696c65;

struct KernelAction {
  u64 handler, flags, restorer, mask;
};

u32 calls_left;
void (*the_patching)();

long set_action(const KernelAction& action, KernelAction* old) {
  return raw_syscall(SYS_rt_sigaction, SIGSYS, as_arg(&action), as_arg(old), 8);
}

// Calls that a signal handler can make for the program: they change nothing that the handler's return would undo or that
// the trap stands on (threads, signal handlers and masks, mapped code).
bool is_plain(const Frame& frame) {
  switch (frame.nr()) {
    case SYS_read: case SYS_write: case SYS_open: case SYS_close: case SYS_stat: case SYS_fstat: case SYS_lstat: case SYS_lseek:
    case SYS_munmap: case SYS_brk: case SYS_ioctl: case SYS_pread64: case SYS_pwrite64: case SYS_readv: case SYS_writev:
    case SYS_access: case SYS_pipe: case SYS_madvise: case SYS_dup: case SYS_dup2: case SYS_getpid: case SYS_sendfile:
    case SYS_execve: case SYS_uname: case SYS_fcntl: case SYS_flock: case SYS_fsync: case SYS_fdatasync: case SYS_truncate:
    case SYS_ftruncate: case SYS_getdents: case SYS_getcwd: case SYS_chdir: case SYS_fchdir: case SYS_rename: case SYS_mkdir:
    case SYS_rmdir: case SYS_creat: case SYS_link: case SYS_unlink: case SYS_symlink: case SYS_readlink: case SYS_chmod:
    case SYS_fchmod: case SYS_chown: case SYS_fchown: case SYS_lchown: case SYS_umask: case SYS_gettimeofday:
    case SYS_getrlimit: case SYS_getrusage: case SYS_sysinfo: case SYS_times: case SYS_getuid: case SYS_getgid:
    case SYS_geteuid: case SYS_getegid: case SYS_getppid: case SYS_getpgrp: case SYS_getgroups: case SYS_getresuid:
    case SYS_getresgid: case SYS_getpgid: case SYS_getsid: case SYS_utime: case SYS_mknod: case SYS_statfs: case SYS_fstatfs:
    case SYS_setxattr: case SYS_lsetxattr: case SYS_fsetxattr: case SYS_getxattr: case SYS_lgetxattr: case SYS_fgetxattr:
    case SYS_listxattr: case SYS_llistxattr: case SYS_flistxattr: case SYS_removexattr: case SYS_lremovexattr:
    case SYS_fremovexattr: case SYS_gettid: case SYS_time: case SYS_sched_getaffinity: case SYS_getdents64: case SYS_fadvise64:
    case SYS_clock_gettime: case SYS_clock_getres: case SYS_exit_group: case SYS_utimes: case SYS_openat: case SYS_mkdirat:
    case SYS_mknodat: case SYS_fchownat: case SYS_futimesat: case SYS_newfstatat: case SYS_unlinkat: case SYS_renameat:
    case SYS_linkat: case SYS_symlinkat: case SYS_readlinkat: case SYS_fchmodat: case SYS_faccessat: case SYS_utimensat:
    case SYS_fallocate: case SYS_dup3: case SYS_pipe2: case SYS_renameat2: case SYS_getrandom: case SYS_copy_file_range:
    case SYS_statx: case SYS_faccessat2: case SYS_poll: case SYS_select: case SYS_socket: case SYS_connect: case SYS_bind:
    case SYS_listen: case SYS_getsockname: case SYS_getpeername: case SYS_setsockopt: case SYS_getsockopt: case SYS_sendto:
    case SYS_recvfrom: case SYS_sendmsg: case SYS_recvmsg: case SYS_shutdown: case SYS_socketpair: case SYS_nanosleep:
    case SYS_clock_nanosleep: case SYS_sync: case SYS_syncfs: return true;
    case SYS_mmap: case SYS_mprotect: return (frame.rdx & PROT_EXEC) == 0;
    case SYS_prlimit64: return frame.rdx == 0; // asks
    case SYS_futex: return (frame.rsi & FUTEX_CMD_MASK) == FUTEX_WAKE; // initialisers that run once wake, though nobody waits
    default: return false;
  }
}

Frame frame_of(const ucontext_t& context) {
  const greg_t* r = context.uc_mcontext.gregs;
  auto reg = [r](int index) { return static_cast<u64>(r[index]); };
  Frame f{};
  f.r15 = reg(REG_R15), f.r14 = reg(REG_R14), f.r13 = reg(REG_R13), f.r12 = reg(REG_R12);
  f.rbp = reg(REG_RBP), f.rbx = reg(REG_RBX);
  f.r9 = reg(REG_R9), f.r8 = reg(REG_R8), f.r10 = reg(REG_R10), f.rdx = reg(REG_RDX), f.rsi = reg(REG_RSI), f.rdi = reg(REG_RDI);
  f.rax = reg(REG_RAX);
  f.rflags = f.mode = reg(REG_EFL);
  f.rip = reg(REG_RIP);
  return f;
}

// As the kernel comes back from a system call.
void set_result(ucontext_t& context, u64 result) {
  greg_t* r = context.uc_mcontext.gregs;
  r[REG_RAX] = static_cast<greg_t>(result);
  r[REG_RCX] = r[REG_RIP];
  r[REG_R11] = r[REG_EFL];
}

// Back to the program without the kernel, which takes a quarter of what a trapped call costs for it. It has to be as it would
// expect: vector state in the format of XSAVE, the trap flag not set.
void resume(ucontext_t& context) {
  constexpr u32 kXstateMagic = 0x46505853; // FP_XSTATE_MAGIC1
  constexpr u64 kTrapFlag = 0x100;
  constexpr unsigned kMagicAt = 464;
  const auto* vectors = reinterpret_cast<const char*>(context.uc_mcontext.fpregs);
  if (vectors == nullptr || pmemfile_vector_save_kind == 0) return;
  u32 magic;
  __builtin_memcpy(&magic, vectors + kMagicAt, sizeof magic);
  if (magic != kXstateMagic || (static_cast<u64>(context.uc_mcontext.gregs[REG_EFL]) & kTrapFlag) != 0) return;
  pmemfile_intercept_resume(&context);
}

// The program goes on at the entry of the call's stub, or executes the call itself if that has none.
void end_trapping(ucontext_t& context) {
  constexpr u64 kSyscallBytes = 2;
  const u64 after_site = static_cast<u64>(context.uc_mcontext.gregs[REG_RIP]);
  the_patching();
  raw_syscall(SYS_prctl, kSetDispatch, kDispatchOff, 0, 0, 0);
  KernelAction fresh{};
  set_action(fresh, nullptr);
  const u64 entry = find_stub_entry(after_site);
  context.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(entry != 0 ? entry : after_site - kSyscallBytes);
}

// SIGSYS of somebody else: nobody has a handler for it here, so it kills.
void die(siginfo_t* info) {
  KernelAction fresh{};
  set_action(fresh, nullptr);
  raw_syscall(SYS_rt_tgsigqueueinfo, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), SIGSYS, as_arg(info));
}

void trapped(int, siginfo_t* info, void* opaque) {
  auto& context = *static_cast<ucontext_t*>(opaque);
  if (info->si_code != kUserDispatch) return die(info);
  Frame frame = frame_of(context);
  // A call of the 32-bit interface (int $0x80) has other numbers: patched or not, it goes to the kernel as it is.
  if (info->si_arch != AUDIT_ARCH_X86_64) return end_trapping(context);
  if (frame.nr() == SYS_prctl && frame.rdi == kSetDispatch && frame.rsi == kKnock) return set_result(context, kAnswer);
  if (calls_left == 0 || !is_plain(frame)) return end_trapping(context);
  --calls_left;
  u64 result;
  if (ask_hook(frame) == Verdict::Done) {
    result = frame.rax;
  } else {
    auto arg = [](u64 value) { return static_cast<long>(value); };
    result = static_cast<u64>(raw_syscall(frame.nr(), arg(frame.rdi), arg(frame.rsi), arg(frame.rdx), arg(frame.r10), arg(frame.r8), arg(frame.r9)));
  }
  set_result(context, result);
  resume(context);
}

bool own_text(u64& address, u64& bytes) {
  const u64 base = reinterpret_cast<u64>(&__ehdr_start);
  const auto* segments = reinterpret_cast<const Elf64_Phdr*>(base + __ehdr_start.e_phoff);
  for (u32 i = 0; i < __ehdr_start.e_phnum; ++i) {
    const Elf64_Phdr& s = segments[i];
    if (s.p_type != PT_LOAD || (s.p_flags & PF_X) == 0) continue;
    address = base + s.p_vaddr - segments[0].p_vaddr;
    bytes = s.p_memsz;
    return true;
  }
  return false;
}

bool sigsys_is_blocked() {
  u64 mask = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, as_arg(&mask), 8);
  return (mask >> (SIGSYS - 1) & 1) != 0;
}

} // namespace

bool is_trapped_by_another() { return raw_syscall(SYS_prctl, kSetDispatch, kKnock, 0, 0, 0) == kAnswer; }

bool start_trapping(u32 max_traps, void (*patch_everything)()) {
  u64 text, text_bytes;
  if (max_traps == 0 || sigsys_is_blocked() || !own_text(text, text_bytes)) return false;
  calls_left = max_traps;
  the_patching = patch_everything;
  // Not held back within its own handler: the mask there is that of a program which calls exec.
  KernelAction wanted{reinterpret_cast<u64>(&trapped), SA_SIGINFO | SA_NODEFER | kRestorer, reinterpret_cast<u64>(pmemfile_intercept_restore), 0};
  KernelAction old{};
  if (set_action(wanted, &old) != 0) return false;
  if (old.handler == 0 && raw_syscall(SYS_prctl, kSetDispatch, kDispatchOn, static_cast<long>(text), static_cast<long>(text_bytes), 0) == 0)
    return true;
  set_action(old, nullptr);
  return false;
}

} // namespace pmemfile::intercept
