#!/usr/bin/env python3
"""What the guest does to the pool while its power is cut, and the check of what is left.

    workload.py run DIR SEED WORKERS      works for ever; each step that returned is one line "R worker number" on fd 3
    workload.py check DIR SEED N,N,...    is everything there that was reported? fd 3 gets a line for each worker

A step is one system call, so that each has only two states, but for writes: a cut one may leave a prefix of an append, and
of an overwrite a mixture of old and new bytes (docs/limits.md). Steps follow from the seed alone; the check plays them in
memory. Reports may be lost in the guest's serial port, so the pool may be further than what was heard, never less far.
"""

import hashlib
import os
import random
import sys

LOST_REPORTS = 600  # more than fit the buffers of a serial port


def content(seed, number, size):
    block = hashlib.sha256(f"{seed} {number}".encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def steps(seed, worker):
    """Endless: (verb, arguments). Names are relative to the worker's directory, which step 0 makes."""
    rng = random.Random(f"{seed} {worker}")
    number = 0
    links, symlinks = {}, {}
    yield ("mkdir", "")
    while True:
        number += 1
        name, final = f"new{number}", f"file{number % 11}"
        yield ("create", name)
        yield ("append", name, content(seed, number, rng.choice((1, 100, 4096, 9000, 40000))))
        yield ("append", name, content(seed, -number, rng.choice((7, 4095, 12288, 100000))))
        yield ("overwrite", name, rng.choice((0, 64, 1000)), content(seed, number + 10**6, rng.choice((1, 64, 5000))))
        yield ("rename", name, final)
        if rng.random() < 0.3:
            link = f"link{number % 5}"
            if link in links:
                yield ("unlink", link)
            yield ("link", final, link)
            links[link] = True
        if rng.random() < 0.3:
            yield ("truncate", final, rng.choice((0, 10, 4096, 5000, 70000)))
        if rng.random() < 0.2:
            link = f"symlink{number % 3}"
            if link in symlinks:
                yield ("unlink", link)
            yield ("symlink", "x" * rng.choice((5, 200)), link)
            symlinks[link] = True
        if rng.random() < 0.2:
            yield ("mkdir", f"dir{number}")
            yield ("rename", f"dir{number}", f"moved{number}")
            yield ("rmdir", f"moved{number}")


class Real:
    def __init__(self, root):
        self.root, self.fds = root, {}

    def path(self, name):
        return f"{self.root}/{name}" if name else self.root

    def open(self, name, flags=0):
        # One open descriptor, as a program would have it; opening again is no step: it changes nothing.
        if name not in self.fds:
            for fd in self.fds.values():
                os.close(fd)
            self.fds = {name: os.open(self.path(name), os.O_RDWR | flags, 0o644)}
        return self.fds[name]

    def play(self, verb, *a):
        if verb == "mkdir":
            os.mkdir(self.path(a[0]))
        elif verb == "create":
            self.open(a[0], os.O_CREAT | os.O_EXCL)
        elif verb == "append":
            fd = self.open(a[0])
            if os.pwrite(fd, a[1], os.fstat(fd).st_size) != len(a[1]):
                raise OSError("short write")
        elif verb == "overwrite":
            if os.pwrite(self.open(a[0]), a[2], a[1]) != len(a[2]):
                raise OSError("short write")
        elif verb == "truncate":
            os.truncate(self.path(a[0]), a[1])
        elif verb == "symlink":
            os.symlink(a[0], self.path(a[1]))
        else:
            getattr(os, verb)(*[self.path(name) for name in a])


class Model:
    """names: name -> ("file", [bytes]) (names of one file share the list), ("symlink", target), ("dir",)"""

    def __init__(self):
        self.there, self.names = False, {}

    def play(self, verb, *a):
        if verb == "mkdir" and a[0] == "":
            self.there = True
        elif verb == "mkdir":
            self.names[a[0]] = ("dir",)
        elif verb == "create":
            self.names[a[0]] = ("file", [b""])
        elif verb == "append":
            self.names[a[0]][1][0] += a[1]
        elif verb == "overwrite":
            box = self.names[a[0]][1]
            old = box[0]
            box[0] = old[: a[1]].ljust(a[1], b"\0") + a[2] + old[a[1] + len(a[2]) :]
        elif verb == "truncate":
            box = self.names[a[0]][1]
            box[0] = box[0][: a[1]].ljust(a[1], b"\0")
        elif verb == "rename":
            self.names[a[1]] = self.names.pop(a[0])
        elif verb == "link":
            self.names[a[1]] = self.names[a[0]]
        elif verb == "symlink":
            self.names[a[1]] = ("symlink", a[0])
        else:
            del self.names[a[0]]

    def flat(self):
        return {n: (v[0], v[1][0]) if v[0] == "file" else v for n, v in self.names.items()} if self.there else None


def tree(root):
    if not os.path.isdir(root):
        return None
    found = {}
    for name in os.listdir(root):
        path = f"{root}/{name}"
        if os.path.islink(path):
            found[name] = ("symlink", os.readlink(path))
        elif os.path.isdir(path):
            found[name] = ("dir",)
        else:
            with open(path, "rb") as f:
                found[name] = ("file", f.read())
    return found


def between(found, before, after, step):
    """May a cut in the middle of `step` leave `found`?"""
    if found is None or before is None or step[0] not in ("append", "overwrite"):
        return False
    name = step[1]
    if name not in found or found[name][0] != "file":
        return False
    rest = lambda tree: {n: v for n, v in tree.items() if n != name}
    if rest(found) != rest(before):
        return False
    got, old, new = found[name][1], before[name][1], after[name][1]
    if step[0] == "append":
        return len(old) <= len(got) <= len(new) and got == new[: len(got)]
    if len(got) not in (len(old), len(new)) and not len(old) <= len(got) <= len(new):
        return False
    return all(got[i] in (old[i : i + 1] + new[i : i + 1]) for i in range(len(got)))


def report(text):
    os.write(3, (text + "\n").encode())


def work(root, seed, worker):
    real = Real(f"{root}/w{worker}")
    for number, step in enumerate(steps(seed, worker), 1):
        real.play(*step)
        report(f"R {worker} {number}")


def run(root, seed, workers):
    for worker in range(workers):
        if os.fork() == 0:
            try:
                work(root, seed, worker)
            except BaseException as error:  # noqa: a worker must never end
                report(f"FAIL worker {worker}: {error!r}")
            os._exit(1)
    os.wait()


def check_worker(root, seed, worker, reported):
    found = tree(f"{root}/w{worker}")
    model = Model()
    before = model.flat()
    for number, step in enumerate(steps(seed, worker)):
        if number >= reported and found == before:
            return f"worker {worker}: {reported} reported, {number} there"
        model.play(*step)
        if number + 1 <= reported:
            before = model.flat()
            continue
        after = model.flat()
        if between(found, before, after, step):
            return f"worker {worker}: {reported} reported, {number} there and a part of {step[0]}"
        before = after
        if number > reported + LOST_REPORTS:
            return None


def check(root, seed, counts):
    for worker, reported in enumerate(counts):
        verdict = check_worker(root, seed, worker, reported)
        report(f"OK {verdict}" if verdict else
               f"FAIL worker {worker}: what is there is no state at or after step {reported}: "
               f"{ {n: (v[0], len(v[1]) if len(v) > 1 else 0) for n, v in (tree(f'{root}/w{worker}') or {}).items()} }")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        check(sys.argv[2], sys.argv[3], [int(n) for n in sys.argv[4].split(",")])
