#!/usr/bin/env python3
"""A PMEMFILE_POOLS that makes no sense, or a pool that cannot be used, ends the program before it runs, with one line.

bad_config.py PRELOAD
"""
import subprocess
import sys

BAD = ["", "x", "rel:/pool", "/mnt/a:", "/:/pool", "/mnt/a:/no/such/pool", "/mnt/a:/etc/passwd", "/a:/p;/a:/p",
       "/mnt/a:/p;/mnt/a/b:/q", "/mnt/a/b:/p;/mnt/a:/q", "/mnt/" + "a" * 5000 + ":/p"]


def main():
    failed = 0
    for value in BAD:
        done = subprocess.run(["/bin/echo", "ran"], env={"PMEMFILE_POOLS": value, "LD_PRELOAD": sys.argv[1]},
                              capture_output=True, text=True, timeout=20)
        if done.returncode != 78 or done.stdout or done.stderr.count("\n") != 1 or not done.stderr.startswith("pmemfile: "):
            print(f"{value!r}: status {done.returncode}, output {done.stdout!r}, errors {done.stderr!r}")
            failed = 1
    sys.exit(failed)


main()
