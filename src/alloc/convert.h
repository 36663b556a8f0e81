// Turning free-but-formatted blocks back into free ones, when data blocks run out. Private to the alloc room.
#pragma once

#include "journal/tx.h"

namespace pmemfile::alloc {

// Is there something to convert?
bool may_convert(journal::Tx& tx);
// A Tx::RetryAction. Retires the records of all slots, so that no record names a line of the blocks any more, then
// clears their "meta" bits in one commit. ENOSPC if nothing could be gained.
Result<void> convert_formatted(journal::Tx& tx);

} // namespace pmemfile::alloc
