#include "preload/procfs.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "preload/descriptors.h"

namespace pmemfile::preload {

char g_exe_path[kPathBytes];

long open_mount_list(Call& call, Special which, int flags) {
  bool info = which == Special::kProcMountinfo;
  long from = raw_syscall(SYS_openat, AT_FDCWD, info ? as_arg("/proc/self/mountinfo") : as_arg("/proc/self/mounts"), O_RDONLY | O_CLOEXEC);
  if (from < 0) return from;
  int source = move_high(static_cast<int>(from));
  empty_stash(call.process);
  long fd = raw_syscall(SYS_memfd_create, as_arg("mounts"), (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0);
  if (fd < 0) {
    raw_syscall(SYS_close, source);
    return fd;
  }
  char* buffer = reinterpret_cast<char*>(call.block.scratch);
  long got;
  while ((got = raw_syscall(SYS_read, source, as_arg(buffer), sizeof call.block.scratch)) > 0)
    raw_syscall(SYS_write, fd, as_arg(buffer), got);
  raw_syscall(SYS_close, source);
  for (u32 i = 0; i < g_mount_count; ++i) {
    FixedText<1024> line;
    if (info) {
      u64 device = call.pool(i).device();
      u32 major = static_cast<u32>((device >> 8) & 0xfff), minor = static_cast<u32>((device & 0xff) | ((device >> 12) & 0xfff00));
      line << (90000u + i) << " 1 " << major << ":" << minor << " / " << g_mounts[i].point << " rw,relatime - pmemfile "
           << g_mounts[i].pool_path << " rw\n";
    } else {
      line << g_mounts[i].pool_path << " " << g_mounts[i].point << " pmemfile rw,relatime 0 0\n";
    }
    raw_syscall(SYS_write, fd, as_arg(line.c_str()), static_cast<long>(line.size()));
  }
  raw_syscall(SYS_lseek, fd, 0, SEEK_SET);
  return fd;
}

long read_own_exe(Call& call, int dirfd, const char* path, char* user_buffer, u64 size) {
  if (g_exe_path[0] == '\0' || pmemfile_preload_match(path, "/proc/", 6) != 1) return kPassOn;
  Place place;
  long error = locate(call, dirfd, path, kNeverKnown, 0, place);
  if (error != 0 || place.special != Special::kProcExe) return kPassOn;
  u64 bytes = min_of<u64>(strlen(g_exe_path), size);
  return pmem::copy_guarded(user_buffer, g_exe_path, bytes) != 0 ? -EFAULT : static_cast<long>(bytes);
}

} // namespace pmemfile::preload
