#include "vfs/transit.h"

#include "vfs/open_files.h"

namespace pmemfile::vfs {
namespace {

using shm::Process;
using shm::ProcessRef;
using shm::ProcessState;
using shm::Segment;

constexpr u32 kTransitHandle = 0;

// The description that a handle of another entry refers to; EBADF if it is none.
Result<u32> description_of_handle(const Segment& v, ProcessRef process, u32 handle) {
  u64* word = shm::find_handle(v, process, handle);
  u64 value = word == nullptr ? 0 : load_acquire(*word);
  if (value == 0 || (value & (shm::kHandleIsMapping | shm::kClaimMark)) != 0) return Error(EBADF);
  return shm::handle_description(value);
}

Result<void> refer(Pool& pool, u32 handle, u32 description) {
  return with_room(pool, [&] { return make_reference(pool, pool.store().segment.self, handle, description, false); });
}

bool has_private_tables(const Pool& pool) { return open_tables(pool).base != pool.store().segment.base; }

} // namespace

u64 transit_label(const Pool& pool) { return shm::mix(pool.store().segment.header->segment_id ^ 0x72696768747321); }

Result<Pool::ChildTicket> begin_transit(Pool& pool, Description description) {
  if (has_private_tables(pool)) return Error(EOPNOTSUPP);
  bury_dead(pool.store());
  return with_room(pool, [&]() -> Result<Pool::ChildTicket> {
    Result<shm::Registered> registered = PoolInternals::register_child(pool, ProcessState::kTransit);
    if (!registered.ok()) return Error(registered.error());
    Pool::ChildTicket ticket{registered.value().ref, registered.value().token_fd};
    auto made = make_reference(pool, ticket.ref, kTransitHandle, static_cast<u32>(description), false);
    if (made.ok()) return ticket;
    pool.cancel_child(ticket);
    return Error(made.error());
  });
}

void set_carrier(Pool& pool, ProcessRef transit, u64 carrier) {
  if (Process* entry = shm::find_process(pool.store().segment, transit)) store_release(entry->carrier, carrier);
}

void transit_under_way(Pool& pool, const Pool::ChildTicket& ticket) { PoolInternals::close_child_token(pool, ticket.token_fd); }

void cancel_transit(Pool& pool, const Pool::ChildTicket& ticket) { pool.cancel_child(ticket); }

Result<Description> receive_transit(Pool& pool, ProcessRef transit, u64 carrier, u32 handle) {
  if (has_private_tables(pool)) return Error(EOPNOTSUPP);
  const Segment& v = pool.store().segment;
  Process* entry = shm::find_process(v, transit);
  if (entry == nullptr || load_acquire(entry->generation) != transit.generation ||
      load_acquire(entry->state) != static_cast<u32>(ProcessState::kTransit) || load_acquire(entry->carrier) != carrier)
    return Error(ESTALE);
  u32 description = TRY(description_of_handle(v, transit, kTransitHandle));
  TRY(refer(pool, handle, description));
  return Description{description};
}

void end_transit(Pool& pool, ProcessRef transit) { bury(pool, transit, inode::Wait::kYes); }

Result<Description> take_from_process(Pool& pool, i32 pid, u32 number, u32 handle) {
  if (has_private_tables(pool)) return Error(ENOENT);
  const Segment& v = pool.store().segment;
  for (u32 index = 0; index < v.header->process_count; ++index) {
    const Process& entry = shm::process_entry(v, index);
    if (load_acquire(entry.state) != static_cast<u32>(ProcessState::kLive) || load_acquire(entry.pid) != pid) continue;
    ProcessRef owner{index + 1, load_acquire(entry.generation)};
    if (!shm::process_alive(v, v.fd, owner)) continue;
    u32 description = TRY(description_of_handle(v, owner, number));
    TRY(refer(pool, handle, description));
    // Closed and opened as something else in between, it is not what was asked for.
    Result<u32> again = description_of_handle(v, owner, number);
    if (again.ok() && again.value() == description) return Description{description};
    (void)close_handle(pool, handle);
    return Error(EBADF);
  }
  return Error(ENOENT);
}

} // namespace pmemfile::vfs
