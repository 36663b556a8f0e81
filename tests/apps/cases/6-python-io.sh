# needs: python3
# timeout: 30
# Reading and writing at offsets: preadv, pwritev, append, sendfile, copy_file_range, holes, O_TMPFILE, locks on open.
python3 - <<'END'
import errno, os
f = os.open("f", os.O_RDWR | os.O_CREAT); print(os.pwritev(f, [b"abc", b"", b"defg"], 5), os.pread(f, 100, 0))
a, b = bytearray(3), bytearray(10); print(os.preadv(f, [a, b], 4), a, b); print(os.lseek(f, 0, 1), os.lseek(f, -2, 2), os.read(f, 9), os.lseek(f, 100000, 0), os.write(f, b"end"), os.fstat(f).st_size)
try: os.lseek(f, -1, 0)
except OSError as e: print(errno.errorcode[e.errno])
g = os.open("f", os.O_WRONLY | os.O_APPEND); os.lseek(g, 0, 0); os.write(g, b"appended"); print(os.lseek(g, 0, 1), os.pwrite(g, b"!", 3), os.fstat(f).st_size)
os.ftruncate(f, 7); print(os.pread(f, 20, 0)); os.ftruncate(f, 12); print(os.pread(f, 20, 0)); os.truncate("f", 3); print(open("f", "rb").read())
big = open("big", "wb+"); big.write(os.urandom(1 << 20)); big.flush(); out = os.open("copy", os.O_RDWR | os.O_CREAT)
print(os.sendfile(out, big.fileno(), 0, 1 << 20), open("copy", "rb").read() == open("big", "rb").read()); print(os.copy_file_range(big.fileno(), out, 5000, 100, 200), os.pread(out, 5000, 200) == os.pread(big.fileno(), 5000, 100))
h = os.open("h", os.O_RDWR | os.O_CREAT); os.pwrite(h, b"x", 1 << 20); os.pwrite(h, b"y", 1 << 22); os.posix_fallocate(h, 0, 1 << 23); print(os.fstat(h).st_size, sum(os.pread(h, 1 << 23, 0)))
s = os.open("s", os.O_RDWR | os.O_CREAT); os.pwrite(s, b"d" * 4096, 1 << 20); os.ftruncate(s, 1 << 22); print(os.lseek(s, 0, os.SEEK_DATA), os.lseek(s, 1 << 20, os.SEEK_HOLE), os.lseek(s, 0, os.SEEK_HOLE))
try: os.lseek(s, 1 << 21, os.SEEK_DATA)
except OSError as e: print(errno.errorcode[e.errno])
t = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640); os.write(t, b"anonymous"); os.link(f"/proc/self/fd/{t}", "named", src_dir_fd=os.open(".", 0), follow_symlinks=True); print(open("named").read(), oct(os.stat("named").st_mode), os.fstat(t).st_nlink)
u = os.open("gone", os.O_RDWR | os.O_CREAT); os.unlink("gone"); os.write(u, b"still there"); print(os.pread(u, 20, 0), os.fstat(u).st_nlink, os.readlink(f"/proc/self/fd/{u}").endswith("gone (deleted)")); v = os.open(f"/proc/self/fd/{u}", 0); print(os.read(v, 20))
os.fsync(u); os.fdatasync(u); os.sync(); r, w = os.pipe(); os.write(w, b"piped"); print(os.splice(r, out, 5, offset_dst=0), os.pread(out, 5, 0)); os.posix_fadvise(out, 0, 0, os.POSIX_FADV_WILLNEED); print(os.lseek(os.dup(f), 2, 0), os.lseek(f, 0, 1))
os.unlink("big"); os.unlink("copy")
END
