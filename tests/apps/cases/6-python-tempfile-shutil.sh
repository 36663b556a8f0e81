# needs: python3
# timeout: 30
# tempfile and shutil: every kind of temporary file, trees copied, moved, archived, removed, disk_usage.
python3 - <<'END'
import os, shutil, tempfile
tempfile.tempdir = "."
with tempfile.TemporaryFile() as t: t.write(b"x" * 9); t.seek(0); print(len(t.read()), os.fstat(t.fileno()).st_nlink)
with tempfile.NamedTemporaryFile("w+", suffix=".tmp") as t: t.write("named"); t.flush(); print(open(t.name).read(), oct(os.stat(t.name).st_mode))
with tempfile.TemporaryDirectory() as d: os.makedirs(d + "/a/b"); open(d + "/a/b/c", "w").close(); print(sorted(os.listdir(d)))
with tempfile.SpooledTemporaryFile(10) as t: t.write(b"y" * 50); t.seek(0); print(len(t.read()))
fd, p = tempfile.mkstemp(); os.close(fd); os.unlink(p); print(os.listdir("."))
os.makedirs("s/d/e"); [open(f"s/d/f{i}", "w").write(str(i) * i * 100) for i in range(20)]; os.symlink("f1", "s/d/l"); os.utime("s/d/f3", ns=(123456789, 987654321987654321)); os.chmod("s/d/f4", 0o751)
shutil.copytree("s", "t", symlinks=True); print(os.stat("t/d/f3").st_mtime_ns, oct(os.stat("t/d/f4").st_mode), os.readlink("t/d/l")); shutil.move("t/d", "u"); shutil.move("u/f5", "t"); print(sorted(os.listdir("u"))[:4], os.listdir("t"))
for kind in ("zip", "gztar", "xztar"): shutil.unpack_archive(shutil.make_archive("ar", kind, "s"), "x-" + kind); print(kind, sorted(os.listdir(f"x-{kind}/d"))[-2:])
shutil.copyfile("u/f9", "v"); shutil.copy2("s/d/f3", "w"); print(os.stat("w").st_mtime_ns); shutil.rmtree("u"); print(sorted(n for n in os.listdir(".") if not n.startswith("ar"))); print(shutil.disk_usage(".").total > 0, shutil.which("f4", path="s/d") is not None)
[os.unlink(n) for n in os.listdir(".") if n.startswith("ar.")]
END
