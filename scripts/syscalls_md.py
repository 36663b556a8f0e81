#!/usr/bin/env python3
"""Makes docs/syscalls.md from src/preload/syscalls.def; with --check only compares."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.join(ROOT, "src/preload/syscalls.def")
TARGET = os.path.join(ROOT, "docs/syscalls.md")
LINE = re.compile(r'^CALL\((\d+), (\w+), (\w+), (\w+), (\w+), "(.*)"\)$')
TITLES = {
    "Served": "Served: works on files of pools as on a kernel file system",
    "Partly": "Served in part",
    "Refused": "Refused: fails on a pool with the errno that makes callers fall back, counted in the report",
    "Passed": "Passed on: the kernel's business",
}


def rows():
    with open(SOURCE) as f:
        for line in f:
            if line.startswith("CALL("):
                match = LINE.match(line.rstrip("\n"))
                if not match:
                    sys.exit(f"{SOURCE}: cannot read: {line}")
                yield match.groups()


def text():
    out = ["# System calls\n", "Made from `src/preload/syscalls.def` by `scripts/syscalls_md.py`; do not edit.\n"]
    calls = list(rows())
    for state, title in TITLES.items():
        chosen = [c for c in calls if c[4] == state]
        out.append(f"## {title} ({len(chosen)})\n")
        plain = [c[1] for c in chosen if not c[5] or (state == "Passed" and c[5] == "concerns no file")]
        noted = [c for c in chosen if c[1] not in plain]
        if plain:
            out.append(", ".join(plain) + "\n")
        if noted:
            out.append("| call | note |\n|---|---|")
            out += [f"| {c[1]} | {c[5]} |" for c in noted]
            out.append("")
    return "\n".join(out)


def main():
    wanted = text()
    if "--check" in sys.argv:
        with open(TARGET) as f:
            if f.read() != wanted:
                sys.exit("docs/syscalls.md is not what scripts/syscalls_md.py makes: run it")
        return
    with open(TARGET, "w") as f:
        f.write(wanted)


main()
