#!/usr/bin/env python3
"""Runs one program in a fresh directory on tmpfs and in a fresh pool; output and status must be the same.

run.py PRELOAD MKFS PROGRAM [ARGUMENT...]
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


def main():
    preload, mkfs, program, *arguments = sys.argv[1:]
    work = tempfile.mkdtemp(prefix="pm-preload-", dir="/dev/shm")
    try:
        mount = os.path.join(work, "mnt")
        os.mkdir(mount)
        want = run(program, arguments, os.path.join(mount, "dir"), {})
        shutil.rmtree(mount)
        pool = os.path.join(work, "pool")
        subprocess.run([mkfs, pool, "64M"], check=True, stdout=subprocess.DEVNULL)
        got = run(program, arguments, os.path.join(mount, "dir"), {"PMEMFILE_POOLS": f"{mount}:{pool}", "LD_PRELOAD": preload})
        if os.path.exists(mount):
            sys.exit("something was made in the kernel's directory")
        if want != got:
            print("\n".join(difflib.unified_diff(want.splitlines(), got.splitlines(), "tmpfs", "pool", lineterm="")))
            sys.exit(1)
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
