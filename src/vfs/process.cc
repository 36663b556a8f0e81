// A process's way through fork and exec (foundations C2), and where its descriptors stand.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "vfs/failure.h"
#include "vfs/open_files.h"

namespace pmemfile::vfs {
namespace {

using shm::Process;
using shm::ProcessRef;
using shm::ProcessState;
using shm::Segment;

void close_fd(int fd) {
  if (fd >= 0) raw_syscall(SYS_close, fd);
}
i32 own_pid() { return static_cast<i32>(raw_syscall(SYS_getpid)); }

// Programs count on low numbers; many close everything above 2, which the preload library keeps from these.
constexpr u64 kLowestDescriptor = 900;
// Room for the descriptors of several pools below a low limit.
constexpr u64 kBelowLimit = 64;

int move_high(int fd) {
  // Mostly there is room.
  if (static_cast<u64>(fd) >= kLowestDescriptor) return fd;
  long high = raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, static_cast<long>(kLowestDescriptor));
  if (!is_syscall_error(high)) {
    close_fd(fd);
    return static_cast<int>(high);
  }
  struct rlimit limit{};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, as_arg(&limit));
  u64 lowest = limit.rlim_cur > kLowestDescriptor + kBelowLimit ? kLowestDescriptor
               : limit.rlim_cur > 2 * kBelowLimit               ? limit.rlim_cur - kBelowLimit
                                                                : limit.rlim_cur / 2;
  // Where the hard limit allows it, the low one is left to the program.
  struct rlimit raised{kLowestDescriptor + 2 * kBelowLimit, limit.rlim_max};
  bool raise = limit.rlim_cur < raised.rlim_cur && limit.rlim_max >= raised.rlim_cur &&
               raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, as_arg(&raised), 0) == 0;
  if (raise) lowest = kLowestDescriptor;
  long moved = fd;
  if (fd >= 0 && static_cast<u64>(fd) < lowest) moved = raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, static_cast<long>(lowest));
  if (raise) raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, as_arg(&limit), 0);
  if (moved == fd) return fd;
  if (is_syscall_error(moved)) return fd;
  close_fd(fd);
  return static_cast<int>(moved);
}

void set_close_on_exec(int fd, bool on) {
  if (fd >= 0) raw_syscall(SYS_fcntl, fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

struct Copy {
  Pool* pool;
  ProcessRef child;
  int error = 0;
};

void copy_handle(void* context, u32 handle, u64 word) {
  auto& copy = *static_cast<Copy*>(context);
  if (copy.error != 0 || handle >= kFirstPassingHandle) return;
  bool mapping = (word & shm::kHandleIsMapping) != 0;
  auto made = make_reference(*copy.pool, copy.child, handle, shm::handle_description(word), mapping);
  // EBADF: closed by another thread meanwhile.
  if (!made.ok() && made.error() != EBADF) copy.error = made.error();
}

// What ended with the old image: its mappings, and what other threads had open for a moment.
void drop_if_of_image(void* context, u32 handle, u64 word) {
  Pool& pool = *static_cast<Pool*>(context);
  if ((word & shm::kHandleIsMapping) != 0 || handle >= kFirstPassingHandle) (void)close_handle(pool, handle);
}

struct Visit {
  void (*visit)(void* context, u32 handle, Description description);
  void* context;
};
void visit_handle(void* context, u32 handle, u64 word) {
  auto& visit = *static_cast<Visit*>(context);
  if ((word & shm::kHandleIsMapping) == 0) visit.visit(visit.context, handle, Description{shm::handle_description(word)});
}

void unlock_own_words(void* context, u32, u64 word) {
  Segment& v = *static_cast<Segment*>(context);
  shm::OpenDescription* description = shm::description_at(v, shm::handle_description(word));
  if (description == nullptr) return;
  shm::unlock_if_own(v, description->lock);
}

// ---- The text that exec passes on: numbers, each followed by a colon ----------------------------------------------

constexpr u64 kTextVersion = 1;
// Of a process that may only read: the token's place is taken by the memory file with its tables of open files.
constexpr u64 kReaderTextVersion = 2;
// And has no V but its own, a memory file as well.
constexpr u64 kLoneReaderTextVersion = 3;

bool next_number(const char*& at, u64* value) {
  *value = 0;
  const char* start = at;
  for (; *at >= '0' && *at <= '9'; ++at)
    if (__builtin_mul_overflow(*value, u64{10}, value) || __builtin_add_overflow(*value, static_cast<u64>(*at - '0'), value))
      return false;
  return at != start && *at++ == ':';
}

struct Passed {
  u64 version = 0, pool_fd = 0, segment_fd = 0, token_fd = 0, index_plus_1 = 0, generation = 0, device = 0, flushes = 0;
};

bool parse(const char* text, Passed* passed) {
  bool ok = next_number(text, &passed->version) && passed->version >= kTextVersion && passed->version <= kLoneReaderTextVersion &&
            next_number(text, &passed->pool_fd) && next_number(text, &passed->segment_fd) && next_number(text, &passed->token_fd) &&
            next_number(text, &passed->index_plus_1) && next_number(text, &passed->generation) &&
            next_number(text, &passed->device) && next_number(text, &passed->flushes);
  constexpr u64 kMaxFd = 1 << 30;
  return ok && passed->pool_fd < kMaxFd && passed->segment_fd < kMaxFd && passed->token_fd < kMaxFd;
}

bool same_file(int a, int b) {
  struct stat first{}, second{};
  return raw_syscall(SYS_fstat, a, as_arg(&first)) == 0 && raw_syscall(SYS_fstat, b, as_arg(&second)) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

// The entry must be ours: alive, of this very process or of a child that was prepared and became this one.
Result<ProcessRef> check_entry(Pool& pool, const Passed& passed, const shm::SegmentIdentity& named) {
  Segment& v = pool.store().segment;
  ProcessRef ref{static_cast<u32>(passed.index_plus_1), static_cast<u32>(passed.generation)};
  Process* entry = shm::find_process(v, ref);
  // Of V's descriptor it is known what it is.
  struct stat token{};
  bool of_v = raw_syscall(SYS_fstat, static_cast<long>(passed.token_fd), as_arg(&token)) == 0 && token.st_dev == named.dev && token.st_ino == named.ino;
  if (entry == nullptr || !of_v) return Error(ESRCH);
  // Its own classic lock is no proof to itself, but taking it again is.
  bool classic = passed.token_fd == passed.segment_fd;
  if (!(classic ? shm::take_classic_token(v, ref) : shm::process_alive(v, v.fd, ref))) return Error(ESRCH);
  bool prepared = load_acquire(entry->state) == static_cast<u32>(ProcessState::kPrepared);
  if (!prepared && load_acquire(entry->pid) != own_pid()) return Error(ESRCH);
  return ref;
}

void take_identity(Pool& pool, ProcessRef ref, int token_fd) {
  Segment& v = pool.store().segment;
  PoolInternals::set_self(pool, ref);
  PoolInternals::set_token(pool, token_fd);
  Process* entry = shm::find_process(v, ref);
  store_release(entry->pid, own_pid());
  store_release(entry->state, static_cast<u32>(ProcessState::kLive));
}

} // namespace

void PoolInternals::move_descriptors(Pool& pool) {
  pool.pool_fd_ = move_high(pool.pool_fd_);
  pool.token_fd_ = move_high(pool.token_fd_);
  shm::Segment& v = pool.store_.segment;
  v.fd = move_high(v.fd);
  pool.segment_fd_ = v.fd;
  pool.store_.waiter.segment_fd = v.fd;
}

Result<void> PoolInternals::make_private_tables(Pool& pool) {
  shm::Segment& tables = pool.private_tables_;
  const shm::Segment& v = pool.store_.segment;
  long base = raw_syscall(SYS_mmap, 0, static_cast<long>(v.bytes), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_syscall_error(base)) return Error(ENOMEM);
  tables.base = reinterpret_cast<u8*>(base);
  tables.bytes = v.bytes;
  tables.header = reinterpret_cast<shm::SegmentHeader*>(base);
  *tables.header = *v.header;
  tables.slots = tables.at<shm::Slot>(tables.header->slots_offset);
  tables.stripes = tables.at<shm::Stripe>(tables.header->stripes_offset);
  tables.self = ProcessRef{1, 1};
  shm::process_entry(tables, 0).generation = 1;
  shm::process_entry(tables, 0).state = static_cast<u32>(ProcessState::kLive);
  return {};
}

void PoolInternals::list_child_token(Pool& pool, int fd) {
  if (fd < 0) return;
  for (int& listed : pool.child_tokens_.fds_plus_1) {
    int nobody = 0;
    if (compare_exchange(listed, nobody, fd + 1)) return;
  }
  fetch_add(pool.child_tokens_.opening, 1u); // for ever: children look for themselves
}

void PoolInternals::close_child_token(Pool& pool, int fd) {
  if (fd < 0) return;
  close_fd(fd);
  for (int& listed : pool.child_tokens_.fds_plus_1) {
    int mine = fd + 1;
    if (compare_exchange(listed, mine, 0)) return;
  }
}

void PoolInternals::close_siblings_tokens(Pool& pool, int own_fd) {
  // Room of descriptor numbers that is looked through when the list may not name all.
  constexpr int kScanned = 2048;
  Pool::ChildTokens& tokens = pool.child_tokens_;
  int pool_v = pool.store_.segment.fd;
  // Closed and opened as something else since it was listed, it is not V's any more.
  auto drop = [&](int fd) {
    if (fd != own_fd && fd != pool_v && fd != pool.segment_fd_ && fd != pool.token_fd_ && same_file(fd, pool_v)) close_fd(fd);
  };
  for (int& listed : tokens.fds_plus_1)
    if (listed != 0) drop(listed - 1);
  if (PMEMFILE_UNLIKELY(tokens.opening != 0))
    for (int fd = 0; fd < kScanned; ++fd) drop(fd);
  tokens = Pool::ChildTokens{};
}

Result<shm::Registered> PoolInternals::register_child(Pool& pool, ProcessState state) {
  fetch_add(pool.child_tokens_.opening, 1u);
  auto result = shm::register_process(pool.store_.segment, 0, state, nullptr, nullptr);
  if (result.ok()) result.value().token_fd = move_high(result.value().token_fd);
  if (result.ok()) list_child_token(pool, result.value().token_fd);
  fetch_add(pool.child_tokens_.opening, ~u32{0});
  return result;
}

Result<Pool::ChildTicket> Pool::prepare_child() {
  // A reader's tables are private memory, which fork copies.
  if (private_tables_.base != nullptr) return ChildTicket{};
  bury_dead(store_);
  return with_room(*this, [&]() -> Result<ChildTicket> {
    Segment& v = store_.segment;
    shm::Registered registered = TRY(PoolInternals::register_child(*this, ProcessState::kPrepared));
    ChildTicket ticket{registered.ref, registered.token_fd};
    Copy copy{this, ticket.ref, 0};
    shm::for_each_handle(v, v.self, copy_handle, &copy);
    if (copy.error == 0) return ticket;
    cancel_child(ticket);
    return Error(copy.error);
  });
}

void Pool::cancel_child(const ChildTicket& ticket) {
  if (ticket.ref == ProcessRef{}) return;
  // The child never ran: its references are dropped as those of the dead are, by the one who made them.
  struct Drop {
    Pool* pool;
    ProcessRef child;
  } drop{this, ticket.ref};
  shm::for_each_handle(store_.segment, ticket.ref, [](void* context, u32 handle, u64) {
    auto& arguments = *static_cast<Drop*>(context);
    (void)drop_handle(*arguments.pool, arguments.child, handle);
  }, &drop);
  shm::free_handle_pages(store_.segment, ticket.ref);
  shm::release_process(store_.segment, ticket.ref, ticket.token_fd == shm::kClassicToken ? shm::kClassicToken : -1);
  PoolInternals::close_child_token(*this, ticket.token_fd);
}

void Pool::parent_after_fork(const ChildTicket& ticket) {
  if (ticket.token_fd == shm::kClassicToken) shm::give_classic_token(store_.segment, ticket.ref);
  PoolInternals::close_child_token(*this, ticket.token_fd);
}

void Pool::become_child(const ChildTicket& ticket) {
  if (ticket.ref == ProcessRef{}) return;
  // Kept, the parent's token would make a dead parent look alive.
  close_fd(token_fd_);
  token_fd_ = ticket.token_fd;
  PoolInternals::close_siblings_tokens(*this, token_fd_);
  if (ticket.token_fd == shm::kClassicToken) (void)shm::take_classic_token(store_.segment, ticket.ref);
  take_identity(*this, ticket.ref, ticket.token_fd);
}

namespace {
void* g_spare_view; // of a child that has gone, for the next one
}

Result<Pool*> Pool::view_as_child(const ChildTicket& ticket) {
  void* memory = exchange(g_spare_view, static_cast<void*>(nullptr));
  if (memory == nullptr) {
    long mapped = raw_syscall(SYS_mmap, 0, sizeof(Pool), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (is_syscall_error(mapped)) return Error(ENOMEM);
    memory = reinterpret_cast<void*>(mapped);
  }
  Pool* view = new (memory) Pool(*this);
  view->store_.waiter.context = &view->store_;
  view->child_tokens_ = ChildTokens{};
  // Two must not take it for different slots.
  if (view->store_.first_slot_plus_1 == 0) view->store_.first_staging = nullptr;
  if (ticket.ref != ProcessRef{}) {
    view->store_.segment.self = ticket.ref;
    view->token_fd_ = ticket.token_fd;
  }
  return view;
}

void Pool::child_view_runs(Pool* view, bool own_descriptors) {
  // With a classic token the parent's lock stands for the child until its new image has its own (adopt).
  if (view->private_tables_.base != nullptr || view->token_fd_ == shm::kClassicToken) return;
  if (own_descriptors) close_fd(token_fd_);
  take_identity(*view, view->store_.segment.self, view->token_fd_);
}

void Pool::drop_child_view(Pool* view) {
  void* none = nullptr;
  if (!compare_exchange(g_spare_view, none, static_cast<void*>(view))) raw_syscall(SYS_munmap, as_arg(view), sizeof(Pool));
}

Result<void> Pool::prepare_exec(char (&text)[128]) {
  if (is_cut_off()) return Error(EIO);
  bool reader = private_tables_.base != nullptr;
  if (reader) token_fd_ = move_high(TRY(PoolInternals::save_private_tables(*this)));
  Text out(text, sizeof text);
  ProcessRef self = store_.segment.self;
  out << (alone_ ? kLoneReaderTextVersion : reader ? kReaderTextVersion : kTextVersion) << ':' << pool_fd_ << ':' << segment_fd_ << ':' << (token_fd_ >= 0 ? token_fd_ : segment_fd_) << ':' << self.index_plus_1 << ':'
      << self.generation << ':' << device_ << ':' << u64{store_.medium.flushes} << ':';
  if (out.truncated()) return Error(ENAMETOOLONG);
  set_close_on_exec(pool_fd_, false);
  set_close_on_exec(segment_fd_, false);
  set_close_on_exec(token_fd_, false);
  return {};
}

void Pool::keep_after_failed_exec() {
  set_close_on_exec(pool_fd_, true);
  set_close_on_exec(segment_fd_, true);
  if (private_tables_.base != nullptr) {
    close_fd(token_fd_);
    token_fd_ = -1;
  }
  set_close_on_exec(token_fd_, true);
}

namespace {

Result<Pool*> adopt_reader(const Passed& passed, AttachFailure* failure) {
  auto kind = passed.version == kLoneReaderTextVersion ? PoolInternals::Kind::kLoneReader : PoolInternals::Kind::kReader;
  shm::SegmentIdentity named;
  Pool* pool = TRY(PoolInternals::map_inherited(static_cast<int>(passed.pool_fd), static_cast<int>(passed.segment_fd), kind, failure, &named));
  int tables_fd = static_cast<int>(passed.token_fd);
  auto loaded = PoolInternals::load_private_tables(*pool, tables_fd);
  close_fd(tables_fd);
  if (!loaded.ok()) {
    PoolInternals::destroy(pool);
    return fail(failure, loaded.error(), "exec", "the table of open files did not come along");
  }
  pool->keep_after_failed_exec(); // close-on-exec again
  pool->set_device(passed.device);
  Segment& tables = open_tables(*pool);
  shm::for_each_handle(tables, tables.self, unlock_own_words, &tables);
  shm::for_each_handle(tables, tables.self, drop_if_of_image, pool);
  return pool;
}

} // namespace

Result<Pool*> Pool::adopt(const char* text, AttachFailure* failure) {
  Passed passed;
  if (!parse(text, &passed)) return fail(failure, EINVAL, "exec", "what the process before left for this one is damaged");
  if (passed.version != kTextVersion) return adopt_reader(passed, failure);
  shm::SegmentIdentity named;
  Pool* pool =
      TRY(PoolInternals::map_inherited(static_cast<int>(passed.pool_fd), static_cast<int>(passed.segment_fd), PoolInternals::Kind::kWriter, failure, &named));
  auto ref = check_entry(*pool, passed, named);
  if (!ref.ok()) {
    PoolInternals::destroy(pool);
    return fail(failure, ref.error(), "exec", "the process before was another one");
  }
  bool classic = passed.token_fd == passed.segment_fd;
  take_identity(*pool, ref.value(), classic ? shm::kClassicToken : static_cast<int>(passed.token_fd));
  pool->keep_after_failed_exec(); // close-on-exec again
  pool->device_ = passed.device;
  if (passed.flushes != 0) pool->store_.medium.flushes = true;
  // Other threads may have died in the middle of something.
  repair_own_threads(*pool);
  Segment& v = pool->store_.segment;
  shm::for_each_handle(v, v.self, unlock_own_words, &v);
  shm::for_each_handle(v, v.self, drop_if_of_image, pool);
  return pool;
}

bool Pool::has_handle(u32 handle) {
  const Segment& v = open_tables(*this);
  const u64* word = shm::find_handle(v, v.self, handle);
  return word != nullptr && load_relaxed(*word) != 0;
}

void Pool::for_each_handle(void (*visit)(void* context, u32 handle, Description description), void* context) {
  Visit arguments{visit, context};
  const Segment& v = open_tables(*this);
  shm::for_each_handle(v, v.self, visit_handle, &arguments);
}

} // namespace pmemfile::vfs
