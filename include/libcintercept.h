/*
 * libcintercept: intercept the system calls of a running process.
 *
 * Link with -lcintercept, or preload the library that uses it. When the library
 * is loaded, it patches the `syscall` instructions of libc and ld.so (of every
 * object, with INTERCEPT_ALL_OBJS), and from then on each system call first
 * goes to intercept_hook_point.
 *
 * An object's code is analysed once, by the program pmemfile-plan that is
 * installed with the library; the result is kept in $XDG_CACHE_HOME/pmemfile if
 * that variable is set, else in /var/cache/pmemfile (root) or
 * ~/.cache/pmemfile. Objects that cannot be patched are named on standard
 * error, and left as they are.
 *
 * Environment:
 *   INTERCEPT_LOG=FILE       a line for each call; a trailing '-' of the name
 *                            gets the process id. While a log is written, calls
 *                            that pass are made by the library itself
 *   INTERCEPT_LOG_TRUNC      empties the file first, unless "0"
 *   INTERCEPT_HOOK_CMDLINE_FILTER=NAME
 *                            only programs with that name, without folder, are
 *                            intercepted
 *   INTERCEPT_ALL_OBJS       all objects, also those loaded later
 *   INTERCEPT_NO_TRAMPOLINE  accepted; of no effect, as there is no second jump
 *                            that it could save
 *   INTERCEPT_DEBUG_DUMP     tells on standard error what was found and patched
 */
#ifndef LIBCINTERCEPT_H
#define LIBCINTERCEPT_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * intercept_hook_point - the hook, set by the user of the library
 *
 * syscall_number, arg0 ... arg5   what the program asks the kernel for
 * result                          where the hook leaves the result
 *
 * Returns 0: the call was handled; the program sees *result, where a value in
 * [-4095, -1] is a negated errno. Returns non-zero: the kernel does the call.
 *
 * The hook runs on the thread, the stack and in the signal context of the call.
 * All registers, flags, vector, mask and x87 state of the program are kept for
 * it. It may be entered again by a signal handler. System calls that it makes
 * through libc are intercepted, too; syscall_no_intercept() makes others. As it
 * may interrupt libc anywhere, it must not call malloc, stdio or anything else
 * that is not async-signal-safe, unless the program is known to allow it.
 * A null pointer, as at start: all calls are passed on.
 */
extern int (*intercept_hook_point)(long syscall_number, long arg0, long arg1,
                                   long arg2, long arg3, long arg4, long arg5,
                                   long *result);

/*
 * intercept_hook_point_clone_child - called in a new thread or process
 *
 * After every flavour of clone, clone3, fork and vfork that the hook let pass,
 * in the child, on its stack, before it sees the result 0. The stack may be
 * small, and after vfork and posix_spawn the memory is the parent's.
 */
extern void (*intercept_hook_point_clone_child)(void);

/*
 * intercept_hook_point_clone_parent - called in the parent of such a child
 *
 * pid   what the system call returned: the child's id, or a negated errno
 */
extern void (*intercept_hook_point_clone_parent)(long pid);

/*
 * syscall_no_intercept - do a system call, unseen by the hook
 *
 * Returns what the kernel does: a negated errno on failure; errno is not
 * touched. See syscall_error_code(). Not for clone with a stack of its own,
 * vfork and rt_sigreturn.
 */
long syscall_no_intercept(long syscall_number, ...);

/*
 * syscall_error_code - the errno in the result of a system call, or 0
 */
static inline int syscall_error_code(long result) {
  return result < 0 && result >= -4095 ? (int)-result : 0;
}

/*
 * syscall_hook_in_process_allowed - is this process patched?
 *
 * 1 if its calls go to the hook; 0 if the program is not the one that
 * INTERCEPT_HOOK_CMDLINE_FILTER names, or if it could not be patched.
 */
int syscall_hook_in_process_allowed(void);

#ifdef __cplusplus
}
#endif

#endif
