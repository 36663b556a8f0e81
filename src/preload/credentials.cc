// Who the program is: read once at start, again after every call that changes it.
//
// Kept per process: glibc changes all threads together. A thread that changes only
// itself by a raw system call changes what all threads count as (docs/syscalls.md).

#include "preload/credentials.h"

#include <linux/capability.h>
#include <sys/mman.h>

#include "preload/handlers.h"
#include "preload/limits.h"

namespace pmemfile::preload {
namespace {

void read_groups(Process& process) {
  long count = raw_syscall(SYS_getgroups, 64, as_arg(process.groups));
  process.credentials.groups = process.groups;
  if (count == -EINVAL) { // more than 64
    if (process.many_groups == nullptr) {
      long room = raw_syscall(SYS_mmap, 0, 65536 * sizeof(u32), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (!is_syscall_error(room)) process.many_groups = reinterpret_cast<u32*>(room);
    }
    count = process.many_groups != nullptr ? raw_syscall(SYS_getgroups, 65536, as_arg(process.many_groups)) : 0;
    process.credentials.groups = process.many_groups;
  }
  process.credentials.group_count = count > 0 ? static_cast<u32>(count) : 0;
}

void read_ids(Process& process) {
  vfs::Credentials& who = process.credentials;
  raw_syscall(SYS_getresuid, as_arg(&who.uid), as_arg(&who.euid), as_arg(&who.suid));
  raw_syscall(SYS_getresgid, as_arg(&who.gid), as_arg(&who.egid), as_arg(&who.sgid));
  who.fsuid = static_cast<u32>(raw_syscall(SYS_setfsuid, -1)); // an invalid id changes nothing and tells the old one
  who.fsgid = static_cast<u32>(raw_syscall(SYS_setfsgid, -1));
}

void read_capabilities(Process& process) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  raw_syscall(SYS_capget, as_arg(&header), as_arg(data));
  process.credentials.capabilities = data[0].effective | u64{data[1].effective} << 32;
}

long changed(Call& call) {
  long result = call.kernel();
  if (!is_syscall_error(result) && call.process.credentials_known) {
    read_ids(call.process);
    read_capabilities(call.process);
  }
  return result;
}

} // namespace

void read_credentials(Process& process) {
  read_ids(process);
  read_capabilities(process);
  read_groups(process);
  read_file_size_limit(process);
  long old = raw_syscall(SYS_umask, 077);
  raw_syscall(SYS_umask, old);
  process.umask = static_cast<u32>(old);
  process.credentials_known = true;
}

long h_setuid(Call& call) { return changed(call); }
long h_setgid(Call& call) { return changed(call); }
long h_setreuid(Call& call) { return changed(call); }
long h_setregid(Call& call) { return changed(call); }
long h_setresuid(Call& call) { return changed(call); }
long h_setresgid(Call& call) { return changed(call); }
long h_setfsuid(Call& call) { return changed(call); }
long h_setfsgid(Call& call) { return changed(call); }
long h_capset(Call& call) { return changed(call); }
long h_setgroups(Call& call) {
  long result = call.kernel();
  if (result == 0 && call.process.credentials_known) read_groups(call.process);
  return result;
}
long h_umask(Call& call) {
  long result = call.kernel();
  call.process.umask = static_cast<u32>(call.arg(0)) & 0777;
  return result;
}

} // namespace pmemfile::preload
