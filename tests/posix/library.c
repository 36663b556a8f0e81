/*
 * What libpmemfile-core has beside the system's calls: roots, open_parent, suspending, mappings, credentials, fork.
 *
 *     library POOL ELSEWHERE     (ELSEWHERE: a directory, not used)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpmemfile-core.h>

static PMEMfilepool *pool;

#define CHECK(condition)                                                                                        \
	do {                                                                                                    \
		if (!(condition)) {                                                                             \
			printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, pmemfile_errormsg());         \
			exit(1);                                                                                \
		}                                                                                               \
	} while (0)
#define FAILS(call, error) CHECK((errno = 0, (long)(call)) <= 0 && errno == (error))

static PMEMfile *make_file(const char *path, const char *text)
{
	PMEMfile *file = pmemfile_open(pool, path, PMEMFILE_O_CREAT | PMEMFILE_O_RDWR | PMEMFILE_O_TRUNC, 0644);
	CHECK(file != NULL);
	CHECK(pmemfile_write(pool, file, text, strlen(text)) == (ssize_t)strlen(text));
	return file;
}

static void roots(void)
{
	CHECK(pmemfile_pool_root_count(pool) == 4);
	FAILS(pmemfile_open_root(pool, 4, 0), EINVAL);
	PMEMfile *second = pmemfile_open_root(pool, 1, 0);
	CHECK(second != NULL);
	CHECK(pmemfile_mkdirat(pool, second, "only-here", 0755) == 0);
	CHECK(pmemfile_mkdirat(pool, second, "../only-here/below", 0755) == 0); /* ".." of a root is the root */
	FAILS(pmemfile_access(pool, "/only-here", F_OK), ENOENT);
	char path[100];
	PMEMfile *below = pmemfile_openat(pool, second, "only-here/below", O_RDONLY);
	CHECK(strcmp(pmemfile_get_dir_path(pool, below, path, sizeof path), "/only-here/below") == 0);
	FAILS(pmemfile_get_dir_path(pool, below, path, 3), ERANGE);
	pmemfile_close(pool, below);
	pmemfile_close(pool, second);
}

static void parents(void)
{
	char path[PMEMFILE_PATH_MAX];
	CHECK(pmemfile_mkdir(pool, "/p", 0755) == 0 && pmemfile_mkdir(pool, "/p/q", 0755) == 0);
	CHECK(pmemfile_symlink(pool, "q/target", "/p/link") == 0);
	strcpy(path, "/p/q/name/");
	PMEMfile *dir = pmemfile_open_parent(pool, PMEMFILE_AT_CWD, path, sizeof path, 0);
	CHECK(dir != NULL && strcmp(path, "name/") == 0);
	CHECK(strcmp(pmemfile_get_dir_path(pool, dir, path, sizeof path), "/p/q") == 0);
	pmemfile_close(pool, dir);
	strcpy(path, "p/../../up/x");
	dir = pmemfile_open_parent(pool, PMEMFILE_AT_CWD, path, sizeof path, PMEMFILE_OPEN_PARENT_STOP_AT_ROOT);
	CHECK(dir != NULL && strcmp(path, "../up/x") == 0);
	pmemfile_close(pool, dir);
	strcpy(path, "/p/link");
	dir = pmemfile_open_parent(pool, PMEMFILE_AT_CWD, path, sizeof path, PMEMFILE_OPEN_PARENT_SYMLINK_FOLLOW);
	CHECK(dir != NULL && strcmp(path, "target") == 0);
	CHECK(strcmp(pmemfile_get_dir_path(pool, dir, path, sizeof path), "/p/q") == 0);
	pmemfile_close(pool, dir);
}

static void open_beneath(void)
{
	PMEMfile *dir = pmemfile_open(pool, "/p", O_RDONLY | O_DIRECTORY);
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
	CHECK(pmemfile_symlink(pool, "/p/q", "/p/absolute") == 0);
	FAILS(pmemfile_openat2(pool, dir, "../p", &how, sizeof how), EXDEV);
	FAILS(pmemfile_openat2(pool, dir, "absolute", &how, sizeof how), EXDEV);
	how.resolve = RESOLVE_IN_ROOT;
	PMEMfile *root = pmemfile_openat2(pool, dir, "/../q", &how, sizeof how);
	CHECK(root != NULL);
	pmemfile_close(pool, root);
	how.resolve = RESOLVE_NO_SYMLINKS;
	FAILS(pmemfile_openat2(pool, dir, "absolute", &how, sizeof how), ELOOP);
	root = pmemfile_openat2(pool, dir, "../p/q", &how, sizeof how);
	CHECK(root != NULL);
	pmemfile_close(pool, root);
	how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
	root = pmemfile_openat2(pool, dir, "absolute", &how, sizeof how);
	CHECK(root != NULL);
	pmemfile_close(pool, root);
	how.flags = 1ull << 40;
	FAILS(pmemfile_openat2(pool, dir, "q", &how, sizeof how), EINVAL);
	pmemfile_close(pool, dir);
}

static void mappings(void)
{
	char text[16] = {0};
	PMEMfile *file = make_file("/mapped", "0123456789");
	CHECK(pmemfile_ftruncate(pool, file, 3 * 4096 + 100) == 0);
	char *shared = pmemfile_mmap(pool, NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	char *private = pmemfile_mmap(pool, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED);
	CHECK(memcmp(shared, "0123456789", 11) == 0);
	private[0] = 'p';
	shared[1] = 's';
	memcpy(shared + 2 * 4096, "far", 3);
	CHECK(pmemfile_pread(pool, file, text, 2, 0) == 2 && memcmp(text, "0s", 2) == 0);
	CHECK(pmemfile_pread(pool, file, text, 3, 2 * 4096) == 3 && memcmp(text, "far", 3) == 0);
	CHECK(pmemfile_pwrite(pool, file, "w", 1, 2) == 1 && shared[2] == 'w');
	CHECK(pmemfile_msync(pool, shared, 4096, MS_SYNC) == 0);
	FAILS(pmemfile_pool_suspend(pool), EBUSY);
	/* A hole in the middle leaves the rest as it is; the file may go meanwhile. */
	CHECK(pmemfile_munmap(pool, shared + 4096, 4096) == 0);
	pmemfile_close(pool, file);
	CHECK(pmemfile_unlink(pool, "/mapped") == 0);
	CHECK(shared[1] == 's' && memcmp(shared + 2 * 4096, "far", 3) == 0);
	char *grown = pmemfile_mremap(pool, shared, 4096, 2 * 4096, MREMAP_MAYMOVE, NULL);
	CHECK(grown != MAP_FAILED && grown[1] == 's');
	CHECK(pmemfile_munmap(pool, grown, 2 * 4096) == 0 && pmemfile_munmap(pool, shared, 5 * 4096) == 0);
	CHECK(pmemfile_munmap(pool, private, 4096) == 0);
	file = pmemfile_open(pool, "/read-only", PMEMFILE_O_CREAT | PMEMFILE_O_RDONLY, 0644);
	FAILS(pmemfile_mmap(pool, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 1, EACCES);
	shared = pmemfile_mmap(pool, NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	CHECK(shared != MAP_FAILED && pmemfile_munmap(pool, shared, 4096) == 0);
	pmemfile_close(pool, file);
}

static void suspending(const char *path)
{
	char moved[4096], text[8] = {0};
	struct stat st;
	PMEMfile *file = make_file("/kept", "abcdef");
	CHECK(pmemfile_lseek(pool, file, 2, SEEK_SET) == 2);
	CHECK(pmemfile_chdir(pool, "/p/q") == 0);
	CHECK(pmemfile_pool_suspend(pool) == 0);
	FAILS(pmemfile_stat(pool, "/", &st), EBUSY);
	snprintf(moved, sizeof moved, "%s.moved", path);
	CHECK(rename(path, moved) == 0);
	FAILS(pmemfile_pool_resume(pool, path), ENOENT);
	CHECK(rename(moved, path) == 0);
	CHECK(pmemfile_pool_resume(pool, path) == 0);
	CHECK(pmemfile_read(pool, file, text, 4) == 4 && strcmp(text, "cdef") == 0);
	CHECK(strcmp(pmemfile_getcwd(pool, moved, sizeof moved), "/p/q") == 0);
	CHECK(pmemfile_chdir(pool, "/") == 0);
	pmemfile_close(pool, file);
}

static void credentials(void)
{
	gid_t groups[2] = {5, 6}, found[4];
	CHECK(pmemfile_getuid(pool) == getuid() && pmemfile_getegid(pool) == getegid());
	CHECK(pmemfile_setuid(pool, 0) == 0 || errno == EPERM);
	if (pmemfile_geteuid(pool) != 0)
		return;
	CHECK(pmemfile_setgroups(pool, 2, groups) == 0 && pmemfile_getgroups(pool, 4, found) == 2 && found[1] == 6);
	pmemfile_close(pool, make_file("/owned", ""));
	CHECK(pmemfile_seteuid(pool, 100) == 0);
	FAILS(pmemfile_chown(pool, "/owned", 100, 100), EPERM);
	CHECK(pmemfile_setcap(pool, PMEMFILE_CAP_CHOWN) == 0);
	CHECK(pmemfile_chown(pool, "/owned", 100, 100) == 0);
	CHECK(pmemfile_clrcap(pool, PMEMFILE_CAP_CHOWN) == 0);
	FAILS(pmemfile_chown(pool, "/owned", 0, 100), EPERM);
	FAILS(pmemfile_setcap(pool, 21), EINVAL);
	CHECK(pmemfile_seteuid(pool, 0) == 0 && pmemfile_setfsuid(pool, 7) == 0 && pmemfile_setfsuid(pool, 0) == 7);
}

static void forking(void)
{
	char text[8] = {0};
	int status;
	PMEMfile *file = make_file("/forked", "abcdef");
	CHECK(pmemfile_lseek(pool, file, 0, SEEK_SET) == 0);
	pid_t pid = fork();
	if (pid == 0) { /* moves the offset that it shares, and holds a lock until it dies */
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		_exit(pmemfile_read(pool, file, text, 3) == 3 && pmemfile_fcntl(pool, file, F_SETLK, &lock) == 0 ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(pmemfile_read(pool, file, text, 3) == 3 && memcmp(text, "def", 3) == 0);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	CHECK(pmemfile_fcntl(pool, file, F_SETLKW, &lock) == 0);
	pmemfile_close(pool, file);
}

static void others(void)
{
	struct {
		struct file_handle head;
		char room[64];
	} handle = {.head.handle_bytes = 4};
	struct pmemfile_stats stats;
	struct statfs space;
	int mount_id;
	FAILS(pmemfile_name_to_handle_at(pool, PMEMFILE_AT_CWD, "/p", &handle.head, &mount_id, 0), EOVERFLOW);
	CHECK(pmemfile_name_to_handle_at(pool, PMEMFILE_AT_CWD, "/p", &handle.head, &mount_id, 0) == 0);
	pmemfile_stats(pool, &stats);
	CHECK(stats.dirs == 4 + 2 + 2); /* roots, /p, /p/q, the two of roots() */
	unsigned inodes = stats.inodes;
	CHECK(pmemfile_link(pool, "/kept", "/kept-too") == 0 && pmemfile_mknodat(pool, PMEMFILE_AT_CWD, "/new", 0100600, 0) == 0);
	pmemfile_stats(pool, &stats);
	CHECK(stats.inodes == inodes + 1);
	CHECK(pmemfile_statfs(pool, &space) == 0 && space.f_blocks > space.f_bfree && space.f_bfree > 0);
	FAILS(pmemfile_open(pool, NULL, O_RDONLY), EFAULT);
	FAILS(pmemfile_open(NULL, "/", O_RDONLY), EFAULT);
	FAILS(pmemfile_fcntl(pool, NULL, F_GETFL), EFAULT);
	CHECK(strlen(pmemfile_errormsg()) > 0);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	FAILS(pmemfile_pool_open("/nonexistent/pool"), ENOENT);
	pool = pmemfile_pool_create(argv[1], 16 << 20, 0600);
	CHECK(pool != NULL);
	FAILS(pmemfile_pool_create(argv[1], 16 << 20, 0600), EEXIST);
	roots();
	parents();
	open_beneath();
	mappings();
	suspending(argv[1]);
	credentials();
	forking();
	others();
	pmemfile_pool_close(pool);
	printf("all as described\n");
	return 0;
}
