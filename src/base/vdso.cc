#include "base/vdso.h"

#include <elf.h>
#include <sys/auxv.h>
#include <time.h>

#include "base/atomic.h"
#include "base/syscall.h"

namespace pmemfile {
namespace {

using ClockGettime = int (*)(int clock, timespec* time);
ClockGettime vdso_clock_gettime = nullptr;

bool equal(const char* a, const char* b) {
  for (; *a == *b; ++a, ++b)
    if (*a == '\0') return true;
  return false;
}

// Dynamic-section tables of the vDSO that a look-up needs.
struct Tables {
  const Elf64_Sym* symbols = nullptr;
  const char* strings = nullptr;
  const u32* hash = nullptr;
};

Tables find_tables(const u8* base, const Elf64_Phdr* headers, unsigned count) {
  Tables tables;
  const Elf64_Dyn* dynamic = nullptr;
  for (unsigned i = 0; i < count; ++i)
    if (headers[i].p_type == PT_DYNAMIC) dynamic = reinterpret_cast<const Elf64_Dyn*>(base + headers[i].p_vaddr);
  for (; dynamic != nullptr && dynamic->d_tag != DT_NULL; ++dynamic) {
    const u8* at = base + dynamic->d_un.d_ptr;
    if (dynamic->d_tag == DT_SYMTAB) tables.symbols = reinterpret_cast<const Elf64_Sym*>(at);
    if (dynamic->d_tag == DT_STRTAB) tables.strings = reinterpret_cast<const char*>(at);
    if (dynamic->d_tag == DT_HASH) tables.hash = reinterpret_cast<const u32*>(at);
    // The symbol count of a GNU hash: the vDSO has a dozen symbols, so a bound does as well (below).
  }
  return tables;
}

} // namespace

void vdso_start() {
  auto* base = reinterpret_cast<const u8*>(getauxval(AT_SYSINFO_EHDR));
  if (base == nullptr) return;
  auto* header = reinterpret_cast<const Elf64_Ehdr*>(base);
  auto* segments = reinterpret_cast<const Elf64_Phdr*>(base + header->e_phoff);
  Tables tables = find_tables(base, segments, header->e_phnum);
  if (tables.symbols == nullptr || tables.strings == nullptr) return;
  // Without a SysV hash table the symbols end where the strings begin, which is how the vDSO is linked.
  u64 count = tables.hash != nullptr
                  ? tables.hash[1]
                  : static_cast<u64>(tables.strings - reinterpret_cast<const char*>(tables.symbols)) / sizeof(Elf64_Sym);
  for (u64 i = 0; i < count && i < 256; ++i) {
    const Elf64_Sym& symbol = tables.symbols[i];
    if (symbol.st_shndx == SHN_UNDEF || !equal(tables.strings + symbol.st_name, "__vdso_clock_gettime")) continue;
    store_release(vdso_clock_gettime, reinterpret_cast<ClockGettime>(const_cast<u8*>(base) + symbol.st_value));
    return;
  }
}

i64 coarse_realtime_ns() {
  timespec time{};
  ClockGettime function = load_acquire(vdso_clock_gettime);
  if (PMEMFILE_UNLIKELY(function == nullptr)) {
    vdso_start();
    function = load_acquire(vdso_clock_gettime);
  }
  if (function == nullptr || function(CLOCK_REALTIME_COARSE, &time) != 0)
    raw_syscall(SYS_clock_gettime, CLOCK_REALTIME_COARSE, as_arg(&time));
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

} // namespace pmemfile
