#include "preload/exec_state.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>

#include "preload/config.h"
#include "preload/descriptors.h"
#include "preload/exec.h"
#include "preload/names_of.h"
#include "preload/procfs.h"

namespace pmemfile::preload {
namespace {

struct Inherited {
  u32 mount;
  u32 dead_count;
  static constexpr u32 kMost = 64; // at a time
  u32 dead[kMost]; // handles that did not survive the exec
};

void visit_handle(void* context, u32 handle, vfs::Description description) {
  auto* inherited = static_cast<Inherited*>(context);
  if ((handle == kCwdHandle || handle == kCwdHandle + 1) && g_process.cwd.in_pool && g_process.cwd.mount == inherited->mount) {
    g_process.cwd.turn = handle - kCwdHandle;
    return;
  }
  if (handle < kMaxDescriptors) {
    // Not close-on-exec, as it is there. Something else may have its number, if it was closed by another thread right before a vfork.
    if (is_placeholder(handle)) {
      set_fd_word(g_process, handle, file_word(inherited->mount, description, 0));
      return;
    }
  }
  if (inherited->dead_count < Inherited::kMost) inherited->dead[inherited->dead_count++] = handle;
}

void take_handles(u32 mount) {
  vfs::Pool& pool = *g_process.pools[mount];
  Inherited inherited;
  do {
    inherited.mount = mount;
    inherited.dead_count = 0;
    pool.for_each_handle(visit_handle, &inherited);
    for (u32 i = 0; i < inherited.dead_count; ++i) {
      u32 handle = inherited.dead[i];
      if (handle >= kFirstMapHandle && handle < kFirstMapHandle + kMaxMapHandles)
        (void)vfs::unpin_mapping(pool, handle);
      else
        (void)vfs::close_handle(pool, handle);
    }
  } while (inherited.dead_count == Inherited::kMost);
}

void restore_variable(char** environment, std::string_view text) {
  u64 name = 0;
  while (name < text.size() && text[name] != ' ') ++name;
  std::string_view number = part(text, name);
  u64 bytes = parse_u64(number);
  for (char** at = environment; *at != nullptr; ++at)
    if (strlen(*at) > name + bytes && memcmp(*at, text.data(), name) == 0 && (*at)[name] == '=') {
      char* value = *at + name + 1;
      memmove(value, value + bytes, strlen(value + bytes) + 1);
      return;
    }
}

// The kernel put the name of the copy there.
void set_exec_name(char** environment, std::string_view name) {
  PMEMFILE_BULKY static char text[kPathBytes];
  memcpy(text, name.data(), min_of<u64>(name.size(), sizeof text - 1));
  char** at = environment;
  while (*at != nullptr) ++at;
  for (auto* entry = reinterpret_cast<Elf64_auxv_t*>(at + 1); entry->a_type != AT_NULL; ++entry)
    if (entry->a_type == AT_EXECFN) entry->a_un.a_val = reinterpret_cast<u64>(text);
}

// The loader shows the name of the copy that it was given.
void set_argument0(char** arguments, std::string_view name) {
  PMEMFILE_BULKY static char text[kPathBytes];
  if (arguments == nullptr || arguments[0] == nullptr || name.size() >= sizeof text) return;
  memcpy(text, name.data(), name.size());
  arguments[0] = text;
}

} // namespace

bool next_item(const char*& at, char& item, std::string_view& value) {
  if (*at == '\0') return false;
  item = *at++;
  u64 bytes = 0;
  unsigned digits = 0;
  while (*at >= '0' && *at <= '9' && digits++ < 6) bytes = bytes * 10 + static_cast<u64>(*at++ - '0');
  if (digits == 0 || *at != ':') return false;
  ++at;
  for (u64 i = 0; i < bytes; ++i)
    if (at[i] == '\0') return false;
  value = std::string_view(at, bytes);
  at += bytes;
  return true;
}

u64 parse_u64(std::string_view& text) {
  while (!text.empty() && text[0] == ' ') text.remove_prefix(1);
  u64 value = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    value = value * 10 + static_cast<u64>(text[0] - '0');
    text.remove_prefix(1);
  }
  return value;
}

void adopt_state(const char* text, char** arguments, char** environment) {
  char item;
  std::string_view value;
  u32 pools = 0;
  for (const char* at = text; next_item(at, item, value);) {
    if (item == kItemPool && pools < g_mount_count) {
      u32 mount = pools++;
      if (value.empty()) continue; // not attached yet
      char copy[129] = {};
      memcpy(copy, value.data(), min_of<u64>(value.size(), 128));
      vfs::AttachFailure failure{};
      Result<vfs::Pool*> pool = vfs::Pool::adopt(copy, &failure);
      if (!pool.ok()) give_up("cannot take over the pool from the program before", g_mounts[mount].pool_path, failure.text);
      g_process.pools[mount] = pool.value();
    } else if (item == kItemCwd) {
      u32 mount = static_cast<u32>(parse_u64(value));
      u64 ino = parse_u64(value);
      if (mount < g_mount_count) g_process.cwd = Cwd{true, mount, 0, Ino{ino}, 1};
    } else if (item == kItemArgument0) {
      set_argument0(arguments, value);
    } else if (item == kItemSandboxed) {
      g_sandboxed = true;
    } else if (item == kItemTraced) {
      g_process.is_traced = true;
    } else if (item == kItemExe) {
      memcpy(g_exe_path, value.data(), min_of<u64>(value.size(), kPathBytes - 1));
    } else if (item == kItemComm) {
      char name[16] = {};
      memcpy(name, value.data(), min_of<u64>(value.size(), 15));
      raw_syscall(SYS_prctl, PR_SET_NAME, as_arg(name));
    } else if (item == kItemExecName) {
      set_exec_name(environment, value);
    } else if (item == kItemOpenedAs) {
      u32 fd = static_cast<u32>(parse_u64(value));
      Ino dir{parse_u64(value)};
      remember_name(g_process, fd, 0, vfs::At{dir, part(value, 1)});
    } else if (item == kItemHide) {
      remove_variable(environment, value);
    } else if (item == kItemRestore) {
      restore_variable(environment, value);
    } else if (item == kItemLibraryDir) {
      FixedText<256> dir;
      dir << value;
      remove_link_directory(dir.c_str());
    } else if (item == kItemLibraryFd) {
      raw_syscall(SYS_close, static_cast<long>(parse_u64(value)));
    }
  }
  for (u32 i = 0; i < pools; ++i)
    if (g_process.pools[i] != nullptr) take_handles(i);
}

} // namespace pmemfile::preload
