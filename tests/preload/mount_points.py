#!/usr/bin/env python3
"""Mount points as the program sees them in the lists of mounts.

mount_points.py PRELOAD MKFS
"""
import os
import shutil
import subprocess
import sys
import tempfile

preload, mkfs = (os.path.abspath(path) for path in sys.argv[1:])
failures = []


def expect(what, got, want):
    if got != want:
        failures.append(f"{what}: got {got!r}, expected {want!r}")


def run(text, mounts, *arguments):
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "LD_PRELOAD": preload,
                   "PMEMFILE_POOLS": ";".join(f"{point}:{pool}" for point, pool in mounts)}
    done = subprocess.run([sys.executable, "-c", "import os, sys\n" + text, *arguments], env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=100, check=False)
    return done.stdout + done.stderr


def shown(point):
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in point)


def lists_of_mounts(work, pool):
    long = "/".join([work] + [c * 250 for c in "abcd"])
    os.makedirs(os.path.dirname(long))
    for point in (work + "/my mnt", work + "/a\tb\\c\nd#", long):
        for name, field in (("mounts", 1), ("mountinfo", 4)):
            got = run("print(open('/proc/self/' + sys.argv[1]).read(), end='|')", [(point, pool)], name)
            expect(f"the last line of {name} ends", got[-2:], "\n|")
            expect(name, (got.splitlines()[-2].split(" ") + [""] * 5)[field], shown(point))


def main():
    for scenario in (lists_of_mounts,):
        work = tempfile.mkdtemp(prefix="pm-mount-points-", dir="/dev/shm")
        try:
            subprocess.run([mkfs, f"{work}/pool", "16M"], check=True, stdout=subprocess.DEVNULL)
            scenario(work, f"{work}/pool")
        finally:
            shutil.rmtree(work)
    if failures:
        sys.exit("\n".join(failures))


main()
