// libFuzzer's side: its mutator is ours half of the time, so that inputs stay lists of records.

#include "fuzz/record.h"

extern "C" std::size_t LLVMFuzzerMutate(pmemfile::u8* data, std::size_t size, std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(pmemfile::u8* data, std::size_t size, std::size_t most, unsigned seed) {
  if (seed % 4 == 0 && size != 0) return LLVMFuzzerMutate(data, size, most);
  return pmemfile::fuzz::mutate(data, size, most, seed);
}

// What is freed is not kept long: fresh memory costs more than most executions.
extern "C" const char* __asan_default_options() {
  return "quarantine_size_mb=1:thread_local_quarantine_size_kb=64:max_malloc_fill_size=0:malloc_context_size=4:detect_leaks=0";
}
