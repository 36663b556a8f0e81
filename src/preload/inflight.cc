#include "preload/inflight.h"

#include <sys/mman.h>

#include "preload/children.h"
#include "preload/descriptors.h"

namespace pmemfile::preload {
namespace {

// Never given back, so that others may look without a lock. Its first `used` ones have had an owner.
struct Group {
  u32 count, used;
  Group* next;
  InFlight* all;
};
constexpr u64 kGroupBytes = 4096;
constexpr u32 kGroupCount = (kGroupBytes - sizeof(Group)) / sizeof(InFlight);

constexpr u32 kFirstCount = 3;
PMEMFILE_TOUCHED InFlight g_first_ones[kFirstCount];
Group g_first{kFirstCount, 0, nullptr, g_first_ones};

// Calls `body` with every one that has, or had, an owner, until it returns true.
template <class Body>
bool find(Body&& body) {
  for (Group* group = &g_first; group != nullptr; group = load_acquire(group->next))
    for (u32 i = 0, used = load_acquire(group->used); i < used; ++i)
      if (body(group->all[i])) return true;
  return false;
}

InFlight* claim_in(Group& group) {
  for (u32 i = 0; i < group.count; ++i) {
    u32 nobody = 0;
    if (load_relaxed(group.all[i].taken) != 0 || !compare_exchange(group.all[i].taken, nobody, 1u)) continue;
    for (u32 used = load_relaxed(group.used); used <= i && !compare_exchange(group.used, used, i + 1);) {}
    return &group.all[i];
  }
  return nullptr;
}

// False: there is no memory.
bool add_group(Group& last) {
  long room = raw_syscall(SYS_mmap, 0, kGroupBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_syscall_error(room)) return false;
  auto* group = reinterpret_cast<Group*>(room + kGroupCount * sizeof(InFlight));
  group->count = kGroupCount;
  group->all = reinterpret_cast<InFlight*>(room);
  Group* none = nullptr;
  if (!compare_exchange(last.next, none, group)) raw_syscall(SYS_munmap, room, kGroupBytes); // another thread was faster
  return true;
}

bool uses(const InFlight& thread, u32 fd) {
  for (const u32& number : thread.numbers)
    if (load_acquire(number) == fd + 1) return true;
  return false;
}

} // namespace

InFlight* claim_in_flight() {
  for (Group* group = &g_first;;) {
    if (InFlight* own = claim_in(*group)) return own;
    Group* next = load_acquire(group->next);
    if (next == nullptr && !add_group(*group)) return nullptr;
    group = load_acquire(group->next);
  }
}

void release_in_flight(InFlight& own) { store_release(own.taken, 0u); }

void keep_only_in_flight(InFlight& own) {
  auto clear = [](u32& word) {
    if (load_relaxed(word) != 0) store_relaxed(word, 0u); // a page that is not written is not copied
  };
  find([&](InFlight& one) {
    for (u32& number : one.numbers) clear(number);
    clear(one.deferred);
    if (&one != &own) clear(one.taken);
    return false;
  });
}

void publish_numbers(const Call& call, unsigned arguments) {
  u32(&numbers)[4] = call.block.in_flight->numbers;
  auto number = [&](unsigned index) { return (arguments >> index & 1) != 0 ? static_cast<u32>(call.arg(index)) + 1 : 0; };
  store_relaxed(numbers[0], number(0));
  store_relaxed(numbers[1], number(1));
  store_relaxed(numbers[2], number(2));
  store_full(numbers[3], number(4));
}

namespace {

// A passing handle of one of the pools whose closing is left to a user of the number.
struct Left {
  u32 number;
  u32 next; // in the chain of one thread: index + 1
};
Left g_left[kMaxMounts * vfs::kPassingHandles];

void close_or_leave(const Call& call, u32 index, const InFlight* behind);

// What was left to `thread`, but for `except`, goes to who stands behind it. True: `except` was among that.
bool hand_on(const Call& call, u32 chain, const InFlight& thread, u32 except) {
  bool found = false;
  while (chain != 0) {
    u32 index = chain - 1;
    chain = g_left[index].next;
    if (index == except) found = true;
    else close_or_leave(call, index, &thread);
  }
  return found;
}

// Closes it unless somebody uses it. Looks only behind `behind`, to whom it was left before: so each gets it once, and those who name the
// number as often as one looks do not keep it for ever.
void close_or_leave(const Call& call, u32 index, const InFlight* behind) {
  u32 number = g_left[index].number;
  bool left = find([&](InFlight& other) {
    if (behind != nullptr) {
      if (&other == behind) behind = nullptr;
      return false;
    }
    if (&other == call.block.in_flight || !uses(other, number)) return false;
    for (u32 chain = load_relaxed(other.deferred);;) {
      g_left[index].next = chain;
      if (compare_exchange(other.deferred, chain, index + 1)) break;
    }
    // It may have gone before it could see our note.
    return uses(other, number) || !hand_on(call, exchange(other.deferred, 0u), other, index);
  });
  if (!left) (void)vfs::close_handle(call.pool(index / vfs::kPassingHandles), vfs::kFirstPassingHandle + index % vfs::kPassingHandles);
}

// By another thread; a child in our memory has a table of its own.
bool is_used(const Call& call, u32 fd) {
  if (!is_multi_threaded() || call.process.is_child_view) return false;
  return find([&](InFlight& other) { return &other != call.block.in_flight && uses(other, fd); });
}

} // namespace

void withdraw_numbers(Call& call) {
  InFlight& own = *call.block.in_flight;
  for (unsigned i = 0; i < 3; ++i) store_release(own.numbers[i], 0u);
  store_full(own.numbers[3], 0u);
  if (PMEMFILE_UNLIKELY(load_relaxed(own.deferred) != 0)) hand_on(call, exchange(own.deferred, 0u), own, ~u32{0});
}

Result<u32> vacate_handle(Call& call, u32 fd, u32 mount, bool insist) {
  constexpr unsigned kTries = 10000;
  vfs::Pool& pool = call.pool(mount);
  for (unsigned tries = 0; is_used(call, fd); ++tries) {
    Result<u32> aside = vfs::set_handle_aside(pool, fd);
    if (aside.error() != ENFILE) return aside;
    if (!insist) return Error(ENFILE);
    if (tries == kTries) break;
    raw_syscall(SYS_sched_yield);
  }
  TRY(vfs::close_handle(pool, fd));
  return 0u;
}

void close_vacated(Call& call, u32 fd, u32 mount, u32 handle) {
  if (handle == 0) return;
  u32 index = mount * vfs::kPassingHandles + handle - vfs::kFirstPassingHandle;
  g_left[index].number = fd;
  close_or_leave(call, index, nullptr);
}

} // namespace pmemfile::preload
