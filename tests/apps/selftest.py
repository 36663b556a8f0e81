#!/usr/bin/env python3
"""Tests the tester: planted differences, hangs and leaks must be found."""
import os
import stat
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# `second` is true when the case runs for the second time, that is, on the other side.
SECOND = 'second() {{ ! mkdir "{flags}/$1" 2> /dev/null; }}; '

# name, script, what the report has to contain ("" = no difference)
PLANTED = [
    ("same", "echo hello; echo x > f; ln f g; ln -s f l; mkdir d", ""),
    ("stdout", "second o && echo more; echo hello", "+more"),
    ("stderr", "second e && echo oops >&2", "+oops"),
    ("status", "second s && exit 7; exit 0", "+exit 7"),
    ("content", "echo a > f; second c && echo b > f", "+f f 644 links=1"),
    ("mode", "echo a > f; second m && chmod 600 f", "+f f 600"),
    ("size", "echo a > f; second z && truncate -s 9 f", "size=9"),
    ("missing", "second x || echo a > f", "-f f 644"),
    ("links", "echo a > f; second k && ln f g", "links=2"),
    ("target", "second t && ln -s b l || ln -s a l", "-> b"),
    ("time", "touch -d @5 f; second i && touch -d @6 f; :", " 6.0"),
    ("odd-name", "second n && : > $'a\\nb' || : > 'a b'", "a\\nb"),
    ("directory-links", "mkdir d; second w && mkdir d/e; :", "d d 755 links=3"),
    ("fails-on-both", "exit 3", "the case itself ends with exit 3"),
    ("hang", "second h && sleep 60; :", "no end within"),
    ("hang-in-background", "second b && (trap '' TERM; sleep 61) & wait", "no end within"),
]


def run(arguments, cases):
    return subprocess.run([sys.executable, os.path.join(HERE, "run.py"), "--cases-dir", cases] + arguments,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def main():
    failures = []

    def expect(what, condition, output):
        if not condition:
            failures.append(what)
            print(f"FAILED: {what}\n{output}")

    with tempfile.TemporaryDirectory(prefix="pm-selftest-", dir="/dev/shm") as work:
        for name, script, report in PLANTED:
            folder = os.path.join(work, name)
            flags = os.path.join(folder, "flags")
            os.makedirs(flags)
            with open(os.path.join(folder, name + ".sh"), "w") as f:
                ending = "" if "exit" in script else "\ntrue"
                f.write(f"# timeout: {2 if name.startswith('hang') else 20}\n" + SECOND.format(flags=flags) + script + ending + "\n")
            start = time.monotonic()
            done = run(["--side", "selfcheck"], folder)
            if report:
                expect(f"{name} is found", done.returncode == 1 and report in done.stdout, done.stdout + done.stderr)
            else:
                expect(f"{name} passes", done.returncode == 0, done.stdout + done.stderr)
            expect(f"{name} ends in time", time.monotonic() - start < 10, "")
        left = subprocess.run(["pgrep", "-fx", "sleep 6[01]"], capture_output=True, text=True).stdout
        expect("no process of a hung case is left", left == "", left)

        # A preload library that intercepts nothing, and so leaves the program on the kernel's directory.
        mkfs = os.path.join(work, "mkfs")
        with open(mkfs, "w") as f:
            f.write('#!/bin/sh\ntruncate -s "$2" "$1"\n')
        os.chmod(mkfs, stat.S_IRWXU)
        nothing = next(p for p in ("/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6") if os.path.exists(p))
        done = run(["--side", "both", "--preload", nothing, "--mkfs", mkfs, "--fsck", "none"], os.path.join(work, "same"))
        expect("a program on the kernel's directory is found",
               done.returncode == 1 and "not hidden" in done.stdout and "hidden kernel directory there is now" in done.stdout,
               done.stdout + done.stderr)
        done = run(["--side", "both", "--build", work], os.path.join(work, "same"))
        expect("a missing library is an error", done.returncode == 1 and "libpmemfile.so" in done.stderr, done.stderr)
    print("ok" if not failures else f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
