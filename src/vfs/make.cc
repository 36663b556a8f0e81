// Making a pool: what mkfs.pmemfile and pmemfile_pool_create do.
#include <fcntl.h>
#include <sys/stat.h>

#include "base/mapping.h"
#include "base/text.h"
#include "base/vdso.h"
#include "pmem/map.h"
#include "vfs/failure.h"
#include "vfs/pool.h"
#include "vfs/superblock.h"

namespace pmemfile::vfs {
namespace {

using layout::Geometry;

// Bytes at the start in which anything but zeros means that something is there.
constexpr u64 kSignatureBytes = 2 * layout::kBlockBytes;

bool looks_used(int fd) {
  u64 words[64];
  for (u64 at = 0; at < kSignatureBytes; at += sizeof words) {
    auto count = pmem::read_bytes(fd, at, words, sizeof words);
    for (u64 i = 0; count.ok() && i < count.value() / 8; ++i)
      if (words[i] != 0) return true;
  }
  return false;
}

// A metadata line as nobody has changed it yet.
void put_line(const pmem::Medium& medium, PoolOff at, const u64 (&words)[layout::kLineWords]) {
  for (unsigned i = 0; i < layout::kLineWords; ++i) pmem::store_word(medium, at + 8 * i, words[i]);
  pmem::store_word(medium, at + 8 * layout::kLineWords, layout::make_trailer(words, 1));
}

void mark_fixed_regions(const pmem::Medium& medium, const Geometry& g) {
  PoolOff bitmap = journal::block_offset(BlockNo{g.bitmap_start_block});
  u64 lines = div_up(g.block_count, layout::kBlocksPerBitmapLine);
  auto range = [](u64 base, u64 from, u64 to) { // bits of the word at `base` that lie in [from, to)
    u64 first = from > base ? from - base : 0, last = to > base ? to - base : 0;
    auto below = [](u64 n) { return n >= 64 ? ~u64{0} : (u64{1} << n) - 1; };
    return first >= 64 ? 0 : below(last) & ~below(first);
  };
  u64 root = g.data_start_block;
  for (u64 line = 0; line < lines; ++line) {
    u64 base = line * layout::kBlocksPerBitmapLine;
    u64 words[layout::kLineWords] = {};
    for (u64 half = 0; half < 2; ++half) {
      u64 start = base + 64 * half;
      u64 root_bit = range(start, root, root + 1);
      words[layout::kPlaneUsed + half] = range(start, 0, root + 1) | range(start, g.block_count, ~u64{0});
      words[layout::kPlaneMeta + half] = root_bit;
      words[layout::kPlaneInodesFree + half] = root_bit;
    }
    bool empty = (words[0] | words[1]) == 0;
    if (!empty) put_line(medium, bitmap + line * layout::kLineBytes, words);
  }
  pmem::flush(medium, bitmap, lines * layout::kLineBytes);
}

void put_roots(const pmem::Medium& medium, const Geometry& g, const Pool::MakeOptions& options) {
  u64 now = static_cast<u64>(g.created_ns);
  for (u64 root : g.root_ino) {
    PoolOff at = layout::inode_offset(Ino{root});
    const u64 attributes[layout::kLineWords] = {
        u64{S_IFDIR | 0755} | u64{2} << 32, options.uid | u64{options.gid} << 32, 0, 0, now, now, now};
    const u64 identity[layout::kLineWords] = {layout::kInodeMagic | u64{1} << 16, now, root, 0, 0, 0, 0};
    put_line(medium, at, attributes);
    put_line(medium, at + layout::kLineBytes, identity);
  }
  pmem::flush(medium, journal::block_offset(BlockNo{g.data_start_block}), layout::kBlockBytes);
}

void put_superblocks(const pmem::Medium& medium, const Geometry& g) {
  layout::State state{};
  state.record_epoch = 1;
  write_state(medium, state);
  auto* words = reinterpret_cast<const u64*>(&g);
  // The second copy first: a pool that is half made has no valid first one, and is not taken for whole.
  for (u64 copy = layout::kSuperblockCopies; copy-- != 0;) {
    PoolOff at{copy * layout::kBlockBytes};
    for (u64 i = 0; i < sizeof g / 8; ++i) pmem::store_word(medium, at + 8 * i, words[i]);
    pmem::flush(medium, at, sizeof g);
    pmem::fence(medium);
  }
}

Result<Geometry> plan(u64 bytes, const Pool::MakeOptions& options) {
  Geometry g = TRY(layout::plan_geometry(bytes));
  raw_syscall(SYS_getrandom, as_arg(&g.hash_key), sizeof g.hash_key);
  bool has_uuid = false;
  for (u8 byte : options.uuid) has_uuid = has_uuid || byte != 0;
  if (has_uuid) {
    __builtin_memcpy(g.uuid, options.uuid, sizeof g.uuid);
  } else {
    raw_syscall(SYS_getrandom, as_arg(&g.uuid), sizeof g.uuid);
    g.uuid[6] = static_cast<u8>((g.uuid[6] & 0x0f) | 0x40); // RFC 4122, version 4
    g.uuid[8] = static_cast<u8>((g.uuid[8] & 0x3f) | 0x80);
  }
  __builtin_memcpy(g.label, options.label, sizeof g.label);
  g.created_ns = coarse_realtime_ns();
  g.crc = layout::struct_crc(g);
  return g;
}

// Gives a regular file its size and all of its blocks, so that no store into it can fail later.
Result<bool> allocate(int fd, u64 bytes, bool sparse, bool discard_old) {
  if (discard_old && is_syscall_error(raw_syscall(SYS_ftruncate, fd, 0))) return Error(EIO);
  long result = raw_syscall(SYS_ftruncate, fd, static_cast<long>(bytes));
  if (result == 0 && !sparse) gather_in_huge_pages(fd, bytes);
  if (result == 0 && !sparse) result = raw_syscall(SYS_fallocate, fd, 0, 0, static_cast<long>(bytes));
  if (is_syscall_error(result)) return Error(static_cast<int>(-result));
  return discard_old;
}

struct File {
  int fd = -1;
  bool regular = false, existed = false;
  u64 bytes = 0;
  ~File() {
    if (fd >= 0) raw_syscall(SYS_close, fd);
  }
};

Result<void> open_file(File* file, const char* path, const Pool::MakeOptions& options, AttachFailure* failure) {
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(path), O_RDWR | O_CLOEXEC);
  file->existed = !is_syscall_error(fd);
  if (file->existed && options.exclusive) {
    raw_syscall(SYS_close, fd);
    return fail(failure, EEXIST, path, "exists");
  }
  if (fd == -ENOENT)
    fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(path), O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, options.mode);
  if (is_syscall_error(fd)) return fail(failure, static_cast<int>(-fd), path, "cannot be opened for writing");
  file->fd = static_cast<int>(fd);
  struct stat status{};
  raw_syscall(SYS_fstat, fd, as_arg(&status));
  file->regular = S_ISREG(status.st_mode);
  auto bytes = pmem::file_bytes(file->fd);
  if (!bytes.ok()) return fail(failure, bytes.error(), path, "is neither a file nor a device-DAX node");
  file->bytes = bytes.value();
  return {};
}

Result<u64> choose_size(const File& file, const char* path, u64 wanted, AttachFailure* failure) {
  if (wanted == 0 && file.bytes == 0) return fail(failure, EINVAL, path, "is empty: say how large the pool shall be");
  if (!file.regular && wanted > file.bytes) return fail(failure, ENOSPC, path, "the device is smaller than that");
  u64 bytes = align_down(wanted == 0 ? file.bytes : wanted, layout::kBlockBytes);
  if (bytes < layout::kMinPoolBytes) return fail(failure, EINVAL, path, "the smallest pool has 256 KiB");
  if (bytes > layout::kMaxPoolBytes) return fail(failure, EFBIG, path, "the largest pool has 256 TiB");
  return bytes;
}

// A file system on persistent memory gives fallocated blocks to the file in its journal when they are first stored into,
// page by page; written ones are the file's already.
Result<void> write_zeros(int fd, u64 bytes) {
  static const u8 kZeros[64 * 1024] = {};
  for (u64 at = 0; at < bytes;) {
    u64 size = min_of<u64>(sizeof kZeros, bytes - at);
    long count = raw_syscall(SYS_pwrite64, fd, as_arg(kZeros), static_cast<long>(size), static_cast<long>(at));
    if (count == -EINTR) continue;
    if (is_syscall_error(count)) return Error(static_cast<int>(-count));
    at += static_cast<u64>(count);
  }
  long synced = raw_syscall(SYS_fsync, fd);
  if (is_syscall_error(synced)) return Error(static_cast<int>(-synced));
  return {};
}

bool on_dax_file_system(const File& file, const pmem::Medium& medium) {
  return file.regular && (medium.level == pmem::Persistence::kPowerFailSafe || medium.level == pmem::Persistence::kPowerFailSafeEadr);
}

void fill(const pmem::Medium& medium, const Geometry& g, bool is_zero, const Pool::MakeOptions& options) {
  // The superblocks go last. Regions that must be zero are zeroed unless the file is known to be new.
  if (!is_zero) pmem::zero(medium, PoolOff{0}, (g.data_start_block + 1) * layout::kBlockBytes);
  pmem::fence(medium);
  mark_fixed_regions(medium, g);
  put_roots(medium, g, options);
  pmem::fence(medium);
  put_superblocks(medium, g);
}

} // namespace

Result<Geometry> Pool::make(const char* path, const MakeOptions& options, AttachFailure* failure) {
  vdso_start();
  File file;
  TRY(open_file(&file, path, options, failure));
  if (!lock_pool(file.fd, F_WRLCK, false).ok()) return fail(failure, EBUSY, path, "is a pool in use");
  bool used = file.existed && looks_used(file.fd);
  if (used && !options.force) return fail(failure, EEXIST, path, "holds something already; --force overwrites it");
  u64 bytes = TRY(choose_size(file, path, options.bytes, failure));
  bool is_zero = false;
  if (file.regular) {
    auto allocated = allocate(file.fd, bytes, options.sparse, !file.existed || used || file.bytes < bytes);
    if (!allocated.ok()) {
      if (!file.existed) raw_syscall(SYS_unlink, as_arg(path));
      return fail(failure, allocated.error(), path, "its blocks cannot be allocated");
    }
    is_zero = allocated.value();
  }
  auto mapped = pmem::map(file.fd, bytes, true);
  if (!mapped.ok()) return fail(failure, mapped.error(), path, "cannot be mapped");
  pmem::Medium medium = mapped.value().medium;
  Geometry geometry = TRY(plan(bytes, options));
  if (on_dax_file_system(file, medium) && !options.sparse) {
    auto written = write_zeros(file.fd, bytes);
    if (!written.ok()) return fail(failure, written.error(), path, "cannot be written");
    is_zero = true;
  }
  fill(medium, geometry, is_zero, options);
  auto synced = pmem::sync(medium, PoolOff{0}, (geometry.data_start_block + 1) * layout::kBlockBytes);
  pmem::unmap(medium);
  if (!synced.ok()) return fail(failure, synced.error(), path, "cannot be written");
  return geometry;
}

} // namespace pmemfile::vfs
