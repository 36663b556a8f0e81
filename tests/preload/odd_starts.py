#!/usr/bin/env python3
"""A program starts and works where the environment is odd: closed descriptors, low limits, no /proc, no room for plans.

odd_starts.py PRELOAD MKFS
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile

SCRIPT = "echo one > $0/a && cat $0/a && cp /bin/true $0/b && $0/b && echo ran"
WANTED = "one\nran\n"


def main():
    preload, mkfs = sys.argv[1:]
    work = tempfile.mkdtemp(prefix="pm-odd-", dir="/dev/shm")
    mount, pool = os.path.join(work, "mnt"), os.path.join(work, "pool")
    subprocess.run([mkfs, pool, "64M"], check=True, stdout=subprocess.DEVNULL)
    environment = {"PATH": "/usr/bin:/bin", "PMEMFILE_POOLS": f"{mount}:{pool}"}
    failures = 0

    def check(name, wrapper=(), before=None, env=None, output=None):
        nonlocal failures
        out = open(os.path.join(work, "out"), "w+")
        try:
            subprocess.run([*wrapper, "env", f"LD_PRELOAD={preload}", "/bin/sh", "-c", SCRIPT, mount], env={**environment, **(env or {})},
                           cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=before, timeout=60)
        except subprocess.TimeoutExpired:
            out.write("a hang\n")
        out.seek(0)
        got = out.read()
        if got != WANTED:
            failures += 1
            print(f"{name}: {got}")

    def limit(which, value):
        return lambda: resource.setrlimit(which, (value, resource.getrlimit(which)[1]))

    def check_used_up():
        """A path is looked at when all descriptors that the program may have are in use: that needs none."""
        nonlocal failures
        program = ("import os, sys\ntry:\n  while True: os.open('/dev/null', 0)\nexcept OSError: pass\n"
                   "os.write(1, b'there' if os.path.isdir(sys.argv[1]) else b'missing')")
        done = subprocess.run([sys.executable, "-c", program, mount], env={**environment, "LD_PRELOAD": preload}, cwd="/", capture_output=True,
                              preexec_fn=limit(resource.RLIMIT_NOFILE, 64), timeout=60)
        if done.stdout != b"there":
            failures += 1
            print(f"all descriptors in use: {done}")

    check_used_up()
    check("plain")
    check("standard input is closed", before=lambda: os.close(0))
    check("standard error is closed", before=lambda: os.close(2))
    check("few descriptors", before=limit(resource.RLIMIT_NOFILE, 12))
    check("small files only", before=limit(resource.RLIMIT_FSIZE, 1 << 17))
    check("small stack", before=limit(resource.RLIMIT_STACK, 128 << 10))
    check("no locked memory", before=limit(resource.RLIMIT_MEMLOCK, 0))
    check("no home", env={"HOME": "/nonexistent"})
    check("signals blocked", before=lambda: __import__("signal").pthread_sigmask(0, range(1, 32)))
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode == 0:
        check("no /proc", wrapper=["unshare", "-m", "/bin/sh", "-c", 'umount -l /proc; exec "$@"', "sh"])
        read_only = "for dir in /tmp /var/cache /root; do mount -t tmpfs -o ro none $dir; done; "
        check("no room for plans", wrapper=["unshare", "-m", "/bin/sh", "-c", read_only + 'exec "$@"', "sh"],
              env={"XDG_CACHE_HOME": "/nonexistent"})
        check("a read-only root", wrapper=["unshare", "-m", "/bin/sh", "-c", 'mount -o remount,ro,bind /; exec "$@"', "sh"])
    else:
        print("no mount namespaces here: some cases are left out")
    shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if failures else 0)


main()
