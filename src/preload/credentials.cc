#include "preload/credentials.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>

#include "preload/children.h"
#include "preload/handlers.h"
#include "preload/limits.h"

namespace pmemfile::preload {
namespace {

constexpr u64 kManyGroupsBytes = 65536 * sizeof(u32);

void read_groups(Identity& identity) {
  long count = raw_syscall(SYS_getgroups, 64, as_arg(identity.groups));
  identity.credentials.groups = identity.groups;
  if (count == -EINVAL) { // more than 64
    if (identity.many_groups == nullptr) {
      long room = raw_syscall(SYS_mmap, 0, kManyGroupsBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (!is_syscall_error(room)) identity.many_groups = reinterpret_cast<u32*>(room);
    }
    count = identity.many_groups != nullptr ? raw_syscall(SYS_getgroups, 65536, as_arg(identity.many_groups)) : 0;
    identity.credentials.groups = identity.many_groups;
  }
  identity.credentials.group_count = count > 0 ? static_cast<u32>(count) : 0;
}

void read_ids(vfs::Credentials& who) {
  raw_syscall(SYS_getresuid, as_arg(&who.uid), as_arg(&who.euid), as_arg(&who.suid));
  raw_syscall(SYS_getresgid, as_arg(&who.gid), as_arg(&who.egid), as_arg(&who.sgid));
  who.fsuid = static_cast<u32>(raw_syscall(SYS_setfsuid, -1)); // an invalid id changes nothing and tells the old one
  who.fsgid = static_cast<u32>(raw_syscall(SYS_setfsgid, -1));
}

void read_capabilities(vfs::Credentials& who) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  raw_syscall(SYS_capget, as_arg(&header), as_arg(data));
  who.capabilities = data[0].effective | u64{data[1].effective} << 32;
}

void read_all(Identity& identity) {
  read_ids(identity.credentials);
  read_capabilities(identity.credentials);
  read_groups(identity);
  identity.known = true;
}

// After a call that changes the calling task.
long changed(Call& call) {
  long result = call.kernel();
  if (is_syscall_error(result)) return result;
  Process& process = call.process;
  if (is_multi_threaded() && !process.is_child_view) {
    // What the others count as stays where they may be reading it.
    process.identity_per_thread = true;
    compiler_fence();
    process.identity.known = false;
  }
  Identity& own = process.identity_per_thread ? call.block.identity : process.identity;
  if (own.known || process.identity_per_thread) read_all(own);
  return result;
}

} // namespace

const vfs::Credentials& read_identity(Process& process, ThreadBlock& block) {
  if (!process.common_known) {
    read_file_size_limit(process);
    long old = raw_syscall(SYS_umask, 077);
    raw_syscall(SYS_umask, old);
    process.umask = static_cast<u32>(old);
    process.common_known = true;
  }
  Identity& own = process.identity_per_thread ? block.identity : process.identity;
  if (!own.known) read_all(own);
  return own.credentials;
}

void copy_identity(Process& copy, const Process& from, const ThreadBlock& block) {
  const Identity& source = from.identity_per_thread ? block.identity : from.identity;
  copy.identity = source;
  copy.identity_per_thread = false;
  if (source.credentials.groups == source.groups) copy.identity.credentials.groups = copy.identity.groups;
  copy.identity.many_groups = nullptr; // read in place, never written
}

void free_groups(Identity& identity) {
  if (identity.many_groups != nullptr) raw_syscall(SYS_munmap, as_arg(identity.many_groups), kManyGroupsBytes);
  identity.many_groups = nullptr;
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
long h_setgroups(Call& call) { return changed(call); }
long h_umask(Call& call) {
  long result = call.kernel();
  call.process.umask = static_cast<u32>(call.arg(0)) & 0777;
  return result;
}

// Threads that no longer share descriptors or the working directory cannot be told apart.
long h_unshare(Call& call) {
  if ((call.arg(0) & (CLONE_FS | CLONE_FILES)) != 0 && is_multi_threaded()) return refuse(call, EINVAL);
  return kPassOn;
}

} // namespace pmemfile::preload
