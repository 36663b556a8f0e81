#include "preload/report.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "preload/config.h"
#include "preload/descriptors.h"
#include "preload/handlers.h"

namespace pmemfile::preload {

PMEMFILE_BULKY u32 g_served[kCalls];
PMEMFILE_BULKY u32 g_refused[kCalls];
int g_log_fd = -1;

const char* call_name(long nr) {
  switch (nr) {
#define CALL(number, name, filter, handler, state, note) \
  case number:                                            \
    return #name;
#include "preload/syscalls.def"
#undef CALL
    default:
      return "unknown";
  }
}

namespace {

// "%p" in a file name is the pid.
void expand(const char* pattern, Text& out) {
  for (; *pattern != '\0'; ++pattern) {
    if (pattern[0] == '%' && pattern[1] == 'p') {
      out << static_cast<i64>(raw_syscall(SYS_getpid));
      ++pattern;
    } else {
      out << *pattern;
    }
  }
}

void list_counts(Text& out, const char* title, const u32* counts) {
  out << "  " << title << ":";
  bool any = false;
  for (unsigned nr = 0; nr < kCalls; ++nr)
    if (counts[nr] != 0) {
      out << " " << call_name(nr) << "=" << counts[nr];
      any = true;
    }
  out << (any ? "\n" : " none\n");
}

} // namespace

// Programs close their standard error before they end: a duplicate is kept for the report.
static int g_report_fd = -1;
static bool to_standard_error() { return g_config.report[0] == '1' && g_config.report[1] == '\0'; }

void open_report() {
  if (g_config.report == nullptr || !to_standard_error()) return;
  long fd = raw_syscall(SYS_fcntl, 2, F_DUPFD_CLOEXEC, 900);
  if (fd < 0) return;
  g_report_fd = static_cast<int>(fd);
  hide_descriptor(g_process, g_report_fd);
}

namespace {
void write_report(const Text& out) {
  long fd = g_report_fd;
  if (!to_standard_error()) {
    FixedText<512> name;
    expand(g_config.report, name);
    fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(name.c_str()), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  if (fd >= 0) out.write_to(static_cast<int>(fd));
  if (fd >= 0 && fd != g_report_fd) raw_syscall(SYS_close, fd);
}
} // namespace

void open_log() {
  if (g_config.log == nullptr) return;
  FixedText<512> name;
  expand(g_config.log, name);
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(name.c_str()),
                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (g_config.log_trunc ? O_TRUNC : 0), 0644);
  if (fd < 0) give_up("cannot open the log", name.view(), "check PMEMFILE_PRELOAD_LOG");
  g_log_fd = move_high(static_cast<int>(fd));
  hide_descriptor(g_process, g_log_fd);
}

void log_call(const Call& call, long result) {
  FixedText<256> line;
  line << static_cast<i64>(raw_syscall(SYS_gettid)) << " " << call_name(call.nr) << "(";
  for (unsigned i = 0; i < 6; ++i) {
    if (i != 0) line << ", ";
    line.hex(call.arg(i));
  }
  line << ") = " << static_cast<i64>(result) << "\n";
  line.write_to(g_log_fd);
}

void report_at_exit(Process& process) {
  if (g_config.report == nullptr || process.is_child_view) return;
  PMEMFILE_BULKY static char room[16384];
  Text out(room, sizeof room);
  out << "pmemfile: process " << static_cast<i64>(raw_syscall(SYS_getpid)) << "\n";
  for (u32 i = 0; i < g_mount_count; ++i)
    out << "  pool " << g_mounts[i].pool_path << " at " << g_mounts[i].point << ": "
        << pmem::persistence_text(process.pools[i]->store().medium.level) << "\n";
  const intercept::Stats& stats = intercept::stats();
  out << "  sites: " << stats.sites_found() << " found, " << stats.sites_patched() << " patched\n";
  for (u32 i = 0; i < stats.object_count && i < intercept::kMaxObjectStats; ++i) {
    const intercept::ObjectStats& object = stats.objects[i];
    if (object.found == object.patched() && object.error == 0) continue;
    out << "    " << object.name << ": " << (object.found - object.patched()) << " not patched";
    if (object.error != 0) out << " (error " << object.error << ")";
    out << "\n";
  }
  list_counts(out, "served", g_served);
  list_counts(out, "refused", g_refused);
  write_report(out);
}

void report_left_behind(const Process& process, const char* program, const char* why) {
  if (g_config.report == nullptr) return;
  FixedText<1024> out;
  out << "pmemfile: process " << static_cast<i64>(raw_syscall(SYS_getpid)) << " runs "
      << part(std::string_view(program, strlen(program)), 0, 500) << ", " << why << ": it cannot see pools";
  if (process.cwd.in_pool) out << "; its working directory lies in one";
  u32 listed = 0;
  for (u32 fd = 0; fd < process.fd_end && listed < 16; ++fd) {
    FdWord word = fd_word(process, fd);
    if (!is_file(word) || (word & kFdCloexec) != 0) continue;
    out << (listed++ == 0 ? "; dead descriptors:" : "") << " " << fd;
  }
  out << "\n";
  write_report(out);
}

long refuse(Call& call, int errno_value) {
  if (call.nr >= 0 && call.nr < static_cast<long>(kCalls)) fetch_add(g_refused[call.nr], 1u);
  if (g_config.exit_on_not_supported) give_up("a call that is not served", call_name(call.nr), "PMEMFILE_EXIT_ON_NOT_SUPPORTED is set");
  return -errno_value;
}

} // namespace pmemfile::preload
