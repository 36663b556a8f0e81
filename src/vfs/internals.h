// What the files of the vfs room share about Pool. Private to the vfs room.
#pragma once

#include "shm/process.h"
#include "shm/segment_file.h"
#include "vfs/pool.h"

namespace pmemfile::vfs {

struct PoolInternals {
  static void set_pool_fd(Pool& pool, int fd) { pool.pool_fd_ = fd; }
  static void set_segment_fd(Pool& pool, int fd) { pool.segment_fd_ = fd; }
  static void set_token(Pool& pool, int fd) { pool.token_fd_ = fd; }
  // How the process before was attached.
  enum class Kind : u8 { kWriter, kReader, kLoneReader };
  static Result<Pool*> map_inherited(int pool_fd, int segment_fd, Kind kind, AttachFailure* failure, shm::SegmentIdentity* named);
  static void set_alone(Pool& pool) { pool.alone_ = true; }
  static void set_self(Pool& pool, shm::ProcessRef self) { pool.store_.segment.self = self; }
  static shm::Segment& private_tables(Pool& pool) { return pool.private_tables_; }
  // The Pool that a Store belongs to.
  static Pool& of(journal::Store& store) {
    static_assert(__builtin_offsetof(Pool, store_) == 0);
    return reinterpret_cast<Pool&>(store);
  }
  // Something of this process's entry is kPendingLeft, perhaps.
  static void note_left(Pool& pool) { store_release(pool.store_.has_left, 1u); }
  static void forget_left(Pool& pool) { store_full(pool.store_.has_left, 0u); }
  static bool has_left(const Pool& pool) { return load_relaxed(pool.store_.has_left) != 0; }
  // When an open tried in vain to free it.
  static i64 last_try(const Pool& pool) { return static_cast<i64>(load_relaxed(pool.last_try_ns_)); }
  static void set_last_try(Pool& pool, i64 now) { store_relaxed(pool.last_try_ns_, static_cast<u64>(now)); }
  // For a process that may only read the pool: tables of open files of its own (open_files.h).
  static Result<void> make_private_tables(Pool& pool);
  // Across exec, which takes private memory away (reader_exec.cc): into a memory file, and out of it.
  static Result<int> save_private_tables(Pool& pool);
  static Result<void> load_private_tables(Pool& pool, int fd);
  // An entry of V beside this process's own, with its token listed below.
  static Result<shm::Registered> register_child(Pool& pool, shm::ProcessState state);
  // A child that another thread is making: its token is listed, struck off, and closed by who copied it with the table.
  static void list_child_token(Pool& pool, int fd);
  static void close_child_token(Pool& pool, int fd);
  static void close_siblings_tokens(Pool& pool, int own_fd);
  // Moves our descriptors out of the numbers that programs expect to get.
  static void move_descriptors(Pool& pool);
  // Unmaps and closes everything; who is still registered in V is dead for the others.
  static void destroy(Pool* pool);
};

} // namespace pmemfile::vfs
