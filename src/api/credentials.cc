// Who the caller is, as a pool sees him: the rules are those of the kernel for a task.
#include <string.h>

#include "api/handle.h"

using namespace pmemfile;
using namespace pmemfile::api;

namespace {

constexpr u32 kKeep = ~0u;
constexpr u64 kOfRoot = ~u64{0};

// Changes the credentials by `body(credentials)`, which may refuse.
template <class Body>
int change(PMEMfilepool* pool, Body&& body) {
  if (pool == nullptr) {
    fail(EFAULT);
    return -1;
  }
  Locked locked(pool->credentials_lock);
  vfs::Credentials next = pool->credentials;
  Result<void> result = body(next);
  if (result.ok()) {
    store_full(pool->credentials_sequence, pool->credentials_sequence + 1);
    memcpy(&pool->credentials, &next, sizeof next);
    store_release(pool->credentials_sequence, pool->credentials_sequence + 1);
  }
  return finish(result);
}

// What a change of user ids does to capabilities (capabilities(7), "Effect of user ID changes"): without root's id there
// are none, with it there are all again.
void follow_effective(vfs::Credentials& who, u32 old_euid) {
  who.fsuid = who.euid;
  if (old_euid == 0 && who.euid != 0) who.capabilities = 0;
  if (old_euid != 0 && who.euid == 0) who.capabilities = kOfRoot;
}

bool privileged(const vfs::Credentials& who) { return who.euid == 0; }
bool may_be_user(const vfs::Credentials& who, u32 uid) { return uid == who.uid || uid == who.euid || uid == who.suid || privileged(who); }
bool may_be_group(const vfs::Credentials& who, u32 gid) { return gid == who.gid || gid == who.egid || gid == who.sgid || privileged(who); }

} // namespace

PMEMFILE_API int pmemfile_setuid(PMEMfilepool* pool, uid_t uid) {
  return change(pool, [&](vfs::Credentials& who) -> Result<void> {
    if (uid == kKeep) return Error(EINVAL);
    u32 old = who.euid;
    if (privileged(who))
      who.uid = who.suid = uid;
    else if (uid != who.uid && uid != who.suid)
      return Error(EPERM);
    who.euid = uid;
    follow_effective(who, old);
    return {};
  });
}
PMEMFILE_API int pmemfile_setgid(PMEMfilepool* pool, gid_t gid) {
  return change(pool, [&](vfs::Credentials& who) -> Result<void> {
    if (gid == kKeep) return Error(EINVAL);
    if (privileged(who))
      who.gid = who.sgid = gid;
    else if (gid != who.gid && gid != who.sgid)
      return Error(EPERM);
    who.egid = who.fsgid = gid;
    return {};
  });
}
PMEMFILE_API int pmemfile_setreuid(PMEMfilepool* pool, uid_t real, uid_t effective) {
  return change(pool, [&](vfs::Credentials& who) -> Result<void> {
    u32 old = who.euid, old_real = who.uid;
    if (real != kKeep && real != who.uid && real != who.euid && !privileged(who)) return Error(EPERM);
    if (effective != kKeep && !may_be_user(who, effective)) return Error(EPERM);
    if (real != kKeep) who.uid = real;
    if (effective != kKeep) who.euid = effective;
    if (real != kKeep || (effective != kKeep && effective != old_real)) who.suid = who.euid;
    follow_effective(who, old);
    return {};
  });
}
PMEMFILE_API int pmemfile_setregid(PMEMfilepool* pool, gid_t real, gid_t effective) {
  return change(pool, [&](vfs::Credentials& who) -> Result<void> {
    u32 old_real = who.gid;
    if (real != kKeep && real != who.gid && real != who.egid && !privileged(who)) return Error(EPERM);
    if (effective != kKeep && !may_be_group(who, effective)) return Error(EPERM);
    if (real != kKeep) who.gid = real;
    if (effective != kKeep) who.egid = effective;
    if (real != kKeep || (effective != kKeep && effective != old_real)) who.sgid = who.egid;
    who.fsgid = who.egid;
    return {};
  });
}
PMEMFILE_API int pmemfile_seteuid(PMEMfilepool* pool, uid_t uid) {
  return change(pool, [&](vfs::Credentials& who) -> Result<void> {
    if (uid == kKeep) return Error(EINVAL);
    if (!privileged(who) && uid != who.uid && uid != who.euid && uid != who.suid) return Error(EPERM);
    u32 old = who.euid;
    who.euid = uid;
    follow_effective(who, old);
    return {};
  });
}
PMEMFILE_API int pmemfile_setegid(PMEMfilepool* pool, gid_t gid) {
  return change(pool, [&](vfs::Credentials& who) -> Result<void> {
    if (gid == kKeep) return Error(EINVAL);
    if (!may_be_group(who, gid)) return Error(EPERM);
    who.egid = who.fsgid = gid;
    return {};
  });
}
PMEMFILE_API int pmemfile_setfsuid(PMEMfilepool* pool, uid_t uid) {
  int before = -1;
  int result = change(pool, [&](vfs::Credentials& who) -> Result<void> {
    before = static_cast<int>(who.fsuid);
    if (uid == kKeep || (uid != who.fsuid && !may_be_user(who, uid))) return {};
    // Only the capabilities that concern files come and go.
    constexpr u64 kOfFiles = vfs::kCapChown | vfs::kCapDacOverride | vfs::kCapDacReadSearch | vfs::kCapFowner | vfs::kCapFsetid |
                             vfs::kCapLinuxImmutable | vfs::kCapMknod;
    if (who.fsuid == 0 && uid != 0) who.capabilities &= ~kOfFiles;
    if (who.fsuid != 0 && uid == 0) who.capabilities |= kOfFiles;
    who.fsuid = uid;
    return {};
  });
  return result == 0 ? before : -1;
}
PMEMFILE_API int pmemfile_setfsgid(PMEMfilepool* pool, gid_t gid) {
  int before = -1;
  int result = change(pool, [&](vfs::Credentials& who) -> Result<void> {
    before = static_cast<int>(who.fsgid);
    if (gid != kKeep && (gid == who.fsgid || may_be_group(who, gid))) who.fsgid = gid;
    return {};
  });
  return result == 0 ? before : -1;
}

PMEMFILE_API uid_t pmemfile_getuid(PMEMfilepool* pool) { return load_relaxed(pool->credentials.uid); }
PMEMFILE_API gid_t pmemfile_getgid(PMEMfilepool* pool) { return load_relaxed(pool->credentials.gid); }
PMEMFILE_API uid_t pmemfile_geteuid(PMEMfilepool* pool) { return load_relaxed(pool->credentials.euid); }
PMEMFILE_API gid_t pmemfile_getegid(PMEMfilepool* pool) { return load_relaxed(pool->credentials.egid); }

PMEMFILE_API int pmemfile_getgroups(PMEMfilepool* pool, int size, gid_t groups[]) {
  if (pool == nullptr) {
    fail(EFAULT);
    return -1;
  }
  Locked locked(pool->credentials_lock);
  u32 count = pool->credentials.group_count;
  if (size < 0 || (size != 0 && static_cast<u32>(size) < count)) {
    fail(EINVAL);
    return -1;
  }
  if (size != 0) memcpy(groups, pool->credentials.groups, count * sizeof(gid_t));
  return static_cast<int>(count);
}

PMEMFILE_API int pmemfile_setgroups(PMEMfilepool* pool, size_t count, const gid_t* groups) {
  return change(pool, [&](vfs::Credentials& who) -> Result<void> {
    if (count > kMaxGroups) return Error(EINVAL);
    if (!privileged(who)) return Error(EPERM);
    // Calls under way may still look at the other list.
    pool->groups_turn ^= 1;
    u32* list = pool->groups[pool->groups_turn];
    if (count != 0) memcpy(list, groups, count * sizeof(gid_t));
    who.groups = list;
    who.group_count = static_cast<u32>(count);
    return {};
  });
}

namespace {

Result<void> set_capability(vfs::Credentials& who, int capability, bool on) {
  if (capability != PMEMFILE_CAP_CHOWN && capability != PMEMFILE_CAP_FOWNER && capability != PMEMFILE_CAP_FSETID) return Error(EINVAL);
  u64 bit = u64{1} << capability;
  who.capabilities = on ? who.capabilities | bit : who.capabilities & ~bit;
  return {};
}

} // namespace

PMEMFILE_API int pmemfile_setcap(PMEMfilepool* pool, int capability) {
  return change(pool, [&](vfs::Credentials& who) { return set_capability(who, capability, true); });
}
PMEMFILE_API int pmemfile_clrcap(PMEMfilepool* pool, int capability) {
  return change(pool, [&](vfs::Credentials& who) { return set_capability(who, capability, false); });
}

PMEMFILE_API mode_t pmemfile_umask(PMEMfilepool* pool, mode_t mask) { return exchange(pool->umask, static_cast<u32>(mask & 0777)); }
