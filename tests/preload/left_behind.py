#!/usr/bin/env python3
"""A program that cannot be served gets no descriptor of the pool's own, and the report names it.

left_behind.py PRELOAD MKFS CC
"""
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
  char path[64], target[256], byte;
  for (int fd = 3; fd < 1024; ++fd) {
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(path, target, sizeof target - 1);
    if (bytes < 0) continue;
    target[bytes] = 0;
    printf("%d %s\n", fd, target);
  }
  printf("read %d state %d\n", (int)read(5, &byte, 1), getenv("PMEMFILE_EXEC_STATE") != NULL);
}
"""


def main():
    preload, mkfs, cc = sys.argv[1:]
    work = tempfile.mkdtemp(prefix="pm-left-", dir="/dev/shm")
    try:
        pool, mount, report = (os.path.join(work, name) for name in ("pool", "mnt", "report"))
        subprocess.run([mkfs, pool, "64M"], check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(work, "p.c"), "w", encoding="ascii") as file:
            file.write(SOURCE)
        program = os.path.join(work, "program")
        subprocess.run([cc, "-static", os.path.join(work, "p.c"), "-o", program], check=True)
        environment = {"PATH": "/usr/bin:/bin", "PMEMFILE_POOLS": f"{mount}:{pool}", "LD_PRELOAD": preload, "PMEMFILE_REPORT": report}
        for run in (program, "./copy"):
            script = f'cd {mount}; cp {program} copy; echo x > f; exec 5< f; exec {run}'
            done = subprocess.run(["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
            want = "5 /proc/self\nread -1 state 0\n"
            if done.stdout != want or done.returncode != 0:
                sys.exit(f"{run}: got\n{done.stdout}{done.stderr}")
            line = f"{os.path.basename(run)}, a statically linked program: it cannot see pools; its working directory lies in one; dead descriptors: 5"
            with open(report, encoding="utf-8") as file:
                if line not in file.read():
                    sys.exit(f"the report does not say: {line}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
