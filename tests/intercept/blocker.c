// Takes the places where stubs go, 64 MiB below every object, so that stubs must go
// elsewhere. Its constructor runs before that of a library preloaded before it.
#define _GNU_SOURCE
#include <link.h>
#include <sys/mman.h>

static int block(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size, (void)data;
  mmap((void *)(info->dlpi_addr - (64ul << 20)), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  return 0;
}
__attribute__((constructor(101))) static void take_places(void) { dl_iterate_phdr(block, 0); }
