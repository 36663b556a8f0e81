#include "vfs/walk.h"

#include <linux/openat2.h>

#include "vfs/walk_cache.h"

namespace pmemfile::vfs {
namespace {

// A walk that keeps meeting removed directories starts over this often; each time something really was removed.
constexpr unsigned kMaxAttempts = 1000;

u64 load_at(const journal::View& view, Ino ino, u64 offset) { return view.load(layout::inode_offset(ino) + offset); }

std::string_view without_slashes_in_front(std::string_view text) {
  while (!text.empty() && text.front() == '/') text.remove_prefix(1);
  return text;
}

// An inode that is free under an entry that stood all the while is no race but damage, and trying again does not mend it.
bool is_damage(const journal::Store& store, const dir::LookupProof& proof, int error) {
  return PMEMFILE_UNLIKELY(error == ESTALE) && proof.holds(store);
}

// What looks like damage under an entry that has changed meanwhile is a race: the number was somebody else's for a while.
bool is_race(const journal::Store& store, const dir::LookupProof& proof, int error) {
  return PMEMFILE_UNLIKELY(error == kErrnoCorrupt) && !proof.holds(store);
}

} // namespace

bool in_group(const Credentials& credentials, u32 gid) {
  if (gid == credentials.fsgid) return true;
  for (u32 i = 0; i < credentials.group_count; ++i)
    if (credentials.groups[i] == gid) return true;
  return false;
}

bool permitted(const Credentials& credentials, u32 mode, u32 uid, u32 gid, int want) {
  u32 bits = mode;
  if (uid == credentials.fsuid)
    bits >>= 6;
  else if (((bits ^ (bits >> 3)) & 7) != 0 && in_group(credentials, gid))
    bits >>= 3; // where group and others may do the same, the groups need not be searched
  if ((static_cast<u32>(want) & ~bits & 7) == 0) return true;
  u64 can = credentials.capabilities;
  if (is_dir(mode)) {
    if ((want & kWrite) == 0 && (can & (kCapDacReadSearch | kCapDacOverride)) != 0) return true;
    return (can & kCapDacOverride) != 0;
  }
  if (want == kRead && (can & kCapDacReadSearch) != 0) return true;
  return (can & kCapDacOverride) != 0 && ((want & kExecute) == 0 || (mode & 0111) != 0);
}

bool may_access(const Credentials& credentials, const inode::Attr& attr, int mode) {
  return permitted(credentials, attr.mode, attr.uid, attr.gid, mode);
}

Result<Node> read_node(journal::Store& store, Ino ino) {
  if (!store.inode_in_range(ino)) return Error(kErrnoCorrupt);
  return journal::read_consistent(store, shm::inode_key(store.segment, ino), [&](const journal::View& view) -> Result<Node> {
    Node node;
    u64 mode_word = load_at(view, ino, layout::kInodeModeWord);
    u64 owner_word = load_at(view, ino, layout::kInodeOwnerWord);
    node.identity = load_at(view, ino, layout::kInodeIdentity);
    if (mode_word == 0) return Error(ESTALE);
    if ((node.identity & 0xffff) != layout::kInodeMagic) return Error(kErrnoCorrupt);
    node.ino = ino;
    node.mode = mode_word & 0xffff;
    node.nlink = static_cast<u32>(mode_word >> 32);
    node.uid = static_cast<u32>(owner_word);
    node.gid = static_cast<u32>(owner_word >> 32);
    return node;
  });
}

__attribute__((noinline)) bool same_identity_slow(journal::Store& store, Ino ino, u64 identity) {
  return journal::read_consistent(store, shm::inode_key(store.segment, ino), [&](const journal::View& view) -> Result<bool> {
    return load_at(view, ino, layout::kInodeIdentity) == identity;
  }).value();
}

// ---- Targets of symlinks ------------------------------------------------------------------------------------

// `identity`: 0, and it becomes that of the inode that was found; or only that one will do. Damage is what is wrong with the inode
// that was meant: an inode number may have been used again for something that is no symlink.
Result<u32> target_length(journal::Store& store, Ino link, u64& identity) {
  if (!store.inode_in_range(link)) return Error(kErrnoCorrupt);
  return journal::read_consistent(store, shm::inode_key(store.segment, link), [&](const journal::View& view) -> Result<u32> {
    u64 mode_word = load_at(view, link, layout::kInodeModeWord);
    u64 found = load_at(view, link, layout::kInodeIdentity);
    u64 size = load_at(view, link, layout::kInodeSize);
    if (mode_word == 0 || (identity != 0 && found != identity)) return Error(ESTALE);
    if ((found & 0xffff) != layout::kInodeMagic || !is_link(mode_word & 0xffff) || size == 0 || size >= kPathMax)
      return Error(kErrnoCorrupt);
    identity = found;
    return static_cast<u32>(size);
  });
}

Result<void> read_target(journal::Store& store, Ino link, u64 identity, u32 offset, char* to, u32 size) {
  u64 total = TRY(target_length(store, link, identity));
  if (offset > total || size > total - offset) return Error(same_identity(store, link, identity) ? kErrnoCorrupt : ESTALE);
  if (total <= layout::kInlineTargetBytes) {
    auto copy = [&](const journal::View& view) -> Result<void> {
      for (u32 i = 0; i < size; ++i) {
        u32 at = offset + i;
        to[i] = static_cast<char>(load_at(view, link, layout::inode_map_word(at / 8)) >> (8 * (at % 8)));
      }
      return {};
    };
    TRY(journal::read_consistent(store, shm::inode_key(store.segment, link), copy));
  } else {
    data::IoVec vector{to, size};
    Result<u64> bytes = data::read(store, link, offset, &vector, 1);
    if (bytes.ok() ? bytes.value() != size : !same_identity(store, link, identity)) return Error(ESTALE);
    TRY(bytes);
  }
  // The target is written before the inode has its identity and never again.
  if (!same_identity(store, link, identity)) return Error(ESTALE);
  return {};
}

// ---- The walk ------------------------------------------------------------------------------------------------

Result<void> Walk::run(At at) {
  if (at.path.size() >= kPathMax) return Error(ENAMETOOLONG);
  if (at.path.empty()) return Error(ENOENT);
  for (unsigned tries = 0; tries < kMaxAttempts; ++tries) {
    Result<void> result = attempt(at);
    if (PMEMFILE_LIKELY(result.error() != ESTALE)) return result;
    // The directory at which the path starts may be gone itself.
    Result<Node> start = read_node(store_, at.path.front() == '/' ? task_.root : at.dir);
    if (!start.ok() || start.value().nlink == 0) return Error(ENOENT);
  }
  return Error(ESTALE);
}

Result<void> Walk::attempt(At at) {
  last_kind_ = Last::kName;
  must_be_dir_ = found_ = false;
  links_followed_ = depth_ = 0;
  name_ = {};
  text_ = without_slashes_in_front(at.path);
  bool absolute = text_.size() != at.path.size();
  while (!text_.empty() && text_.back() == '/') {
    text_.remove_suffix(1);
    must_be_dir_ = true;
  }
  if (PMEMFILE_UNLIKELY(absolute && (task_.resolve & RESOLVE_BENEATH) != 0)) return Error(EXDEV);
  Ino start = absolute ? task_.root : at.dir;
  if (!jump(start)) {
    keep_ = !prefix_.empty() && stripe_is_free(start);
    node_ = TRY(read_node(store_, start));
    if (!is_dir(node_.mode)) return Error(ENOTDIR);
  }
  return walk_components();
}

// Is this directory there, under the name that it had? Moving it would have voided the cache. The links first: if it is that inode still after
// they were read, they were its own, and the path led there after the walk had begun. Whoever has seen another directory under the path, or
// none, finds here what the removal left.
bool is_linked(const journal::Store& store, const Node& dir) {
  if (load_acquire(store.medium.word(layout::inode_offset(dir.ino) + layout::kInodeModeWord)) >> 32 == 0) return false;
  return load_acquire(store.medium.word(layout::inode_offset(dir.ino) + layout::kInodeIdentity)) == dir.identity;
}

// Splits off the last component; true if the walk cache knows where the others lead.
bool Walk::jump(Ino start) {
  keep_ = false;
  std::size_t size = text_.size(), name = size;
  while (name > 0 && text_[name - 1] != '/') --name;
  prefix_ = text_.substr(0, name);
  if (name == 0 || name > kMaxCachedPrefix) {
    prefix_ = {};
    return false;
  }
  start_ = start;
  required_uid_ = kForEverybody;
  topology_ = load_acquire(store_.segment.header->topology_sequence);
  if (!find_cached({store_.segment.header->segment_id, raw(start), topology_, prefix_}, task_.credentials->fsuid, node_) || !is_linked(store_, node_)) return false;
  text_.remove_prefix(name);
  return true;
}

// Search permission of node_ was granted: to everybody, to its owner, or for reasons that the cache does not know?
void Walk::note_searched() {
  if ((node_.mode & 0111) == 0111) return;
  bool by_owner = node_.uid == task_.credentials->fsuid && (node_.mode & 0100) != 0;
  if (by_owner && node_.uid != kForEverybody)
    required_uid_ = node_.uid;
  else
    keep_ = false;
}

void Walk::keep_prefix() {
  keep_cached({store_.segment.header->segment_id, raw(start_), topology_, prefix_}, required_uid_, node_);
}

Result<void> Walk::walk_components() {
  if (at_end()) last_kind_ = Last::kRoot;
  while (TRY(next())) {
    if (!permitted(*task_.credentials, node_.mode, node_.uid, node_.gid, kExecute)) return Error(EACCES);
    bool last = at_end();
    if (PMEMFILE_UNLIKELY(keep_)) last ? keep_prefix() : note_searched();
    last_kind_ = Last::kName;
    if (PMEMFILE_UNLIKELY(name_.front() == '.' && name_.size() <= 2 && name_.back() == '.')) {
      last_kind_ = name_.size() == 1 ? Last::kDot : Last::kDotDot;
      keep_ = false;
      if (last && until_ == Until::kParent) return {};
      if (last_kind_ == Last::kDotDot) TRY(go_up());
      continue;
    }
    if (last && until_ == Until::kParent) return {};
    if (last && must_be_dir_ && until_ == Until::kCreate) return Error(EISDIR); // open(2) with O_CREAT makes files only
    if (TRY(step())) return {};
  }
  return finish_here();
}

// The path ended in the directory itself: "/", ".", "..", or a symlink to one of them.
Result<void> Walk::finish_here() {
  if (until_ == Until::kParent) {
    name_ = ".";
    return {};
  }
  TRY(inode::read_into(store_, node_.ino, attr_));
  if (!same_identity(store_, node_.ino, node_.identity)) return Error(ESTALE);
  found_ = true;
  return {};
}

// Takes the next component into name_; false: the path is used up.
Result<bool> Walk::next() {
  if (PMEMFILE_UNLIKELY(depth_ != 0)) return next_of_link();
  if (text_.empty()) return false;
  const char* begin = text_.data();
  const char* end = begin + text_.size();
  const char* at = begin;
  while (at != end && *at != '/') ++at;
  name_ = std::string_view(begin, static_cast<std::size_t>(at - begin));
  while (at != end && *at == '/') ++at;
  text_ = std::string_view(at, static_cast<std::size_t>(end - at));
  return true; // too long a name is found out where it is looked up
}

// The same from the text of a symlink. Neither end of a frame's text is a slash.
__attribute__((noinline)) Result<bool> Walk::next_of_link() {
  Frame& frame = frames_[depth_ - 1];
  u32 size = min_of<u32>(frame.length - frame.offset, sizeof buffer_);
  TRY(read_target(store_, frame.ino, frame.identity, frame.offset, buffer_, size));
  u32 end = 0;
  while (end < size && buffer_[end] != '/') ++end;
  name_ = std::string_view(buffer_, end); // cut at 256 bytes, one more than any name that exists
  frame.offset = static_cast<u16>(frame.offset + end);
  char slash = '/';
  while (frame.offset < frame.length) {
    TRY(read_target(store_, frame.ino, frame.identity, frame.offset, &slash, 1));
    if (slash != '/') break;
    ++frame.offset;
  }
  if (frame.offset == frame.length) --depth_;
  return true;
}

// One ordinary component: into the directory, through the symlink, or to the object that was asked for. True: arrived.
Result<bool> Walk::step() {
  dir::Entry entry;
  Result<void> found = lookup(entry);
  if (PMEMFILE_UNLIKELY(!found.ok())) {
    if (found.error() == ENOENT && at_end() && until_ == Until::kCreate) return true;
    return Error(found.error());
  }
  bool link = entry.type == type_of_mode(kTypeLink);
  if (at_end() && !(link && (follow_ == Follow::kYes || must_be_dir_))) {
    TRY(step_to_object(entry));
    return true;
  }
  if (PMEMFILE_LIKELY(entry.type == type_of_mode(kTypeDir))) {
    TRY(enter(entry.ino, entry));
  } else if (link) {
    TRY(follow_link(entry));
  } else {
    return Error(ENOTDIR);
  }
  return false;
}

Result<void> Walk::lookup(dir::Entry& entry) {
  if (PMEMFILE_UNLIKELY(name_.size() > layout::kMaxNameBytes)) return Error(node_.nlink == 0 ? ENOENT : ENAMETOOLONG);
  Result<void> found = dir::lookup_proved(store_, node_.ino, name_, proof_, entry);
  if (!same_identity(store_, node_.ino, node_.identity)) return Error(ESTALE);
  return found;
}

// After the inode was read: does the entry still name it? The leaf's sequence says so at no cost unless something else
// in the leaf changed; then the name is looked up once more.
bool Walk::entry_stands(const dir::Entry& entry) {
  if (PMEMFILE_LIKELY(proof_.holds(store_))) return true;
  dir::Entry again;
  // The name may have become another kind of object with the same number.
  return lookup(again).ok() && again.ino == entry.ino && again.key == entry.key && again.type == entry.type;
}

Result<void> Walk::step_to_object(const dir::Entry& entry) {
  if (!store_.inode_in_range(entry.ino)) return Error(kErrnoCorrupt);
  Result<void> read = inode::read_into(store_, entry.ino, attr_);
  if (is_damage(store_, proof_, read.error())) return Error(kErrnoCorrupt);
  if (!entry_stands(entry)) return Error(ESTALE);
  TRY(read);
  if (!same_identity(store_, entry.ino, identity_of(attr_))) return Error(ESTALE);
  if (must_be_dir_ && !is_dir(attr_.mode)) return Error(ENOTDIR);
  found_ = true;
  return {};
}

Result<void> Walk::enter(Ino ino, const dir::Entry& entry) {
  if (keep_) keep_ = store_.inode_in_range(ino) && stripe_is_free(ino);
  Result<Node> child = read_node(store_, ino);
  if (is_damage(store_, proof_, child.error())) return Error(kErrnoCorrupt);
  if (!entry_stands(entry)) return Error(ESTALE);
  TRY(child);
  if (!same_identity(store_, ino, child.value().identity)) return Error(ESTALE);
  if (!is_dir(child.value().mode)) return Error(kErrnoCorrupt); // the entry said it was one
  node_ = child.value();
  return {};
}

// `..`. A directory cannot be removed while it has subdirectories, so the parent is what the pointer says as long as the
// pointer says so. A removed directory that is still open remembers its parent with the generation (stage_last_unlink).
Result<void> Walk::go_up() {
  if (node_.ino == task_.root) return task_.resolve != 0 || !task_.mount_point.empty() ? escape_up() : Result<void>();
  struct Up {
    u64 parent, key;
    bool removed;
  };
  auto read_up = [&](const journal::View& view) -> Result<Up> {
    if (load_at(view, node_.ino, layout::kInodeIdentity) != node_.identity) return Error(ESTALE);
    bool removed = load_at(view, node_.ino, layout::kInodeModeWord) >> 32 == 0;
    return Up{load_at(view, node_.ino, layout::kInodeParent), load_at(view, node_.ino, layout::kInodeParentKey), removed};
  };
  shm::LockKey key = shm::inode_key(store_.segment, node_.ino);
  Up before = TRY(journal::read_consistent(store_, key, read_up));
  if (before.parent == 0 || before.parent == raw(node_.ino)) return {}; // root of another tree
  Result<Node> up = read_node(store_, Ino{before.parent});
  if (PMEMFILE_UNLIKELY(before.removed)) {
    if (!up.ok() || up.value().identity >> 16 != before.key) return Error(ENOENT);
  } else {
    Up after = TRY(journal::read_consistent(store_, key, read_up));
    if (after.parent != before.parent || after.removed) return Error(ESTALE);
  }
  TRY(up);
  if (!is_dir(up.value().mode)) return Error(same_identity(store_, up.value().ino, up.value().identity) ? kErrnoCorrupt : ESTALE);
  node_ = up.value();
  return {};
}

// ---- Symlinks and ways out of the pool --------------------------------------------------------------------------

__attribute__((noinline)) Result<void> Walk::follow_link(const dir::Entry& entry) {
  if (++links_followed_ > kMaxLinksFollowed || (task_.resolve & RESOLVE_NO_SYMLINKS) != 0) return Error(ELOOP);
  keep_ = false;
  Frame frame{entry.ino, 0, 0, 0};
  Result<u32> length = target_length(store_, entry.ino, frame.identity);
  if (is_damage(store_, proof_, length.error())) return Error(kErrnoCorrupt);
  if (is_race(store_, proof_, length.error()) || !entry_stands(entry)) return Error(ESTALE);
  frame.length = static_cast<u16>(TRY(length));
  char edge = 0;
  bool tail = at_end();
  TRY(read_target(store_, frame.ino, frame.identity, frame.length - 1u, &edge, 1));
  while (edge == '/' && frame.length > 1) { // the text of a frame ends in a name
    if (tail) must_be_dir_ = true;
    --frame.length;
    TRY(read_target(store_, frame.ino, frame.identity, frame.length - 1u, &edge, 1));
  }
  TRY(read_target(store_, frame.ino, frame.identity, 0, &edge, 1));
  if (edge == '/') {
    TRY(absolute_target(frame));
    if (frame.offset >= frame.length) {
      if (at_end()) last_kind_ = Last::kRoot;
      return {};
    }
  }
  frames_[depth_++] = frame; // at most one for each link followed
  return {};
}

// An absolute target starts at the root of the tree: at once if the tree is all there is, behind the mount point's path
// if it begins with it.
Result<void> Walk::absolute_target(Frame& frame) {
  if ((task_.resolve & RESOLVE_BENEATH) != 0) return Error(EXDEV);
  if (!task_.mount_point.empty()) { // else the tree is all there is, and "/" no other mount
    if ((task_.resolve & RESOLVE_NO_XDEV) != 0) return Error(EXDEV);
    if (!TRY(under_mount_point(frame))) return escape_to_target(frame);
  }
  char slash = '/';
  while (frame.offset < frame.length) {
    TRY(read_target(store_, frame.ino, frame.identity, frame.offset, &slash, 1));
    if (slash != '/') break;
    ++frame.offset;
  }
  node_ = TRY(read_node(store_, task_.root));
  return {};
}

// Compares component by component; moves the frame's offset behind the mount point if the target lies under it.
Result<bool> Walk::under_mount_point(Frame& frame) {
  std::string_view mount = task_.mount_point;
  u32 offset = 0;
  for (;;) {
    mount = without_slashes_in_front(mount);
    if (mount.empty()) break;
    std::size_t end = 0;
    while (end < mount.size() && mount[end] != '/') ++end;
    char c = '/';
    while (offset < frame.length) {
      TRY(read_target(store_, frame.ino, frame.identity, offset, &c, 1));
      if (c != '/') break;
      ++offset;
    }
    // One character more than the component: it has to end there.
    u32 size = min_of<u32>(frame.length - offset, sizeof buffer_);
    if (end > layout::kMaxNameBytes || size < end) return false;
    TRY(read_target(store_, frame.ino, frame.identity, offset, buffer_, size));
    if (std::string_view(buffer_, end) != mount.substr(0, end)) return false;
    if (size > end && buffer_[end] != '/') return false;
    offset += static_cast<u32>(end);
    mount.remove_prefix(end);
  }
  frame.offset = static_cast<u16>(offset);
  return true;
}

// `..` of the root of a mounted tree: the parent of the mount point, then the rest of the path.
__attribute__((noinline)) Result<void> Walk::escape_up() {
  if ((task_.resolve & RESOLVE_BENEATH) != 0) return Error(EXDEV);
  if (task_.mount_point.empty()) return {};
  if ((task_.resolve & RESOLVE_NO_XDEV) != 0) return Error(EXDEV);
  std::string_view mount = task_.mount_point;
  std::size_t length = mount.size();
  while (length > 0 && mount[length - 1] != '/') --length; // keeps the slash
  if (length > 1) --length;
  if (length == 0 || length >= kPathMax) return Error(ENAMETOOLONG);
  memcpy(task_.escape, mount.data(), length);
  return append_rest(length);
}

__attribute__((noinline)) Result<void> Walk::escape_to_target(const Frame& frame) {
  TRY(read_target(store_, frame.ino, frame.identity, 0, task_.escape, frame.length));
  return append_rest(frame.length);
}

Result<void> Walk::append_rest(u64 length) {
  while (depth_ != 0) length = TRY(append_frame(frames_[--depth_], length));
  if (!text_.empty()) {
    if (length + 1 + text_.size() >= kPathMax) return Error(ENAMETOOLONG);
    task_.escape[length++] = '/';
    memcpy(task_.escape + length, text_.data(), text_.size());
    length += text_.size();
  }
  if (must_be_dir_) {
    if (length + 1 >= kPathMax) return Error(ENAMETOOLONG);
    task_.escape[length++] = '/';
  }
  task_.escape[length] = '\0';
  task_.escape_length = static_cast<u32>(length);
  return Error(kEscaped);
}

Result<u64> Walk::append_frame(const Frame& frame, u64 length) {
  u32 size = frame.length - frame.offset;
  if (length + 1 + size >= kPathMax) return Error(ENAMETOOLONG);
  task_.escape[length++] = '/';
  TRY(read_target(store_, frame.ino, frame.identity, frame.offset, task_.escape + length, size));
  return length + size;
}

// ---- What the verbs use --------------------------------------------------------------------------------------------

__attribute__((noinline)) Result<void> resolve_into(Task& task, At at, Follow follow, bool allow_empty, inode::Attr& attr) {
  if (allow_empty && at.path.empty()) return inode::read_into(task.pool->store(), at.dir, attr);
  Walk walk(task, Walk::Until::kObject, follow, attr);
  return walk.run(at);
}

Result<inode::Attr> resolve(Task& task, At at, Follow follow, bool allow_empty) {
  inode::Attr attr;
  TRY(resolve_into(task, at, follow, allow_empty, attr));
  return attr;
}

// The last component is never a symlink's text here, as no last component is followed: it lies in the path.
__attribute__((noinline)) Result<NamePlace> find_place(Task& task, At at) {
  inode::Attr unused;
  Walk walk(task, Walk::Until::kParent, Follow::kNo, unused);
  TRY(walk.run(at));
  return NamePlace{walk.dir(), walk.last(), walk.must_be_dir(), walk.last_kind()};
}

Result<Parent> resolve_parent(Task& task, At at, char (&)[256]) {
  NamePlace place = TRY(find_place(task, at));
  if (place.name.size() > layout::kMaxNameBytes) return Error(ENAMETOOLONG);
  return Parent{place.dir.ino, place.name, place.must_be_dir};
}

} // namespace pmemfile::vfs
