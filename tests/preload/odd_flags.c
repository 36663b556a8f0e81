// Arguments that are rarely given: flags of preadv2 and pwritev2, O_DIRECT, ioctls, statx, file handles, offsets at the end of the world.
#include "common.h"
#include <sys/file.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

static char data[8192] __attribute__((aligned(4096)));

static void vectors_with_flags(void) {
  int fd = open("v", O_CREAT | O_RDWR, 0644), append = open("v", O_RDWR | O_APPEND);
  struct iovec v = {data, 100};
  static const int flags[] = {RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_APPEND, RWF_NOAPPEND, 1 << 30, RWF_APPEND | RWF_NOAPPEND, -1};
  SHOW(pwrite(fd, data, 1000, 0));
  for (unsigned i = 0; i < sizeof flags / sizeof *flags; ++i) {
    printf("%x\n", flags[i]);
    SHOW(pwritev2(fd, &v, 1, 10, flags[i]));
    SHOW(pwritev2(append, &v, 1, 10, flags[i]));
    SHOW(pwritev2(append, &v, 1, -1, flags[i]));
    SHOW(preadv2(fd, &v, 1, 10, flags[i]));
    SHOW(preadv2(fd, &v, 1, -1, flags[i]));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(lseek(fd, 0, SEEK_END));
    lseek(fd, 5, SEEK_SET);
  }
  SHOW(pwritev2(fd, &v, 1, 3, RWF_NOWAIT));
  SHOW(preadv2(fd, &v, 1, -2, 0));
  SHOW(pwritev2(fd, &v, 1, -2, 0));
  SHOW(pwritev2(fd, &v, 0, 3, RWF_APPEND));
  SHOW(pwritev2(fd, 0, 1, 3, RWF_APPEND));
  int ro = open("v", O_RDONLY), wo = open("v", O_WRONLY), path = open("v", O_PATH), dir = open(".", O_RDONLY);
  SHOW(pwritev2(ro, &v, 1, 3, 1 << 30));
  SHOW(preadv2(wo, &v, 1, 3, 1 << 30));
  SHOW(preadv2(path, &v, 1, 3, 1 << 30));
  SHOW(preadv2(dir, &v, 1, 3, 0));
  SHOW(pread(fd, data, 0, -1));
  SHOW(pwrite(fd, data, 1, INT64_MAX));
  SHOW(pread(fd, data, 1, INT64_MAX));
  SHOW(lseek(fd, INT64_MAX, SEEK_SET));
  SHOW(lseek(fd, 1, SEEK_CUR));
  SHOW(read(fd, data, 1));
  SHOW(write(fd, data, 1));
  SHOW(lseek(fd, 1, 9));
  SHOW(lseek(dir, 0, SEEK_END));
  SHOW(lseek(dir, 0, SEEK_DATA));
}

static void direct(void) {
  int fd = open("o", O_CREAT | O_RDWR | O_DIRECT, 0644);
  SHOW(fd >= 0);
  SHOW((fcntl(fd, F_GETFL) & O_DIRECT) != 0);
  SHOW(write(fd, data + 1, 777));
  SHOW(pread(fd, data + 3, 100, 5));
  SHOW(fcntl(fd, F_SETFL, 0));
  SHOW((fcntl(fd, F_GETFL) & O_DIRECT) != 0);
  SHOW(fcntl(fd, F_SETFL, O_DIRECT | O_APPEND));
}

static void ioctls(void) {
  int fd = open("i", O_CREAT | O_RDWR, 0644), dir = open(".", O_RDONLY), ro = open("i", O_RDONLY), value = 0;
  uint64_t size;
  SHOW(ioctl(fd, FS_IOC_GETVERSION, &value));
  SHOW(ioctl(fd, FIGETBSZ, &value));
  printf("block %d\n", value);
  SHOW(ioctl(dir, FIGETBSZ, &value));
  value = 0;
  SHOW(ioctl(fd, FIBMAP, &value));
  SHOW(ioctl(fd, 0xc020660b /* FS_IOC_FIEMAP */, data));
  SHOW(ioctl(fd, FIFREEZE, 0));
  SHOW(ioctl(fd, FITRIM, data));
  SHOW(ioctl(fd, 0x12345, 0));
  SHOW(ioctl(fd, 0x5401 /* TCGETS */, data));
  SHOW(ioctl(dir, 0x5401, data));
  SHOW(ioctl(fd, FIOQSIZE, &size));
  SHOW(ioctl(dir, FIOQSIZE, &size));
  SHOW(ioctl(fd, BLKGETSIZE64, &size));
  SHOW(ioctl(fd, FICLONE, ro));
  SHOW(ioctl(fd, FICLONE, -1));
  SHOW(ioctl(fd, FIONREAD, &value));
  printf("%d\n", value);
  SHOW(ioctl(dir, FIONREAD, &value));
  SHOW(ioctl(fd, FIONBIO, 0));
  value = 1;
  SHOW(ioctl(fd, FIONBIO, &value));
  SHOW(fcntl(fd, F_GETFL) & O_NONBLOCK);
  SHOW(ioctl(fd, FIOASYNC, &value));
  SHOW(ioctl(fd, FIOCLEX));
  SHOW(fcntl(fd, F_GETFD));
  SHOW(ioctl(open("i", O_PATH), FIONREAD, &value));
  close(fd);
  SHOW(unlink("i"));
}

static void more_stat(void) {
  struct statx x;
  put("s", "sss");
  memset(&x, 0xff, sizeof x);
  SHOW(statx(AT_FDCWD, "s", 0, STATX_ALL | 0x1000 /* MNT_ID */ | 0x2000 /* DIOALIGN */ | 0x4000 /* MNT_ID_UNIQUE */, &x));
  printf("mask %x attributes %llx mount root known %d size %llu blksize %u mnt %d rdev %u:%u\n", x.stx_mask & ~0x2000, x.stx_attributes,
         (x.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0, x.stx_size, x.stx_blksize, x.stx_mnt_id != 0, x.stx_rdev_major, x.stx_rdev_minor);
  SHOW(statx(AT_FDCWD, "s", 0, STATX_BASIC_STATS | 0x1000, &x));
  SHOW((x.stx_mask & 0x1000) != 0 && x.stx_mnt_id != 0);
  SHOW(statx(AT_FDCWD, ".", 0, STATX_BASIC_STATS, &x));
  printf("attributes %llx\n", x.stx_attributes);
  SHOW(statx(AT_FDCWD, "s", 0, STATX__RESERVED, &x));
  SHOW(statx(AT_FDCWD, "s", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &x));
  SHOW(statx(AT_FDCWD, "s", 0x100000, 0, &x));
  SHOW(statx(AT_FDCWD, "s", AT_REMOVEDIR, 0, &x));
  SHOW(statx(AT_FDCWD, "", 0, 0, &x));
  SHOW(statx(AT_FDCWD, "s", 0, 0, (void *)1));
  SHOW(fstatat(AT_FDCWD, "s", (struct stat *)data, 0x100000));
  SHOW(faccessat(AT_FDCWD, "s", F_OK, 0x4000000));
  SHOW(syscall(SYS_faccessat2, AT_FDCWD, "s", 8, 0));
  SHOW(linkat(AT_FDCWD, "s", AT_FDCWD, "l", 0x200));
  SHOW(unlinkat(AT_FDCWD, "s", 1));
  SHOW(fchownat(AT_FDCWD, "s", -1, -1, 1));
  SHOW(utimensat(AT_FDCWD, "s", 0, 1));
  SHOW(syscall(452 /* fchmodat2 */, AT_FDCWD, "s", 0600, 1));
  SHOW(renameat2(AT_FDCWD, "s", AT_FDCWD, "t", 8));
  SHOW(renameat2(AT_FDCWD, "s", AT_FDCWD, "t", RENAME_NOREPLACE | RENAME_EXCHANGE));
  int fd = open("s", O_RDWR);
  SHOW(sync_file_range(fd, 0, 0, 8));
  SHOW(posix_fadvise(fd, 0, 0, 99));
  SHOW(posix_fadvise(fd, 0, -1, POSIX_FADV_NORMAL));
  SHOW(readahead(fd, 0, 10));
  SHOW(readahead(open("s", O_WRONLY), 0, 10));
  SHOW(fallocate(fd, 0x1000, 0, 10));
  SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
  SHOW(fallocate(fd, 0, -1, 10));
  SHOW(fallocate(fd, 0, 0, 0));
  SHOW(fallocate(open(".", O_RDONLY), 0, 0, 10));
  SHOW(syscall(SYS_close_range, 5, 3, 0));
  SHOW(syscall(SYS_close_range, 500, 600, 8));
}

static void handles(void) {
  union {
    struct file_handle h;
    char room[sizeof(struct file_handle) + 128];
  } a, b;
  int mount = -1, other = -1;
  put("h", "content");
  symlink("h", "hl");
  int here = open(".", O_RDONLY), fd = open("h", O_RDONLY);
  a.h.handle_bytes = 0;
  SHOW(name_to_handle_at(AT_FDCWD, "h", &a.h, &mount, 0));
  SHOW(a.h.handle_bytes > 0);
  a.h.handle_bytes = 128;
  SHOW(name_to_handle_at(AT_FDCWD, "h", &a.h, &mount, 0));
  b.h.handle_bytes = 128;
  SHOW(name_to_handle_at(fd, "", &b.h, &other, AT_EMPTY_PATH));
  SHOW(a.h.handle_bytes == b.h.handle_bytes && a.h.handle_type == b.h.handle_type && memcmp(a.h.f_handle, b.h.f_handle, a.h.handle_bytes) == 0);
  SHOW(mount == other);
  b.h.handle_bytes = 128;
  SHOW(name_to_handle_at(AT_FDCWD, "hl", &b.h, &other, AT_SYMLINK_FOLLOW));
  SHOW(memcmp(a.h.f_handle, b.h.f_handle, a.h.handle_bytes));
  SHOW(name_to_handle_at(AT_FDCWD, "none", &b.h, &other, 0));
  SHOW(name_to_handle_at(AT_FDCWD, "", &b.h, &other, 0));
  SHOW(name_to_handle_at(AT_FDCWD, "h", &b.h, &other, 0x40000));
  SHOW(name_to_handle_at(AT_FDCWD, "h", 0, &other, 0));
  b.h.handle_bytes = 129;
  SHOW(name_to_handle_at(AT_FDCWD, "h", &b.h, &other, 0));
  b.h.handle_bytes = 128;
  SHOW(name_to_handle_at(AT_FDCWD, "h", &b.h, 0, 0));
  int again = open_by_handle_at(here, &a.h, O_RDONLY);
  SHOW(again >= 0);
  SHOW(read(again, data, 100));
  SHOW(open_by_handle_at(AT_FDCWD, &a.h, O_RDWR) >= 0);
  SHOW(open_by_handle_at(here, &a.h, O_PATH) >= 0);
  SHOW(rename("h", "h2"));
  SHOW(open_by_handle_at(fd, &a.h, O_RDWR) >= 0);
  b.h.handle_bytes = 128;
  SHOW(name_to_handle_at(AT_FDCWD, ".", &b.h, &other, 0));
  SHOW(open_by_handle_at(here, &b.h, O_RDONLY | O_DIRECTORY) >= 0);
  SHOW(open_by_handle_at(here, &b.h, O_RDWR));
  b.h.handle_bytes = 128;
  SHOW(name_to_handle_at(AT_FDCWD, "hl", &b.h, &other, 0));
  SHOW(open_by_handle_at(here, &b.h, O_RDONLY));
  SHOW(open_by_handle_at(here, &b.h, O_PATH) >= 0);
  SHOW(open_by_handle_at(-1, &a.h, O_RDONLY));
  b.h.handle_bytes = 0;
  SHOW(open_by_handle_at(here, &b.h, O_RDONLY));
  SHOW(open_by_handle_at(here, 0, O_RDONLY));
  close(again), close(fd);
  unlink("h2");
  fflush(stdout);
  if (fork() == 0) {
    SHOW(setresuid(1000, 1000, 1000));
    SHOW(open_by_handle_at(here, &a.h, O_RDONLY));
    fflush(stdout);
    _exit(0);
  }
  wait(0);
}

static void opens(void) {
  put("n", "hello");
  int fd = open("n", 3), path = open("n", O_PATH);
  struct flock lock = {.l_type = F_RDLCK};
  SHOW(flock(fd, LOCK_SH));
  SHOW(fcntl(fd, F_SETLK, &lock));
  lock.l_type = F_WRLCK;
  SHOW(fcntl(fd, F_SETLK, &lock));
  SHOW(mmap(0, 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
  SHOW(fcntl(path, F_GETFL));
  SHOW(fcntl(open("n", 0x40000000), F_GETFL));
  SHOW(open("", O_CREAT | O_DIRECTORY, 0600));
  SHOW(open("n", O_CREAT | O_DIRECTORY, 0600));
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", path);
  SHOW(open(link, O_TMPFILE | O_RDWR, 0600));
  fd = open("n", O_RDWR);
  SHOW(flock(fd, 99));
  SHOW(fcntl(fd, F_GETOWN));
  uint64_t hint = 9;
  SHOW(fcntl(fd, 1036, &hint));
  SHOW(fcntl(fd, 1035, &hint));
  SHOW(hint);
}

// MADV_REMOVE is a hole in the file, for who may write to it.
static void removed_pages(void) {
  int fd = open("r", O_CREAT | O_RDWR, 0644), ro = open("r", O_RDONLY);
  memset(data, 'x', sizeof data);
  SHOW(write(fd, data, sizeof data));
  char *writable = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char *readable = mmap(0, 8192, PROT_READ, MAP_SHARED, ro, 0), *own = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  SHOW(madvise(readable, 4096, MADV_REMOVE));
  SHOW(madvise(own, 4096, MADV_REMOVE));
  SHOW(readable[0]);
  SHOW(madvise(writable + 1, 4096, MADV_REMOVE));
  SHOW(madvise(writable + 4096, 4096, MADV_REMOVE));
  SHOW(readable[0]);
  SHOW(readable[4096]);
  SHOW(pread(fd, data, 1, 8191));
  SHOW(data[0]);
  struct stat st;
  fstat(fd, &st);
  SHOW(st.st_size);
  writable[4096] = 'y';
  SHOW(pread(fd, data, 1, 4096));
  SHOW(data[0]);
  SHOW(remap_file_pages(writable, 4096, 0, 1, 0));
  SHOW(writable[0]);
  SHOW(remap_file_pages(own, 4096, 0, 1, 0));
  SHOW(remap_file_pages(writable, 4096, PROT_READ, 1, 0));
}

int main(void) {
  opens();
  removed_pages();
  vectors_with_flags();
  direct();
  ioctls();
  more_stat();
  handles();
  return 0;
}
