// What the files of the vfs room share about Pool. Private to the vfs room.
#pragma once

#include "vfs/pool.h"

namespace pmemfile::vfs {

struct PoolInternals {
  static void set_pool_fd(Pool& pool, int fd) { pool.pool_fd_ = fd; }
  static void set_segment_fd(Pool& pool, int fd) { pool.segment_fd_ = fd; }
  static void set_token(Pool& pool, int fd) { pool.token_fd_ = fd; }
  static Result<Pool*> map_inherited(int pool_fd, int segment_fd, AttachFailure* failure);
  // Unmaps and closes everything but V's registration and token.
  static void destroy(Pool* pool);
};

} // namespace pmemfile::vfs
