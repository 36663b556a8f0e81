// By which name a descriptor was opened: for readlink of /proc/self/fd/N, realpath,
// and exec of what is open.
//
// Kept for the first few thousand descriptors, as text relative to a directory's
// inode, so that moving directories does not make it wrong. Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

void remember_name(Process& process, u32 fd, u32 mount, vfs::At at);
// For the next image: one item of its state for each inherited descriptor, as far as there is room.
void put_names(Process& process, Text& state);
void forget_name(u32 fd);
void copy_name(Process& process, u32 from, u32 to);

// Absolute path of an open file as the kernel would show it (" (deleted)" and all); length without NUL.
Result<u64> path_of_descriptor(Call& call, u32 fd, char* buffer, u64 size);
// Absolute path of a directory of a pool.
Result<u64> path_of_dir(Call& call, u32 mount, Ino dir, char* buffer, u64 size);
// Absolute path, without symlinks, of what a path leads to in a pool; length without NUL.
Result<u64> path_of_executable(Call& call, const char* path, char* buffer);

} // namespace pmemfile::preload
