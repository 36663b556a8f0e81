// getdents(2): "." and "..", then the entries in the order of the directory's keys.
#include "vfs/open_files.h"

#include <fcntl.h>

#include "vfs/walk.h"

namespace pmemfile::vfs {
namespace {

// Cookies 1 and 2 stand behind "." and ".."; those of entries follow (dir.h).
constexpr u64 kAfterDot = 1, kAfterDotDot = 2;
constexpr u8 kDirType = 4; // DT_DIR

// Gathers entries in a small buffer and copies them out in batches: the program's buffer may fault.
struct Listing {
  u8* user;
  u64 capacity, done = 0; // bytes of the program's buffer
  bool old_layout;
  bool full = false, fault = false;
  u64 cookie; // behind the last entry that was taken
  u64 batch_bytes = 0;
  alignas(8) u8 batch[2048 + 8]; // names are put down by whole words

  void flush() {
    if (batch_bytes == 0 || fault) return;
    if (pmem::copy_guarded(user + done - batch_bytes, batch, batch_bytes) != 0) fault = true;
    batch_bytes = 0;
  }

  // By words where the name has whole ones; the rest byte by byte.
  static void put_words(u8* to, std::string_view name) {
    const char* from = name.data();
    u64 left = name.size();
    for (; left >= 8; left -= 8, from += 8, to += 8) {
      u64 word;
      __builtin_memcpy(&word, from, 8);
      __builtin_memcpy(to, &word, 8);
    }
    for (; left != 0; --left) *to++ = static_cast<u8>(*from++);
  }

  // False: it does not fit any more.
  bool put(std::string_view name, Ino ino, u8 type, u64 next_cookie) {
    constexpr u64 kHeader = 19; // ino, d_off, reclen, type; the old layout has 18 and the type in the last byte
    u64 name_at = old_layout ? 18 : kHeader;
    u64 bytes = align_up(name_at + name.size() + (old_layout ? 2 : 1), 8);
    if (bytes > capacity - done) {
      full = true;
      return false;
    }
    if (bytes > sizeof batch - 8 - batch_bytes) flush();
    if (fault) return false;
    u8* at = batch + batch_bytes;
    u64 number = raw(ino);
    u16 length = static_cast<u16>(bytes);
    u64 nothing = 0;
    __builtin_memcpy(at + bytes - 8, &nothing, 8); // the padding is no old stack
    __builtin_memcpy(at, &number, 8);
    __builtin_memcpy(at + 8, &next_cookie, 8);
    __builtin_memcpy(at + 16, &length, 2);
    if (old_layout)
      at[bytes - 1] = type;
    else
      at[18] = type;
    put_words(at + name_at, name);
    at[name_at + name.size()] = 0;
    batch_bytes += bytes;
    done += bytes;
    cookie = next_cookie;
    return true;
  }
};

bool visit(void* context, const dir::Listed& entry) {
  return static_cast<Listing*>(context)->put(entry.name, entry.ino, entry.type, entry.cookie);
}

// relatime, as every mount has it by default.
void touch_atime(Store& store, const inode::Attr& attr) {
  constexpr i64 kDayNs = i64{24} * 3600 * 1'000'000'000;
  i64 now = inode::now_ns();
  if (attr.atime_ns <= attr.mtime_ns || attr.atime_ns <= attr.ctime_ns || now - attr.atime_ns >= kDayNs)
    inode::touch(store, attr.ino, attr.generation, 0, 0, now);
}

} // namespace

Result<u64> read_dir(Task& task, Description number, void* user_buffer, u64 size, bool old_layout) {
  Pool& pool = *task.pool;
  shm::OpenDescription* description = find_description(pool, number);
  if (description == nullptr || (description->flags & O_PATH) != 0) return Error(EBADF);
  if (!is_dir(description->mode)) return Error(ENOTDIR);
  shm::Segment& v = open_tables(pool);
  Ino dir{description->ino};
  shm::lock_owned(v, description->lock, v.fd);
  Listing listing{static_cast<u8*>(user_buffer), size, 0, old_layout, false, false, load_relaxed(description->offset), 0, {}};
  auto result = [&]() -> Result<void> {
    inode::Attr attr = TRY(inode::read(pool.store(), dir));
    if (attr.nlink == 0) return Error(ENOENT); // removed
    if (listing.cookie == 0 && (description->flags & O_NOATIME) == 0) touch_atime(pool.store(), attr);
    if (listing.cookie < kAfterDot && !listing.put(".", dir, kDirType, kAfterDot)) return {};
    Ino parent = attr.parent == Ino{0} ? dir : attr.parent;
    if (listing.cookie < kAfterDotDot && !listing.put("..", parent, kDirType, kAfterDotDot)) return {};
    return dir::list(pool.store(), dir, listing.cookie <= kAfterDotDot ? 0 : listing.cookie, visit, &listing);
  }();
  listing.flush();
  if (result.ok() && listing.fault) result = Error(EFAULT);
  if (result.ok() && listing.full && listing.done == 0) result = Error(EINVAL);
  if (result.ok()) store_relaxed(description->offset, listing.cookie);
  shm::unlock_owned(description->lock);
  if (!result.ok()) return Error(result.error() == ESTALE ? ENOENT : result.error());
  return listing.done;
}

} // namespace pmemfile::vfs
