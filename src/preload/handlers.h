// The handlers of system calls, by family; which call has which is in syscalls.def.
//
// A handler returns the result as the kernel would (a negated errno for an
// error), or kPassOn. It runs on the thread's hook stack with the program's
// signal handlers held back.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

long h_accept(Call& call);
long h_access(Call& call);
long h_bind(Call& call);
long h_capset(Call& call);
long h_chdir(Call& call);
long h_chmod(Call& call);
long h_chown(Call& call);
long h_chroot(Call& call);
long h_clone(Call& call);
long h_close(Call& call);
long h_close_range(Call& call);
long h_connect(Call& call);
long h_copy_file_range(Call& call);
long h_creat(Call& call);
long h_dup(Call& call);
long h_dup2(Call& call);
long h_dup3(Call& call);
long h_epoll_ctl(Call& call);
long h_execve(Call& call);
long h_execveat(Call& call);
long h_exit(Call& call);
long h_exit_group(Call& call);
long h_faccessat(Call& call);
long h_faccessat2(Call& call);
long h_fadvise64(Call& call);
long h_fallocate(Call& call);
long h_fchdir(Call& call);
long h_fchmod(Call& call);
long h_fchmodat(Call& call);
long h_fchmodat2(Call& call);
long h_fchown(Call& call);
long h_fchownat(Call& call);
long h_fcntl(Call& call);
long h_fdatasync(Call& call);
long h_fgetxattr(Call& call);
long h_flistxattr(Call& call);
long h_flock(Call& call);
long h_fremovexattr(Call& call);
long h_fsetxattr(Call& call);
long h_fstat(Call& call);
long h_fstatfs(Call& call);
long h_fsync(Call& call);
long h_ftruncate(Call& call);
long h_futimesat(Call& call);
long h_getcwd(Call& call);
long h_getdents(Call& call);
long h_getdents64(Call& call);
long h_getxattr(Call& call);
long h_inotify_add_watch(Call& call);
long h_io_uring_setup(Call& call);
long h_ioctl(Call& call);
long h_lchown(Call& call);
long h_lgetxattr(Call& call);
long h_link(Call& call);
long h_linkat(Call& call);
long h_listxattr(Call& call);
long h_llistxattr(Call& call);
long h_lremovexattr(Call& call);
long h_lseek(Call& call);
long h_lsetxattr(Call& call);
long h_lstat(Call& call);
long h_makes_descriptor(Call& call);
long h_mkdir(Call& call);
long h_mkdirat(Call& call);
long h_mknod(Call& call);
long h_mknodat(Call& call);
long h_mmap(Call& call);
long h_mprotect(Call& call);
long h_mremap(Call& call);
long h_munmap(Call& call);
long h_newfstatat(Call& call);
long h_open(Call& call);
long h_openat(Call& call);
long h_openat2(Call& call);
long h_poll(Call& call);
long h_ppoll(Call& call);
long h_pidfd_getfd(Call& call);
long h_pread64(Call& call);
long h_preadv(Call& call);
long h_preadv2(Call& call);
long h_prlimit64(Call& call);
long h_pselect6(Call& call);
long h_pwrite64(Call& call);
long h_pwritev(Call& call);
long h_pwritev2(Call& call);
long h_read(Call& call);
long h_readahead(Call& call);
long h_readlink(Call& call);
long h_readlinkat(Call& call);
long h_readv(Call& call);
long h_recvfrom(Call& call);
long h_recvmmsg(Call& call);
long h_recvmsg(Call& call);
long h_refuse_at(Call& call);
long h_refuse_fd(Call& call);
long h_refuse_fd3(Call& call);
long h_refuse_path0(Call& call);
long h_refuse_path1(Call& call);
long h_refuse_socket(Call& call);
long h_removexattr(Call& call);
long h_rename(Call& call);
long h_renameat(Call& call);
long h_renameat2(Call& call);
long h_rmdir(Call& call);
long h_rt_sigaction(Call& call);
long h_rt_sigprocmask(Call& call);
long h_select(Call& call);
long h_sendfile(Call& call);
long h_sendmmsg(Call& call);
long h_sendmsg(Call& call);
long h_sendto(Call& call);
long h_setfsgid(Call& call);
long h_setfsuid(Call& call);
long h_setgid(Call& call);
long h_setgroups(Call& call);
long h_setregid(Call& call);
long h_setresgid(Call& call);
long h_setresuid(Call& call);
long h_setreuid(Call& call);
long h_setrlimit(Call& call);
long h_setuid(Call& call);
long h_setxattr(Call& call);
long h_sigaltstack(Call& call);
long h_socket_name(Call& call);
long h_splice(Call& call);
long h_stat(Call& call);
long h_statfs(Call& call);
long h_statx(Call& call);
long h_symlink(Call& call);
long h_symlinkat(Call& call);
long h_sync_file_range(Call& call);
long h_syncfs(Call& call);
long h_truncate(Call& call);
long h_umask(Call& call);
long h_unlink(Call& call);
long h_unlinkat(Call& call);
long h_utime(Call& call);
long h_utimensat(Call& call);
long h_utimes(Call& call);
long h_write(Call& call);
long h_writev(Call& call);
// fcntl(2) on record locks (io.cc).
long record_lock(Call& call, u64 word, int command);
// The end of the process (report.cc, start.cc).
void report_at_exit(Process& process);

} // namespace pmemfile::preload
