// Descriptors of pools in messages (SCM_RIGHTS) and from other processes (pidfd_getfd).
//
// A placeholder says nothing to its receiver. In its place travels a carrier: a listening socket that nobody connects to, whose
// only pending connection holds, in its queue, the token of the reference (vfs/transit.h) and the pool's lock. So the reference
// lives as long as the carrier does, wherever it is, and goes with it. To who cannot open it, it is a dead descriptor: read
// and write fail, mmap does, and there is nothing to seek in. Its abstract address tells pool and entry; the entry tells which
// socket is meant, so that an address alone opens nothing.
// Rules: hook-safe, any thread.
#pragma once

#include <sys/socket.h>

#include "preload/state.h"

namespace pmemfile::preload {

// The carriers of one message, open until it is sent.
class Carriers {
 public:
  explicit Carriers(Call& call) : call_(call) {}
  ~Carriers();
  Carriers(const Carriers&) = delete;
  Carriers& operator=(const Carriers&) = delete;
  // A carrier for what this table entry refers to; its number or a negated errno.
  long add(FdWord word);

 private:
  static constexpr u32 kMax = 253; // SCM_MAX_FD
  struct One {
    int fd;
    u32 mount;
    shm::ProcessRef transit;
  };
  Call& call_;
  u32 count_ = 0;
  One all_[kMax];
};

// If control data carry descriptors of ours: replaces them by carriers, in a copy in the thread's scratch room. 0, or a
// negated errno.
long pack_rights(Call& call, msghdr& message, Carriers& carriers);
// After a message was received: makes files of the carriers among its descriptors.
void unpack_rights(Call& call, const msghdr& message);

} // namespace pmemfile::preload
