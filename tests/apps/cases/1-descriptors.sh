# Numbers: the lowest free one is given, inherited ones arrive, cloexec ones do not.
python3 - <<'END'
import os
a = os.open("a", os.O_RDWR | os.O_CREAT); b = os.open("b", os.O_RDWR | os.O_CREAT)
r, w = os.pipe(); c = os.open("c", os.O_RDWR | os.O_CREAT)
print(b - a, r - a, w - a, c - a)
os.close(b); d = os.dup(a); print(d - a); os.close(r); e = os.open("/dev/null", 0); print(e - a)
f = os.open("a", os.O_RDONLY); print(f - a); os.dup2(c, 50); os.write(50, b"by fifty")
print(os.pread(c, 20, 0), os.get_inheritable(50), os.get_inheritable(c))
os.set_inheritable(50, True); os.system("bash -c \"echo child >&50\""); print(os.pread(c, 20, 0))
os.closerange(a, 60)
print([n for n in range(3, 60) if os.path.exists(f"/proc/self/fd/{n}")])
g = os.open("a", 0); print(g - a)
END
bash -c 'exec 3< /dev/null 4> x 5< x; ls /proc/self/fd | wc -l; readlink /proc/$$/fd/4'
cat c; cat /dev/fd/3 3< c; cat /proc/self/fd/0 < c
echo x > link-target; exec 7< link-target; ls -l /proc/self/fd/7 | sed 's/.*-> .*\//-> /'; getfattr -h -d /proc/self/fd/7; stat -c %F /proc/self/fd/7; cat /proc/self/fdinfo/7 | grep -c pos; exec 7<&-
