#!/usr/bin/env python3
"""Mount points as the program sees them: in the listing of the directory they lie in, and in the lists of mounts.

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


def several_in_one_directory(work, pool):
    pools = [f"{work}/p{i}" for i in range(3)]
    for other in pools:
        shutil.copy(pool, other)
    os.mkdir(f"{work}/d"), os.mkdir(f"{work}/d/kernel"), os.mkdir(f"{work}/d/b")
    mounts = [(f"{work}/d/{name}", other) for name, other in zip("abc", pools)]
    want = "['a', 'b', 'c', 'kernel']\n"
    expect("three mount points in a directory", run("print(sorted(os.listdir(sys.argv[1])))", mounts, f"{work}/d"), want)
    expect("again and again", run("for i in range(20): print(sorted(os.listdir(sys.argv[1])))", mounts, f"{work}/d"), want * 20)
    one_by_one = """
import ctypes
libc, fd, names, room = ctypes.CDLL(None), os.open(sys.argv[1], os.O_RDONLY), [], ctypes.create_string_buffer(24)
for turn in range(2):
    while (got := libc.syscall(217, fd, room, 24)) > 0: names.append(room.raw[19:got].rstrip(b'\\0').decode())
    print(got, sorted(set(names) - {'.', '..'}), len(names)); os.lseek(fd, 0, 0); names = []
"""
    os.rmdir(f"{work}/d/kernel")
    expect("a room for one entry", run(one_by_one, mounts, f"{work}/d"), "0 ['a', 'b', 'c'] 5\n" * 2)


OPENED = """
import ctypes
libc, room = ctypes.CDLL(None), ctypes.create_string_buffer(4096)
d, empty = sys.argv[1] + '/d', sys.argv[1] + '/empty'
def names(fd):
    found, at = [], 0
    os.lseek(fd, 0, 0)
    while (got := libc.syscall(217, fd, room, 4096)) > 0:
        raw, at = room.raw, 0
        while at < got:
            found.append(raw[at + 19:at + 256].split(b'\\0')[0].decode())
            at += raw[at + 16] + raw[at + 17] * 256
    return sorted(set(found) - {'.', '..'}) if got == 0 and len(set(found)) == len(found) else found
"""


def other_descriptors(work, pool):
    os.mkdir(f"{work}/d"), os.mkdir(f"{work}/empty")
    mounts = [(f"{work}/d/a", pool)]
    opened = "fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY)\n"
    more = "libc.syscall(217, {}, room, 4096)"
    for what, text, want in (
            ("a descriptor's duplicates", opened + "print(names(os.dup(fd)), names(os.dup2(fd, 50)))", "['a'] ['a']\n"),
            ("duplicates have one place", opened + f"two = os.dup(fd)\nprint(names(fd), {more.format('two')}, names(two), {more.format('fd')})",
             "['a'] 0 ['a'] 0\n"),
            ("opened without O_DIRECTORY", "print(names(os.open(d, os.O_RDONLY)))", "['a']\n"),
            ("after dup2 onto the number", opened + "names(fd)\nos.dup2(os.open(empty, os.O_RDONLY), fd)\nprint(names(fd))", "[]\n"),
            ("after close_range", opened + "names(fd)\nlibc.syscall(436, fd, fd, 0)\nprint(os.open(empty, os.O_RDONLY) == fd, names(fd))",
             "True []\n"),
            ("the same directory on the number", opened + "names(fd)\nlibc.syscall(436, fd, fd, 0)\n"
             "print(os.open(d, os.O_RDONLY) == fd, libc.syscall(217, fd, room, 4096) > 0, libc.syscall(217, fd, room, 4096))", "True True 24\n"),
            ("duplicates of /proc/self/fd", "fd = os.open('/proc/self/fd', os.O_RDONLY)\n"
             "print(max(map(int, names(os.dup(fd)))) < 20, max(map(int, names(os.dup2(fd, 50)))))", "True 50\n")):
        expect(what, run(OPENED + text, mounts, work), want)


def threads(work, pool):
    os.mkdir(f"{work}/d"), os.mkdir(f"{work}/empty")
    text = OPENED + """
import threading
wrong = []
def look(path, want):
    for i in range(3000):
        if (got := os.listdir(path)) != want: wrong.append((path, got))
all = [threading.Thread(target=look, args=a) for a in ((d, ['a']), (empty, []), (d, ['a']), (empty, []))]
for t in all: t.start()
for t in all: t.join()
print(len(wrong), wrong[:3])
"""
    expect("threads", run(text, [(f"{work}/d/a", pool)], work), "0 []\n")


def main():
    for scenario in (lists_of_mounts, several_in_one_directory, other_descriptors, threads):
        work = tempfile.mkdtemp(prefix="pm-mount-points-", dir="/dev/shm")
        try:
            subprocess.run([mkfs, f"{work}/pool", "16M"], check=True, stdout=subprocess.DEVNULL)
            scenario(work, f"{work}/pool")
        finally:
            shutil.rmtree(work)
    if failures:
        sys.exit("\n".join(failures))


main()
