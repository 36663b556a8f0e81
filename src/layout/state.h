// May the state of a superblock be believed? Apart from layout.h, because hardly anybody asks.
#pragma once

#include "layout/layout.h"

namespace pmemfile::layout {

// Numbers that only damage can have reached; behind them they could not be advanced.
inline constexpr u64 kMaxStateSequence = u64{1} << 62, kMaxRecordEpoch = u64{1} << 62;

inline bool state_valid(const State& state) {
  return state.crc == struct_crc(state) && state.sequence != 0 && state.sequence < kMaxStateSequence &&
         state.record_epoch < kMaxRecordEpoch;
}

} // namespace pmemfile::layout
