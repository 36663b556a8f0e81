// Calls of the library's own: open_parent, counts, file handles.
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc/alloc.h"
#include "api/handle.h"
#include "vfs/walk.h"

using namespace pmemfile;
using namespace pmemfile::api;

// ---- open_parent ------------------------------------------------------------------------------------------------------

namespace {

// A path that is worked on in the caller's buffer.
struct Rest {
  char* text;
  size_t room;
  Result<void> set(std::string_view a, std::string_view b, bool slash) {
    size_t size = a.size() + b.size() + (slash ? 1 : 0);
    if (size + 1 > room) return Error(ENAMETOOLONG);
    // `b` may lie in this very buffer.
    memmove(text + a.size(), b.data(), b.size());
    memcpy(text, a.data(), a.size());
    if (slash) text[size - 1] = '/';
    text[size] = '\0';
    return {};
  }
};

// The parent of the last component, which is left in `rest`. Where ".." would leave the tree, and the caller wants to see
// it, the root with what was left of the path.
Result<Ino> parent_of(vfs::Task& task, vfs::At at, Rest& rest, bool stop_at_root) {
  char way_out[PMEMFILE_PATH_MAX];
  if (stop_at_root) {
    // A mount point "/" makes the walk report where it would leave upwards, and takes every absolute symlink as its own.
    task.escape = way_out;
    task.mount_point = "/";
  }
  inode::Attr attr;
  vfs::Walk walk(task, vfs::Walk::Until::kParent, vfs::Follow::kNo, attr);
  Result<void> walked = walk.run(at);
  if (walked.error() == vfs::kEscaped) {
    std::string_view left(way_out, task.escape_length);
    while (!left.empty() && left.front() == '/') left.remove_prefix(1);
    TRY(rest.set("../", left, false));
    return task.root;
  }
  TRY(walked);
  TRY(rest.set("", walk.last(), walk.must_be_dir() && walk.last_kind() == vfs::Walk::Last::kName));
  return walk.dir().ino;
}

// If the last component is a symlink: its target becomes the path. False: it is not.
Result<bool> expand_last(vfs::Task& task, Ino dir, Rest& rest) {
  std::string_view name(rest.text, strlen(rest.text));
  bool slash = !name.empty() && name.back() == '/';
  while (!name.empty() && name.back() == '/') name.remove_suffix(1);
  if (name.empty() || name == "." || name == ".." || name.substr(0, 3) == "../") return false;
  inode::Attr attr;
  vfs::Walk walk(task, vfs::Walk::Until::kCreate, vfs::Follow::kNo, attr);
  TRY(walk.run(vfs::At{dir, name}));
  if (!walk.found() || !vfs::is_link(walk.attr().mode)) return false;
  char target[PMEMFILE_PATH_MAX];
  u32 size = static_cast<u32>(walk.attr().size);
  if (walk.attr().size >= sizeof target) return Error(kErrnoCorrupt);
  TRY(vfs::read_target(task.pool->store(), walk.attr().ino, vfs::identity_of(walk.attr()), 0, target, size));
  TRY(rest.set("", std::string_view(target, size), slash));
  return true;
}

void use_ids(vfs::Credentials& who, int flags) {
  switch (flags & PMEMFILE_OPEN_PARENT_ACCESS_MASK) {
    case PMEMFILE_OPEN_PARENT_USE_EACCESS: who.fsuid = who.euid, who.fsgid = who.egid; break;
    case PMEMFILE_OPEN_PARENT_USE_RACCESS:
      who.fsuid = who.uid, who.fsgid = who.gid;
      if (who.uid != 0) who.capabilities = 0;
      break;
    default: break;
  }
}

Result<PMEMfile*> open_parent(Call& call, PMEMfile* dir, Rest rest, int flags) {
  constexpr int kKnown = PMEMFILE_OPEN_PARENT_STOP_AT_ROOT | PMEMFILE_OPEN_PARENT_SYMLINK_FOLLOW | PMEMFILE_OPEN_PARENT_ACCESS_MASK;
  if ((flags & ~kKnown) != 0 || (flags & PMEMFILE_OPEN_PARENT_ACCESS_MASK) == PMEMFILE_OPEN_PARENT_ACCESS_MASK) return Error(EINVAL);
  vfs::At at = TRY(place(*call.pool, dir, rest.text));
  use_ids(call.credentials, flags);
  Ino parent{};
  for (u32 links = 0;; ++links) {
    if (links > vfs::kMaxLinksFollowed) return Error(ELOOP);
    parent = TRY(parent_of(call.task, at, rest, (flags & PMEMFILE_OPEN_PARENT_STOP_AT_ROOT) != 0));
    call.task.mount_point = {};
    if ((flags & PMEMFILE_OPEN_PARENT_SYMLINK_FOLLOW) == 0 || !TRY(expand_last(call.task, parent, rest))) break;
    at = vfs::At{parent, std::string_view(rest.text, strlen(rest.text))};
  }
  return open_file(call, vfs::At{parent, {}}, O_PATH | O_DIRECTORY, 0);
}

} // namespace

PMEMFILE_API PMEMfile* pmemfile_open_parent(PMEMfilepool* pool, PMEMfile* at, char* path, size_t path_size, int flags) {
  PMEMFILE_CALL(pool, nullptr);
  Result<PMEMfile*> parent = path == nullptr ? Result<PMEMfile*>(Error(EFAULT)) : open_parent(call, at, Rest{path, path_size}, flags);
  if (parent.ok()) return parent.value();
  fail(parent.error());
  return nullptr;
}

// ---- File handles --------------------------------------------------------------------------------------------------------

namespace {

struct HandleBytes {
  u64 ino, generation;
};
constexpr int kHandleType = 0x504d; // "MP"; any positive number

} // namespace

PMEMFILE_API int pmemfile_name_to_handle_at(PMEMfilepool* pool, PMEMfile* dir, const char* path, struct file_handle* handle,
                                            int* mount_id, int flags) {
  PMEMFILE_CALL(pool, -1);
  auto run = [&]() -> Result<void> {
    if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_FOLLOW)) != 0) return Error(EINVAL);
    if (handle == nullptr || mount_id == nullptr) return Error(EFAULT);
    if (handle->handle_bytes > MAX_HANDLE_SZ) return Error(EINVAL);
    vfs::Follow follow = (flags & AT_SYMLINK_FOLLOW) != 0 ? vfs::Follow::kYes : vfs::Follow::kNo;
    inode::Attr attr = TRY(vfs::resolve(call.task, TRY(place(*pool, dir, path)), follow, (flags & AT_EMPTY_PATH) != 0));
    *mount_id = 0;
    bool fits = handle->handle_bytes >= sizeof(HandleBytes);
    handle->handle_bytes = sizeof(HandleBytes);
    if (!fits) return Error(EOVERFLOW);
    HandleBytes bytes{raw(attr.ino), attr.generation};
    handle->handle_type = kHandleType;
    memcpy(handle->f_handle, &bytes, sizeof bytes);
    return {};
  };
  return finish(run());
}

// ---- Counts ----------------------------------------------------------------------------------------------------------------

namespace {

// Inodes are counted by their names: a file of n links counts 1/n for each, in units of 2^-32.
constexpr u64 kOne = u64{1} << 32;

struct Tally {
  journal::Store& store;
  u64 directories = 0;
  u64 files = 0; // times kOne
  // Of the directory that is being read:
  u64 cookie = 0; // behind the last entry seen
  Ino subdirectory{};
  bool found = false;
};

bool count_entry(void* context, const dir::Listed& entry) {
  auto& tally = *static_cast<Tally*>(context);
  if (tally.found) return false;
  tally.cookie = entry.cookie;
  if (entry.type == vfs::type_of_mode(vfs::kTypeDir)) {
    tally.subdirectory = entry.ino;
    tally.found = true;
  } else if (Result<inode::Attr> attr = inode::read(tally.store, entry.ino); attr.ok() && attr.value().nlink != 0) {
    tally.files += kOne / attr.value().nlink;
  }
  return true;
}

// Walks a tree without memory: down to the next subdirectory, and up again by the parent pointer and the key of the
// directory's entry there, behind which reading goes on.
void count_tree(Tally& tally, Ino root) {
  u64 bound = 2 * tally.store.geometry.block_count * layout::kInodesPerBlock;
  Ino dir = root;
  ++tally.directories;
  tally.cookie = 0;
  for (u64 steps = 0; steps < bound; ++steps) {
    tally.found = false;
    if (!dir::list(tally.store, dir, tally.cookie, count_entry, &tally).ok()) return;
    if (tally.found) {
      ++tally.directories;
      dir = tally.subdirectory;
      tally.cookie = 0;
      continue;
    }
    if (dir == root) return;
    Result<inode::Attr> attr = inode::read(tally.store, dir);
    if (!attr.ok() || raw(attr.value().parent) == 0) return;
    tally.cookie = attr.value().parent_key + 3;
    dir = attr.value().parent;
  }
}

unsigned shown(u64 value) { return value > ~0u ? ~0u : static_cast<unsigned>(value); }

} // namespace

PMEMFILE_API void pmemfile_stats(PMEMfilepool* pool, struct pmemfile_stats* stats) {
  Call call(pool);
  if (!call.ready() || stats == nullptr) return;
  journal::Store& store = pool->pool->store();
  alloc::SpaceCount count = alloc::count_space(store);
  Tally tally{store};
  for (u64 root : store.geometry.root_ino) count_tree(tally, Ino{root});
  u64 inodes = tally.directories + (tally.files + kOne / 2) / kOne;
  stats->inodes = shown(inodes);
  stats->dirs = shown(tally.directories);
  stats->block_arrays = 0;
  stats->inode_arrays = shown(div_up(inodes, layout::kInodesPerBlock));
  stats->blocks = shown(count.total_blocks - count.free_blocks);
}
