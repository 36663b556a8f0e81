#include "intercept/capi/log.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/text.h"
#include "intercept/capi/syscall_names.h"

namespace pmemfile::intercept {

namespace {

constexpr unsigned kMaxPathBytes = 1024;
// Out of the way of programs that count on small numbers.
constexpr int kLowestDescriptor = 600;

char log_path[kMaxPathBytes];
int log_fd = -1;
u64 log_device = 0, log_ino = 0;

bool identify(int fd, u64& device, u64& ino) {
  struct stat st;
  if (raw_syscall(SYS_fstat, fd, as_arg(&st)) != 0) return false;
  device = st.st_dev;
  ino = st.st_ino;
  return true;
}

void reopen(int flags) {
  const long low = raw_syscall(SYS_open, as_arg(log_path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0644);
  if (low < 0) {
    log_fd = -1;
    return;
  }
  const long high = raw_syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, kLowestDescriptor);
  if (high >= 0) raw_syscall(SYS_close, low);
  log_fd = static_cast<int>(high >= 0 ? high : low);
  identify(log_fd, log_device, log_ino);
}

} // namespace

void open_log(const char* path, const char* truncate) {
  if (path == nullptr || path[0] == '\0') return;
  Text text(log_path, sizeof log_path);
  text << path;
  if (log_path[text.size() - 1] == '-') text << static_cast<i64>(raw_syscall(SYS_getpid));
  const bool empty_first = truncate != nullptr && !(truncate[0] == '0' && truncate[1] == '\0');
  reopen(empty_first ? O_TRUNC : 0);
}

bool log_is_on() { return log_path[0] != '\0'; }

void log_call(const Frame& frame, LogResult kind, long result) {
  FixedText<320> line;
  line << static_cast<i64>(raw_syscall(SYS_gettid)) << ' ';
  line.hex(frame.rip - 2) << " -- ";
  if (const char* name = syscall_name(frame.nr())) line << name;
  else line << "syscall_" << static_cast<i64>(frame.nr());
  const u64 arguments[] = {frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9};
  char separator = '(';
  for (u64 argument : arguments) {
    line << separator;
    line.hex(argument);
    separator = ',';
  }
  line << ')';
  if (kind == LogResult::Unknown) line << " = ?";
  else line << " = " << static_cast<i64>(result) << (kind == LogResult::Handled ? " (hook)" : "");
  line << '\n';
  // The program may have closed the descriptor, and be using its number.
  u64 device, ino;
  if (!identify(log_fd, device, ino) || device != log_device || ino != log_ino) reopen(0);
  if (log_fd >= 0) line.write_to(log_fd);
}

} // namespace pmemfile::intercept
