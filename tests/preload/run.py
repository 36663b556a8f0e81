#!/usr/bin/env python3
"""Runs one program in a fresh directory on tmpfs and in a fresh pool; output and status must be the same.

run.py [--hidden] PRELOAD MKFS PROGRAM [ARGUMENT...]

--hidden: in the pool it runs three times: the mount point does not exist in the kernel, is an empty directory there, and hides files with the
names that the program uses. What lies hidden must stay as it is.
"""
import difflib
import os
import shutil
import subprocess
import sys
import tempfile


def run(program, arguments, directory, extra):
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", **extra}
    script = 'mkdir "$1" && cp "$0" "$1/program" && cd "$1" && shift && exec ./program "$@"'
    done = subprocess.run(["/bin/sh", "-c", script, program, directory, *arguments], env=environment, cwd="/",
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    return f"{done.stdout}\n{done.stderr}\nstatus {done.returncode}\n"


NAMES = ("f", "made", "made2", "moved", "link", "x", "storm", "stormx", "none", "1", "2")


def hide(mount, kind):
    if kind != "nothing":
        os.mkdir(mount)
    if kind == "files":
        os.mkdir(os.path.join(mount, "dir"))
        for name in NAMES:
            with open(os.path.join(mount, "dir", name), "w", encoding="ascii") as file:
                file.write("hidden")
            os.chmod(file.name, 0o604)


def hidden(mount):
    """All that lies there, and when it was changed."""
    found = []
    for directory, _, names in os.walk(mount):
        for path in [directory] + [os.path.join(directory, name) for name in names]:
            st = os.lstat(path)
            found.append((path, oct(st.st_mode), st.st_uid, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns, os.listxattr(path)))
    return sorted(found)


def compare(want, preload, mkfs, program, arguments, work, kind):
    mount, pool = os.path.join(work, "mnt"), os.path.join(work, "pool")
    subprocess.run([mkfs, pool, "64M"], check=True, stdout=subprocess.DEVNULL)
    hide(mount, kind)
    before = hidden(mount)
    got = run(program, arguments, os.path.join(mount, "dir"), {"PMEMFILE_POOLS": f"{mount}:{pool}", "LD_PRELOAD": preload})
    if hidden(mount) != before:
        sys.exit(f"something was changed in the kernel's directory: {before} {hidden(mount)}")
    if want != got:
        print("\n".join(difflib.unified_diff(want.splitlines(), got.splitlines(), "tmpfs", f"pool over {kind}", lineterm="")))
        sys.exit(1)
    shutil.rmtree(mount, ignore_errors=True)
    os.unlink(pool)


def main():
    arguments = sys.argv[1:]
    kinds = ["nothing"]
    if arguments[0] == "--hidden":
        kinds += ["an empty directory", "files"]
        del arguments[0]
    preload, mkfs, program = (os.path.abspath(path) for path in arguments[:3])
    del arguments[:3]
    work = tempfile.mkdtemp(prefix="pm-preload-", dir="/dev/shm")
    try:
        mount = os.path.join(work, "mnt")
        os.mkdir(mount)
        want = run(program, arguments, os.path.join(mount, "dir"), {})
        shutil.rmtree(mount)
        if not want.endswith("status 0\n"):
            sys.exit(want)
        for kind in kinds:
            compare(want, preload, mkfs, program, arguments, work, kind)
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
