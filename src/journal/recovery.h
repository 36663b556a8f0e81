// What brings a pool to a consistent state after a death: replay after a power failure, repair of one slot after a
// SIGKILL. Both apply committed records by the rule of docs/architecture.md.
//
// Rules: replay_all is for the one process that holds the pool alone. repair_slot is for who has claimed the
// dead owner of the slot.
#pragma once

#include "journal/store.h"

namespace pmemfile::journal {

struct ReplayCount {
  u32 records = 0; // valid ones found
  u32 lines = 0;   // brought forward
};
// Brings all lines to their last durable version and makes that durable. The caller then starts a new epoch,
// which voids the records. EUCLEAN: a record names what cannot be, or a link of a chain is missing.
Result<ReplayCount> replay_all(const Store& store);

// Completes the operation of a slot whose owner is dead if it was committed, or voids it. Leaves phase, locks and
// owner of the slot to the caller.
void repair_slot(Store& store, u32 slot);

// Makes the effects of an idle slot's records durable and voids the records. The caller owns the slot.
void retire_slot(Store& store, u32 slot);

} // namespace pmemfile::journal
