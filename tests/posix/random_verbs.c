/*
 * The same random sequence of verbs in a pool, through libpmemfile-core, and in a directory of the kernel: results, errors
 * and what is there afterwards must be the same. The kernel is the oracle; nothing here says what is right.
 *
 *     random_verbs POOL DIRECTORY [SEED [STEPS]]
 *
 * As root it changes its root into DIRECTORY, so that absolute symlinks lead to the same places on both sides, and acts as
 * two users by turns; otherwise it leaves both out. Prints its seed; a difference prints the step and both results.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <libpmemfile-core.h>

static PMEMfilepool *pool;
static int as_root;
static unsigned long long state;
static unsigned long step;
static char what[12000];

enum { FILES = 8, USER = 1234, GROUP = 4321 };
static PMEMfile *ours[FILES];
static int kernels[FILES];

static unsigned rnd(unsigned below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 16) % below);
}

static void __attribute__((format(printf, 1, 2), noreturn)) differ(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	printf("step %lu: %s: ", step, what);
	vprintf(format, list);
	printf("\n");
	va_end(list);
	exit(1);
}

static const char *error_name(long result, int error)
{
	return result < 0 ? strerrorname_np(error) : "ok";
}

/* Compares two results; true if both succeeded. */
static int same(long a, int a_errno, long b, int b_errno)
{
	if (a != b || (a < 0 && a_errno != b_errno))
		differ("pool %ld (%s), kernel %ld (%s)", a, error_name(a, a_errno), b, error_name(b, b_errno));
	return a >= 0;
}

/* Runs both sides and compares: BOTH(expression on the pool, expression on the kernel). */
#define BOTH(pool_side, kernel_side)                      \
	__extension__({                                   \
		errno = 0;                                \
		long a_ = (long)(pool_side);              \
		int a_errno_ = errno;                     \
		errno = 0;                                \
		long b_ = (long)(kernel_side);            \
		same(a_, a_errno_, b_, errno);            \
	})
#define SAY(...) snprintf(what, sizeof what, __VA_ARGS__)

/* ---- Paths ------------------------------------------------------------------------------------------------------ */

static void add_component(char *path)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "a longer name that needs more than one cell of a leaf"};
	unsigned kind = rnd(60);
	if (kind == 0)
		strcat(path, ".");
	else if (kind == 1 && as_root) /* elsewhere it leads out of the directory */
		strcat(path, "..");
	else if (kind == 2)
		memset(path + strlen(path), 'n', 254 + rnd(3)); /* the path was all zeros */
	else
		strcat(path, names[rnd(kind < 40 ? 4 : 6)]);
}

static char *make_path(char *path)
{
	memset(path, 0, 8192);
	if (as_root && rnd(4) == 0)
		strcpy(path, "/");
	if (rnd(200) == 0)
		return path; /* "" or "/" */
	unsigned depth = 1 + rnd(3);
	for (unsigned i = 0; i < depth; i++) {
		if (i != 0)
			strcat(path, rnd(20) == 0 ? "//" : "/");
		add_component(path);
	}
	if (rnd(25) == 0)
		strcat(path, "/");
	return path;
}

static char path_a[8192], path_b[8192];

/* A directory argument: an open file of both sides or the working directory. */
struct dir {
	PMEMfile *ours;
	int kernels;
};
static struct dir pick_dir(void)
{
	unsigned i = rnd(FILES * 4);
	if (i < FILES && ours[i] != NULL)
		return (struct dir){ours[i], kernels[i]};
	return (struct dir){PMEMFILE_AT_CWD, AT_FDCWD};
}

/* ---- Comparing what is there -------------------------------------------------------------------------------------- */

static void compare_stat(const struct stat *a, const struct stat *b)
{
	if (a->st_mode != b->st_mode || a->st_nlink != b->st_nlink || a->st_uid != b->st_uid || a->st_gid != b->st_gid ||
	    a->st_rdev != b->st_rdev || (!S_ISDIR(a->st_mode) && a->st_size != b->st_size))
		differ("pool mode %o links %ld owner %u:%u size %ld, kernel mode %o links %ld owner %u:%u size %ld", a->st_mode,
		       (long)a->st_nlink, a->st_uid, a->st_gid, (long)a->st_size, b->st_mode, (long)b->st_nlink, b->st_uid,
		       b->st_gid, (long)b->st_size);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
	char *list[4096];
	unsigned count;
};
static void add_names(struct names *names, char *buffer, long size)
{
	for (long at = 0; at < size;) {
		struct dirent64 *entry = (struct dirent64 *)(buffer + at);
		char typed[300];
		snprintf(typed, sizeof typed, "%s %d", entry->d_name, entry->d_type);
		names->list[names->count++] = strdup(typed);
		at += entry->d_reclen;
	}
}

static void compare_lists(PMEMfile *dir, int fd)
{
	static struct names a, b;
	static char buffer[2000];
	long size;
	a.count = b.count = 0;
	while ((size = pmemfile_getdents64(pool, dir, (struct linux_dirent64 *)buffer, 200 + rnd(1800))) > 0)
		add_names(&a, buffer, size);
	if (size < 0 && errno != EINVAL && errno != ENOENT)
		differ("getdents64: %s", strerrorname_np(errno));
	if (size < 0)
		return; /* a name longer than the buffer, or a removed directory */
	while ((size = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
		add_names(&b, buffer, size);
	qsort(a.list, a.count, sizeof *a.list, by_name);
	qsort(b.list, b.count, sizeof *b.list, by_name);
	for (unsigned i = 0; i < a.count || i < b.count; i++)
		if (i >= a.count || i >= b.count || strcmp(a.list[i], b.list[i]) != 0)
			differ("entry %u: pool '%s', kernel '%s'", i, i < a.count ? a.list[i] : "-", i < b.count ? b.list[i] : "-");
	for (unsigned i = 0; i < a.count; i++)
		free(a.list[i]), free(b.list[i]);
}

static void compare_contents(PMEMfile *file, int fd)
{
	static char a[70000], b[70000];
	long size_a = pmemfile_pread(pool, file, a, sizeof a, 0), size_b = pread(fd, b, sizeof b, 0);
	if (size_a != size_b || (size_a > 0 && memcmp(a, b, (size_t)size_a) != 0))
		differ("contents differ (%ld and %ld bytes)", size_a, size_b);
}

/* The whole tree, as root. */
static void compare_trees(const char *path)
{
	static int depth;
	struct stat a, b;
	char below[8192], target_a[4096], target_b[4096];
	SAY("tree at '%s'", path);
	BOTH(pmemfile_lstat(pool, path, &a), lstat(path, &b));
	compare_stat(&a, &b);
	if (S_ISLNK(a.st_mode)) {
		long size = pmemfile_readlink(pool, path, target_a, sizeof target_a);
		BOTH(size, readlink(path, target_b, sizeof target_b));
		if (memcmp(target_a, target_b, (size_t)size) != 0)
			differ("targets differ");
	} else if (S_ISREG(a.st_mode) || S_ISDIR(a.st_mode)) {
		PMEMfile *file = pmemfile_open(pool, path, O_RDONLY);
		int fd = open(path, O_RDONLY);
		BOTH(file == NULL ? -1 : 0, fd < 0 ? -1 : 0);
		if (S_ISREG(a.st_mode))
			compare_contents(file, fd);
		else
			compare_lists(file, fd);
		pmemfile_close(pool, file);
		close(fd);
	}
	if (!S_ISDIR(a.st_mode) || ++depth > 60)
		return;
	DIR *dir = opendir(path);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
		if (strlen(below) < 4000)
			compare_trees(below);
	}
	closedir(dir);
	depth--;
}

/* ---- Verbs -------------------------------------------------------------------------------------------------------- */

static void close_slot(unsigned i)
{
	if (ours[i] == NULL)
		return;
	pmemfile_close(pool, ours[i]);
	close(kernels[i]);
	ours[i] = NULL;
}

static void do_open(void)
{
	static const int accesses[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY};
	static const int extras[] = {0, O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_CREAT | O_TRUNC, O_DIRECTORY, O_NOFOLLOW,
				     O_CREAT | O_NOFOLLOW, O_PATH, O_PATH | O_NOFOLLOW, O_APPEND, O_CREAT | O_APPEND,
				     O_DIRECTORY | O_NOFOLLOW, O_CREAT | O_DIRECTORY};
	unsigned i = rnd(FILES);
	int flags = accesses[rnd(4)] | extras[rnd(sizeof extras / sizeof *extras)];
	mode_t mode = rnd(010000);
	struct dir dir = pick_dir();
	struct stat st;
	close_slot(i);
	make_path(path_a);
	SAY("openat(%d, '%s', %o, %o)", dir.kernels, path_a, flags, mode);
	/* FIFOs, devices and sockets are names only in a pool. */
	if (fstatat(dir.kernels, path_a, &st, 0) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && (flags & O_PATH) == 0)
		return;
	PMEMfile *file = pmemfile_openat(pool, dir.ours, path_a, flags, mode);
	int file_errno = errno;
	int fd = openat(dir.kernels, path_a, flags, mode);
	if (same(file == NULL ? -1 : 0, file_errno, fd < 0 ? -1 : 0, errno)) {
		ours[i] = file;
		kernels[i] = fd;
	}
}

static void do_write(void)
{
	static char data[9000];
	unsigned i = rnd(FILES), size = rnd(4) == 0 ? rnd(9000) : rnd(200), offset = rnd(30000);
	if (ours[i] == NULL)
		return;
	memset(data, 'A' + (int)rnd(26), size);
	if (rnd(2) == 0) {
		SAY("pwrite(file %u, %u, %u)", i, size, offset);
		BOTH(pmemfile_pwrite(pool, ours[i], data, size, offset), pwrite(kernels[i], data, size, offset));
	} else {
		SAY("write(file %u, %u)", i, size);
		BOTH(pmemfile_write(pool, ours[i], data, size), write(kernels[i], data, size));
	}
}

static void do_file(void)
{
	static char a[9000], b[9000];
	struct stat st_a, st_b;
	unsigned i = rnd(FILES), size = rnd(9000), offset = rnd(30000);
	if (ours[i] == NULL)
		return;
	switch (rnd(7)) {
	case 0:
		SAY("read(file %u, %u)", i, size);
		if (BOTH(pmemfile_read(pool, ours[i], a, size), read(kernels[i], b, size)) && offset == 0 && memcmp(a, b, size) != 0)
			differ("other bytes");
		break;
	case 1:
		SAY("ftruncate(file %u, %u)", i, offset);
		BOTH(pmemfile_ftruncate(pool, ours[i], offset), ftruncate(kernels[i], offset));
		break;
	case 2:
		if (fstat(kernels[i], &st_b) == 0 && S_ISDIR(st_b.st_mode))
			break; /* offsets in directories are the file system's own */
		SAY("lseek(file %u, %u)", i, offset);
		BOTH(pmemfile_lseek(pool, ours[i], offset, (int)(offset % 3)), lseek(kernels[i], offset, (int)(offset % 3)));
		break;
	case 3:
		SAY("fstat(file %u)", i);
		if (BOTH(pmemfile_fstat(pool, ours[i], &st_a), fstat(kernels[i], &st_b)))
			compare_stat(&st_a, &st_b);
		break;
	case 4:
		SAY("fchmod(file %u)", i);
		BOTH(pmemfile_fchmod(pool, ours[i], offset & 07777), fchmod(kernels[i], offset & 07777));
		break;
	case 5:
		SAY("fchdir(file %u)", i);
		BOTH(pmemfile_fchdir(pool, ours[i]), fchdir(kernels[i]));
		break;
	default:
		close_slot(i);
	}
}

static void do_stat(void)
{
	struct stat a, b;
	struct dir dir = pick_dir();
	int flags = rnd(2) ? AT_SYMLINK_NOFOLLOW : 0;
	make_path(path_a);
	SAY("fstatat(%d, '%s', %x)", dir.kernels, path_a, flags);
	if (BOTH(pmemfile_fstatat(pool, dir.ours, path_a, &a, flags), fstatat(dir.kernels, path_a, &b, flags)))
		compare_stat(&a, &b);
}

static void do_access(void)
{
	int mode = (int)rnd(8), flags = rnd(2) ? AT_EACCESS : 0;
	make_path(path_a);
	SAY("faccessat('%s', %d, %x)", path_a, mode, flags);
	BOTH(pmemfile_faccessat(pool, PMEMFILE_AT_CWD, path_a, mode, flags), syscall(SYS_faccessat2, AT_FDCWD, path_a, mode, flags));
}

static void do_readlink(void)
{
	char a[5000], b[5000];
	unsigned size = rnd(3) == 0 ? rnd(20) : sizeof a;
	make_path(path_a);
	SAY("readlink('%s', %u)", path_a, size);
	memset(a, 0, sizeof a), memset(b, 0, sizeof b);
	if (BOTH(pmemfile_readlink(pool, path_a, a, size), readlink(path_a, b, size)) && memcmp(a, b, sizeof a) != 0)
		differ("'%s' and '%s'", a, b);
}

static void do_make(void)
{
	static const mode_t types[] = {0, S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFDIR, 0170000};
	struct dir dir = pick_dir();
	mode_t mode = rnd(010000);
	make_path(path_a);
	if (rnd(3) != 0) {
		SAY("mkdirat(%d, '%s', %o)", dir.kernels, path_a, mode);
		BOTH(pmemfile_mkdirat(pool, dir.ours, path_a, mode), mkdirat(dir.kernels, path_a, mode));
		return;
	}
	mode |= types[rnd(7)];
	SAY("mknodat(%d, '%s', %o)", dir.kernels, path_a, mode);
	BOTH(pmemfile_mknodat(pool, dir.ours, path_a, mode, 0x105), mknodat(dir.kernels, path_a, mode, 0x105));
}

static void do_symlink(void)
{
	static char target[8192];
	struct dir dir = pick_dir();
	make_path(target);
	if (rnd(6) == 0) { /* long ones lie in blocks of their own */
		for (unsigned i = 0, n = rnd(400); i < n && strlen(target) < 4050; i++)
			memmove(target + 2, target, strlen(target) + 1), memcpy(target, "./", 2);
	}
	make_path(path_a);
	SAY("symlinkat('%.300s', %d, '%s')", target, dir.kernels, path_a);
	BOTH(pmemfile_symlinkat(pool, target, dir.ours, path_a), symlinkat(target, dir.kernels, path_a));
}

static void do_link(void)
{
	struct dir from = pick_dir(), to = pick_dir();
	int flags = rnd(3) == 0 ? AT_SYMLINK_FOLLOW : 0;
	make_path(path_a), make_path(path_b);
	SAY("linkat(%d, '%s', %d, '%s', %x)", from.kernels, path_a, to.kernels, path_b, flags);
	BOTH(pmemfile_linkat(pool, from.ours, path_a, to.ours, path_b, flags), linkat(from.kernels, path_a, to.kernels, path_b, flags));
}

static void do_unlink(void)
{
	struct dir dir = pick_dir();
	int flags = rnd(2) ? AT_REMOVEDIR : 0;
	make_path(path_a);
	SAY("unlinkat(%d, '%s', %x)", dir.kernels, path_a, flags);
	BOTH(pmemfile_unlinkat(pool, dir.ours, path_a, flags), unlinkat(dir.kernels, path_a, flags));
}

static void do_rename(void)
{
	struct dir from = pick_dir(), to = pick_dir();
	unsigned flags = rnd(3) == 0 ? rnd(4) : 0;
	make_path(path_a), make_path(path_b);
	SAY("renameat2(%d, '%s', %d, '%s', %u)", from.kernels, path_a, to.kernels, path_b, flags);
	BOTH(pmemfile_renameat2(pool, from.ours, path_a, to.ours, path_b, flags),
	     renameat2(from.kernels, path_a, to.kernels, path_b, flags));
}

static void do_chmod(void)
{
	struct dir dir = pick_dir();
	/* Mostly bits that leave the tree walkable. */
	mode_t mode = rnd(3) == 0 ? rnd(010000) : 0700 | rnd(010000);
	make_path(path_a);
	SAY("fchmodat(%d, '%s', %o)", dir.kernels, path_a, mode);
	BOTH(pmemfile_fchmodat(pool, dir.ours, path_a, mode, 0), fchmodat(dir.kernels, path_a, mode, 0));
}

static void do_chown(void)
{
	static const uid_t ids[] = {0, USER, (uid_t)-1, 77};
	uid_t uid = ids[rnd(4)];
	gid_t gid = rnd(2) ? ids[rnd(4)] : GROUP;
	int flags = rnd(2) ? AT_SYMLINK_NOFOLLOW : 0;
	make_path(path_a);
	SAY("fchownat('%s', %d, %d, %x)", path_a, (int)uid, (int)gid, flags);
	BOTH(pmemfile_fchownat(pool, PMEMFILE_AT_CWD, path_a, uid, gid, flags), fchownat(AT_FDCWD, path_a, uid, gid, flags));
}

static void do_times(void)
{
	struct timespec times[2] = {{(long)rnd(1000000), (long)rnd(1000000000)}, {(long)rnd(1000000), (long)rnd(1000000000)}};
	struct stat a, b;
	int flags = rnd(2) ? AT_SYMLINK_NOFOLLOW : 0, special = (int)rnd(8);
	if (special & 1)
		times[0].tv_nsec = rnd(2) ? UTIME_OMIT : UTIME_NOW;
	if (special & 2)
		times[1].tv_nsec = rnd(2) ? UTIME_OMIT : UTIME_NOW;
	if (special == 7)
		times[1].tv_nsec = 1000000000 + (long)rnd(3);
	make_path(path_a);
	SAY("utimensat('%s', %ld %ld, %x)", path_a, times[0].tv_nsec, times[1].tv_nsec, flags);
	if (!BOTH(pmemfile_utimensat(pool, PMEMFILE_AT_CWD, path_a, times, flags), utimensat(AT_FDCWD, path_a, times, flags)))
		return;
	if ((special & 3) != 0 || pmemfile_fstatat(pool, PMEMFILE_AT_CWD, path_a, &a, flags) != 0 || fstatat(AT_FDCWD, path_a, &b, flags) != 0)
		return;
	if (a.st_mtim.tv_sec != b.st_mtim.tv_sec || a.st_mtim.tv_nsec != b.st_mtim.tv_nsec || (!S_ISLNK(a.st_mode) && a.st_atim.tv_nsec != b.st_atim.tv_nsec)) /* a pool does not count walks through a symlink */
		differ("pool m %ld.%09ld a %ld.%09ld, kernel m %ld.%09ld a %ld.%09ld", a.st_mtim.tv_sec, a.st_mtim.tv_nsec, a.st_atim.tv_sec,
		       a.st_atim.tv_nsec, b.st_mtim.tv_sec, b.st_mtim.tv_nsec, b.st_atim.tv_sec, b.st_atim.tv_nsec);
}

static void do_truncate(void)
{
	long size = rnd(20) == 0 ? -1 : (long)rnd(40000);
	struct stat st;
	make_path(path_a);
	if (stat(path_a, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return; /* the kernel's device answers for itself */
	SAY("truncate('%s', %ld)", path_a, size);
	BOTH(pmemfile_truncate(pool, path_a, size), truncate(path_a, size));
}

static void do_xattr(void)
{
	static const char *const names[] = {"user.a", "user.another", "trusted.t", "user.", "nothing.x", "system.posix_acl_access"};
	char value[300], a[4096], b[4096];
	const char *name = names[rnd(5)];
	unsigned size = rnd(300);
	memset(value, 'v', sizeof value);
	memset(a, 0, sizeof a), memset(b, 0, sizeof b);
	make_path(path_a);
	switch (rnd(3)) {
	case 0: {
		int flags = (int)rnd(3);
		SAY("setxattr('%s', %s, %u, %d)", path_a, name, size, flags);
		BOTH(pmemfile_lsetxattr(pool, path_a, name, value, size, flags), lsetxattr(path_a, name, value, size, flags));
		break;
	}
	case 1:
		SAY("getxattr('%s', %s, %u)", path_a, name, size);
		if (BOTH(pmemfile_lgetxattr(pool, path_a, name, a, size), lgetxattr(path_a, name, b, size)) && memcmp(a, b, sizeof a) != 0)
			differ("other values");
		break;
	default:
		SAY("removexattr('%s', %s)", path_a, name);
		BOTH(pmemfile_lremovexattr(pool, path_a, name), lremovexattr(path_a, name));
	}
}

static void do_cwd(void)
{
	char a[4096], b[4096];
	make_path(path_a);
	SAY("chdir('%s')", path_a);
	if (rnd(3) == 0)
		strcpy(path_a, as_root ? "/" : ".");
	BOTH(pmemfile_chdir(pool, path_a), chdir(path_a));
	if (!as_root)
		return;
	SAY("getcwd");
	char *ours_is = pmemfile_getcwd(pool, a, sizeof a);
	int ours_errno = errno;
	char *kernels_is = getcwd(b, sizeof b);
	if (same(ours_is == NULL ? -1 : 0, ours_errno, kernels_is == NULL ? -1 : 0, errno) && strcmp(a, b) != 0)
		differ("'%s' and '%s'", a, b);
}

static void do_identity(void)
{
	if (!as_root)
		return;
	if (rnd(3) != 0) { /* mostly root, so that something happens */
		SAY("seteuid(0)");
		BOTH(pmemfile_seteuid(pool, 0), seteuid(0));
		BOTH(pmemfile_setegid(pool, 0), setegid(0));
		return;
	}
	SAY("seteuid(user)");
	BOTH(pmemfile_seteuid(pool, 0), seteuid(0));
	BOTH(pmemfile_setegid(pool, rnd(2) ? GROUP : 0), setegid(pmemfile_getegid(pool)));
	BOTH(pmemfile_seteuid(pool, USER), seteuid(USER));
	mode_t mask = rnd(3) == 0 ? rnd(01000) : 022;
	SAY("umask");
	BOTH(pmemfile_umask(pool, mask), umask(mask));
}

static void (*const verbs[])(void) = {
	do_open, do_open, do_open, do_write, do_write, do_file, do_file, do_stat, do_stat, do_access, do_readlink, do_make, do_make,
	do_symlink, do_link, do_unlink, do_unlink, do_rename, do_rename, do_chmod, do_chown, do_times, do_truncate, do_xattr, do_cwd,
	do_identity,
};

static void compare_all(void)
{
	if (as_root) {
		BOTH(pmemfile_seteuid(pool, 0), seteuid(0));
		BOTH(pmemfile_setegid(pool, 0), setegid(0));
		compare_trees("/");
	}
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: %s POOL DIRECTORY [SEED [STEPS]]\n", argv[0]);
		return 2;
	}
	unsigned long seed = argc > 3 ? strtoul(argv[3], NULL, 0) : (unsigned long)time(NULL);
	unsigned long steps = argc > 4 ? strtoul(argv[4], NULL, 0) : 100000;
	state = seed * 0x9e3779b97f4a7c15ull + 1;
	printf("seed %lu, %lu steps\n", seed, steps);
	fflush(stdout);
	pool = pmemfile_pool_create(argv[1], 64 << 20, 0600);
	if (pool == NULL) {
		fprintf(stderr, "%s: %s\n", argv[1], pmemfile_errormsg());
		return 2;
	}
	if (chdir(argv[2]) != 0 || chmod(".", 0755) != 0) {
		perror(argv[2]);
		return 2;
	}
	as_root = geteuid() == 0 && chroot(".") == 0;
	umask(022);
	pmemfile_umask(pool, 022);
	BOTH(pmemfile_chmod(pool, "/", 0777), chmod(".", 0777));
	for (step = 0; step < steps; step++) {
		verbs[rnd(sizeof verbs / sizeof *verbs)]();
		if (step % 5000 == 4999)
			compare_all();
	}
	compare_all();
	pmemfile_pool_close(pool);
	printf("no difference\n");
	return 0;
}
