#include "preload/inflight.h"

#include <sys/mman.h>

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
    if (load_relaxed(one.deferred) != 0) store_relaxed(one.deferred, u64{0});
    if (&one != &own) clear(one.taken);
    return false;
  });
}

void publish_numbers(const Call& call) {
  u32(&numbers)[4] = call.block.in_flight->numbers;
  store_relaxed(numbers[0], static_cast<u32>(call.arg(0)) + 1);
  store_relaxed(numbers[1], static_cast<u32>(call.arg(1)) + 1);
  store_relaxed(numbers[2], static_cast<u32>(call.arg(2)) + 1);
  store_full(numbers[3], static_cast<u32>(call.arg(4)) + 1);
}

void withdraw_numbers(Call& call) {
  InFlight& own = *call.block.in_flight;
  for (unsigned i = 0; i < 3; ++i) store_release(own.numbers[i], 0u);
  store_full(own.numbers[3], 0u);
  u64 deferred = load_relaxed(own.deferred) != 0 ? exchange(own.deferred, u64{0}) : 0;
  if (deferred == 0) return;
  u32 fd = static_cast<u32>(deferred) - 1, mount = static_cast<u32>(deferred >> 32);
  if (leave_to_user(call, fd, mount)) return; // there is one more
  (void)vfs::close_handle(call.pool(mount), fd);
  give_back_number(call.process, fd);
}

bool leave_to_user(const Call& call, u32 fd, u32 mount) {
  u64 wanted = u64{mount} << 32 | (fd + 1);
  bool left = false;
  find([&](InFlight& other) {
    if (&other == call.block.in_flight || !uses(other, fd)) return false;
    u64 empty = 0;
    while (!compare_exchange(other.deferred, empty, wanted)) { // it has one already: rare enough to wait
      if (!uses(other, fd)) return true;
      empty = 0;
      raw_syscall(SYS_sched_yield);
    }
    u64 note = wanted;
    // It may have left before it could see our note.
    left = uses(other, fd) || !compare_exchange(other.deferred, note, u64{0});
    return true;
  });
  return left;
}

void wait_for_users(const Call& call, u32 fd) {
  for (unsigned tries = 0; tries < 10000; ++tries) { // a wait for a lock may last: then it loses its description
    if (!find([&](InFlight& other) { return &other != call.block.in_flight && uses(other, fd); })) return;
    raw_syscall(SYS_sched_yield);
  }
}

} // namespace pmemfile::preload
