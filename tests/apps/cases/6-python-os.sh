# needs: python3
# timeout: 30
# os: every call on files and directories, with dir_fd, and the errno of each failure.
python3 - <<'END'
import errno, os, stat
def name(f, *a, **k):
    try: r = f(*a, **k); return r if type(r) in (int, bool, str, bytes, list, type(None)) else type(r).__name__
    except OSError as e: return errno.errorcode[e.errno]
open("f", "w").write("x" * 10); os.mkdir("d"); os.symlink("f", "l"); os.symlink("no", "dang"); open("d/g", "w").close()
for call in [(os.mkdir, "d"), (os.mkdir, "no/x"), (os.mkdir, "f/x"), (os.rmdir, "d"), (os.rmdir, "f"), (os.rmdir, "."), (os.rmdir, "no"), (os.unlink, "d"), (os.unlink, "no"), (os.unlink, ""),
             (os.rename, "no", "x"), (os.rename, "d", "f"), (os.rename, "f", "d"), (os.rename, "d", "d/x"), (os.rename, "f", "f"), (os.link, "d", "x"), (os.link, "no", "x"), (os.link, "f", "l"), (os.symlink, "x", "f"), (os.symlink, "", "e"),
             (os.readlink, "f"), (os.readlink, "l"), (os.readlink, "no"), (os.open, "d", os.O_WRONLY), (os.open, "no", 0), (os.open, "f", os.O_DIRECTORY), (os.open, "l", os.O_NOFOLLOW), (os.open, "f", os.O_CREAT | os.O_EXCL), (os.open, "dang", os.O_CREAT | os.O_EXCL), (os.open, "f/", 0), (os.open, "d/new/", os.O_CREAT), (os.open, "x" * 256, os.O_CREAT),
             (os.truncate, "f", -1), (os.truncate, "d", 0), (os.truncate, "no", 0), (os.chdir, "f"), (os.chdir, "no"), (os.listdir, "f"), (os.listdir, "no"), (os.stat, "f/"), (os.stat, "f/x"), (os.stat, "dang"), (os.lstat, "dang"), (os.access, "no", os.F_OK), (os.access, "f", os.X_OK), (os.statvfs, "f"), (os.pathconf, "f", "PC_NAME_MAX"), (os.mkfifo, "f"), (os.chmod, "no", 0), (os.utime, "no"), (os.getxattr, "f", "user.none"), (os.stat, "y/" * 2100)]:
    print(call[0].__name__, [str(a)[:20] for a in call[1:]], name(*call))
d = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
for call in [(os.open, ("h", os.O_CREAT | os.O_RDWR), dict(dir_fd=d)), (os.mkdir, ("s",), dict(dir_fd=d)), (os.stat, ("h",), dict(dir_fd=d)), (os.rename, ("h", "i"), dict(src_dir_fd=d, dst_dir_fd=d)), (os.link, ("i", "j"), dict(src_dir_fd=d)), (os.symlink, ("i", "k"), dict(dir_fd=d)), (os.readlink, ("k",), dict(dir_fd=d)), (os.unlink, ("i",), dict(dir_fd=d)), (os.rmdir, ("s",), dict(dir_fd=d)), (os.access, ("k", os.F_OK), dict(dir_fd=d)), (os.chmod, ("g", 0o600), dict(dir_fd=d)), (os.utime, ("g", (1, 2)), dict(dir_fd=d)), (os.mkfifo, ("p",), dict(dir_fd=d))]:
    print(call[0].__name__, type(name(call[0], *call[1], **call[2])).__name__, name(os.listdir, d) and sorted(os.listdir(d)))
os.fchdir(d); print(sorted(os.listdir(".")), os.path.basename(os.getcwd())); print(name(os.read, d, 1), name(os.ftruncate, d, 0), name(os.lseek, d, 0, 0), name(os.write, os.open("../f", 0), b"x"), name(os.read, os.open("../f", os.O_WRONLY), 1))
for e in sorted(os.scandir(".."), key=lambda e: e.name): print(e.name, e.is_dir(), e.is_file(), e.is_symlink(), stat.filemode(e.stat(follow_symlinks=False).st_mode))
END
