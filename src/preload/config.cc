#include "preload/config.h"

#include <fcntl.h>

#include "preload/paths.h"

namespace pmemfile::preload {

Config g_config;
Mount g_mounts[kMaxMounts];
u32 g_mount_count;

namespace {

PMEMFILE_TOUCHED char g_few_texts[512]; // mostly enough
PMEMFILE_BULKY char g_texts[32768];
u64 g_few_texts_used, g_texts_used;

const char* keep(std::string_view text) {
  bool few = text.size() + 1 <= sizeof g_few_texts - g_few_texts_used;
  u64& used = few ? g_few_texts_used : g_texts_used;
  if (!few && text.size() + 1 > sizeof g_texts - used) give_up("the environment is too large", part(text, 0, 60), "shorten PMEMFILE_POOLS");
  char* copy = (few ? g_few_texts : g_texts) + used;
  memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  used += text.size() + 1;
  return copy;
}

bool take(std::string_view variable, std::string_view name, const char*& value) {
  if (variable.size() <= name.size() || variable[name.size()] != '=' || part(variable, 0, name.size()) != name) return false;
  value = variable.data() + name.size() + 1;
  return true;
}

u32 parse_count(std::string_view variable, const char* value) {
  u64 number = 0;
  const char* at = value;
  for (; *at >= '0' && *at <= '9' && number <= 0xffffffff; ++at) number = number * 10 + static_cast<u64>(*at - '0');
  if (*at != '\0' || at == value || number > 0xffffffff) give_up("malformed variable", variable, "it is a number of system calls");
  return static_cast<u32>(number);
}

bool yes(const char* value) { return value[0] != '\0' && !(value[0] == '0' && value[1] == '\0'); }

// The element of LD_PRELOAD that names this library.
void find_library(std::string_view preload) {
  while (!preload.empty()) {
    u64 end = 0;
    while (end < preload.size() && preload[end] != ':' && preload[end] != ' ') ++end;
    std::string_view one = part(preload, 0, end);
    u64 name = one.size();
    while (name != 0 && one[name - 1] != '/') --name;
    std::string_view last = part(one, name);
    if (part(last, 0, 11) == "libpmemfile") g_config.library = keep(one);
    preload.remove_prefix(end < preload.size() ? end + 1 : end);
  }
}

[[noreturn]] void malformed(std::string_view what) {
  constexpr u64 kShown = 300; // the whole line has to fit
  give_up(what, part(std::string_view(g_config.pools, strlen(g_config.pools)), 0, kShown), "write PMEMFILE_POOLS=/mount/point:/path/of/pool[;/another:/pool]");
}

// Asking each directory costs less than one look through /proc.
bool has_symlink(char* text, u64 bytes) {
  char target;
  for (u64 end = 1; end <= bytes; ++end) {
    if (text[end] != '/') continue;
    text[end] = '\0';
    long length = raw_syscall(SYS_readlinkat, AT_FDCWD, as_arg(text), as_arg(&target), 1);
    text[end] = '/';
    if (length >= 0) return true;
  }
  return false;
}

// As in mount(2), the directory that holds the mount point is named without symlinks: programs reach it by its real name,
// too. Its own last component need not exist. `text` has room for a path.
u64 resolve_parent(char* text, u64 bytes) {
  u64 last = bytes;
  while (text[last - 1] != '/') --last;
  if (last == 1 || !has_symlink(text, last - 1)) return bytes;
  char real[kPathBytes];
  text[last - 1] = '\0';
  long fd = raw_syscall(SYS_openat, AT_FDCWD, as_arg(text), O_PATH | O_DIRECTORY | O_CLOEXEC);
  text[last - 1] = '/';
  if (fd < 0) return bytes;
  FixedText<40> link;
  link << "/proc/self/fd/" << static_cast<i64>(fd);
  long length = raw_syscall(SYS_readlinkat, AT_FDCWD, as_arg(link.c_str()), as_arg(real), sizeof real);
  raw_syscall(SYS_close, fd);
  u64 name_bytes = bytes - last;
  if (length <= 0 || real[0] != '/' || static_cast<u64>(length) + name_bytes + 2 > kPathBytes) return bytes;
  u64 dir_bytes = length == 1 ? 0 : static_cast<u64>(length);
  memmove(text + dir_bytes + 1, text + last, name_bytes + 1);
  memcpy(text, real, dir_bytes);
  text[dir_bytes] = '/';
  return dir_bytes + 1 + name_bytes;
}

bool lies_within(std::string_view inner, std::string_view outer) {
  return inner.size() > outer.size() && inner[outer.size()] == '/' && part(inner, 0, outer.size()) == outer;
}

void add_mount(std::string_view point, std::string_view pool) {
  if (g_mount_count == kMaxMounts) malformed("PMEMFILE_POOLS names more than 8 pools");
  if (point.empty() || point[0] != '/') malformed("a mount point in PMEMFILE_POOLS is not an absolute path");
  if (pool.empty()) malformed("PMEMFILE_POOLS names no pool for a mount point");
  if (point.size() >= kPathBytes) malformed("a mount point in PMEMFILE_POOLS is longer than a path can be");
  char text[kPathBytes];
  memcpy(text, point.data(), point.size());
  text[point.size()] = '\0';
  u64 bytes = normalise(text);
  if (bytes == 1) malformed("the mount point in PMEMFILE_POOLS cannot be /");
  bytes = resolve_parent(text, bytes);
  Mount& mount = g_mounts[g_mount_count];
  mount.point = std::string_view(keep(std::string_view(text, bytes)), bytes);
  u64 last = bytes;
  while (text[last - 1] != '/') --last;
  mount.last = part(mount.point, last);
  mount.pool_path = keep(pool);
  for (u32 i = 0; i < g_mount_count; ++i)
    if (g_mounts[i].point == mount.point) malformed("PMEMFILE_POOLS names a mount point twice");
  for (u32 i = 0; i < g_mount_count; ++i)
    if (lies_within(mount.point, g_mounts[i].point) || lies_within(g_mounts[i].point, mount.point))
      malformed("a mount point in PMEMFILE_POOLS lies within another");
  ++g_mount_count;
}

void parse_pools(std::string_view text) {
  while (!text.empty()) {
    u64 end = 0;
    while (end < text.size() && text[end] != ';') ++end;
    std::string_view one = part(text, 0, end);
    text.remove_prefix(end < text.size() ? end + 1 : end);
    if (one.empty()) continue;
    u64 colon = 0;
    while (colon < one.size() && one[colon] != ':') ++colon;
    if (colon == one.size()) malformed("PMEMFILE_POOLS has no ':' between mount point and pool");
    add_mount(part(one, 0, colon), part(one, colon + 1));
  }
}

} // namespace

bool parse_data_mode(const char* value) {
  std::string_view mode(value, strlen(value));
  if (mode != "atomic" && mode != "plain") give_up("malformed PMEMFILE_DATA", mode, "it is \"atomic\" or \"plain\"");
  return mode == "atomic";
}

void give_up(std::string_view what, std::string_view where, std::string_view advice) {
  FixedText<1024> line;
  line << "pmemfile: " << what << ": " << where << ": " << advice << "\n";
  line.write_to(2);
  for (;;) raw_syscall(SYS_exit_group, 78);
}

bool read_config(char** environment) {
  for (char** at = environment; *at != nullptr; ++at) {
    std::string_view variable(*at, strlen(*at));
    const char* value;
    if (take(variable, "LD_PRELOAD", value)) find_library(value);
    if (part(variable, 0, 9) != "PMEMFILE_") continue;
    if (take(variable, "PMEMFILE_EXEC_STATE", value)) {
      g_config.exec_state = value;
      continue;
    }
    if (take(variable, "PMEMFILE_POOLS", value)) g_config.pools = keep(value);
    if (take(variable, "PMEMFILE_REPORT", value)) g_config.report = keep(value);
    if (take(variable, "PMEMFILE_PRELOAD_LOG", value)) g_config.log = keep(value);
    if (take(variable, "PMEMFILE_PRELOAD_LOG_TRUNC", value)) g_config.log_trunc = yes(value);
    if (take(variable, "PMEMFILE_EXIT_ON_NOT_SUPPORTED", value)) g_config.exit_on_not_supported = yes(value);
    if (take(variable, "PMEMFILE_PRELOAD_PAUSE_AT_START", value)) g_config.pause_at_start = yes(value);
    if (take(variable, "PMEMFILE_PATCH_AFTER", value)) g_config.max_traps = parse_count("PMEMFILE_PATCH_AFTER", value);
    if (take(variable, "PMEMFILE_CD", value)) g_config.cd = keep(value);
    if (take(variable, "PMEMFILE_SHM_DIR", value)) g_config.shm_dir = keep(value);
    if (take(variable, "PMEMFILE_DATA", value)) g_config.atomic_data = parse_data_mode(value);
    if (take(variable, "PMEMFILE_FORCE_FLUSH", value)) g_config.force_flush = yes(value);
    if (g_config.handed_on_count < sizeof g_config.handed_on / sizeof g_config.handed_on[0])
      g_config.handed_on[g_config.handed_on_count++] = keep(variable);
  }
  if (g_config.pools == nullptr) return false;
  parse_pools(g_config.pools);
  if (g_mount_count == 0) malformed("PMEMFILE_POOLS is empty");
  return true;
}

void remove_variable(char** environment, std::string_view name) {
  char** to = environment;
  char** from = environment;
  for (; *from != nullptr; ++from) {
    const char* value;
    if (!take(std::string_view(*from, strlen(*from)), name, value)) *to++ = *from;
  }
  // Who looks for the auxiliary vector behind the environment finds an empty one, not garbage.
  while (to != from) *to++ = nullptr;
}

} // namespace pmemfile::preload
