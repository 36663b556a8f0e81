#include "preload/names_of.h"

#include "base/mapping.h"
#include "preload/exec_state.h"
#include "preload/paths.h"

namespace pmemfile::preload {
namespace {

constexpr u32 kRemembered = 4096;
struct OpenedAs {
  u64 dir;
  u8 bytes; // 0: not known
  char path[247];
};
static_assert(sizeof(OpenedAs) == 256);
OpenedAs* g_opened_as; // entries of low numbers at its end

OpenedAs* table() {
  OpenedAs* made = __atomic_load_n(&g_opened_as, __ATOMIC_ACQUIRE);
  if (made != nullptr) return made;
  void* room = map_near(kRemembered * sizeof(OpenedAs));
  if (room == nullptr) return nullptr;
  OpenedAs* expected = nullptr;
  if (!compare_exchange(g_opened_as, expected, static_cast<OpenedAs*>(room))) {
    unmap_near(room, kRemembered * sizeof(OpenedAs));
    return expected;
  }
  return static_cast<OpenedAs*>(room);
}

OpenedAs& entry_of(u32 fd) { return g_opened_as[kRemembered - 1 - fd]; }

} // namespace

void remember_name(Process& process, u32 fd, u32, vfs::At at) {
  if (fd >= kRemembered || process.is_child_view) return;
  if (table() == nullptr) return;
  OpenedAs& entry = entry_of(fd);
  entry.bytes = 0;
  if (at.path.size() >= sizeof entry.path) return;
  entry.dir = raw(at.dir);
  memcpy(entry.path, at.path.data(), at.path.size());
  entry.bytes = static_cast<u8>(at.path.size());
}

void forget_name(u32 fd) {
  if (fd < kRemembered && g_opened_as != nullptr) entry_of(fd).bytes = 0;
}

void copy_name(Process& process, u32 from, u32 to) {
  if (to >= kRemembered || process.is_child_view || g_opened_as == nullptr) return;
  if (from >= kRemembered)
    entry_of(to).bytes = 0;
  else
    entry_of(to) = entry_of(from);
}

void put_names(Process& process, Text& state) {
  if (g_opened_as == nullptr) return;
  constexpr u64 kRoom = 4096; // of the state's
  for (u32 fd = 0; fd < process.fd_end && fd < kRemembered; ++fd) {
    FdWord word = load_relaxed(fd_entry(process, fd));
    const OpenedAs& entry = entry_of(fd);
    if (!is_file(word) || (word & kFdCloexec) != 0 || entry.bytes == 0) continue;
    if (state.size() + entry.bytes > kRoom) return;
    FixedText<300> text;
    text << fd << " " << entry.dir << " " << std::string_view(entry.path, entry.bytes);
    put_item(state, kItemOpenedAs, text.view());
  }
}

Result<u64> path_of_dir(Call& call, u32 mount, Ino dir, char* buffer, u64 size) {
  std::string_view point = g_mounts[mount].point;
  if (size <= point.size() + 1) return Error(ERANGE);
  memcpy(buffer, point.data(), point.size());
  vfs::Task task = make_task(call, mount);
  u64 bytes = TRY(vfs::dir_path(task, dir, buffer + point.size(), size - point.size()));
  u64 total = point.size() + bytes - 1; // dir_path counts the NUL
  if (bytes == 2) total = point.size(); // "/": the mount point itself
  buffer[total] = '\0';
  return total;
}

Result<u64> path_of_descriptor(Call& call, u32 fd, char* buffer, u64 size) {
  FdWord word = fd_word(call.process, fd);
  if (!is_file(word)) return Error(EBADF);
  u32 mount = mount_of(word);
  vfs::DescriptionInfo info = vfs::info(call.pool(mount), description_of(word));
  if ((info.mode & 0170000) == 0040000) return path_of_dir(call, mount, info.ino, buffer, size);
  vfs::Task task = make_task(call, mount);
  OpenedAs* entry = fd < kRemembered && g_opened_as != nullptr ? &entry_of(fd) : nullptr;
  if (entry != nullptr && entry->bytes != 0) {
    char component[256];
    vfs::At at{Ino{entry->dir}, std::string_view(entry->path, entry->bytes)};
    Result<inode::Attr> now = vfs::resolve(task, at, vfs::Follow::kYes);
    Result<vfs::Parent> parent = vfs::resolve_parent(task, at, component);
    if (parent.ok()) {
      u64 bytes = TRY(path_of_dir(call, mount, parent.value().dir, buffer, size));
      std::string_view last = parent.value().last;
      std::string_view end = now.ok() && now.value().ino == info.ino ? "" : " (deleted)";
      if (bytes + 1 + last.size() + end.size() + 1 > size) return Error(ENAMETOOLONG);
      buffer[bytes++] = '/';
      memcpy(buffer + bytes, last.data(), last.size());
      bytes += last.size();
      memcpy(buffer + bytes, end.data(), end.size());
      bytes += end.size();
      buffer[bytes] = '\0';
      return bytes;
    }
  }
  Text text(buffer, size);
  text << g_mounts[mount].point << "/#" << raw(info.ino) << " (deleted)";
  return text.size();
}

Result<u64> path_of_executable(Call& call, const char* path, char* buffer) {
  char* text = call.block.done; // not in use between locate()s
  u64 path_bytes = strlen(path);
  if (path_bytes + 1 > kPathBytes) return Error(ENAMETOOLONG);
  memcpy(buffer, path, path_bytes + 1);
  for (unsigned round = 0; round < 40; ++round) {
    Place place;
    long error = locate(call, -100, buffer, kFollowLast | kNeverKnown | (round == 0 ? kAllowEmpty : 0), 0, place);
    if (error != 0) return Error(static_cast<int>(-error));
    if (!place.ours) return Error(ENOENT);
    if (place.itself) {
      if (place.descriptor < 0) return Error(ENOENT);
      return path_of_descriptor(call, static_cast<u32>(place.descriptor), buffer, kPathBytes);
    }
    vfs::Task task = make_task(call, place.mount);
    char component[256];
    vfs::Parent parent = TRY(vfs::resolve_parent(task, place.at, component));
    u64 bytes = TRY(path_of_dir(call, place.mount, parent.dir, text, kPathBytes));
    if (bytes + 2 + parent.last.size() > kPathBytes) return Error(ENAMETOOLONG);
    text[bytes++] = '/';
    memcpy(text + bytes, parent.last.data(), parent.last.size());
    bytes += parent.last.size();
    text[bytes] = '\0';
    Result<u64> link = vfs::readlink_at(task, vfs::At{parent.dir, parent.last}, false, call.block.link, kPathBytes - 1);
    if (!link.ok()) { // not a symlink
      memcpy(buffer, text, bytes + 1);
      return bytes;
    }
    call.block.link[link.value()] = '\0';
    u64 keep = call.block.link[0] == '/' ? 0 : bytes - parent.last.size();
    if (keep + link.value() + 1 > kPathBytes) return Error(ENAMETOOLONG);
    memcpy(buffer, text, keep);
    memcpy(buffer + keep, call.block.link, link.value() + 1);
  }
  return Error(ELOOP);
}

} // namespace pmemfile::preload
