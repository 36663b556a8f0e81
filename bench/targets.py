"""The rows of the table, in its order: what is asked of each, and what limits it.

`faster`: how many times faster than tmpfs. `at_most`: our time divided by the
time without us. `limit`: the row of a plain memcpy over the same addresses in
the same order; a row with `of_limit` may take that many times as long.
"""

ROWS = [
    ("stat, depth 1", dict(faster=12)),
    ("stat, depth 5", dict(faster=12)),
    ("stat, missing name", dict(faster=20)),
    ("fstat", dict(faster=12)),
    ("access", dict(faster=12)),
    ("lseek", dict(faster=8)),
    ("open+close", dict(faster=10)),
    ("create+close", dict(faster=8)),
    ("unlink", dict(faster=8)),
    ("rename", dict(faster=8)),
    ("link", dict(faster=8)),
    ("symlink", dict(faster=8)),
    ("mkdir", dict(faster=8)),
    ("rmdir", dict(faster=8)),
    ("readdir, per entry", dict(faster=15)),
    ("pread 4 KiB, sequential", dict(faster=3, limit="memcpy from, 4 KiB, sequential", of_limit=1.25)),
    ("pread 4 KiB, random", dict(faster=2, limit="memcpy from, 4 KiB, random", of_limit=1.25)),
    ("pwrite 4 KiB, sequential", dict(faster=3, limit="memcpy to, 4 KiB, sequential")),
    ("pwrite 4 KiB, random", dict(faster=2.5, limit="memcpy to, 4 KiB, random")),
    ("pread 64 B, sequential", dict(faster=10, limit="memcpy from, 64 B, sequential")),
    ("pwrite 64 B, sequential", dict(faster=8, limit="memcpy to, 64 B, sequential")),
    ("pread 1 MiB, sequential", dict(faster=1.2, limit="memcpy from, 1 MiB, sequential")),
    ("pwrite 1 MiB, sequential", dict(faster=1.8, limit="memcpy to, 1 MiB, sequential")),
    ("append 4 KiB", dict(faster=6)),
    ("append 4 KiB + fsync", dict(faster=6)),
    ("append 4 KiB, first touch", dict(faster=2)),
    ("ftruncate", dict(faster=6)),
    ("kernel file: pread 4 KiB", dict(at_most=1.05)),
    ("kernel file: stat", dict(at_most=1.10)),
    ("kernel file: open+close", dict(at_most=1.10)),
    ("/bin/true", dict(at_most=1.3)),
]
