// libFuzzer's side: its mutator is ours, so that inputs stay lists of records; now and then it changes the bytes of one record.

#include "fuzz/pools.h"
#include "fuzz/record.h"

using pmemfile::u8;

extern "C" std::size_t LLVMFuzzerMutate(u8* data, std::size_t size, std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(u8* data, std::size_t size, std::size_t most, unsigned seed) {
  constexpr std::size_t kRecord = sizeof(pmemfile::fuzz::Record);
  std::size_t records = size / kRecord;
  if (seed % 16 != 0 || records == 0) return pmemfile::fuzz::mutate(data, size, most, seed);
  u8* one = data + seed / 16 % records * kRecord;
  for (std::size_t changed = LLVMFuzzerMutate(one, kRecord, kRecord); changed < kRecord; ++changed) one[changed] = 0;
  return records * kRecord;
}

extern "C" std::size_t LLVMFuzzerCustomCrossOver(const u8* first, std::size_t first_size, const u8* second, std::size_t second_size,
                                                 u8* to, std::size_t most, unsigned seed) {
  return pmemfile::fuzz::cross_over(first, first_size, second, second_size, to, most, seed);
}

// Made before the first input, so that what makes them counts as covered by none.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  (void)pmemfile::fuzz::starting_pools();
  return 0;
}

// What is freed is not kept long: fresh memory costs more than most executions.
extern "C" const char* __asan_default_options() {
  return "quarantine_size_mb=1:thread_local_quarantine_size_kb=64:max_malloc_fill_size=0:malloc_context_size=4:detect_leaks=0";
}
