// Extended attributes: one block an inode, written anew by each change (docs/format.md).
//
// Namespaces, limits and errors are those of ext4: user.* on files and directories by their permissions, trusted.* for
// CAP_SYS_ADMIN, security.* readable by all; POSIX ACLs are not supported and say so.
#include <sys/xattr.h>

#include "alloc/alloc.h"
#include "vfs/change.h"

namespace pmemfile::vfs {
namespace {

constexpr u64 kMaxXattrName = 255, kMaxXattrValue = 65536;

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// xattr_permission() in Linux, then what the handlers of the namespaces say.
Result<void> check_namespace(const Task& task, const inode::Attr& attr, std::string_view name, bool write) {
  const Credentials& who = *task.credentials;
  std::size_t prefix = 0;
  if (starts_with(name, "user.")) {
    if (!is_regular(attr.mode) && !is_dir(attr.mode)) return Error(write ? EPERM : ENODATA);
    if (write && is_dir(attr.mode) && (attr.mode & kSticky) != 0 && !owns(task, attr)) return Error(EPERM);
    if (!may_access(who, attr, write ? kWrite : kRead)) return Error(EACCES);
    prefix = 5;
  } else if (starts_with(name, "trusted.")) {
    if ((who.capabilities & kCapSysAdmin) == 0) return Error(write ? EPERM : ENODATA);
    prefix = 8;
  } else if (starts_with(name, "security.")) {
    if (write && (who.capabilities & kCapSysAdmin) == 0) return Error(EPERM);
    prefix = 9;
  } else {
    if (!starts_with(name, "system.") && !may_access(who, attr, write ? kWrite : kRead)) return Error(EACCES);
    return Error(EOPNOTSUPP);
  }
  if (name.size() == prefix) return Error(EINVAL);
  return {};
}

Result<void> check_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxXattrName) return Error(ERANGE);
  return {};
}

// ---- Reading the block -----------------------------------------------------------------------------------------

// An attribute's place in the payload bytes of the block, checked against its end.
struct Place {
  u32 offset = 0; // of its two lengths
  u16 name_bytes = 0, value_bytes = 0;
  u32 name_at() const { return offset + 4; }
  u32 value_at() const { return offset + 4 + name_bytes; }
  u32 end() const { return static_cast<u32>(align_up(offset + u64{4} + name_bytes + value_bytes, 8)); }
};

class Block {
 public:
  Block(const journal::View& view, BlockNo block) : view_(view), base_(journal::block_offset(block)) {}

  u64 word(u32 index) const { return view_.load(base_ + layout::node_word(index)); }
  u8 byte(u32 at) const { return static_cast<u8>(word(at / 8) >> (8 * (at % 8))); }
  bool equal(u32 at, std::string_view text) const {
    for (u32 i = 0; i < text.size(); ++i)
      if (byte(at + i) != static_cast<u8>(text[i])) return false;
    return true;
  }
  // Moves to the attribute at `offset`; false at the end of the list. EUCLEAN if it leaves the block.
  Result<bool> at(u32 offset, Place& place) const {
    if (offset + 8 > layout::kXattrBytes) return false;
    u64 head = word(offset / 8);
    place = Place{offset, static_cast<u16>(head), static_cast<u16>(head >> 16)};
    if (place.name_bytes == 0) return false;
    if (place.name_bytes > kMaxXattrName || place.end() > layout::kXattrBytes) return Error(kErrnoCorrupt);
    return true;
  }
  // ENODATA if there is none.
  Result<Place> find(std::string_view name) const {
    Place place;
    u32 offset = 0;
    while (TRY(at(offset, place))) {
      if (place.name_bytes == name.size() && equal(place.name_at(), name)) return place;
      offset = place.end();
    }
    return Error(ENODATA);
  }
  Result<u32> used_bytes() const {
    Place place;
    u32 offset = 0;
    while (TRY(at(offset, place))) offset = place.end();
    return offset;
  }

 private:
  const journal::View& view_;
  PoolOff base_;
};

// The block of an inode under a reader; 0 if it has none.
Result<BlockNo> block_of(const journal::View& view, Ino ino, u64 identity) {
  PoolOff inode = layout::inode_offset(ino);
  if (view.load(inode + layout::kInodeIdentity) != identity) return Error(kChanged);
  BlockNo block{view.load(inode + layout::kInodeXattrBlock)};
  if (raw(block) != 0 && !view.store().data_block(block)) return Error(kErrnoCorrupt);
  return block;
}

Result<void> give_bytes(const Block& block, u32 from, void* user, u64 size) {
  for (u64 done = 0; done < size;) {
    u64 piece = 0;
    u32 count = static_cast<u32>(min_of<u64>(8, size - done));
    for (u32 i = 0; i < count; ++i) piece |= u64{block.byte(from + static_cast<u32>(done) + i)} << (8 * i);
    if (pmem::copy_guarded(static_cast<u8*>(user) + done, &piece, count) != 0) return Error(EFAULT);
    done += count;
  }
  return {};
}

// Resolves, then reads under the inode's stripe until nothing changed meanwhile.
template <class Body>
Result<u64> read_xattrs(Task& task, At at, Follow follow, bool allow_empty, Body&& body) {
  Store& store = task.pool->store();
  for (unsigned i = 0; i < kMaxRestarts; ++i) {
    inode::Attr attr = TRY(resolve(task, at, follow, allow_empty));
    auto read = [&](const journal::View& view) -> Result<u64> {
      BlockNo block = TRY(block_of(view, attr.ino, identity_of(attr)));
      return body(view, block, attr);
    };
    Result<u64> result = journal::read_consistent(store, shm::inode_key(store.segment, attr.ino), read);
    if (result.error() != kChanged) return result;
  }
  return Error(ENOENT);
}

// ---- Writing it anew -------------------------------------------------------------------------------------------

// Gives the payload words of the new block one after the other: the old list without the attribute of this name, then the
// new attribute. The value is the caller's memory and may fault.
class NewList {
 public:
  NewList(const Block* old, Place left_out, u32 old_bytes, std::string_view name, const void* value, u64 size, bool add)
      : old_(old), left_out_(left_out), old_bytes_(old_bytes), name_(name), value_(value), size_(size), add_(add) {
    skip();
  }
  u64 next() {
    if (at_ < old_bytes_) {
      u64 word = old_->word(at_ / 8);
      at_ += 8;
      skip();
      return word;
    }
    if (!add_ || added_ >= added_bytes()) return 0;
    u64 word = 0;
    for (u32 i = 0; i < 8; ++i) word |= u64{added_byte(added_++)} << (8 * i);
    return word;
  }
  u64 added_bytes() const { return add_ ? align_up(4 + name_.size() + size_, 8) : 0; }
  bool faulted() const { return faulted_; }

 private:
  void skip() {
    if (at_ == left_out_.offset && left_out_.name_bytes != 0) at_ = left_out_.end();
  }
  u8 added_byte(u64 at) {
    if (at < 2) return static_cast<u8>(name_.size() >> (8 * at));
    if (at < 4) return static_cast<u8>(size_ >> (8 * (at - 2)));
    at -= 4;
    if (at < name_.size()) return static_cast<u8>(name_[at]);
    at -= name_.size();
    u8 byte = 0;
    if (at < size_ && pmem::copy_guarded(&byte, static_cast<const u8*>(value_) + at, 1) != 0) faulted_ = true;
    return byte;
  }

  const Block* old_;
  Place left_out_;
  u32 old_bytes_;
  std::string_view name_;
  const void* value_;
  u64 size_;
  bool add_;
  u32 at_ = 0;
  u64 added_ = 0;
  bool faulted_ = false;
};

struct Change {
  std::string_view name;
  const void* value = nullptr;
  u64 size = 0;
  int flags = 0;
  bool add = true; // false: remove
};

// In a full pool a list that does not grow is written over the old one, if what changes fits one record. What moves moves to the front, so that
// nothing is read from where the new list has been staged.
void stage_in_place(Tx& tx, BlockNo block, NewList& list) {
  for (u64 line = 0; line < layout::kLinesPerBlock; ++line) {
    u64 words[layout::kLineWords];
    for (u64& word : words) word = list.next();
    tx.store_line(journal::block_offset(block) + line * layout::kLineBytes, words);
  }
}

Result<void> stage_xattrs(Tx& tx, inode::Attr& attr, const Change& change) {
  journal::View view = tx.view();
  BlockNo old_block = TRY(block_of(view, attr.ino, identity_of(attr)));
  Block old(view, old_block);
  Place found;
  u32 old_bytes = 0;
  if (raw(old_block) != 0) {
    Result<Place> place = old.find(change.name);
    if (!place.ok() && place.error() != ENODATA) return Error(place.error());
    if (place.ok()) found = place.value();
    old_bytes = TRY(old.used_bytes());
  }
  bool exists = found.name_bytes != 0;
  if (exists && change.add && (change.flags & XATTR_CREATE) != 0) return Error(EEXIST);
  if (!exists && (!change.add || (change.flags & XATTR_REPLACE) != 0)) return Error(ENODATA);
  NewList list(&old, found, old_bytes, change.name, change.value, change.size, change.add);
  u64 bytes = old_bytes - (exists ? found.end() - found.offset : 0) + list.added_bytes();
  if (bytes > layout::kXattrBytes) return Error(ENOSPC);
  BlockNo new_block{0};
  if (bytes != 0) {
    Result<alloc::MetaBlock> fresh = alloc::take_meta(tx);
    if (fresh.error() == ENOSPC && bytes <= old_bytes) {
      stage_in_place(tx, old_block, list);
      new_block = old_block;
    } else {
      alloc::MetaBlock taken = TRY(fresh);
      journal::write_fresh_block(tx, taken.block, taken.was_meta, [&](unsigned, u64(&words)[layout::kLineWords]) {
        for (u64& word : words) word = list.next();
      });
      new_block = taken.block;
    }
    if (list.faulted()) return Error(EFAULT);
  }
  if (raw(old_block) != 0 && new_block != old_block) TRY(inode::release_or_leave(tx, old_block, attr.ino));
  inode::store_xattr_block(tx, attr.ino, new_block);
  attr.ctime_ns = inode::now_ns();
  inode::store_times(tx, attr);
  Result<void> committed = tx.commit();
  if (committed.error() == journal::kRecordFull) return Error(ENOSPC);
  TRY(committed);
  if (PMEMFILE_UNLIKELY(tx.leaves())) inode::forget_orphan(tx.store());
  return {};
}

Result<void> change_xattrs(Task& task, At at, Follow follow, bool allow_empty, const Change& change) {
  Store& store = task.pool->store();
  for (unsigned i = 0; i < kMaxRestarts; ++i) {
    inode::Attr seen = TRY(resolve(task, at, follow, allow_empty));
    TRY(check_writable(store));
    auto change_them = [&](Tx& tx) -> Result<void> {
      TRY(tx.lock(shm::inode_key(store.segment, seen.ino)));
      Result<inode::Attr> loaded = inode::load(tx.view(), seen.ino);
      if (loaded.error() == ESTALE || (loaded.ok() && loaded.value().generation != seen.generation)) return Error(kChanged);
      inode::Attr attr = TRY(std::move(loaded));
      TRY(check_namespace(task, attr, change.name, true));
      return stage_xattrs(tx, attr, change);
    };
    Result<void> result = with_space(store, [&] { return journal::run_tx(store, Opcode::kXattr, change_them); });
    if (result.error() != kChanged) return result;
  }
  return Error(ENOENT);
}

} // namespace

Result<u64> getxattr_at(Task& task, At at, Follow follow, bool allow_empty, std::string_view name, void* user_value, u64 size) {
  TRY(check_name(name));
  return read_xattrs(task, at, follow, allow_empty,
                     [&](const journal::View& view, BlockNo block, const inode::Attr& attr) -> Result<u64> {
                       TRY(check_namespace(task, attr, name, false));
                       if (raw(block) == 0) return Error(ENODATA);
                       Block list(view, block);
                       Place place = TRY(list.find(name));
                       if (size == 0) return u64{place.value_bytes};
                       if (size < place.value_bytes) return Error(ERANGE);
                       TRY(give_bytes(list, place.value_at(), user_value, place.value_bytes));
                       return u64{place.value_bytes};
                     });
}

Result<u64> listxattr_at(Task& task, At at, Follow follow, bool allow_empty, char* user_list, u64 size) {
  bool all = (task.credentials->capabilities & kCapSysAdmin) != 0;
  return read_xattrs(task, at, follow, allow_empty,
                     [&](const journal::View& view, BlockNo block, const inode::Attr&) -> Result<u64> {
                       u64 bytes = 0;
                       if (raw(block) == 0) return bytes;
                       Block list(view, block);
                       Place place;
                       for (u32 offset = 0; TRY(list.at(offset, place)); offset = place.end()) {
                         if (!all && place.name_bytes > 8 && list.equal(place.name_at(), "trusted.")) continue;
                         u64 needed = bytes + place.name_bytes + 1;
                         if (size != 0) {
                           if (needed > size) return Error(ERANGE);
                           char end = '\0';
                           TRY(give_bytes(list, place.name_at(), user_list + bytes, place.name_bytes));
                           if (pmem::copy_guarded(user_list + needed - 1, &end, 1) != 0) return Error(EFAULT);
                         }
                         bytes = needed;
                       }
                       return bytes;
                     });
}

Result<void> setxattr_at(Task& task, At at, Follow follow, bool allow_empty, std::string_view name, const void* user_value,
                         u64 size, int flags) {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return Error(EINVAL);
  TRY(check_name(name));
  if (size > kMaxXattrValue) return Error(E2BIG);
  // What fits no block fits no pool; but that the name is not supported comes first.
  if (size > layout::kXattrBytes) {
    inode::Attr attr = TRY(resolve(task, at, follow, allow_empty));
    TRY(check_writable(task.pool->store()));
    TRY(check_namespace(task, attr, name, true));
    return Error(ENOSPC);
  }
  return change_xattrs(task, at, follow, allow_empty, Change{name, user_value, size, flags, true});
}

Result<void> removexattr_at(Task& task, At at, Follow follow, bool allow_empty, std::string_view name) {
  TRY(check_name(name));
  return change_xattrs(task, at, follow, allow_empty, Change{name, nullptr, 0, 0, false});
}

} // namespace pmemfile::vfs
