// exec of a process that may only read the pool: its tables of open files are private memory, which exec takes away.
// They go through a memory file, of which only the pages in use are written and read.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfs/open_files.h"

namespace pmemfile::vfs {
namespace {

constexpr u64 kPageBytes = 4096;

bool is_zero_page(const u8* page) {
  const auto* words = reinterpret_cast<const u64*>(page);
  for (u64 i = 0; i < kPageBytes / sizeof(u64); ++i)
    if (words[i] != 0) return false;
  return true;
}

Result<void> write_pages(int fd, const shm::Segment& tables) {
  if (long made = raw_syscall(SYS_ftruncate, fd, static_cast<long>(tables.bytes)); is_syscall_error(made)) return Error(static_cast<int>(-made));
  for (u64 at = 0; at < tables.bytes; at += kPageBytes) {
    if (is_zero_page(tables.base + at)) continue;
    long written = raw_syscall(SYS_pwrite64, fd, as_arg(tables.base + at), kPageBytes, static_cast<long>(at));
    if (written != static_cast<long>(kPageBytes)) return Error(ENOMEM);
  }
  return {};
}

} // namespace

Result<int> PoolInternals::save_private_tables(Pool& pool) {
  long fd = raw_syscall(SYS_memfd_create, as_arg("pmemfile-open-files"), 0);
  if (is_syscall_error(fd)) return Error(static_cast<int>(-fd));
  auto written = write_pages(static_cast<int>(fd), pool.private_tables_);
  if (written.ok()) return static_cast<int>(fd);
  raw_syscall(SYS_close, fd);
  return Error(written.error());
}

Result<void> PoolInternals::load_private_tables(Pool& pool, int fd) {
  TRY(make_private_tables(pool));
  shm::Segment& tables = pool.private_tables_;
  struct stat st{};
  if (long got = raw_syscall(SYS_fstat, fd, as_arg(&st)); is_syscall_error(got)) return Error(static_cast<int>(-got));
  if (static_cast<u64>(st.st_size) != tables.bytes) return Error(EINVAL);
  for (u64 at = 0; at < tables.bytes;) {
    long from = raw_syscall(SYS_lseek, fd, static_cast<long>(at), SEEK_DATA);
    if (from < 0) break; // nothing but holes from here on
    long to = raw_syscall(SYS_lseek, fd, from, SEEK_HOLE);
    if (to <= from || static_cast<u64>(to) > tables.bytes) return Error(EIO);
    if (raw_syscall(SYS_pread64, fd, as_arg(tables.base + from), to - from, from) != to - from) return Error(EIO);
    at = static_cast<u64>(to);
  }
  return {};
}

} // namespace pmemfile::vfs
