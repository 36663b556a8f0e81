#include "preload/children.h"

#include <linux/sched.h>
#include <sys/mman.h>

#include "preload/attach.h"
#include "preload/credentials.h"
#include "preload/descriptors.h"
#include "preload/exec.h"
#include "preload/guests.h"
#include "preload/handlers.h"
#include "preload/inflight.h"
#include "preload/maps.h"
#include "preload/signals.h"
#include "vfs/repair.h"

namespace pmemfile::preload {

// A clone of this thread that is under way: made before the system call, given up when the parent goes on.
struct ChildRun {
  ChildRun* outer;
  u64 stack_pointer; // of the parent at the call
  intercept::CloneKind kind;
  bool locked;
  vfs::Pool::ChildTicket tickets[kMaxMounts];
  char* exec_room; // what the child's exec mapped in our memory
  u64 exec_room_bytes;
  ThreadWords words; // of the parent, whose thread-local storage a child in our memory uses
  u8 block_words[kThreadWordsBytes]; // for a child of fork, which finds an empty block
  Process* process; // of a child that runs in our memory: made for the first of them, kept
};

namespace {

u32 g_threads = 1;

intercept::CloneKind kind_of(u64 flags) {
  if ((flags & CLONE_THREAD) != 0) return intercept::CloneKind::Thread;
  if ((flags & CLONE_VM) == 0) return intercept::CloneKind::Fork;
  return (flags & CLONE_VFORK) != 0 ? intercept::CloneKind::VforkLike : intercept::CloneKind::SharedMemory;
}

// One run that is over, with its rooms, for the next child: to map, touch and unmap them each time would cost more than all
// else that is done for a child. The first one lies with our other data.
ChildRun* g_spare_run;
PMEMFILE_TOUCHED alignas(ChildRun) char g_first_run[sizeof(ChildRun)];
u32 g_first_run_in_use;

void* map_room(u64 bytes) {
  long room = raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return is_syscall_error(room) ? nullptr : reinterpret_cast<void*>(room);
}
void unmap_room(void* room, u64 bytes) {
  if (room != nullptr) raw_syscall(SYS_munmap, as_arg(room), static_cast<long>(bytes));
}

ChildRun* take_run() {
  if (ChildRun* spare = exchange(g_spare_run, static_cast<ChildRun*>(nullptr))) return spare;
  if (exchange(g_first_run_in_use, 1u) == 0) return reinterpret_cast<ChildRun*>(g_first_run);
  return static_cast<ChildRun*>(map_room(sizeof(ChildRun)));
}

void free_rooms(ChildRun* run) {
  unmap_room(run->exec_room, run->exec_room_bytes);
  if (run->process == nullptr) return;
  free_descriptor_table(*run->process);
  unmap_room(run->process, sizeof(Process));
}

void free_run(ChildRun* run) {
  if (run->kind != intercept::CloneKind::Fork && run->process != nullptr) {
    free_groups(run->process->identity);
    for (auto& pool : run->process->pools) pool = nullptr;
  }
  for (auto& ticket : run->tickets) ticket = {};
  run->locked = false;
  ChildRun* none = nullptr;
  if (compare_exchange(g_spare_run, none, run)) return;
  free_rooms(run);
  if (run != reinterpret_cast<ChildRun*>(g_first_run)) return unmap_room(run, sizeof(ChildRun));
  run->exec_room = nullptr;
  run->process = nullptr;
  store_release(g_first_run_in_use, 0u);
}

// The parent's side is over: `alive` says whether there is a child.
void end_run(ChildRun* run, bool alive) {
  Process& process = current_process();
  for (u32 i = 0; i < g_mount_count; ++i) {
    vfs::Pool* view = run->kind != intercept::CloneKind::Fork && run->process != nullptr ? run->process->pools[i] : nullptr;
    if (process.pools[i] == nullptr) { // it attached itself, or did not
      if (view != nullptr) vfs::Pool::forget(view);
      continue;
    }
    if (view != nullptr) process.pools[i]->drop_child_view(view);
    if (run->tickets[i].ref == shm::ProcessRef{}) continue;
    if (alive)
      process.pools[i]->parent_after_fork(run->tickets[i]);
    else
      process.pools[i]->cancel_child(run->tickets[i]);
    if (run->tickets[i].token_fd >= 0) unhide_descriptor(process, run->tickets[i].token_fd);
  }
  if (run->locked && --t_thread.forks_locked == 0) unlock_process(process);
  free_run(run);
}

// ---- Table and handles of a child beside other threads -----------------------------------------------------------

// Other threads open and close while the child's handles are made and its table is copied, so the two need not be of one moment. What the handles
// refer to stays open for the child, so they count: a number without one is closed, as it was a moment before or after.
struct Matched {
  Process& child;
  u32 mount;
  bool owns_numbers; // the kernel's table is the child's own, too
};

void close_number(const Matched& matched, u32 fd) {
  set_fd_word(matched.child, fd, 0);
  // Of a child in our memory they are close-on-exec. And a dup2 may have put one of the kernel's there already.
  if (!matched.owns_numbers || !is_placeholder(fd)) return;
  raw_syscall(SYS_close, fd);
  note_kernel_close(matched.child, fd);
}

bool is_in_stash(const Process& process, u32 fd) {
  for (u32 i = 0; i < process.stash_count; ++i)
    if (process.stash[i] == fd) return true;
  return false;
}

void match_handle(void* context, u32 handle, vfs::Description description) {
  auto& matched = *static_cast<Matched*>(context);
  if (handle >= kMaxDescriptors) return;
  FdWord word = table_word(matched.child, handle);
  bool replaced = (word & kFdReplaced) != 0; // a dup2 was at it: it is what it was
  if (!replaced && (!is_file(word) || mount_of(word) != matched.mount)) {
    (void)vfs::close_handle(*matched.child.pools[matched.mount], handle);
    return;
  }
  FdWord flags = word & (kFdCloexec | kFdKernelCloexec);
  if (replaced || description_of(word) != description) set_fd_word(matched.child, handle, file_word(matched.mount, description, flags));
}

void match_handles(Process& child, const ChildRun& run, bool owns_numbers) {
  for (u32 i = 0; i < g_mount_count; ++i) {
    if (child.pools[i] == nullptr || run.tickets[i].ref == shm::ProcessRef{}) continue;
    Matched matched{child, i, owns_numbers};
    child.pools[i]->for_each_handle(match_handle, &matched);
  }
  for (u32 fd = 0; fd < child.fd_end; ++fd) {
    FdWord word = table_word(child, fd);
    if (word == 0 || word == kFdInternal) continue;
    Matched matched{child, 0, owns_numbers};
    if (!is_file(word)) {
      if (!is_in_stash(child, fd)) close_number(matched, fd); // somebody was opening or closing it
      continue;
    }
    vfs::Pool* pool = child.pools[mount_of(word)];
    if (pool == nullptr || run.tickets[mount_of(word)].ref == shm::ProcessRef{}) continue;
    if (!pool->has_handle(fd)) close_number(matched, fd);
  }
}

// A private copy of the descriptor table and all else for a child in our memory.
long copy_process(ChildRun* run, Process& from) {
  if (run->process == nullptr) run->process = static_cast<Process*>(map_room(sizeof(Process)));
  if (run->process == nullptr) return -ENOMEM;
  Process& copy = *run->process;
  FdWord* table = copy.fds; // of a child before this one
  u32 table_end = copy.fd_end;
  copy = from;
  copy.fds = table;
  for (auto& pool : copy.pools) pool = nullptr;
  copy.lock = 0;
  copy.is_child_view = true;
  if (from.fds != nullptr) {
    if (table == nullptr && !make_descriptor_table(copy)) return -ENOMEM;
    u64 used = align_up(from.fd_end, kFdsPerPage), once_used = align_up(table_end, kFdsPerPage);
    memcpy(copy.fds - used, from.fds - used, used * sizeof(FdWord));
    if (once_used > used) memset(copy.fds - once_used, 0, (once_used - used) * sizeof(FdWord));
  }
  copy_identity(copy, from, *t_thread.block);
  for (u32 i = 0; i < g_mount_count; ++i) {
    if (from.pools[i] == nullptr) continue;
    Result<vfs::Pool*> view = from.pools[i]->view_as_child(run->tickets[i]);
    if (!view.ok()) return -view.error();
    copy.pools[i] = view.value();
  }
  if (is_multi_threaded()) match_handles(copy, *run, false);
  return 0;
}

// The rooms of a thread are of no use to a child of fork but as rooms: it finds them empty. So neither does the kernel copy
// their page tables nor do parent and child copy pages when they next write there, which costs more than the rest of a fork.
void wipe_in_children(ThreadBlock& block) {
  if (block.is_wiped_in_children) return;
  constexpr u64 kBegin = offsetof(ThreadBlock, stack);
  block.is_wiped_in_children = raw_syscall(SYS_madvise, as_arg(block.stack), sizeof(ThreadBlock) - kBegin, MADV_WIPEONFORK) == 0;
}

void keep_block_words(ChildRun* run, const ThreadBlock& block) { memcpy(run->block_words, &block.in_flight, kThreadWordsBytes); }
// In the child, before anything else of ours looks at its block.
void restore_block_words() {
  ThreadBlock& block = *t_thread.block;
  memcpy(&block.in_flight, t_thread.forking->block_words, kThreadWordsBytes);
  block.pending_count = 0; // signals that came before the fork are the parent's
  t_thread.forking = nullptr;
}

// Entries, handles and tokens in V; for a child in our memory its view of everything, too.
long prepare_run(ChildRun* run, Process& process, intercept::CloneKind kind) {
  for (u32 i = 0; i < g_mount_count; ++i) {
    if (process.pools[i] == nullptr) continue;
    Result<vfs::Pool::ChildTicket> ticket = process.pools[i]->prepare_child();
    if (!ticket.ok()) return -ticket.error();
    run->tickets[i] = ticket.value();
    if (ticket.value().token_fd >= 0) hide_descriptor(process, ticket.value().token_fd);
  }
  run->words = t_thread;
  return kind == intercept::CloneKind::Fork ? 0 : copy_process(run, process);
}

long begin_run(Call& call, intercept::CloneKind kind) {
  Process& process = call.process;
  ChildRun* run = take_run();
  if (run == nullptr) return -ENOMEM;
  run->stack_pointer = call.frame.rsp();
  run->kind = kind;
  bool threads = is_multi_threaded();
  // Another thread's half-made attachment must not be in the child's copy.
  if (threads) attach_all(process);
  // From the copies of the handles until that of the table no number becomes another file. With the memory the table is copied by the fork: a
  // handler of the program may still come before that; what it does is done whole.
  if (threads) {
    lock_process(process);
    if (kind == intercept::CloneKind::Fork) ++t_thread.forks_locked, run->locked = true;
  }
  long error = prepare_run(run, process, kind);
  if (threads && kind != intercept::CloneKind::Fork) unlock_process(process);
  if (error != 0) {
    end_run(run, false);
    return error;
  }
  run->outer = call.block.children;
  call.block.children = run;
  if (kind == intercept::CloneKind::Fork) {
    wipe_in_children(call.block);
    keep_block_words(run, call.block);
    t_thread.forking = run;
  }
  return 0;
}

struct EventCall {
  intercept::Frame* frame;
  intercept::CloneKind kind;
  long result;
};

// The child may have changed its mask and its alternate stack.
void restore_words(const ThreadWords& before) {
  t_thread.process = before.process;
  t_thread.altstack_base = before.altstack_base;
  t_thread.altstack_bytes = before.altstack_bytes;
  t_thread.blocked_faults = before.blocked_faults;
  t_thread.suspended_at = 0;
}

long parent_event(void* argument) {
  auto* event = static_cast<EventCall*>(argument);
  ThreadBlock& block = *t_thread.block;
  // Runs of a child that was killed inside its own clone lie on top.
  while (block.children != nullptr) {
    ChildRun* run = block.children;
    bool mine = run->stack_pointer == event->frame->rsp();
    block.children = run->outer;
    if (run->kind != intercept::CloneKind::Fork && mine) restore_words(run->words);
    end_run(run, mine && event->result > 0);
    if (mine) break;
  }
  // A handler of the program may have forked while another fork was being prepared.
  ChildRun* outer = block.children;
  t_thread.forking = outer != nullptr && outer->kind == intercept::CloneKind::Fork ? outer : nullptr;
  return 0;
}

long child_event(void* argument) {
  auto* event = static_cast<EventCall*>(argument);
  ThreadBlock& block = *t_thread.block;
  ChildRun* run = block.children;
  if (run == nullptr) return 0;
  if (event->kind != intercept::CloneKind::Fork) {
    t_thread.process = run->process;
    return 0;
  }
  // A copy of the memory: this thread is the only one.
  Process& process = current_process();
  g_threads = 1;
  reset_map_lock();
  keep_only_in_flight(*block.in_flight);
  forget_all_guests();
  for (u32 i = 0; i < g_mount_count; ++i) {
    if (process.pools[i] == nullptr) continue;
    int old_token = process.pools[i]->token_fd();
    process.pools[i]->become_child(run->tickets[i]);
    unhide_descriptor(process, old_token);
    hide_descriptor(process, process.pools[i]->token_fd());
    hide_descriptor(process, process.pools[i]->pool_fd());
    hide_descriptor(process, process.pools[i]->segment_fd());
  }
  if (run->locked) match_handles(process, *run, true);
  t_thread.forks_locked = 0;
  if (load_relaxed(process.lock) != 0) unlock_process(process);
  block.children = nullptr;
  free_run(run);
  return 0;
}

void run_event(long (*event)(void*), EventCall& call) {
  ThreadBlock* block = t_thread.block;
  if (block == nullptr) return;
  t_thread.in_call = 1;
  run_on_hook_stack(*block, call.frame->rsp(), event, &call);
  t_thread.in_call = 0;
  if (block->pending_count != 0) raise_pending(*block, -1, -1, 0);
}

void on_parent(intercept::Frame& frame, intercept::CloneKind kind, u64, long result) {
  if (kind == intercept::CloneKind::Thread) {
    if (result < 0) fetch_add(g_threads, ~u32{0});
    return;
  }
  if (kind == intercept::CloneKind::SharedMemory) return;
  EventCall call{&frame, kind, result};
  run_event(parent_event, call);
}

void on_child(intercept::Frame& frame, intercept::CloneKind kind, u64) {
  if (kind == intercept::CloneKind::SharedMemory) return become_guest();
  if (kind == intercept::CloneKind::Thread) { // its words are fresh
    if (load_relaxed(g_guest_count) != 0) forget_guest(static_cast<i32>(raw_syscall(SYS_gettid)));
    return;
  }
  if (kind == intercept::CloneKind::Fork && t_thread.forking != nullptr) restore_block_words();
  EventCall call{&frame, kind, 0};
  run_event(child_event, call);
}

} // namespace

char* kept_exec_room(Call& call, u64& bytes) {
  if (!call.process.is_child_view || call.block.children == nullptr) return nullptr;
  ChildRun& run = *call.block.children;
  if (run.exec_room != nullptr && run.exec_room_bytes < bytes) {
    raw_syscall(SYS_munmap, as_arg(run.exec_room), static_cast<long>(run.exec_room_bytes));
    run.exec_room = nullptr;
  }
  if (run.exec_room == nullptr) {
    long made = map_exec_room(bytes);
    if (is_syscall_error(made)) return nullptr;
    run.exec_room = reinterpret_cast<char*>(made);
    run.exec_room_bytes = bytes;
  }
  bytes = run.exec_room_bytes;
  return run.exec_room;
}

const intercept::ChildEvents kChildEvents = {nullptr, on_parent, on_child};

bool is_multi_threaded() { return load_relaxed(g_threads) > 1; }

namespace {
long begin_clone(Call& call, u64 flags) {
  intercept::CloneKind kind = kind_of(flags);
  if (kind == intercept::CloneKind::Thread) {
    if ((flags & (CLONE_FILES | CLONE_FS)) != (CLONE_FILES | CLONE_FS)) return refuse(call, EINVAL); // as unshare
    fetch_add(g_threads, 1u);
    return kPassOn;
  }
  // With descriptors of its own it would keep our token alive, and close what is still in use here.
  if (kind == intercept::CloneKind::SharedMemory) {
    if ((flags & CLONE_FILES) == 0) return refuse(call, ENOSYS);
    return may_have_guest() ? kPassOn : -EAGAIN;
  }
  // A copy of the memory beside the same descriptors: two tables of ours for one of the kernel's.
  if (kind == intercept::CloneKind::Fork && (flags & CLONE_FILES) != 0) return refuse(call, ENOSYS);
  long error = begin_run(call, kind);
  return error != 0 ? error : kPassOn;
}
} // namespace

long h_clone(Call& call) {
  if (call.nr == SYS_fork) return begin_clone(call, 0);
  if (call.nr == SYS_vfork) return begin_clone(call, CLONE_VM | CLONE_VFORK);
  if (call.nr == SYS_clone) return begin_clone(call, call.arg(0) & ~u64{CSIGNAL});
  u64 flags = 0;
  if (pmem::copy_guarded(&flags, call.pointer<void>(0), sizeof flags) != 0) return -EFAULT;
  return begin_clone(call, flags);
}

namespace {
// An orderly end lets go of everything at once; what is left otherwise is found by the others.
void leave_pools(Call& call) {
  if (load_relaxed(g_sandboxed)) return;
  for (u32 i = 0; i < g_mount_count; ++i) {
    vfs::Pool* pool = call.process.pools[i];
    if (pool == nullptr) continue;
    if (call.process.is_child_view) { // its parent still uses the mapping
      vfs::drop_all_handles(pool->store());
    } else {
      pool->leave();
      call.process.pools[i] = nullptr;
    }
  }
}
} // namespace

long h_exit(Call& call) {
  if (load_relaxed(g_threads) <= 1 || call.process.is_child_view) {
    report_at_exit(call.process);
    leave_pools(call);
    return kPassOn;
  }
  fetch_add(g_threads, ~u32{0});
  return kPassOn;
}
long h_exit_group(Call& call) {
  report_at_exit(call.process);
  if (!is_multi_threaded() || call.process.is_child_view) {
    leave_pools(call);
    return kPassOn;
  }
  for (u32 i = 0; i < g_mount_count; ++i)
    if (vfs::Pool* pool = call.process.pools[i]; pool != nullptr && !load_relaxed(g_sandboxed)) pool->write_out_times();
  return kPassOn;
}

} // namespace pmemfile::preload
