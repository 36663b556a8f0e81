# needs: python3
# The limit of descriptors, closing all of them, descriptors 0 to 2 closed: numbers and errors.
cat > limits.py <<'END'
import ctypes
import os, resource, errno, sys, subprocess
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
fds = []
try:
    while True: fds.append(os.open("f%d" % len(fds), os.O_CREAT | os.O_RDWR))
except OSError as e: print("stop", len(fds) > 40, max(fds), errno.errorcode[e.errno])
try: os.dup(fds[0])
except OSError as e: print("dup", errno.errorcode[e.errno])
try: os.pipe()
except OSError as e: print("pipe", errno.errorcode[e.errno])
try: os.dup2(fds[0], 64)
except OSError as e: print("dup2", errno.errorcode[e.errno])
os.close(fds.pop()); fds.append(os.dup(fds[0])); print(fds[-1])
for f in fds: os.close(f)
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
try:
    l = []
    while True: l.append(os.open("f0", os.O_RDONLY))
except OSError as e: print(len(l), l[-1], errno.errorcode[e.errno])
for f in l: os.close(f)
for f in range(3, 70000):
    try: os.close(f)
    except OSError: pass
print(os.open("f0", os.O_RDONLY), open("f0", "w").write("x"))
os.closerange(3, 100000)
libc = ctypes.CDLL(None, use_errno=True)
print(libc.close_range(3, 0xffffffff, 0))
print(os.listdir(".")[:0], os.open("f0", os.O_RDONLY), os.read(3, 4))
print(subprocess.run(["cat", "f0"], capture_output=True).stdout, flush=True)
if os.fork() == 0:
    e = os.dup(1)
    for f in (0, 1, 2): os.close(f)
    print1 = os.open("o", os.O_CREAT | os.O_RDWR)
    os.write(e, b"%d %d\n" % (print1, os.open("/dev/null", os.O_RDWR)))
    os.write(e, b"%d\n" % os.open("o2", os.O_CREAT | os.O_RDWR))
    os.execvp("sh", ["sh", "-c", "echo out; echo err >&2"])
os.wait(); print(open("o").read(), os.path.exists("o2") and open("o2").read())
# started with 0-2 closed
subprocess.run(["sh", "-c", "sh -c 'cat f0 > out2; echo $?' <&- >&- 2>&-; cat out2"])
END
python3 limits.py; rm -f f[0-9]*
(ulimit -S -n 40; python3 -c 'import os
l = []
try:
    while True: l.append(os.open("f", os.O_CREAT | os.O_RDWR))
except OSError as e: print(len(l), l[-1], e.errno)'; cat f | wc -c; sh -c 'exec 9> g; echo x >&9'; cat g)
