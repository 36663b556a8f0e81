# needs: python3
# timeout: 30
# mmap: shared and private, coherent with read and write and between processes; resize, flush, anonymous, at odd offsets.
python3 - <<'END'
import mmap, os
f = open("f", "wb+"); f.write(b"a" * 10000); f.flush(); m = mmap.mmap(f.fileno(), 0); m[5:8] = b"XYZ"; print(os.pread(f.fileno(), 10, 0)); os.pwrite(f.fileno(), b"file", 9000); print(m[8998:9006]); m.flush(); print(len(m), m.find(b"file"))
p = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE); p[0:3] = b"prv"; print(m[:3], p[:3], os.pread(f.fileno(), 3, 0)); r = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); print(r[5:8])
pid = os.fork()
if pid == 0: m[100:105] = b"child"; os._exit(0)
os.waitpid(pid, 0); print(m[100:105], os.pread(f.fileno(), 5, 100)); o = mmap.mmap(f.fileno(), 5904, offset=4096); print(o[4904:4908]); o[0] = 66; print(m[4096:4098]); g = open("f", "rb+"); n = mmap.mmap(g.fileno(), 10000); n[7] = 33; print(m[5:9])
for i in range(5):
    pid = os.fork()
    if pid == 0:
        q = mmap.mmap(os.open("f", os.O_RDWR), 0); q[200 + i] = 48 + i; os._exit(0)
    os.waitpid(pid, 0)
print(m[199:206]); os.ftruncate(f.fileno(), 20000); z = mmap.mmap(f.fileno(), 0); print(z[9998:10003], len(z)); z[19999] = 90; z.close(); print(os.pread(f.fileno(), 5, 19996)); m.resize(12000); print(len(m), os.path.getsize("f"))
h = open("sparse", "wb+"); h.truncate(1 << 24); s = mmap.mmap(h.fileno(), 0); s[5 << 20] = 1; s[(1 << 24) - 1] = 2; print(sum(os.pread(h.fileno(), 1 << 24, 0))); os.unlink("sparse"); s[77] = 5; print(s[77]); m.close(); os.pwrite(f.fileno(), b"after", 0); print(n[:5])
for bad in ((0, os.O_WRONLY), (10, os.O_RDONLY)):
    try: mmap.mmap(os.open("f", bad[1]), bad[0])
    except OSError as e: print(e.errno)
END
