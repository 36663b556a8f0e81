// Pool: one process's attachment to one pool: attach, detach, and the way through fork and exec.
//
// Owner: whoever attached (api: the PMEMfilepool; preload: its mount table). Memory for it comes from mmap.
// Rules: attach and detach are for one thread; the rest for any. Hook-safe.
#pragma once

#include "base/text.h"
#include "journal/store.h"
#include "vfs/vfs.h"

namespace pmemfile::vfs {

struct AttachOptions {
  bool read_only = false;
  const char* shm_dir = nullptr; // null: /dev/shm
  bool force_flush = false; // flush as on persistent memory, whatever the medium (measurements)
  const pmem::Recorder* recorder = nullptr; // crash tests
};

// What went wrong, for the one clear line: what, where, what to do. errno beside it.
struct AttachFailure {
  char text[512];
};

class Pool {
 public:
  // Maps the pool, takes its kernel lock, finds or makes V, registers this process, repairs what dead processes
  // left if it is the first to come.
  static Result<Pool*> attach(const char* path, const AttachOptions& options, AttachFailure* failure);
  // Is there a pool that this program knows how to use? Opens and reads only: what else attach() may find is not known yet.
  static Result<void> check(const char* path, AttachFailure* failure);
  // Makes a pool in an existing file or device (size 0: all of it) or a new file; does not attach.
  struct MakeOptions {
    u64 bytes = 0;
    u32 mode = 0666;
    bool force = false, sparse = false, exclusive = false; // exclusive: the file must not exist
    u32 uid = 0, gid = 0; // of the root directories
    u8 uuid[16] = {};     // zeros: draw one
    char label[64] = {};
  };
  static Result<layout::Geometry> make(const char* path, const MakeOptions& options, AttachFailure* failure);
  // Drops every handle of this process and its entry in V.
  void detach();
  // The same for a process that is about to end: mappings and descriptors are left to the kernel, which takes them
  // down together for less.
  void leave();
  // For a process that ends with other threads at work, and cannot leave: what would be lost with V (inode::write_out_times).
  void write_out_times();

  journal::Store& store() { return store_; }
  const journal::Store& store() const { return store_; }

  // ---- fork and exec (foundations C2) ----
  // Before a fork-like system call: an entry for the child in V with a copy of this process's handles, and the
  // child's liveness token. The ticket is plain data, valid in parent and child.
  struct ChildTicket {
    shm::ProcessRef ref;
    int token_fd = -1;
  };
  // share_handles: CLONE_FILES or a CLONE_VM child that must see the parent's table until it execs.
  Result<ChildTicket> prepare_child();
  void cancel_child(const ChildTicket& ticket);      // in the parent: the system call failed
  void parent_after_fork(const ChildTicket& ticket); // in the parent: gives up its copy of the token
  void become_child(const ChildTicket& ticket);      // in the child: gives up the parent's token, is itself
  // A child that shares the parent's memory (vfork, posix_spawn) cannot change this object: while it runs, calls
  // are made with the ticket's identity through this view.
  Result<Pool*> view_as_child(const ChildTicket& ticket);
  // In the child, with the parent's object: it runs now. `own_descriptors`: it was made without CLONE_FILES, so that it
  // can give up its copy of the parent's token (otherwise a killed parent looks alive until this child execs or ends).
  void child_view_runs(Pool* view, bool own_descriptors);
  void drop_child_view(Pool* view);
  // A pool to which such a child attached itself, when it has left our memory: unmaps; the descriptors are the child's.
  static void forget(Pool* pool);

  // Before execve: the descriptors that have to stay open across it (pool, V, token), without close-on-exec from
  // now on, and the text by which the new image finds its entry again. On failure of execve: keep_after_failed_exec.
  Result<void> prepare_exec(char (&text)[128]);
  void keep_after_failed_exec();
  // In the new image: takes over from the text; the first act is to repair what threads that died in exec left.
  static Result<Pool*> adopt(const char* text, AttachFailure* failure);
  // After adopt: walks all handles (descriptor numbers and private ones) of this process.
  void for_each_handle(void (*visit)(void* context, u32 handle, Description description), void* context);
  bool has_handle(u32 handle);

  // ---- When the medium fails (SIGBUS) ----
  // Is this address in our mapping of the pool or of V?
  bool maps(u64 address) const;
  // As if this process had died for the pool: what its threads store goes to private memory, the others repair what they left. It
  // detaches as usual. False: there is no memory for it. Async-signal-safe; once.
  bool cut_off();
  bool is_cut_off() const { return load_relaxed(cut_off_) != 0; }
  // A page that V has lost, in the private copy: zeros. False: not of V.
  bool mend_segment_page(u64 address);

  // Descriptor numbers of ours that the program must not touch.
  int pool_fd() const { return pool_fd_; }
  int segment_fd() const { return segment_fd_; }
  int token_fd() const { return token_fd_; }

  // How this process writes: overwrites of files that nobody maps are atomic, too, in chunks of 128 blocks.
  void set_atomic_data(bool atomic) { store_.atomic_data = atomic; }
  // Flush as on persistent memory, whatever the medium: for measurements.
  void force_flush();

  // Directory beside V for the kernel's objects that stand for names of this pool (preload/stand_ins.h).
  void put_names_dir(Text& path, const char* shm_dir) const;

  // st_dev of its files.
  u64 device() const { return device_; }
  void set_device(u64 device) { device_ = device; }

 private:
  friend struct PoolInternals;
  void give_up_token();
  void give_up_entry();
  journal::Store store_;
  u64 device_ = 0;
  u32 cut_off_ = 0;
  u64 last_try_ns_ = 0;
  bool alone_ = false; // may only read, and does without the V of others
  int pool_fd_ = -1, segment_fd_ = -1, token_fd_ = -1;
  // Tokens of children that are being made: a child that another thread makes at the same time has copies of them, and would
  // keep its dead sibling alive in the eyes of the others. In one line of memory, so that a child sees them as of one moment.
  struct alignas(64) ChildTokens {
    static constexpr unsigned kMost = 14;
    u32 opening = 0; // threads that may have one open which is not listed yet; also when the list was full
    int fds_plus_1[kMost] = {};
  };
  ChildTokens child_tokens_;
  shm::Segment private_tables_; // open files of a process that may only read (internals.h)
};

} // namespace pmemfile::vfs
