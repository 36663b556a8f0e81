// What /proc says about this process where the kernel does not know: mounts, the
// program's file. Rules: hook-safe.
#pragma once

#include "preload/paths.h"

namespace pmemfile::preload {

// A descriptor with the kernel's text and a line for each of our mounts.
long open_mount_list(Call& call, Special which, int flags);
// A descriptor with what /proc/self/fdinfo says of the file of ours that `fd` is.
long open_fdinfo(Call& call, int fd, int flags);
// /proc/self/fd or its like was opened: its listing needs our hand.
void note_fd_directory(Process& process, int fd);
// Descriptors that were closed, up to and with `last`; one that became another's duplicate. Cheap while nothing is remembered.
void forget_listings(Process& process, u32 first, u32 last);
void copy_listing(Process& process, int from, int to);
// getdents64 and lseek on a directory of the kernel.
long list_kernel_dir(Call& call);
long rewind_kernel_dir(Call& call);
// readlink of /proc/self/exe of a program that came from a pool; kPassOn if it is something else.
long read_own_exe(Call& call, int dirfd, const char* path, char* user_buffer, u64 size);

// Path of the program in a pool, if it was started from one; set at start.
extern char g_exe_path[kPathBytes];

} // namespace pmemfile::preload
