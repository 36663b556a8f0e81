// Every flavour of clone: x86_64/entry.md tells how parent and child come out
// of the system call without needing any memory. Here they learn what it was.
#include <linux/sched.h>
#include <signal.h>
#include <sys/uio.h>

#include "base/atomic.h"
#include "intercept/dispatch.h"

namespace pmemfile::intercept {

namespace {

struct CloneCall {
  u64 flags = 0;
  u64 child_stack = 0; // its stack pointer; 0: the caller's
  CloneKind kind = CloneKind::Fork;
};

CloneKind kind_of(u64 flags) {
  if ((flags & CLONE_THREAD) != 0) return CloneKind::Thread;
  if ((flags & CLONE_VM) == 0) return CloneKind::Fork;
  return (flags & CLONE_VFORK) != 0 ? CloneKind::VforkLike : CloneKind::SharedMemory;
}

// The arguments of clone3 are memory of the program: a bad address must stay
// the kernel's to report.
bool read_clone_args(u64 address, u64 size, clone_args& out) {
  if (size < CLONE_ARGS_SIZE_VER0) return false;
  iovec to{&out, CLONE_ARGS_SIZE_VER0}, from{reinterpret_cast<void*>(address), CLONE_ARGS_SIZE_VER0};
  const long got = raw_syscall(SYS_process_vm_readv, raw_syscall(SYS_getpid), as_arg(&to), 1, as_arg(&from), 1, 0);
  if (got == CLONE_ARGS_SIZE_VER0) return true;
  if (got == -EFAULT || got >= 0) return false;
  __builtin_memcpy(&out, from.iov_base, CLONE_ARGS_SIZE_VER0); // not allowed here: trust the program
  return true;
}

bool describe(const Frame& frame, long nr, CloneCall& out) {
  switch (nr) {
    case SYS_fork: out.flags = 0; break;
    case SYS_vfork: out.flags = CLONE_VM | CLONE_VFORK; break;
    case SYS_clone:
      out.flags = frame.rdi & ~u64{CSIGNAL};
      out.child_stack = frame.rsi;
      break;
    case SYS_clone3: {
      clone_args args{};
      if (!read_clone_args(frame.rdi, frame.rsi, args)) return false;
      out.flags = args.flags;
      if (args.stack != 0) out.child_stack = args.stack + args.stack_size;
      break;
    }
    default: return false;
  }
  out.kind = kind_of(out.flags);
  return true;
}

// What comes back from the system call cannot know from its registers which
// call it was: rax holds the result, and the arguments of clone3 lie on the
// parent's stack, which the parent of a thread may have left. So the parent
// leaves notes under the stack pointers with which parent and child will come
// back, and each takes its own away. Those that share a stack (fork: a copy,
// vfork: in turn) find the same note. A vfork child may itself clone with that
// stack pointer, so the latest note counts.
struct Note {
  u64 key;      // stack pointer; 0: free; kTaken: being written
  u64 sequence; // later is larger
  u64 flags;
  u64 child;    // in a parent's note: the child's stack pointer, if it has its own
  bool shared;  // parent and child find this very note
};
constexpr u64 kTaken = 1;
// Few are in use at once: the first ones share a page with what a clone touches anyway.
constexpr unsigned kFirstNotes = 4, kMoreNotes = 252;
Note first_notes[kFirstNotes];
PMEMFILE_BULKY Note more_notes[kMoreNotes];
bool more_are_used = false; // once one was
u64 last_sequence = 0;

// Calls each(note) until it returns true.
template <class F>
void for_each_note(F each) {
  for (Note& note : first_notes)
    if (each(note)) return;
  if (!load_relaxed(more_are_used)) return;
  for (Note& note : more_notes)
    if (each(note)) return;
}

Note* find_note(u64 key) {
  Note* latest = nullptr;
  for_each_note([&](Note& note) {
    if (load_acquire(note.key) == key && (latest == nullptr || note.sequence > latest->sequence)) latest = &note;
    return false;
  });
  return latest;
}

Note* take_free_note() {
  Note* taken = nullptr;
  auto take = [&](Note& note) {
    u64 free = 0;
    if (compare_exchange(note.key, free, kTaken)) taken = &note;
    return taken != nullptr;
  };
  for_each_note(take);
  if (taken != nullptr || load_relaxed(more_are_used)) return taken;
  store_release(more_are_used, true);
  for_each_note(take);
  return taken;
}

// False: every note is in use.
bool leave_note(u64 key, u64 flags, u64 child, Note* reuse) {
  Note* note = reuse != nullptr ? reuse : take_free_note();
  if (note == nullptr) return false;
  note->sequence = fetch_add(last_sequence, u64{1}) + 1;
  note->flags = flags;
  note->child = child;
  note->shared = child == 0;
  store_release(note->key, key);
  return true;
}

void take_away(Note* note) { store_release(note->key, u64{0}); }

bool leave_notes(const Frame& frame, const CloneCall& call) {
  const u64 child = call.child_stack == frame.rsp() ? 0 : call.child_stack;
  if (!leave_note(frame.rsp(), call.flags, child, nullptr)) return false;
  if (child == 0) return true;
  // One that is there already is of a child that was killed at birth.
  if (leave_note(child, call.flags, child, find_note(child))) return true;
  take_away(find_note(frame.rsp()));
  return false;
}

// What lies on the parent's stack in a copied memory is of no use here, nor
// are the notes of its other threads.
void forget_all_notes() {
  for_each_note([](Note& note) {
    store_release(note.key, u64{0});
    return false;
  });
  store_relaxed(more_are_used, false);
}

void returned_in_child(Frame& frame, const ChildEvents& events, Note* note) {
  const u64 flags = note->flags;
  const CloneKind kind = kind_of(flags);
  if (kind == CloneKind::Fork) forget_all_notes();
  else if (!note->shared) take_away(note);
  if (events.child != nullptr) events.child(frame, kind, flags);
}

} // namespace

u64 clone_leaves(Frame& frame, const ChildEvents& events) {
  CloneCall call;
  if (!describe(frame, frame.nr(), call)) return kStubPass;
  if (!leave_notes(frame, call)) {
    frame.set_result(-EAGAIN);
    return stub_done(frame);
  }
  if (events.before != nullptr) events.before(frame, call.kind, call.flags);
  return kStubClone;
}

u64 clone_returns(Frame& frame, const ChildEvents& events) {
  Note* note = find_note(frame.rsp());
  if (note == nullptr) return stub_done(frame);
  if (frame.rax == 0) {
    returned_in_child(frame, events, note);
    return stub_done(frame);
  }
  const u64 flags = note->flags, child = note->child;
  const long result = static_cast<long>(frame.rax);
  take_away(note);
  if (is_syscall_error(result) && child != 0)
    if (Note* unused = find_note(child)) take_away(unused);
  if (events.parent != nullptr) events.parent(frame, kind_of(flags), flags, result);
  return stub_done(frame);
}

} // namespace pmemfile::intercept
