// Attaching to a pool and leaving it.
#include "vfs/pool.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/vdso.h"
#include "journal/recovery.h"
#include "pmem/map.h"
#include "shm/process.h"
#include "shm/segment_file.h"
#include "vfs/failure.h"
#include "vfs/internals.h"
#include "vfs/names.h"
#include "vfs/open_files.h"
#include "vfs/repair.h"
#include "vfs/superblock.h"

namespace pmemfile::vfs {
namespace {

using journal::Store;

// What attach gathers step by step.
struct Attach {
  const char* path;
  const AttachOptions& options;
  AttachFailure* failure;
  Pool* pool;
  int fd = -1;
  bool first = false;    // holds the pool's kernel lock exclusively
  bool read_only = false;
  bool at_gate = false;
  bool alone = false; // has no V but its own
  shm::PoolIdentity identity{};
  layout::State state{};
  shm::Segment earlier{}; // V of users who died in this boot

  Error fail(int error, const char* what) { return vfs::fail(failure, error, path, what); }
};

Result<void*> map_private(u64 bytes) {
  long address = raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_syscall_error(address)) return Error(ENOMEM);
  return reinterpret_cast<void*>(address);
}

void identify_pool(Attach& a) {
  struct stat status{};
  raw_syscall(SYS_fstat, a.fd, as_arg(&status));
  a.identity.dev = status.st_dev;
  a.identity.ino = status.st_ino;
  a.identity.mode = status.st_mode & 0777;
  a.identity.uid = status.st_uid;
  a.identity.gid = status.st_gid;
}

Result<void> open_pool_file(Attach& a) {
  long fd = -EACCES;
  if (!a.options.read_only) fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(a.path), O_RDWR | O_CLOEXEC);
  if (fd == -EACCES || fd == -EROFS) {
    // Who may only read the pool file reads the pool.
    a.read_only = true;
    fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(a.path), O_RDONLY | O_CLOEXEC);
  }
  if (fd == -ENOENT) return a.fail(ENOENT, "there is no such pool; mkfs.pmemfile makes one");
  if (fd == -EMFILE || fd == -ENFILE) return a.fail(static_cast<int>(-fd), "too few descriptors (ulimit -n)");
  if (is_syscall_error(fd)) return a.fail(static_cast<int>(-fd), "the pool cannot be opened: permission or path is wrong");
  a.fd = static_cast<int>(fd);
  identify_pool(a);
  return {};
}

Result<void> check_format(Attach& a, layout::Geometry* geometry) {
  auto bytes = pmem::file_bytes(a.fd);
  if (!bytes.ok()) return a.fail(bytes.error(), "is neither a file nor a device-DAX node");
  auto fault = read_geometry(a.fd, bytes.value(), geometry);
  if (fault == layout::GeometryFault::kNone) return {};
  int error = fault == layout::GeometryFault::kVersion || fault == layout::GeometryFault::kFeature ? EPROTONOSUPPORT : kErrnoCorrupt;
  return a.fail(fault == layout::GeometryFault::kMagic ? EINVAL : error, layout::geometry_fault_text(fault));
}

Result<void> map_pool(Attach& a) {
  Store& store = a.pool->store();
  TRY(check_format(a, &store.geometry));
  if ((store.geometry.feature_read_only_compat & ~layout::kKnownReadOnlyCompat) != 0) a.read_only = true;
  __builtin_memcpy(a.identity.uuid, store.geometry.uuid, sizeof a.identity.uuid);
  auto mapped = pmem::map(a.fd, store.geometry.block_count * layout::kBlockBytes, !a.read_only);
  if (!mapped.ok()) return a.fail(mapped.error(), "the pool cannot be mapped");
  store.medium = mapped.value().medium;
  store.medium.recorder = a.options.recorder;
  if (a.options.force_flush) pmem::force_flushing(store.medium);
  return {};
}

// Alone, or one of several? A reader cannot hold the lock exclusively and never makes a V.
Result<void> take_pool_lock(Attach& a) {
  if (!a.read_only) {
    a.first = lock_pool(a.fd, F_WRLCK, false).ok();
    if (a.first) return {};
  }
  auto locked = lock_pool(a.fd, F_RDLCK, true);
  if (!locked.ok()) return a.fail(locked.error(), "the kernel lock of the pool cannot be taken (a file system without locks?)");
  return {};
}

u64 boot_id() {
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg("/proc/sys/kernel/random/boot_id"), O_RDONLY | O_CLOEXEC);
  if (is_syscall_error(fd)) return 1;
  u64 words[4] = {};
  raw_syscall(SYS_read, fd, as_arg(words), sizeof words);
  raw_syscall(SYS_close, fd);
  u64 id = 0;
  for (u64 word : words) id = shm::mix(id ^ word);
  return id | 1;
}

// A page-cache medium that was in use when the operating system went down may hold any mixture of old and new.
bool torn_by_crash(const Attach& a) {
  return a.pool->store().medium.level == pmem::Persistence::kPageCache && (a.state.flags & layout::kStateDirty) != 0 &&
         a.state.boot_id != boot_id();
}

shm::SegmentIdentity named_segment(const layout::State& state) {
  return shm::SegmentIdentity{state.segment_dev, state.segment_ino, state.segment_id};
}

// What changes when somebody writes the file, a backup into it for one, and not by stores into it where a V outlives its users.
i64 file_changed_ns(int fd) {
  struct stat status{};
  if (is_syscall_error(raw_syscall(SYS_fstat, fd, as_arg(&status)))) return 0;
  return status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec;
}

// The V that an orderly last user left behind in this boot can be used as it is, if the pool is what it was. After a kill a file that was just made
// by O_TMPFILE may stand in an orphan list without anybody who will free it: recovery looks.
bool reusable(const Attach& a, const shm::Segment& v) {
  const shm::ProcessTable& table = shm::process_table(v);
  return v.header->record_epoch == a.state.record_epoch && load_acquire(table.occupied) == 0 && load_acquire(table.buried) == 0 &&
         load_acquire(v.header->pool_changed_ns) == file_changed_ns(a.fd) && a.state.boot_id == boot_id();
}

// For who clears away Vs of pools that are gone.
void remember_path(Attach& a) {
  FixedText<32> link;
  link << "/proc/self/fd/" << a.fd;
  long size = raw_syscall(SYS_readlink, as_arg(link.c_str()), as_arg(a.identity.path), sizeof a.identity.path);
  // One that does not fit or was removed already ("... (deleted)") is not remembered.
  bool whole = size > 0 && size < static_cast<long>(sizeof a.identity.path) && a.identity.path[size - 1] != ')';
  if (!whole) a.identity.path[0] = '\0';
}

const char* why_no_segment(int error) {
  switch (error) {
    case EPERM: return "something foreign has the name of its shared segment, pmemfile-DEVICE-INODE in /dev/shm (or PMEMFILE_SHM_DIR): "
                       "a symlink, a directory, or a file of somebody else; remove it";
    case ENOSPC: return "there is no room for its shared segment in /dev/shm (or PMEMFILE_SHM_DIR)";
    case EACCES: return "its shared segment may not be made in /dev/shm (or PMEMFILE_SHM_DIR): no permission there";
    case ENOENT:
    case ENOTDIR: return "there is no directory for its shared segment: /dev/shm is missing, or PMEMFILE_SHM_DIR is wrong";
    case EMFILE: return "too few descriptors (ulimit -n)";
    case EFBIG: return "its shared segment would be larger than files may be (ulimit -f)";
    case ENOMEM: return "no room in the address space for its shared segment (ulimit -v)";
    default: return "its shared segment cannot be made in /dev/shm (or PMEMFILE_SHM_DIR)";
  }
}

// Replays, makes a new V and writes into the superblock that it is the one in force.
Result<void> start_epoch(Attach& a, const shm::SegmentHeader& plan) {
  Store& store = a.pool->store();
  store.segment = {};
  store.record_epoch = a.state.record_epoch;
  if (!journal::replay_all(store).ok()) return a.fail(kErrnoCorrupt, "its records are damaged; run fsck.pmemfile");
  remember_path(a);
  auto made = shm::create_segment(a.options.shm_dir, a.identity, plan, a.state.record_epoch + 1);
  if (!made.ok()) return a.fail(made.error(), why_no_segment(made.error()));
  store.segment = made.value();
  // Nobody else may use it before the pool is at rest (join): should this process die first, the next one begins again.
  store_release(store.segment.header->ready, 0u);
  shm::SegmentIdentity identity = TRY(shm::identity_of(store.segment));
  layout::State state = a.state;
  state.record_epoch += 1;
  state.segment_dev = identity.dev;
  state.segment_ino = identity.ino;
  state.segment_id = identity.id;
  state.boot_id = boot_id();
  if (store.medium.level == pmem::Persistence::kPageCache) state.flags |= layout::kStateDirty;
  write_state(store.medium, state);
  TRY(pmem::sync(store.medium, PoolOff{0}, layout::kSuperblockCopies * layout::kBlockBytes));
  a.state = state;
  return {};
}

// Does nobody else hold the lock?
bool alone(const Attach& a, PoolLock which = PoolLock::kPoolUse) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_start = static_cast<long>(which);
  lock.l_len = 1;
  return raw_syscall(SYS_fcntl, a.fd, F_OFD_GETLK, as_arg(&lock)) == 0 && lock.l_type == F_UNLCK;
}

// kRetryAttach: the V in force is not there although somebody has the pool's lock: perhaps only others like us, who came
// while one that was making it died.
constexpr int kRetryAttach = 1020;

// What its last users left in the records, and a V, for this process alone.
Result<void> start_alone(Attach& a, Result<shm::Segment> (*own)(Attach&)) {
  Store& store = a.pool->store();
  auto state = read_state(store.medium);
  if (!state.ok()) return a.fail(kErrnoCorrupt, "superblock damaged (state); run fsck.pmemfile");
  a.state = state.value();
  if (torn_by_crash(a))
    return a.fail(kErrnoCorrupt, "the operating system crashed while this pool, a file in the page cache, was in use; run fsck.pmemfile -p");
  store.record_epoch = a.state.record_epoch;
  if (!pmem::make_private(store.medium, a.fd).ok())
    return a.fail(ENODATA, "nobody uses it, and who may only read this device cannot begin: first a process that may write it has to use it");
  if (!journal::replay_all(store).ok()) return a.fail(kErrnoCorrupt, "its records are damaged; run fsck.pmemfile");
  auto made = own(a);
  if (!made.ok()) return a.fail(made.error(), "no memory for its segment");
  store.segment = made.value();
  PoolInternals::set_alone(*a.pool);
  a.alone = true;
  return {};
}

// Who may only read cannot make a V. Where there is none to be found, and nobody at one, nobody writes either, and nobody begins to as long
// as byte 0 is locked. kRetryAttach: somebody is at a V after all.
Result<void> be_alone(Attach& a) {
  TRY(lock_pool(a.fd, F_RDLCK, true, PoolLock::kPoolAlone));
  if (!alone(a, PoolLock::kPoolAttached)) {
    TRY(lock_pool(a.fd, F_UNLCK, false, PoolLock::kPoolAlone));
    return Error(kRetryAttach);
  }
  return start_alone(a, [](Attach& at) {
    return shm::create_own_segment(at.identity, shm::plan_segment(at.pool->store().geometry), at.state.record_epoch);
  });
}

Result<void> find_segment(Attach& a, bool* fresh) {
  Store& store = a.pool->store();
  shm::SegmentHeader plan = shm::plan_segment(store.geometry);
  auto state = read_state(store.medium);
  if (!state.ok()) return a.fail(kErrnoCorrupt, "superblock damaged (state); run fsck.pmemfile");
  a.state = state.value();
  auto opened = shm::open_segment(a.options.shm_dir, a.identity, named_segment(a.state), plan, !a.read_only);
  if (!a.first) {
    if (!opened.ok() && a.read_only && alone(a, PoolLock::kPoolAttached)) return be_alone(a);
    if (opened.error() == EPROTONOSUPPORT) return a.fail(EPROTONOSUPPORT, "the pool is in use by processes with another version of pmemfile");
    if (!opened.ok()) return Error(kRetryAttach);
    store.segment = opened.value();
    return {};
  }
  if (opened.ok() && reusable(a, opened.value())) {
    store.segment = opened.value();
    return {};
  }
  if (torn_by_crash(a))
    return a.fail(kErrnoCorrupt, "the operating system crashed while this pool, a file in the page cache, was in use; run fsck.pmemfile -p");
  if (opened.ok() && opened.value().header->record_epoch == a.state.record_epoch && a.state.boot_id == boot_id()) a.earlier = opened.value();
  else if (opened.ok()) shm::unmap_segment(opened.value());
  *fresh = true;
  return start_epoch(a, plan);
}

Result<void> bring_to_rest(void* context, Ino ino) {
  Store& store = *static_cast<Store*>(context);
  inode::Attr attr = TRY(inode::read(store, ino));
  if (attr.nlink == 0) return free_orphan(store, ino, true); // also what somebody was freeing when the power failed
  return (attr.flags & layout::kFlagTruncating) != 0 ? data::finish_truncate(store, ino) : Result<void>();
}

void repair_for_waiter(void* store, shm::ProcessRef dead) { repair_dead(*static_cast<Store*>(store), dead); }

void empty_inherited_entry(void* context) { inherit_dead(*static_cast<Store*>(context)); }

// What is private to this process beside the mappings.
Result<void> prepare_store(Store& store) {
  store.record_epoch = store.segment.header->record_epoch;
  store.waiter = shm::Waiter{repair_for_waiter, &store, store.segment.fd};
  u64 staging_bytes = store.geometry.record_slot_count * journal::kStagingBytes;
  store.staging = static_cast<u8*>(TRY(map_private(staging_bytes)));
  raw_syscall(SYS_madvise, as_arg(store.staging), static_cast<long>(staging_bytes), MADV_NOHUGEPAGE); // few pages of it are touched
  return {};
}

// A number that no kernel file system has, the same in every process.
u64 device_number(const shm::PoolIdentity& identity) {
  return 0x700000 | (shm::mix(identity.ino ^ identity.dev << 32) & 0xfffff);
}

Result<void> join(Attach& a, bool fresh) {
  Pool& pool = *a.pool;
  Store& store = pool.store();
  TRY(prepare_store(store));
  if (!a.first && !a.alone) {
    TRY(lock_pool(a.fd, F_RDLCK, true, PoolLock::kPoolAttached));
    if (!alone(a, PoolLock::kPoolAlone)) return a.fail(EBUSY, "it is being read by processes that do not find the shared segment of those who write it");
  }
  if (a.read_only) return PoolInternals::make_private_tables(pool);
  long pid = raw_syscall(SYS_getpid);
  auto registered = shm::register_process(store.segment, static_cast<i32>(pid), shm::ProcessState::kLive, empty_inherited_entry, &store);
  if (registered.error() == EMFILE) return a.fail(EMFILE, "too few descriptors (ulimit -n)");
  if (!registered.ok()) return a.fail(registered.error(), "too many processes are attached");
  store.segment.self = registered.value().ref;
  PoolInternals::set_token(pool, registered.value().token_fd);
  if (fresh && !inode::empty_orphans(store, bring_to_rest, &store).ok())
    return a.fail(kErrnoCorrupt, "its orphan lists are damaged; run fsck.pmemfile");
  if (fresh && a.earlier.base != nullptr) inode::adopt_times(store, a.earlier);
  if (fresh) store_release(store.segment.header->ready, 1u);
  TRY(lock_pool(a.fd, F_RDLCK, true, PoolLock::kPoolAttached));
  // Only now may others come: they find a pool at rest, and a V that somebody alive is using.
  if (a.first) TRY(lock_pool(a.fd, F_RDLCK, true));
  bury_dead(store);
  return {};
}

i64 monotonic_ns() {
  timespec now{};
  raw_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, as_arg(&now));
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// Some time, not the same for all.
void nap() {
  u64 random = 0;
  raw_syscall(SYS_getrandom, as_arg(&random), sizeof random, 0);
  timespec time{0, static_cast<long>(500'000 + random % 2'000'000)};
  raw_syscall(SYS_nanosleep, as_arg(&time), 0);
}

// For who holds the gate: others who are about to attach, whose V died with its maker or was never made, are at byte 0 for a moment and
// then wait for the gate, so that one is alone soon, whatever dies. Those who found a V stay: if it is still not here, it is elsewhere.
Result<void> find_in_turn(Attach& a, bool* fresh) {
  constexpr unsigned kAttemptsBesideAttached = 10; // they may be about to leave
  constexpr i64 kPatienceNs = 20'000'000'000;      // somebody is stopped on his way
  i64 start = monotonic_ns();
  for (unsigned beside_attached = 0;;) {
    TRY(take_pool_lock(a));
    auto found = find_segment(a, fresh);
    if (found.error() != kRetryAttach) return found;
    TRY(lock_pool(a.fd, F_UNLCK, false));
    if (!alone(a, PoolLock::kPoolAttached) && ++beside_attached == kAttemptsBesideAttached)
      return a.fail(EBUSY, "the pool is in use under another shared segment (another /dev/shm, a container, or it was removed); "
                           "stop those processes or share their PMEMFILE_SHM_DIR");
    if (monotonic_ns() - start > kPatienceNs)
      return a.fail(EBUSY, "somebody who is about to attach, reads the pool alone, or is using it with another version of pmemfile, does not move on");
    nap();
  }
}

// A process that finds itself with others but without their V lets go of the lock, so that one of them can be alone, and waits for
// its turn.
Result<void> lock_and_find(Attach& a, bool* fresh) {
  TRY(take_pool_lock(a));
  auto found = find_segment(a, fresh);
  if (found.error() != kRetryAttach) return found;
  TRY(lock_pool(a.fd, F_UNLCK, false));
  // Who may only read cannot keep the others out, and waits for each of them.
  TRY(lock_pool(a.fd, a.read_only ? F_RDLCK : F_WRLCK, true, PoolLock::kPoolGate));
  a.at_gate = true;
  return find_in_turn(a, fresh);
}

Result<void> attach_steps(Attach& a) {
  TRY(open_pool_file(a));
  PoolInternals::set_pool_fd(*a.pool, a.fd);
  TRY(map_pool(a));
  bool fresh = false;
  TRY(lock_and_find(a, &fresh));
  PoolInternals::set_segment_fd(*a.pool, a.pool->store().segment.fd);
  TRY(join(a, fresh));
  return a.at_gate ? lock_pool(a.fd, F_UNLCK, false, PoolLock::kPoolGate) : Result<void>();
}

} // namespace

namespace {

// The first Pool of a process lies with what else it touches: a mapping and a page less.
alignas(Pool) PMEMFILE_TOUCHED char g_first_room[sizeof(Pool)];
u32 g_first_room_in_use;

PMEMFILE_BULKY u8 g_first_staging[journal::kStagingBytes];

Result<Pool*> make_pool() {
  if (exchange(g_first_room_in_use, 1u) != 0) return new (TRY(map_private(sizeof(Pool)))) Pool();
  Pool* pool = new (static_cast<void*>(g_first_room)) Pool();
  pool->store().first_staging = g_first_staging;
  return pool;
}
void free_pool(Pool* pool) {
  if (static_cast<void*>(pool) != g_first_room) raw_syscall(SYS_munmap, as_arg(pool), sizeof(Pool));
  else store_release(g_first_room_in_use, 0u);
}

} // namespace

void PoolInternals::destroy(Pool* pool) {
  Store& store = pool->store_;
  if (store.segment.base != nullptr) shm::unmap_segment(store.segment);
  shm::unmap_segment(pool->private_tables_);
  if (store.staging != nullptr)
    raw_syscall(SYS_munmap, as_arg(store.staging), static_cast<long>(store.geometry.record_slot_count * journal::kStagingBytes));
  pmem::unmap(store.medium);
  // Of an attach that was refused after it had registered: its entry is a dead one's.
  if (pool->token_fd_ >= 0) raw_syscall(SYS_close, pool->token_fd_);
  if (pool->pool_fd_ >= 0) raw_syscall(SYS_close, pool->pool_fd_);
  free_pool(pool);
}

Result<Pool*> Pool::attach(const char* path, const AttachOptions& options, AttachFailure* failure) {
  vdso_start();
  auto made = make_pool();
  if (!made.ok()) return fail(failure, ENOMEM, path, "no memory");
  Pool* pool = made.value();
  Attach steps{path, options, failure, pool};
  auto result = attach_steps(steps);
  shm::unmap_segment(steps.earlier);
  if (!result.ok()) {
    if (failure != nullptr && failure->text[0] == '\0') (void)fail(failure, result.error(), path, "the pool cannot be attached");
    PoolInternals::destroy(pool);
    return Error(result.error());
  }
  PoolInternals::move_descriptors(*pool);
  pool->device_ = device_number(steps.identity);
  return pool;
}

Result<void> Pool::check(const char* path, AttachFailure* failure) {
  AttachOptions options;
  Attach steps{path, options, failure, nullptr};
  TRY(open_pool_file(steps));
  layout::Geometry geometry;
  auto result = check_format(steps, &geometry);
  raw_syscall(SYS_close, steps.fd);
  return result;
}

void Pool::forget(Pool* pool) {
  pool->pool_fd_ = pool->store_.segment.fd = pool->token_fd_ = -1;
  PoolInternals::destroy(pool);
}

// For adopt(): pool and V from descriptors that were passed on; the kernel lock came along with the pool's. Registers
// nothing. The descriptors belong to the Pool afterwards, also on failure.
Result<Pool*> PoolInternals::map_inherited(int pool_fd, int segment_fd, Kind kind, AttachFailure* failure, shm::SegmentIdentity* named) {
  vdso_start();
  Pool* pool = TRY(make_pool());
  AttachOptions options;
  Attach a{"inherited pool", options, failure, pool};
  a.fd = pool_fd;
  a.read_only = kind != Kind::kWriter;
  set_pool_fd(*pool, pool_fd);
  set_segment_fd(*pool, segment_fd);
  identify_pool(a);
  auto steps = [&]() -> Result<void> {
    TRY(map_pool(a));
    if (kind == Kind::kLoneReader) {
      TRY(start_alone(a, [](Attach& at) {
        return shm::adopt_own_segment(at.pool->segment_fd(), at.identity, shm::plan_segment(at.pool->store().geometry));
      }));
      return prepare_store(pool->store_);
    }
    a.state = TRY(read_state(pool->store_.medium));
    *named = named_segment(a.state);
    pool->store_.segment = TRY(shm::adopt_segment(segment_fd, a.identity, *named,
                                                  shm::plan_segment(pool->store_.geometry), !a.read_only));
    return prepare_store(pool->store_);
  };
  if (auto result = steps(); !result.ok()) {
    if (failure != nullptr && failure->text[0] == '\0') (void)a.fail(result.error(), "cannot be taken over after exec");
    destroy(pool);
    return Error(result.error());
  }
  pool->device_ = device_number(a.identity);
  return pool;
}

void Pool::put_names_dir(Text& path, const char* shm_dir) const { shm::put_names_dir(path, shm_dir, store_.segment); }

void Pool::force_flush() { pmem::force_flushing(store_.medium); }

namespace {

// Relatives share one open file description of the pool, and with it the kernel lock: that alone does not tell whether
// one of them is still at work.
bool others_at_work(const shm::Segment& v) {
  for (u32 index = 0; index < v.header->process_count; ++index) {
    const shm::Process& entry = shm::process_entry(v, index);
    shm::ProcessRef ref{index + 1, load_acquire(entry.generation)};
    if (load_acquire(entry.state) == static_cast<u32>(shm::ProcessState::kFree) || ref == v.self) continue;
    if (shm::process_alive(v, v.fd, ref)) return true;
  }
  return false;
}

} // namespace

void Pool::give_up_entry() {
  shm::Segment& v = store_.segment;
  shm::Process* entry = private_tables_.base != nullptr ? nullptr : shm::find_process(v, v.self);
  bool forgotten = load_relaxed(shm::process_table(v).forgotten) != 0;
  if (PMEMFILE_UNLIKELY(entry != nullptr && (has_left(*entry) || forgotten))) free_left(*this);
  if (PMEMFILE_UNLIKELY(entry != nullptr && has_left(*entry))) {
    // Somebody else will see to it.
    store_release(entry->state, static_cast<u32>(shm::ProcessState::kUnburied));
    store_release(shm::process_table(v).unburied, u64{1});
    if (token_fd_ == shm::kClassicToken) shm::give_classic_token(v, v.self);
    if (token_fd_ >= 0) raw_syscall(SYS_close, token_fd_);
  } else {
    shm::release_process(v, v.self, token_fd_);
  }
  token_fd_ = -1;
}

void Pool::write_out_times() {
  if (store_.segment.self != shm::ProcessRef{} && inode::has_times_left(store_) && !others_at_work(store_.segment)) inode::write_out_times(store_);
}

void Pool::leave() {
  if (store_.segment.self != shm::ProcessRef{}) {
    drop_all_handles(store_);
    write_out_times();
    store_release(store_.segment.header->pool_changed_ns, file_changed_ns(pool_fd_));
    give_up_entry();
  }
  // The last one off a page-cache medium leaves it clean.
  bool must_sync = store_.medium.writable && store_.medium.level == pmem::Persistence::kPageCache;
  must_sync = must_sync && !others_at_work(store_.segment);
  if (must_sync && lock_pool(pool_fd_, F_WRLCK, false).ok() && pmem::sync(store_.medium, PoolOff{0}, store_.medium.bytes).ok()) {
    auto state = read_state(store_.medium);
    if (state.ok()) {
      state.value().flags &= ~layout::kStateDirty;
      state.value().segment_id = 0; // the next one starts anew and marks it dirty again
      write_state(store_.medium, state.value());
      (void)pmem::sync(store_.medium, PoolOff{0}, layout::kSuperblockCopies * layout::kBlockBytes);
    }
  }
}

void Pool::detach() {
  leave();
  PoolInternals::destroy(this);
}

} // namespace pmemfile::vfs
