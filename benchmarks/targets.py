"""The rows of the table of operations, in its order: what is asked of each, and what limits it.

`faster`: how many times faster than tmpfs (asked in the 10,000-entry directory, warm; 1 where nothing else was asked:
nothing is slower). `at_most`: our time divided by the time without us. `of_memcpy`: at most that many times as long as
a plain memcpy over the same addresses in the same order. `calls`: system calls of one operation on a kernel file
system, and `our_calls` of ours, for what check.py expects on another machine. `least`: so many calls a batch at least.
"""

_NAMES = [("stat", 12, 1), ("stat, missing name", 20, 1), ("access", 12, 1), ("open+close", 10, 2), ("create+close", 8, 2),
          ("unlink", 8, 1), ("rename", 8, 1), ("link", 8, 1), ("symlink", 8, 1), ("mkdir", 8, 1), ("rmdir", 8, 1),
          ("readdir, per entry", 15, 0), ("readdir+stat, per entry", 1, 1)]
_LOOKUPS = ("stat", "stat, missing name", "access", "open+close")


def directory_rows(entries):
    rows = []
    for name, faster, calls in _NAMES:
        if entries == 10 and name.startswith("readdir"):
            calls += 0.5  # open, two reads and close for a dozen entries
        # Warm is asked: a batch that begins with caches and address translations full of what others left goes over the whole directory twice.
        least = {"least": 2 * entries} if entries in (1000, 10_000) and name in _LOOKUPS else {}
        rows.append((f"{name}, {entries}", {"faster": faster if entries == 10_000 else 1, "calls": calls, **least}))
    return rows


FILE_ROWS = [
    ("stat, depth 5", {"faster": 12}),
    ("fstat", {"faster": 12}),
    ("lseek", {"faster": 8}),
    ("readlink", {"faster": 1}),
    ("chmod", {"faster": 1}),
    ("fsync", {"faster": 1}),
    ("lock+unlock, fcntl", {"faster": 1, "calls": 2}),
    ("lock+unlock, flock", {"faster": 1, "calls": 2}),
    ("ftruncate", {"faster": 6}),
    ("truncate", {"faster": 1}),
    ("fallocate 4 KiB", {"faster": 1}),
]
FIRST_APPEND_ROWS = [("append 4 KiB, first touch", {"faster": 2})]
APPEND_ROWS = [
    ("append 4 KiB", {"faster": 6}),
    ("append 64 B", {"faster": 1}),
    ("append 4 KiB + fsync", {"faster": 6, "calls": 2}),
]
_ASKED = {
    "pread 4 KiB, sequential": {"faster": 3, "of_memcpy": 1.25}, "pread 4 KiB, random": {"faster": 2, "of_memcpy": 1.25},
    "pwrite 4 KiB, sequential": {"faster": 3}, "pwrite 4 KiB, random": {"faster": 2.5},
    "pread 64 B, sequential": {"faster": 10}, "pread 64 B, random": {"faster": 10},
    "pwrite 64 B, sequential": {"faster": 8}, "pwrite 64 B, random": {"faster": 8},
    "pread 1 MiB, sequential": {"faster": 1.2}, "pread 1 MiB, random": {"faster": 1.2},
    "pwrite 1 MiB, sequential": {"faster": 1.8}, "pwrite 1 MiB, random": {"faster": 1.8},
}
_SHAPES = [f"{verb} {size}, {order}" for verb in ("pread", "pwrite") for size in ("64 B", "4 KiB", "64 KiB", "1 MiB")
           for order in ("sequential", "random")]
DATA_ROWS = [(shape, {"memcpy": True, **_ASKED.get(shape, {"faster": 1})}) for shape in _SHAPES]
COLD_ROWS = [(f"{shape}, first touch", {"memcpy": True, "faster": 1}) for shape in _SHAPES]
MAP_ROWS = [("mmap touch by reading, per page", {"faster": 1, "calls": 0}), ("mmap touch by writing, per page", {"faster": 1, "calls": 0})]
KERNEL_ROWS = [
    ("kernel file: pread 4 KiB", {"at_most": 1.05, "our_calls": 1}),
    ("kernel file: stat", {"at_most": 1.10, "our_calls": 1}),
    ("kernel file: open+close", {"at_most": 1.10, "calls": 2, "our_calls": 2}),
    ("/bin/true", {"at_most": 1.3, "calls": 40, "our_calls": 105}),
]
CONTROL_ROWS = ["empty loop", "trivial system call", "empty call", "yardstick", "warm yardstick"]

# Of programs: all at least as fast as on tmpfs, these so many times faster.
APPLICATION_TARGETS = {"sqlite, rollback": 1.5, "git status": 1.5, "git clone": 1.5, "git gc": 1.5, "tar extraction": 1.5,
                       "rm -rf": 1.5, "python import": 1.5, "shell loop": 1.5}
SCALING_TARGET = 0.9  # of the scaling of a memcpy loop in the same run
GROWTH_TARGET = 1.5   # times slower, at most: from 10^3 to 10^6 files, from a fresh to an aged pool
