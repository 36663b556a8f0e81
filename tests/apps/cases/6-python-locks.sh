# needs: python3
# timeout: 60
# fcntl record locks, OFD locks and flock: who gets them, who waits, what fork, dup and close do to them.
python3 - <<'END'
import fcntl as F, os, struct, subprocess, sys, time
def other(code): return subprocess.run([sys.executable, "-c", "import fcntl as F, os, errno\nf = os.open('f', os.O_RDWR)\ndef t(g, *a):\n  try: g(*a); return 'ok'\n  except OSError as e: return errno.errorcode[e.errno]\n" + code], capture_output=True, text=True, pass_fds=[f]).stdout.strip()
open("f", "w").write("x" * 100); f = os.open("f", os.O_RDWR); F.lockf(f, F.LOCK_EX, 10, 5)
T = "print(t(F.lockf, f, F.LOCK_%s | F.LOCK_NB, %d, %d))"
print(other(T % ("EX", 10, 5)), other(T % ("SH", 1, 14)), other(T % ("EX", 5, 15)), other(T % ("EX", 5, 0)), other(T % ("EX", 0, 0))); F.lockf(f, F.LOCK_UN, 2, 7); print(other(T % ("EX", 2, 7)), other(T % ("EX", 2, 5)), other(T % ("EX", 6, 9)))
print(other("import struct; r = F.fcntl(f, F.F_GETLK, struct.pack('hhqqi4x', F.F_WRLCK, 0, 0, 0, 0)); print(struct.unpack('hhqqi4x', r)[:4], struct.unpack('hhqqi4x', r)[4] == os.getppid())")); os.close(os.open("f", 0)); print(other(T % ("EX", 0, 0)))
F.lockf(f, F.LOCK_SH); print(other(T % ("SH", 0, 0)), other(T % ("EX", 0, 0))); pid = os.fork()
if pid == 0: F.lockf(f, F.LOCK_UN); os._exit(0)
os.waitpid(pid, 0); print(other(T % ("EX", 0, 0))); F.lockf(f, F.LOCK_UN); print(other(T % ("EX", 0, 0)))
F.flock(f, F.LOCK_EX); print(other("print(t(F.flock, f, F.LOCK_EX | F.LOCK_NB), t(F.lockf, f, F.LOCK_EX | F.LOCK_NB), t(F.flock, %d, F.LOCK_UN))" % f), other("print(t(F.flock, f, F.LOCK_EX | F.LOCK_NB))")); F.flock(f, F.LOCK_SH); print(other("print(t(F.flock, f, F.LOCK_SH | F.LOCK_NB), t(F.flock, f, F.LOCK_EX | F.LOCK_NB))")); g = os.dup(f); os.close(f); f = g; print(other("print(t(F.flock, f, F.LOCK_EX | F.LOCK_NB))")); F.flock(f, F.LOCK_UN)
ofd = struct.pack("hhqqi4x", F.F_WRLCK, 0, 0, 10, 0); F.fcntl(f, 37, ofd); h = os.open("f", os.O_RDWR)
try: F.fcntl(h, 37, ofd)
except OSError as e: print("ofd", e.errno)
print(other(T % ("EX", 5, 0))); os.close(f); print(other(T % ("EX", 5, 0)) if not (lambda: globals().__setitem__("f", h))() else "")
p = subprocess.Popen([sys.executable, "-c", "import fcntl as F, os, time\nf = os.open('f', os.O_RDWR); F.lockf(f, F.LOCK_EX); open('held', 'w').close(); time.sleep(30)"])
while not os.path.exists("held"): time.sleep(0.01)
q = subprocess.Popen([sys.executable, "-c", "import fcntl as F, os\nf = os.open('f', os.O_RDWR); open('waits', 'w').close(); F.lockf(f, F.LOCK_EX); print('got it after the kill', flush=True)"])
while not os.path.exists("waits"): time.sleep(0.01)
time.sleep(0.2); print("waiting", q.poll(), flush=True); p.kill(); p.wait(); print(q.wait(10))
END
