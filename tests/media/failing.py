#!/usr/bin/env python3
"""The medium fails under programs at work: each call that needs what is lost is EIO, nobody is killed, the others go on.

    failing.py BUILD_DIR

1. A sparse pool on a full tmpfs: a new block of metadata cannot be had (SIGBUS at a store). Who meets it is cut off; the others
   and the pool are whole, and so is everything when there is room again.
2. The pool file is truncated under three programs: EIO for each, no signal.
3. The shared segment is truncated: the same.
"""

import os
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
MOUNT = "/mnt/pfiles-failing"

# Reads lines "verb argument..." and answers each with a result or an errno name. Runs under the library.
PROGRAM = r"""
import errno, mmap, os, sys
files, maps = {}, {}
def do(verb, *a):
    if verb == "open": files[a[0]] = os.open(a[0], os.O_RDWR | os.O_CREAT, 0o644); return "ok"
    if verb == "write": return os.write(files[a[0]], b"x" * int(a[1]))
    if verb == "read": return len(os.pread(files[a[0]], int(a[1]), 0))
    if verb == "stat": return os.stat(a[0]).st_size
    if verb == "fstat": return os.fstat(files[a[0]]).st_size
    if verb == "list": return len(os.listdir(a[0]))
    if verb == "mkdir": os.mkdir(a[0]); return "ok"
    if verb == "fill":
        n = 0
        while True:
            os.mkdir(f"{a[0]}/{n}"); os.close(os.open(f"{a[0]}/{n}/f", os.O_CREAT | os.O_WRONLY)); n += 1
    if verb == "rename": os.rename(a[0], a[1]); return "ok"
    if verb == "fsync": os.fsync(files[a[0]]); return "ok"
    if verb == "close": os.close(files.pop(a[0])); return "ok"
    if verb == "fork":
        pid = os.fork()
        if pid == 0: os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if verb == "run":
        import subprocess
        return subprocess.run(["/bin/true"], stderr=subprocess.DEVNULL).returncode
    if verb == "map":
        maps[a[1]] = mmap.mmap(files[a[0]], 4096, mmap.MAP_SHARED if a[1] == "shared" else mmap.MAP_PRIVATE, mmap.PROT_READ); return "ok"
    if verb == "look": return maps[a[0]][0:3].decode()
    if verb == "kernel": return len(os.listdir("/proc/self/task"))
    raise SystemExit("what is " + verb)
for line in sys.stdin:
    try: print(do(*line.split()), flush=True)
    except OSError as e: print(errno.errorcode[e.errno], flush=True)
"""

failed = []


def check(what, got, *wanted):
    if got not in wanted:
        failed.append(what)
        print(f"FAILED: {what}: {got!r}, expected {' or '.join(map(repr, wanted))}")


class Program:
    def __init__(self, pool, shm, threads=False):
        env = dict(os.environ, PMEMFILE_POOLS=f"{MOUNT}:{pool}", PMEMFILE_SHM_DIR=shm, PMEMFILE_REPORT="1",
                   LD_PRELOAD=f"{BUILD}/src/preload/libpmemfile.so")
        self.errors = tempfile.TemporaryFile(mode="w+")
        text = PROGRAM if not threads else (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n" + PROGRAM)
        self.process = subprocess.Popen([sys.executable, "-c", text], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().strip()
        except BrokenPipeError:
            return "dead"

    def end(self):
        self.process.stdin.close()
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "hangs"
        self.errors.seek(0)
        return status, self.errors.read()


def mkfs(pool, size, *options):
    subprocess.run([f"{BUILD}/mkfs.pmemfile", "-q", *options, pool, size], check=True)


def fsck(pool):
    seen = subprocess.run([f"{BUILD}/fsck.pmemfile", "-n", pool], capture_output=True, text=True)
    return seen.returncode, seen.stdout


def all_fail(program, who, file):
    for verb in (f"stat {MOUNT}/a", f"list {MOUNT}", f"mkdir {MOUNT}/new", f"rename {MOUNT}/a {MOUNT}/b", f"open {MOUNT}/other"):
        check(f"{who}: {verb}", program.ask(verb), "EIO")
    for verb in (f"read {file} 100", f"write {file} 100", f"fstat {file}", f"fsync {file}"):
        check(f"{who}: {verb}", program.ask(verb), "EIO")
    check(f"{who}: close", program.ask(f"close {file}"), "ok")
    check(f"{who}: fork", program.ask("fork"), "7")
    check(f"{who}: what is the kernel's goes on", program.ask("kernel") in ("1", "2"), True)


def full_tmpfs(work):
    """Metadata that gets no block."""
    full = f"{work}/full"
    os.mkdir(full)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3M", "none", full]).returncode != 0:
        print("FAILED: this test mounts a tmpfs: run it as root")
        failed.append("mount")
        return
    try:
        pool = f"{full}/pool"
        mkfs(pool, "32M", "--sparse")
        other, victim = Program(pool, work), Program(pool, work, threads=True)
        file = f"{MOUNT}/a"
        check("the other opens", other.ask(f"open {file}"), "ok")
        check("the other writes", other.ask(f"write {file} 5000"), "5000")
        check("the victim opens", victim.ask(f"open {file}"), "ok")
        check("the victim makes a directory", victim.ask(f"mkdir {MOUNT}/d"), "ok")
        check("the victim maps", victim.ask(f"map {file} private"), "ok")
        check("until the medium is full", victim.ask(f"fill {MOUNT}/d"), "EIO")
        all_fail(victim, "the victim", file)
        check("the victim's private mapping stays", victim.ask("look private"), "xxx")
        check("the victim starts a program, which attaches anew", victim.ask("run"), "0")
        # What it held is repaired by who needs it, and nothing else was lost.
        start = time.monotonic()
        check("the other reads", other.ask(f"read {file} 10000"), "5000")
        check("the other lists", other.ask(f"list {MOUNT}/d").isdigit(), True)
        check("the other renames", other.ask(f"rename {file} {MOUNT}/b"), "ok")
        check("at once", time.monotonic() - start < 5, True)
        subprocess.run(["mount", "-o", "remount,size=64M", full], check=True)
        check("with room again the other works where the victim did", other.ask(f"mkdir {MOUNT}/d/later"), "ok")
        status, text = victim.end()
        check("the victim ends by itself", status, 0)
        check("and says why", f"the medium of {pool} failed" in text, True)
        again = Program(pool, work)
        check("a new process is served", again.ask(f"stat {MOUNT}/b"), "5000")
        check("it ends", again.end()[0], 0)
        check("the other ends", other.end()[0], 0)
        check("the pool is sound", fsck(pool)[0], 0)
    finally:
        subprocess.run(["umount", full])


def truncated(work, name, victim_file, size):
    """`victim_file(pool)` loses its end under programs at work."""
    pool = f"{work}/{name}"
    mkfs(pool, "8M")
    programs = [Program(pool, work), Program(pool, work, threads=True), Program(pool, work)]
    file = f"{MOUNT}/a"
    for program in programs:
        check("before", program.ask(f"open {file}"), "ok")
        check("before", program.ask(f"write {file} 3000"), "3000")
    os.truncate(victim_file(pool), size)
    for number, program in enumerate(programs):
        # The first call that needs a lost page notices; until then what is still there may be served.
        first = program.ask(f"mkdir {MOUNT}/notice{number}")
        check(f"{name}: program {number} notices", first, "EIO")
        all_fail(program, f"{name}: program {number}", file)
    for number, program in enumerate(programs):
        status, text = program.end()
        check(f"{name}: program {number} ends by itself", status, 0)
        check(f"{name}: program {number} says why", f"the medium of {pool} failed" in text, True)


def segment_of(work):
    return lambda pool: next(os.path.join(work, n) for n in os.listdir(work) if n == f"pmemfile-{os.stat(pool).st_dev:x}-{os.stat(pool).st_ino:x}")


with tempfile.TemporaryDirectory(prefix="pmemfile-failing-", dir="/dev/shm") as work:
    full_tmpfs(work)
    truncated(work, "pool-to-nothing", lambda pool: pool, 0)
    truncated(work, "pool-to-a-block", lambda pool: pool, 4096)
    truncated(work, "segment", segment_of(work), 4096)
sys.exit(1 if failed else 0)
