// Walk: one path resolution, component by component, without a lock and without copying the path.
//
// What is checked of a directory is read with its identity word (which carries the generation), and the identity is
// looked at again after the next object was read: so a directory that was removed and whose inode serves another purpose
// by now is never walked through (foundations B3). An entry is believed only if it still stood there after its inode
// was read. As in the kernel, directories may be moved while a path is walked: each component was right in its moment.
//
// Targets of symlinks are read from their inode piece by piece (they never change), so nesting costs 24 bytes a level
// and no path is ever rebuilt but for one that leaves the pool.
// Owner: a verb's stack frame. Rules: one thread; hook-safe; about 1.3 KiB of stack.
#pragma once

#include "dir/dir.h"
#include "vfs/pool.h"

namespace pmemfile::vfs {

inline constexpr u32 kMaxLinksFollowed = 40; // as Linux
inline constexpr u64 kPathMax = 4096;        // with the final NUL

inline constexpr u32 kTypeMask = 0170000, kTypeDir = 0040000, kTypeRegular = 0100000, kTypeLink = 0120000,
                     kTypeFifo = 0010000, kTypeSocket = 0140000, kTypeChar = 0020000, kTypeBlock = 0060000;
inline constexpr u32 kSetUid = 04000, kSetGid = 02000, kSticky = 01000, kPermissionBits = 07777;
inline constexpr int kRead = 4, kWrite = 2, kExecute = 1; // as R_OK, W_OK, X_OK
constexpr bool is_dir(u32 mode) { return (mode & kTypeMask) == kTypeDir; }
constexpr bool is_link(u32 mode) { return (mode & kTypeMask) == kTypeLink; }
constexpr bool is_regular(u32 mode) { return (mode & kTypeMask) == kTypeRegular; }
constexpr u8 type_of_mode(u32 mode) { return static_cast<u8>((mode & kTypeMask) >> 12); } // DT_*

bool in_group(const Credentials& credentials, u32 gid);
bool permitted(const Credentials& credentials, u32 mode, u32 uid, u32 gid, int want);

// What a walk knows of the directory it stands in.
struct Node {
  Ino ino{};
  u64 identity = 0;
  u32 mode = 0, uid = 0, gid = 0, nlink = 0;
};
// ESTALE if it is free, EUCLEAN if it is no inode.
Result<Node> read_node(journal::Store& store, Ino ino);
// The names in it changed.
inline void touch_names(journal::Store& store, const Node& dir, i64 now) { inode::touch(store, dir.ino, dir.identity >> 16, now, now, 0); }
constexpr u64 identity_of(const inode::Attr& attr) { return attr.generation << 16 | layout::kInodeMagic; }
// Is it still the inode that it was? (Freed inodes have no identity; generations only grow.) What stands in place may lag
// behind a committed record, so only "yes" is believed at first sight.
bool same_identity_slow(journal::Store& store, Ino ino, u64 identity);
inline bool same_identity(journal::Store& store, Ino ino, u64 identity) {
  acquire_fence();
  if (PMEMFILE_LIKELY(load_relaxed(store.medium.word(layout::inode_offset(ino) + layout::kInodeIdentity)) == identity)) return true;
  return same_identity_slow(store, ino, identity);
}

// Copies bytes [offset, offset + size) of a symlink's target; the caller knows that they exist. ESTALE if the inode is
// not the one with `identity` any more.
Result<void> read_target(journal::Store& store, Ino link, u64 identity, u32 offset, char* to, u32 size);
// Length of a symlink's target.
Result<u32> target_length(journal::Store& store, Ino link, u64& identity);

class Walk {
 public:
  enum class Until : u8 {
    kParent, // all but the last component, which is not looked at
    kObject, // the object itself; ENOENT if it is missing
    kCreate, // the object, or the place where it would have to be made
  };
  enum class Last : u8 { kName, kDot, kDotDot, kRoot };

  // `attr` gets the attributes of what is found (kObject, kCreate).
  Walk(Task& task, Until until, Follow follow, inode::Attr& attr)
      : task_(task), store_(task.pool->store()), until_(until), follow_(follow), attr_(attr) {}
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  Result<void> run(At at);

  // Results. `dir` and `last` belong together for kParent, and for kCreate with found() == false.
  const Node& dir() const { return node_; }
  std::string_view last() const { return name_; }
  Last last_kind() const { return last_kind_; }
  bool must_be_dir() const { return must_be_dir_; }
  bool found() const { return found_; }
  const inode::Attr& attr() const { return attr_; } // kObject, kCreate: of what was found

 private:
  struct Frame { // text of a symlink that is still to be walked
    Ino ino;
    u64 identity;
    u16 offset, length;
  };

  Result<void> attempt(At at);
  bool jump(Ino start);
  void keep_prefix();
  void note_searched();
  bool stripe_is_free(Ino ino) const {
    return load_acquire(store_.segment.stripe(shm::inode_key(store_.segment, ino)).lock) == 0;
  }
  Result<void> walk_components();
  Result<bool> next();
  Result<bool> next_of_link();
  bool at_end() const { return depth_ == 0 && text_.empty(); }
  Result<bool> step();
  Result<void> step_to_object(const dir::Entry& entry);
  Result<void> lookup(dir::Entry& entry);
  bool entry_stands(const dir::Entry& entry);
  Result<void> enter(Ino ino, const dir::Entry& entry);
  Result<void> go_up();
  Result<void> follow_link(const dir::Entry& entry);
  Result<void> absolute_target(Frame& frame);
  Result<bool> under_mount_point(Frame& frame);
  Result<void> finish_here();
  Result<void> escape_up();
  Result<void> escape_to_target(const Frame& frame);
  Result<void> append_rest(u64 length);
  Result<u64> append_frame(const Frame& frame, u64 length);

  Task& task_;
  journal::Store& store_;
  Until until_;
  Follow follow_;
  Last last_kind_ = Last::kName;
  bool must_be_dir_ = false;
  bool found_ = false;
  u32 links_followed_ = 0;
  u32 depth_ = 0;
  bool keep_ = false;       // the prefix walked so far may be kept (walk_cache.h)
  u32 required_uid_ = ~0u;  // who may use it then
  u64 topology_ = 0;        // the sequence that was read before the first directory
  Ino start_{};
  std::string_view prefix_; // all components but the last; empty if there is but one
  Node node_;
  std::string_view text_; // of the path still to be walked
  std::string_view name_; // component
  dir::LookupProof proof_;
  inode::Attr& attr_;
  char buffer_[256];      // component of a symlink's target
  Frame frames_[kMaxLinksFollowed];
};

// Where a name stands or would stand. `name` lies in the text of the path (or is the constant ".").
struct NamePlace {
  Node dir;
  std::string_view name;
  bool must_be_dir = false;
  Walk::Last kind = Walk::Last::kName;
};
// The walk to it, in a stack frame that is gone afterwards.
Result<NamePlace> find_place(Task& task, At at);

} // namespace pmemfile::vfs
