#include "shm/process.h"

#include <fcntl.h>

#include "base/syscall.h"
#include "base/text.h"

namespace pmemfile::shm {
namespace {

struct flock token_lock(u32 index, short type) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = 1 + i64{index};
  lock.l_len = 1;
  return lock;
}

// An open file description of V that holds tokens; or, classic, V's own descriptor, whose locks belong to the process.
struct TokenFile {
  int fd;
  bool classic;
};

bool set_token(TokenFile file, u32 index, short type) {
  struct flock lock = token_lock(index, type);
  return raw_syscall(SYS_fcntl, file.fd, file.classic ? F_SETLK : F_OFD_SETLK, as_arg(&lock)) == 0;
}

void close_fd(int fd) { raw_syscall(SYS_close, fd); }

// Starts the next use of an entry whose token is held.
ProcessRef begin_use(Process& entry, u32 index, i32 pid, ProcessState state) {
  u32 generation = load_relaxed(entry.generation) + 1;
  if (generation == 0) generation = 1;
  store_relaxed(entry.pid, pid);
  store_relaxed(entry.waits_for, u64{0});
  store_relaxed(entry.carrier, u64{0});
  store_relaxed(entry.posix_locks, u32{0});
  // References made from the old generation are void before the entry is seen in use.
  store_release(entry.generation, generation);
  store_release(entry.state, static_cast<u32>(state));
  return ProcessRef{index + 1, generation};
}

// Takes the entry if it is free and nobody holds its token.
bool take_entry(Segment& v, u32 index, TokenFile token, i32 pid, ProcessState state, ProcessRef* ref) {
  Process& entry = process_entry(v, index);
  if (load_acquire(entry.state) != static_cast<u32>(ProcessState::kFree)) return false;
  if (PMEMFILE_UNLIKELY(load_acquire(entry.claim) != 0) && !drop_dead_claim(v, index)) return false;
  if (!set_token(token, index, F_WRLCK)) return false;
  // Classic locks do not exclude the threads of one process: this does.
  u32 expected = static_cast<u32>(ProcessState::kFree);
  // Counted before the entry is in use and uncounted after it is free: a kill between leaves it too high.
  fetch_add(process_table(v).occupied, u64{1});
  if (!compare_exchange(entry.state, expected, static_cast<u32>(state))) {
    fetch_add(process_table(v).occupied, ~u64{0});
    if (!token.classic) set_token(token, index, F_UNLCK);
    return false;
  }
  *ref = begin_use(entry, index, pid, state);
  u64 used = load_relaxed(process_table(v).used);
  while (used <= index && !compare_exchange(process_table(v).used, used, u64{index} + 1)) {
  }
  return true;
}

void note_free(Segment& v, u32 index) {
  u64& hint = process_table(v).hint;
  u64 lowest = load_relaxed(hint);
  while (lowest > index && !compare_exchange(hint, lowest, u64{index})) {
  }
}

// The lowest one, mostly: the entries that were ever taken stay few, and with them those among which the dead are looked for.
bool take_any_entry(Segment& v, TokenFile token, i32 pid, ProcessState state, ProcessRef* ref) {
  ProcessTable& table = process_table(v);
  u64 count = v.header->process_count;
  u64 hint = load_relaxed(table.hint), start = hint % count;
  for (u64 i = 0; i < count; ++i) {
    u32 index = static_cast<u32>((start + i) % count);
    if (!take_entry(v, index, token, pid, state, ref)) continue;
    // Unless somebody has freed a lower one meanwhile.
    (void)compare_exchange(table.hint, hint, u64{index} + 1);
    return true;
  }
  return false;
}

// Becomes the heir of a dead process: holds its token, empties its entry in its name, and goes on under a new generation.
bool inherit_any_entry(Segment& v, TokenFile token, i32 pid, ProcessState state, InheritFn inherit, void* context, ProcessRef* ref) {
  for (u32 index = 0; index < v.header->process_count; ++index) {
    Process& entry = process_entry(v, index);
    if (load_acquire(entry.state) == static_cast<u32>(ProcessState::kFree) || load_acquire(entry.claim) != 0) continue;
    if (!set_token(token, index, F_WRLCK)) continue;
    // From here on the entry looks alive, so nobody new claims it; who has claimed it already keeps it.
    if (load_acquire(entry.state) == static_cast<u32>(ProcessState::kFree) || load_acquire(entry.claim) != 0) {
      set_token(token, index, F_UNLCK);
      continue;
    }
    store_release(entry.state, static_cast<u32>(ProcessState::kLive));
    v.self = ProcessRef{index + 1, load_acquire(entry.generation)};
    inherit(context);
    v.self = ProcessRef{};
    fetch_add(process_table(v).buried, u64{1});
    *ref = begin_use(entry, index, pid, state);
    return true;
  }
  return false;
}

} // namespace

Result<int> reopen_segment(int segment_fd) {
  FixedText<32> path;
  path << "/proc/self/fd/" << segment_fd;
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(path.c_str()), O_RDWR | O_CLOEXEC);
  if (is_syscall_error(fd)) return Error(static_cast<int>(-fd));
  return static_cast<int>(fd);
}

Result<Registered> register_process(Segment& v, i32 pid, ProcessState state, InheritFn inherit, void* context) {
  Registered registered;
  auto reopened = reopen_segment(v.fd);
  if (reopened.ok()) {
    registered.token_fd = reopened.value();
    TokenFile token{registered.token_fd, false};
    if (PMEMFILE_LIKELY(take_any_entry(v, token, pid, state, &registered.ref))) return registered;
    if (inherit != nullptr && inherit_any_entry(v, token, pid, state, inherit, context, &registered.ref)) return registered;
    close_fd(registered.token_fd);
    return Error(ENFILE);
  }
  if (reopened.error() == EMFILE || reopened.error() == ENFILE) return Error(reopened.error());
  // No /proc, or rights were lost since attach (setuid, chroot): a lock of the process itself.
  if (!take_any_entry(v, TokenFile{v.fd, true}, pid, state, &registered.ref)) return Error(ENFILE);
  registered.token_fd = kClassicToken;
  if (state != ProcessState::kPrepared) return registered;
  // Between the parent's lock and the child's nobody must take the entry for a dead one's.
  fetch_add(process_table(v).claims, u64{1});
  store_release(find_process(v, registered.ref)->claim, pack(v.self));
  return registered;
}

void give_classic_token(const Segment& v, ProcessRef child) { set_token(TokenFile{v.fd, true}, child.index_plus_1 - 1, F_UNLCK); }

bool take_classic_token(Segment& v, ProcessRef self) {
  struct flock lock = token_lock(self.index_plus_1 - 1, F_WRLCK);
  long result;
  do result = raw_syscall(SYS_fcntl, v.fd, F_SETLKW, as_arg(&lock));
  while (result == -EINTR);
  Process* entry = find_process(v, self);
  if (entry == nullptr || result != 0) return false;
  if (exchange(entry->claim, u64{0}) != 0) fetch_add(process_table(v).claims, ~u64{0});
  return load_acquire(entry->generation) == self.generation && load_acquire(entry->state) != static_cast<u32>(ProcessState::kFree);
}

void release_process(Segment& v, ProcessRef ref, int token_fd) {
  Process* entry = find_process(v, ref);
  if (entry != nullptr && load_acquire(entry->generation) == ref.generation) {
    store_release(entry->state, static_cast<u32>(ProcessState::kFree));
    fetch_add(process_table(v).occupied, ~u64{0});
    note_free(v, ref.index_plus_1 - 1);
    if (token_fd == kClassicToken) {
      if (exchange(entry->claim, u64{0}) != 0) fetch_add(process_table(v).claims, ~u64{0});
      give_classic_token(v, ref);
    }
  }
  if (token_fd >= 0) close_fd(token_fd);
}

bool process_alive(const Segment& v, int segment_fd, ProcessRef ref) {
  Process* entry = find_process(v, ref);
  if (entry == nullptr || load_acquire(entry->generation) != ref.generation) return false;
  u32 state = load_acquire(entry->state);
  if (state == static_cast<u32>(ProcessState::kFree)) return false;
  struct flock lock = token_lock(ref.index_plus_1 - 1, F_WRLCK);
  long result = raw_syscall(SYS_fcntl, segment_fd, F_OFD_GETLK, as_arg(&lock));
  // A kernel that does not answer proves no death.
  if (result != 0) return true;
  return lock.l_type != F_UNLCK;
}

bool claim_repair(Segment& v, ProcessRef dead, ProcessRef* before) {
  Process* entry = find_process(v, dead);
  if (entry == nullptr) return false;
  u64& claims = process_table(v).claims;
  for (unsigned attempt = 0; attempt < 4; ++attempt) {
    u64 claim = load_acquire(entry->claim);
    if (claim == pack(v.self)) return false; // another thread of this process is at it
    bool taken_over = claim != 0;
    if (taken_over && process_alive(v, v.fd, unpack_process(claim))) return false;
    // Counted first: after a kill the count is too high, never too low.
    if (!taken_over) fetch_add(claims, u64{1});
    if (!compare_exchange(entry->claim, claim, pack(v.self))) {
      if (!taken_over) fetch_add(claims, ~u64{0});
      continue;
    }
    // What was true when the caller looked may have been settled by the one who had the claim before.
    bool needed = load_acquire(entry->generation) == dead.generation &&
                  load_acquire(entry->state) != static_cast<u32>(ProcessState::kFree) &&
                  !process_alive(v, v.fd, dead);
    if (needed && before != nullptr) *before = unpack_process(claim);
    if (needed) return true;
    end_repair(v, dead, false);
    return false;
  }
  return false;
}

void end_repair(Segment& v, ProcessRef dead, bool freed) {
  Process* entry = find_process(v, dead);
  if (entry == nullptr) return;
  if (freed) {
    fetch_add(process_table(v).buried, u64{1});
    store_release(entry->state, static_cast<u32>(ProcessState::kFree));
    fetch_add(process_table(v).occupied, ~u64{0});
    note_free(v, dead.index_plus_1 - 1);
  }
  store_release(entry->claim, u64{0});
  fetch_add(process_table(v).claims, ~u64{0});
}

void hand_back_repair(Segment& v, ProcessRef dead, ProcessRef before) {
  if (Process* entry = find_process(v, dead)) store_release(entry->claim, pack(before));
}

bool drop_dead_claim(Segment& v, u32 index) {
  Process& entry = process_entry(v, index);
  u64 claim = load_acquire(entry.claim);
  if (claim == 0) return true;
  if (load_acquire(entry.state) != static_cast<u32>(ProcessState::kFree) || process_alive(v, v.fd, unpack_process(claim))) return false;
  if (!compare_exchange(entry.claim, claim, u64{0})) return false;
  fetch_add(process_table(v).claims, ~u64{0});
  return true;
}

void drop_own_claims(Segment& v) {
  if (load_acquire(process_table(v).claims) == 0) return;
  for (u32 index = 0; index < v.header->process_count; ++index) {
    u64 mine = pack(v.self);
    if (compare_exchange(process_entry(v, index).claim, mine, u64{0})) fetch_add(process_table(v).claims, ~u64{0});
  }
}

} // namespace pmemfile::shm
