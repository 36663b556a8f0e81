// Contents of regular files (and long symlink targets): block map, reading, writing, space.
//
// Rules: hook-safe. Buffers are memory of the program and may fault: results count the bytes done before a fault,
// EFAULT if none. Offsets and sizes are bytes; callers have checked them against RLIMIT_FSIZE, O_APPEND and access.
#pragma once

#include "journal/tx.h"
#include "inode/inode.h"

namespace pmemfile::data {

struct IoVec { // the layout of struct iovec
  void* base;
  u64 bytes;
};

// Lock-free; short at end of file. Holes read as zeros.
Result<u64> read(journal::Store& store, Ino ino, u64 offset, const IoVec* vectors, u32 count);

struct WriteFlags {
  bool append = false;     // at the end, whatever `offset` says
  bool atomic = false;     // data=atomic: overwrites go to new blocks; but for a mapped file, whose blocks must not move
};
struct Written {
  u64 bytes = 0;
  u64 offset = 0; // where it began (append)
};
// Durable on return (on media that can). In-place overwrites of mapped blocks take no lock that excludes other
// overwriters; everything else takes the inode's stripe and is committed in chunks (README.md). mtime and ctime
// advance. ENOSPC and EFBIG only if nothing was written. Not from inside a Tx.
Result<Written> write(journal::Store& store, Ino ino, u64 offset, const IoVec* vectors, u32 count, WriteFlags flags);

// Sets the size. Shrinking frees in bounded steps, and leaves to inode::look_at_orphans what would have to wait for somebody stopped; of a file
// that is mapped somewhere the blocks stay, with zeros in them.
Result<void> truncate(journal::Store& store, Ino ino, u64 size);
// Whether somebody who is stopped, and has lines of the bitmap in his hands, is waited for; EAGAIN: he is not, and something is left.
enum class Patience : u8 { kPatient, kHurried };
// Continues an interrupted shrinking (kFlagTruncating). Idempotent.
Result<void> finish_truncate(journal::Store& store, Ino ino, Patience patience = Patience::kPatient);
// Frees the data blocks and nodes of a file (not its extended attributes); for an inode without links and users, of this
// generation; restartable, also while others are at it. EAGAIN as above.
Result<void> free_contents(journal::Store& store, Ino ino, u64 generation);
// Stages the release of everything together with the caller's removal of the inode: fails with kRecordFull before
// staging anything if the file owns too much for one record.
Result<void> release_contents(journal::Tx& tx, const inode::Attr& attr);

// Linux's fallocate(2) modes on a regular file: 0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, COLLAPSE_RANGE, INSERT_RANGE,
// UNSHARE_RANGE; EOPNOTSUPP otherwise, and for COLLAPSE and INSERT of a mapped or a very large fragmented file.
Result<void> fallocate(journal::Store& store, Ino ino, int mode, u64 offset, u64 bytes);

// SEEK_DATA and SEEK_HOLE. ENXIO beyond the end.
Result<u64> seek_data(journal::Store& store, Ino ino, u64 offset);
Result<u64> seek_hole(journal::Store& store, Ino ino, u64 offset);

// For mmap: physical runs of [offset, offset + bytes), a hole has block 0. Returns the number of runs filled in.
struct Run {
  u64 file_block = 0, count = 0;
  BlockNo block{};
  bool unwritten = false;
};
Result<u32> runs(journal::Store& store, Ino ino, u64 first_block, u64 block_count, Run* out, u32 capacity);
// Allocates and zeroes every block of the range and clears "unwritten", so that it can be mapped writable, and zeroes the
// last block behind the end of the file. Never changes the size.
Result<void> materialize(journal::Store& store, Ino ino, u64 offset, u64 bytes);

} // namespace pmemfile::data
