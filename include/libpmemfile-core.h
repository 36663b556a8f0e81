/*
 * libpmemfile-core: the file system of a pmemfile pool as a library.
 *
 * Every call is the system's call of the same name with the pool put first and a PMEMfile where the system has a
 * descriptor: what it does, its flags, results and errors are described in the manual page of the system's call. What
 * differs or is added stands in the comments below.
 *
 * Errors: -1, NULL or MAP_FAILED with errno set, as the call of the same name; pmemfile_errormsg() gives the text of the
 * last failure on this thread.
 * Threads: any call from any thread. Processes: any number may open a pool at once. After fork(2) the child has the
 * parent's open files; descriptors of exec'ed programs are the preload library's business.
 * Paths: '/' is the root of tree 0; there is nothing outside the pool, so ".." of a root is the root itself.
 */
#ifndef LIBPMEMFILE_CORE_H
#define LIBPMEMFILE_CORE_H 1

#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pmemfilepool PMEMfilepool;
typedef struct pmemfile_file PMEMfile;

typedef mode_t pmemfile_mode_t;
typedef uid_t pmemfile_uid_t;
typedef gid_t pmemfile_gid_t;
typedef ssize_t pmemfile_ssize_t;
typedef __off64_t pmemfile_off_t;
typedef nlink_t pmemfile_nlink_t;
typedef __blksize_t pmemfile_blksize_t;
typedef __blkcnt64_t pmemfile_blkcnt_t;
typedef dev_t pmemfile_dev_t;
typedef __ino64_t pmemfile_ino_t;
typedef struct iovec pmemfile_iovec_t;
typedef struct timespec pmemfile_timespec_t;
typedef struct timeval pmemfile_timeval_t;
typedef struct utimbuf pmemfile_utimbuf_t;
typedef struct stat pmemfile_stat_t;
typedef struct flock pmemfile_flock_t;
typedef struct statfs pmemfile_statfs_t;
struct statx;
struct open_how;
struct file_handle;
struct linux_dirent;
struct linux_dirent64;

/* A directory argument that stands for the working directory of the pool. */
#define PMEMFILE_AT_CWD ((PMEMfile *)(((unsigned char *)0) - 1))

#define PMEMFILE_PATH_MAX 4096
#define PMEMFILE_O_LARGEFILE 0
#define PMEMFILE_MAP_FAILED ((void *)-1)
#define PMEMFILE_ACCESSPERMS 0777
#define PMEMFILE_ALLPERMS 07777
#define PMEMFILE_CAP_CHOWN 0
#define PMEMFILE_CAP_FOWNER 3
#define PMEMFILE_CAP_FSETID 4

#define PMEMFILE_S_ISTYPE(mode, type) (((mode)&PMEMFILE_S_IFMT) == (type))
#define PMEMFILE_S_ISDIR(mode) PMEMFILE_S_ISTYPE((mode), PMEMFILE_S_IFDIR)
#define PMEMFILE_S_ISCHR(mode) PMEMFILE_S_ISTYPE((mode), PMEMFILE_S_IFCHR)
#define PMEMFILE_S_ISBLK(mode) PMEMFILE_S_ISTYPE((mode), PMEMFILE_S_IFBLK)
#define PMEMFILE_S_ISREG(mode) PMEMFILE_S_ISTYPE((mode), PMEMFILE_S_IFREG)
#define PMEMFILE_S_ISFIFO(mode) PMEMFILE_S_ISTYPE((mode), PMEMFILE_S_IFIFO)
#define PMEMFILE_S_ISLNK(mode) PMEMFILE_S_ISTYPE((mode), PMEMFILE_S_IFLNK)
#define PMEMFILE_S_ISSOCK(mode) PMEMFILE_S_ISTYPE((mode), PMEMFILE_S_IFSOCK)

/* Open flags (open(2)) */
#define PMEMFILE_O_RDONLY 0
#define PMEMFILE_O_WRONLY 01
#define PMEMFILE_O_RDWR 02
#define PMEMFILE_O_ACCMODE 03
#define PMEMFILE_O_CREAT 0100
#define PMEMFILE_O_EXCL 0200
#define PMEMFILE_O_NOCTTY 0400
#define PMEMFILE_O_TRUNC 01000
#define PMEMFILE_O_APPEND 02000
#define PMEMFILE_O_NONBLOCK 04000
#define PMEMFILE_O_NDELAY 04000
#define PMEMFILE_O_DSYNC 010000
#define PMEMFILE_O_ASYNC 020000
#define PMEMFILE_O_DIRECT 040000
#define PMEMFILE_O_DIRECTORY 0200000
#define PMEMFILE_O_NOFOLLOW 0400000
#define PMEMFILE_O_NOATIME 01000000
#define PMEMFILE_O_CLOEXEC 02000000
#define PMEMFILE_O_SYNC 04010000
#define PMEMFILE_O_RSYNC 04010000
#define PMEMFILE_O_PATH 010000000
#define PMEMFILE_O_TMPFILE 020200000

/* Types and permissions (stat(2)) */
#define PMEMFILE_S_IFMT 0170000
#define PMEMFILE_S_IFDIR 040000
#define PMEMFILE_S_IFCHR 020000
#define PMEMFILE_S_IFBLK 060000
#define PMEMFILE_S_IFREG 0100000
#define PMEMFILE_S_IFIFO 010000
#define PMEMFILE_S_IFLNK 0120000
#define PMEMFILE_S_IFSOCK 0140000
#define PMEMFILE_S_ISUID 04000
#define PMEMFILE_S_ISGID 02000
#define PMEMFILE_S_ISVTX 01000
#define PMEMFILE_S_IRUSR 0400
#define PMEMFILE_S_IWUSR 0200
#define PMEMFILE_S_IXUSR 0100
#define PMEMFILE_S_IRWXU 0700
#define PMEMFILE_S_IRGRP 040
#define PMEMFILE_S_IWGRP 020
#define PMEMFILE_S_IXGRP 010
#define PMEMFILE_S_IRWXG 070
#define PMEMFILE_S_IROTH 04
#define PMEMFILE_S_IWOTH 02
#define PMEMFILE_S_IXOTH 01
#define PMEMFILE_S_IRWXO 07

/* Flags of the ...at calls */
#define PMEMFILE_AT_SYMLINK_NOFOLLOW 0x100
#define PMEMFILE_AT_REMOVEDIR 0x200
#define PMEMFILE_AT_SYMLINK_FOLLOW 0x400
#define PMEMFILE_AT_EACCESS 0x200
#define PMEMFILE_AT_NO_AUTOMOUNT 0x800
#define PMEMFILE_AT_EMPTY_PATH 0x1000
#define PMEMFILE_AT_STATX_SYNC_TYPE 0x6000
#define PMEMFILE_AT_STATX_SYNC_AS_STAT 0x0
#define PMEMFILE_AT_STATX_FORCE_SYNC 0x2000
#define PMEMFILE_AT_STATX_DONT_SYNC 0x4000

/* Commands of fcntl */
#define PMEMFILE_F_DUPFD 0
#define PMEMFILE_F_GETFD 1
#define PMEMFILE_F_SETFD 2
#define PMEMFILE_F_GETFL 3
#define PMEMFILE_F_SETFL 4
#define PMEMFILE_F_GETLK 5
#define PMEMFILE_F_SETLK 6
#define PMEMFILE_F_SETLKW 7
#define PMEMFILE_F_OFD_GETLK 36
#define PMEMFILE_F_OFD_SETLK 37
#define PMEMFILE_F_OFD_SETLKW 38
#define PMEMFILE_F_DUPFD_CLOEXEC 1030
#define PMEMFILE_F_RDLCK 0
#define PMEMFILE_F_WRLCK 1
#define PMEMFILE_F_UNLCK 2
#define PMEMFILE_FD_CLOEXEC 1

/* lseek */
#define PMEMFILE_SEEK_SET 0
#define PMEMFILE_SEEK_CUR 1
#define PMEMFILE_SEEK_END 2
#define PMEMFILE_SEEK_DATA 3
#define PMEMFILE_SEEK_HOLE 4

/* Types in directory entries */
#define PMEMFILE_DT_UNKNOWN 0
#define PMEMFILE_DT_FIFO 1
#define PMEMFILE_DT_CHR 2
#define PMEMFILE_DT_DIR 4
#define PMEMFILE_DT_BLK 6
#define PMEMFILE_DT_REG 8
#define PMEMFILE_DT_LNK 10
#define PMEMFILE_DT_SOCK 12
#define PMEMFILE_DT_WHT 14

/* access */
#define PMEMFILE_F_OK 0
#define PMEMFILE_R_OK 4
#define PMEMFILE_W_OK 2
#define PMEMFILE_X_OK 1

/* fallocate */
#define PMEMFILE_FALLOC_FL_KEEP_SIZE 0x1
#define PMEMFILE_FALLOC_FL_PUNCH_HOLE 0x2
#define PMEMFILE_FALLOC_FL_NO_HIDE_STALE 0x4
#define PMEMFILE_FALLOC_FL_COLLAPSE_RANGE 0x8
#define PMEMFILE_FALLOC_FL_ZERO_RANGE 0x10
#define PMEMFILE_FALLOC_FL_INSERT_RANGE 0x20
#define PMEMFILE_FALLOC_FL_UNSHARE_RANGE 0x40

/* renameat2 */
#define PMEMFILE_RENAME_NOREPLACE 1
#define PMEMFILE_RENAME_EXCHANGE 2
#define PMEMFILE_RENAME_WHITEOUT 4

/* utimensat */
#define PMEMFILE_UTIME_NOW 0x3fffffffl
#define PMEMFILE_UTIME_OMIT 0x3ffffffel

/* flock */
#define PMEMFILE_LOCK_SH 1
#define PMEMFILE_LOCK_EX 2
#define PMEMFILE_LOCK_UN 8
#define PMEMFILE_LOCK_NB 4

/* mmap, msync, mremap */
#define PMEMFILE_PROT_NONE 0x0
#define PMEMFILE_PROT_READ 0x1
#define PMEMFILE_PROT_WRITE 0x2
#define PMEMFILE_PROT_EXEC 0x4
#define PMEMFILE_MAP_SHARED 0x1
#define PMEMFILE_MAP_PRIVATE 0x2
#define PMEMFILE_MAP_SHARED_VALIDATE 0x3
#define PMEMFILE_MAP_FIXED 0x10
#define PMEMFILE_MAP_FIXED_NOREPLACE 0x100000
#define PMEMFILE_MAP_ANONYMOUS 0x20
#define PMEMFILE_MAP_NORESERVE 0x4000
#define PMEMFILE_MAP_POPULATE 0x8000
#define PMEMFILE_MS_ASYNC 0x1
#define PMEMFILE_MS_SYNC 0x4
#define PMEMFILE_MS_INVALIDATE 0x2
#define PMEMFILE_MREMAP_MAYMOVE 0x1
#define PMEMFILE_MREMAP_FIXED 0x2

/* statfs */
#define PMEMFILE_ST_RDONLY 0x1
#define PMEMFILE_ST_NOSUID 0x2
#define PMEMFILE_ST_NODEV 0x4
#define PMEMFILE_ST_NOEXEC 0x8
#define PMEMFILE_ST_SYNCHRONOUS 0x10
#define PMEMFILE_ST_MANDLOCK 0x40
#define PMEMFILE_ST_WRITE 0x80
#define PMEMFILE_ST_APPEND 0x100
#define PMEMFILE_ST_IMMUTABLE 0x200
#define PMEMFILE_ST_NOATIME 0x400
#define PMEMFILE_ST_NODIRATIME 0x800
#define PMEMFILE_ST_RELATIME 0x1000

/* Extended attributes */
#define PMEMFILE_XATTR_CREATE 1
#define PMEMFILE_XATTR_REPLACE 2

/* ---- Pools --------------------------------------------------------------------------------------------------- */

/*
 * Makes a pool in the file `path` and opens it. `size` in bytes; 0: all of the existing file or device. A file that does
 * not exist is made with `mode` (and the umask of the process). The roots belong to the caller.
 * Errors: EEXIST (something is there already: mkfs.pmemfile --force), EINVAL (smaller than 256 KiB), EFBIG, ENOSPC.
 */
PMEMfilepool *pmemfile_pool_create(const char *path, size_t size, pmemfile_mode_t mode);

/* Opens a pool; read-only if the file may only be read. Errors: EINVAL (no pool, or damaged), EBUSY (used elsewhere). */
PMEMfilepool *pmemfile_pool_open(const char *path);

/* Closes the pool and every file of it that this process has open. Open PMEMfiles become invalid. */
void pmemfile_pool_close(PMEMfilepool *pool);

/* The st_dev that stat reports for the files of the pool. */
void pmemfile_pool_set_device(PMEMfilepool *pool, pmemfile_dev_t device);

/*
 * Lets go of the pool's file under open PMEMfiles; until pmemfile_pool_resume() every call fails with EBUSY. The pool may
 * be renamed or copied meanwhile; resume refuses another pool (EINVAL) and stays suspended then. Offsets and flags of
 * open files come back. Locks are dropped, and an open file whose last name was removed answers ESTALE afterwards.
 * Mappings must have been removed before (EBUSY).
 */
int pmemfile_pool_suspend(PMEMfilepool *pool);
int pmemfile_pool_resume(PMEMfilepool *pool, const char *path);

/* A pool has four directory trees, each with its root; 0 is the one of absolute paths. Flags are 0. EINVAL: no such tree. */
unsigned pmemfile_pool_root_count(PMEMfilepool *pool);
PMEMfile *pmemfile_open_root(PMEMfilepool *pool, unsigned index, int flags);

/* The text of the last failure on this thread; valid until its next one. */
const char *pmemfile_errormsg(void);

struct pmemfile_stats {
	unsigned inodes;       /* that have a name */
	unsigned dirs;         /* of them directories */
	unsigned block_arrays; /* always 0: contents are mapped by extents */
	unsigned inode_arrays; /* blocks that the inodes in use fill, rounded up */
	unsigned blocks;       /* blocks of 4 KiB in use */
};
/* Counts by looking at everything: for people and tests. Values beyond UINT_MAX are shown as UINT_MAX. */
void pmemfile_stats(PMEMfilepool *pool, struct pmemfile_stats *stats);

/* ---- Files ----------------------------------------------------------------------------------------------------- */

PMEMfile *pmemfile_open(PMEMfilepool *pool, const char *path, int flags, ...);
PMEMfile *pmemfile_openat(PMEMfilepool *pool, PMEMfile *dir, const char *path, int flags, ...);
/* openat2(2) with all its ways of resolving. A pool has no magic links and is one mount. */
PMEMfile *pmemfile_openat2(PMEMfilepool *pool, PMEMfile *dir, const char *path, struct open_how *how, size_t size);
/* open() with O_CREAT | O_WRONLY | O_TRUNC. */
PMEMfile *pmemfile_create(PMEMfilepool *pool, const char *path, pmemfile_mode_t mode);
void pmemfile_close(PMEMfilepool *pool, PMEMfile *file);

/*
 * Opens the directory in which `path` ends (for *at calls) and leaves in `path` the rest: the last component, with a
 * slash if there was one. `path_size`: room at `path`.
 * PMEMFILE_OPEN_PARENT_STOP_AT_ROOT: where ".." would lead out of the tree, stops there; the rest begins with "../".
 * PMEMFILE_OPEN_PARENT_SYMLINK_FOLLOW: a symlink in the last place is followed.
 * The access check on the way uses the file system ids (_USE_FACCESS), the effective (_USE_EACCESS) or the real ones
 * (_USE_RACCESS).
 */
#define PMEMFILE_OPEN_PARENT_STOP_AT_ROOT 1
#define PMEMFILE_OPEN_PARENT_SYMLINK_FOLLOW 2
#define PMEMFILE_OPEN_PARENT_USE_FACCESS 0
#define PMEMFILE_OPEN_PARENT_USE_EACCESS 4
#define PMEMFILE_OPEN_PARENT_USE_RACCESS 8
#define PMEMFILE_OPEN_PARENT_ACCESS_MASK 12
PMEMfile *pmemfile_open_parent(PMEMfilepool *pool, PMEMfile *at, char *path, size_t path_size, int flags);

int pmemfile_link(PMEMfilepool *pool, const char *from, const char *to);
int pmemfile_linkat(PMEMfilepool *pool, PMEMfile *from_dir, const char *from, PMEMfile *to_dir, const char *to, int flags);
int pmemfile_unlink(PMEMfilepool *pool, const char *path);
int pmemfile_unlinkat(PMEMfilepool *pool, PMEMfile *dir, const char *path, int flags);
int pmemfile_rename(PMEMfilepool *pool, const char *from, const char *to);
int pmemfile_renameat(PMEMfilepool *pool, PMEMfile *from_dir, const char *from, PMEMfile *to_dir, const char *to);
int pmemfile_renameat2(PMEMfilepool *pool, PMEMfile *from_dir, const char *from, PMEMfile *to_dir, const char *to,
		unsigned flags);
int pmemfile_symlink(PMEMfilepool *pool, const char *target, const char *path);
int pmemfile_symlinkat(PMEMfilepool *pool, const char *target, PMEMfile *dir, const char *path);
pmemfile_ssize_t pmemfile_readlink(PMEMfilepool *pool, const char *path, char *buf, size_t size);
pmemfile_ssize_t pmemfile_readlinkat(PMEMfilepool *pool, PMEMfile *dir, const char *path, char *buf, size_t size);
int pmemfile_mknodat(PMEMfilepool *pool, PMEMfile *dir, const char *path, pmemfile_mode_t mode, pmemfile_dev_t device);
int pmemfile_truncate(PMEMfilepool *pool, const char *path, pmemfile_off_t size);
int pmemfile_ftruncate(PMEMfilepool *pool, PMEMfile *file, pmemfile_off_t size);
int pmemfile_fallocate(PMEMfilepool *pool, PMEMfile *file, int mode, pmemfile_off_t offset, pmemfile_off_t size);
/* Returns the error number, as posix_fallocate(3) does. */
int pmemfile_posix_fallocate(PMEMfilepool *pool, PMEMfile *file, pmemfile_off_t offset, pmemfile_off_t size);
pmemfile_ssize_t pmemfile_copy_file_range(PMEMfilepool *pool, PMEMfile *from, pmemfile_off_t *from_offset, PMEMfile *to,
		pmemfile_off_t *to_offset, size_t size, unsigned flags);
int pmemfile_flock(PMEMfilepool *pool, PMEMfile *file, int operation);
/* F_GETFL, F_SETFL, F_GETFD, F_SETFD, record locks of the process and of the open file. EINVAL: others (F_DUPFD, ...). */
int pmemfile_fcntl(PMEMfilepool *pool, PMEMfile *file, int command, ...);
int pmemfile_fsync(PMEMfilepool *pool, PMEMfile *file);
int pmemfile_fdatasync(PMEMfilepool *pool, PMEMfile *file);
/* The handle holds 16 bytes and is good as long as the inode lives. mount_id is set to 0. */
int pmemfile_name_to_handle_at(PMEMfilepool *pool, PMEMfile *dir, const char *path, struct file_handle *handle,
		int *mount_id, int flags);

/* ---- Data ------------------------------------------------------------------------------------------------------ */

pmemfile_ssize_t pmemfile_read(PMEMfilepool *pool, PMEMfile *file, void *buf, size_t size);
pmemfile_ssize_t pmemfile_pread(PMEMfilepool *pool, PMEMfile *file, void *buf, size_t size, pmemfile_off_t offset);
pmemfile_ssize_t pmemfile_readv(PMEMfilepool *pool, PMEMfile *file, const pmemfile_iovec_t *iov, int count);
pmemfile_ssize_t pmemfile_preadv(PMEMfilepool *pool, PMEMfile *file, const pmemfile_iovec_t *iov, int count,
		pmemfile_off_t offset);
pmemfile_ssize_t pmemfile_preadv2(PMEMfilepool *pool, PMEMfile *file, const pmemfile_iovec_t *iov, int count,
		pmemfile_off_t offset, int flags);
pmemfile_ssize_t pmemfile_write(PMEMfilepool *pool, PMEMfile *file, const void *buf, size_t size);
pmemfile_ssize_t pmemfile_pwrite(PMEMfilepool *pool, PMEMfile *file, const void *buf, size_t size, pmemfile_off_t offset);
pmemfile_ssize_t pmemfile_writev(PMEMfilepool *pool, PMEMfile *file, const pmemfile_iovec_t *iov, int count);
pmemfile_ssize_t pmemfile_pwritev(PMEMfilepool *pool, PMEMfile *file, const pmemfile_iovec_t *iov, int count,
		pmemfile_off_t offset);
pmemfile_ssize_t pmemfile_pwritev2(PMEMfilepool *pool, PMEMfile *file, const pmemfile_iovec_t *iov, int count,
		pmemfile_off_t offset, int flags);
pmemfile_off_t pmemfile_lseek(PMEMfilepool *pool, PMEMfile *file, pmemfile_off_t offset, int whence);

/* ---- Memory ---------------------------------------------------------------------------------------------------- */

/*
 * A mapping shows the file up to the end it has at the time of the call, rounded up to a page; touching pages beyond it
 * raises SIGSEGV. It is coherent with read and write and shared between processes.
 */
void *pmemfile_mmap(PMEMfilepool *pool, void *address, size_t size, int protection, int flags, PMEMfile *file,
		pmemfile_off_t offset);
int pmemfile_munmap(PMEMfilepool *pool, void *address, size_t size);
/* Growing a private mapping fails with ENOMEM; MREMAP_FIXED with EINVAL. */
void *pmemfile_mremap(PMEMfilepool *pool, void *address, size_t old_size, size_t new_size, int flags, void *new_address);
int pmemfile_msync(PMEMfilepool *pool, void *address, size_t size, int flags);
int pmemfile_mprotect(PMEMfilepool *pool, void *address, size_t size, int protection);

/* ---- Directories ----------------------------------------------------------------------------------------------- */

int pmemfile_mkdir(PMEMfilepool *pool, const char *path, pmemfile_mode_t mode);
int pmemfile_mkdirat(PMEMfilepool *pool, PMEMfile *dir, const char *path, pmemfile_mode_t mode);
int pmemfile_rmdir(PMEMfilepool *pool, const char *path);
int pmemfile_chdir(PMEMfilepool *pool, const char *path);
int pmemfile_fchdir(PMEMfilepool *pool, PMEMfile *dir);
/* buf NULL: the result is malloc'ed, `size` bytes or, if that is 0, as many as needed. */
char *pmemfile_getcwd(PMEMfilepool *pool, char *buf, size_t size);
/* Absolute path of a directory in its tree; buf as in pmemfile_getcwd. */
char *pmemfile_get_dir_path(PMEMfilepool *pool, PMEMfile *dir, char *buf, size_t size);
int pmemfile_getdents(PMEMfilepool *pool, PMEMfile *dir, struct linux_dirent *entries, unsigned size);
int pmemfile_getdents64(PMEMfilepool *pool, PMEMfile *dir, struct linux_dirent64 *entries, unsigned size);

/* ---- Attributes ------------------------------------------------------------------------------------------------ */

int pmemfile_stat(PMEMfilepool *pool, const char *path, pmemfile_stat_t *out);
int pmemfile_lstat(PMEMfilepool *pool, const char *path, pmemfile_stat_t *out);
int pmemfile_fstat(PMEMfilepool *pool, PMEMfile *file, pmemfile_stat_t *out);
int pmemfile_fstatat(PMEMfilepool *pool, PMEMfile *dir, const char *path, pmemfile_stat_t *out, int flags);
int pmemfile_statx(PMEMfilepool *pool, PMEMfile *dir, const char *path, int flags, unsigned mask, struct statx *out);
int pmemfile_chmod(PMEMfilepool *pool, const char *path, pmemfile_mode_t mode);
int pmemfile_fchmod(PMEMfilepool *pool, PMEMfile *file, pmemfile_mode_t mode);
int pmemfile_fchmodat(PMEMfilepool *pool, PMEMfile *dir, const char *path, pmemfile_mode_t mode, int flags);
int pmemfile_chown(PMEMfilepool *pool, const char *path, pmemfile_uid_t owner, pmemfile_gid_t group);
int pmemfile_fchown(PMEMfilepool *pool, PMEMfile *file, pmemfile_uid_t owner, pmemfile_gid_t group);
int pmemfile_lchown(PMEMfilepool *pool, const char *path, pmemfile_uid_t owner, pmemfile_gid_t group);
int pmemfile_fchownat(PMEMfilepool *pool, PMEMfile *dir, const char *path, pmemfile_uid_t owner, pmemfile_gid_t group,
		int flags);
int pmemfile_access(PMEMfilepool *pool, const char *path, int mode);
int pmemfile_euidaccess(PMEMfilepool *pool, const char *path, int mode);
int pmemfile_faccessat(PMEMfilepool *pool, PMEMfile *dir, const char *path, int mode, int flags);
int pmemfile_utime(PMEMfilepool *pool, const char *path, const pmemfile_utimbuf_t *times);
int pmemfile_utimes(PMEMfilepool *pool, const char *path, const pmemfile_timeval_t *times);
int pmemfile_futimes(PMEMfilepool *pool, PMEMfile *file, const pmemfile_timeval_t *times);
int pmemfile_futimesat(PMEMfilepool *pool, PMEMfile *dir, const char *path, const pmemfile_timeval_t *times);
int pmemfile_lutimes(PMEMfilepool *pool, const char *path, const pmemfile_timeval_t *times);
int pmemfile_utimensat(PMEMfilepool *pool, PMEMfile *dir, const char *path, const pmemfile_timespec_t *times, int flags);
int pmemfile_futimens(PMEMfilepool *pool, PMEMfile *file, const pmemfile_timespec_t *times);
pmemfile_mode_t pmemfile_umask(PMEMfilepool *pool, pmemfile_mode_t mask);
/* Of the pool, hence no path. */
int pmemfile_statfs(PMEMfilepool *pool, pmemfile_statfs_t *out);

pmemfile_ssize_t pmemfile_getxattr(PMEMfilepool *pool, const char *path, const char *name, void *value, size_t size);
pmemfile_ssize_t pmemfile_lgetxattr(PMEMfilepool *pool, const char *path, const char *name, void *value, size_t size);
pmemfile_ssize_t pmemfile_fgetxattr(PMEMfilepool *pool, PMEMfile *file, const char *name, void *value, size_t size);
int pmemfile_setxattr(PMEMfilepool *pool, const char *path, const char *name, const void *value, size_t size, int flags);
int pmemfile_lsetxattr(PMEMfilepool *pool, const char *path, const char *name, const void *value, size_t size, int flags);
int pmemfile_fsetxattr(PMEMfilepool *pool, PMEMfile *file, const char *name, const void *value, size_t size, int flags);
pmemfile_ssize_t pmemfile_listxattr(PMEMfilepool *pool, const char *path, char *list, size_t size);
pmemfile_ssize_t pmemfile_llistxattr(PMEMfilepool *pool, const char *path, char *list, size_t size);
pmemfile_ssize_t pmemfile_flistxattr(PMEMfilepool *pool, PMEMfile *file, char *list, size_t size);
int pmemfile_removexattr(PMEMfilepool *pool, const char *path, const char *name);
int pmemfile_lremovexattr(PMEMfilepool *pool, const char *path, const char *name);
int pmemfile_fremovexattr(PMEMfilepool *pool, PMEMfile *file, const char *name);

/* ---- Credentials of the caller, kept for each pool; at first those of the process -------------------------------- */

int pmemfile_setuid(PMEMfilepool *pool, pmemfile_uid_t uid);
int pmemfile_setgid(PMEMfilepool *pool, pmemfile_gid_t gid);
int pmemfile_seteuid(PMEMfilepool *pool, pmemfile_uid_t uid);
int pmemfile_setegid(PMEMfilepool *pool, pmemfile_gid_t gid);
int pmemfile_setreuid(PMEMfilepool *pool, pmemfile_uid_t real, pmemfile_uid_t effective);
int pmemfile_setregid(PMEMfilepool *pool, pmemfile_gid_t real, pmemfile_gid_t effective);
/* Return the id that was in force before, whether it changed or not, as the system's calls do. */
int pmemfile_setfsuid(PMEMfilepool *pool, pmemfile_uid_t uid);
int pmemfile_setfsgid(PMEMfilepool *pool, pmemfile_gid_t gid);
pmemfile_uid_t pmemfile_getuid(PMEMfilepool *pool);
pmemfile_gid_t pmemfile_getgid(PMEMfilepool *pool);
pmemfile_uid_t pmemfile_geteuid(PMEMfilepool *pool);
pmemfile_gid_t pmemfile_getegid(PMEMfilepool *pool);
int pmemfile_getgroups(PMEMfilepool *pool, int size, pmemfile_gid_t groups[]);
int pmemfile_setgroups(PMEMfilepool *pool, size_t count, const pmemfile_gid_t *groups);
/* Gives or takes one of PMEMFILE_CAP_CHOWN, _FOWNER, _FSETID. EINVAL: another number. */
int pmemfile_setcap(PMEMfilepool *pool, int capability);
int pmemfile_clrcap(PMEMfilepool *pool, int capability);

#ifdef __cplusplus
}
#endif

#endif
