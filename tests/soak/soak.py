#!/usr/bin/env python3
"""Real programs on one pool for a long time, some of them killed; at the end nothing has grown and every block is accounted for.

    soak.py --build DIR [--minutes 60] [--seed N] [--at-once 3] [--case GLOB]

The cases of tests/apps run several at a time on one pool, each in a directory of its own, which is removed behind it. In every second
one a process is killed at a random moment (or all of them are); the others must end as they always do. Half of the cases are
patched from their first call on, half as late as it gets. A witness stays attached all the time. Every minute, with everything at
rest: blocks, tables of V, files in the directory of V, memory and descriptors of the witness.
"""

import argparse
import fnmatch
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "apps"))
import case as cases  # noqa: E402
import run as apps  # noqa: E402
import side as sides  # noqa: E402

WITNESS = r"""
import os, sys
path = sys.argv[1] + "/witness"
for round_, line in enumerate(sys.stdin):
    text = f"{round_:09}\n".encode()
    with open(path, "ab") as f: f.write(text)
    with open(path, "rb") as f: lines = f.read().split(b"\n")[:-1]
    assert lines == [f"{i:09}".encode() for i in range(round_ % 100, round_ + 1)] or len(lines) <= 100, lines
    if round_ % 100 == 99: os.truncate(path, 0)
    print(len(os.listdir(sys.argv[1])), os.statvfs(sys.argv[1]).f_bfree, flush=True)
"""

BINDER = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.close()
os.unlink(sys.argv[1])
"""


def descendants(leader):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    if int(f.read().rpartition(")")[2].split()[3]) == leader:
                        found.append(int(name))
            except (OSError, ValueError, IndexError):
                pass
    return found


class Soak:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.env = sides.Environment(apps.parse_arguments(["--side", "pool", "--build", options.build]), work)
        self.shm = os.path.join(work, "shm")
        os.mkdir(self.shm)
        os.chmod(self.shm, 0o1777)
        self.pool = sides.Pool(self.env, "1G")
        self.tool = sides.find_built(options.build, "pmemfile")
        self.rng = random.Random(options.seed)
        self.cases = [c for c in self.load() if fnmatch.fnmatch(c.name, options.case)
                      and not c.nightly and not c.user and not c.missing_programs()]
        self.failures, self.done, self.kills = [], 0, 0
        self.lock = threading.Lock()

    @staticmethod
    def load():
        folder = os.path.join(HERE, "..", "apps", "cases")
        return [cases.Case(n[:-3], os.path.join(folder, n)) for n in sorted(os.listdir(folder)) if n.endswith(".sh")]

    def variables(self):
        return {**self.pool.extra_variables(), "PMEMFILE_SHM_DIR": self.shm}

    def fail(self, text):
        with self.lock:
            self.failures.append(text)
        print(f"FAILED: {text}", flush=True)

    # ---- One case ----
    def killer(self, process, rng):
        """Kills one process of the case, or all, after a while; true if something was there to be killed."""
        deadline = time.monotonic() + rng.uniform(0.2, 6)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            time.sleep(0.05)
        victims = descendants(process.pid)
        if not victims:
            return False
        for pid in victims if rng.random() < 0.4 else [rng.choice(victims)]:
            try:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
            except ProcessLookupError:
                pass
        return True

    def play(self, case, number, rng):
        home = f"{self.env.mount}/{number}-{case.name}"
        environment = {**sides.variables(case, self.env.mount), **self.variables(), "HOME": home}
        if rng.random() < 0.5:
            environment["PMEMFILE_PATCH_AFTER"] = "0"
        script = f'umask 022 && mkdir "{home}" && cd "{home}" && exec bash "{self.env.cases}/{case.name}.sh"'
        err = tempfile.TemporaryFile()
        process = subprocess.Popen(["/bin/bash", "--norc", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=err, env=environment, start_new_session=True, cwd="/")
        killed = self.killer(process, rng) if rng.random() < 0.5 else False
        try:
            status = process.wait(60 if killed else 900)
        except subprocess.TimeoutExpired:
            status = None
        # What has lost its relatives may wait for ever, here as on any file system.
        sides.kill_case(process.pid, home)
        process.wait()
        if not killed and status != case.exit:
            err.seek(0)
            self.fail(f"{case.name}: {'no end' if status is None else f'exit {status}'}: {err.read()[-500:].decode(errors='replace')}")
        removed = subprocess.run(["/bin/rm", "-rf", home], env={"PATH": sides.PATH, **self.variables()}, capture_output=True, text=True,
                                 timeout=300)
        if removed.returncode != 0:
            self.fail(f"rm after {case.name}: {removed.returncode}: {removed.stderr[-300:]}")
        with self.lock:
            self.done += 1

    def worker(self, until, number):
        rng = random.Random(f"{self.options.seed} {number}")
        turn = 0
        while time.monotonic() < until:
            self.play(rng.choice(self.cases), f"{number}-{turn}", rng)
            turn += 1

    # ---- Figures ----
    def figures(self):
        self.witness.stdin.write("look\n")
        self.witness.stdin.flush()
        names, free = map(int, self.witness.stdout.readline().split())
        info = json.loads(subprocess.run([self.tool, "info", "--live", "--json", self.pool.pool], capture_output=True, text=True,
                                         env={"PATH": sides.PATH, "PMEMFILE_SHM_DIR": self.shm}, check=True).stdout)
        if "live" not in info:
            raise SystemExit(f"soak: no live figures: {info.get('live_error')}")
        self.live = info["live"]
        status = open(f"/proc/{self.witness.pid}/status").read()
        field = lambda name: int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))
        return {
            "names": names, "blocks free": free, "blocks data": info["blocks_data"], "blocks metadata": info["blocks_metadata"],
            "processes": len(info["live"]["processes"]), "slots busy": len(info["live"]["slots_busy"]),
            "descriptions": info["live"]["open_descriptions"], "open inodes": info["live"]["open_inodes"],
            "V KiB": info["live"]["segment_bytes"] // 1024, "files beside V": self.files_beside_v(),
            "witness private KiB": field("RssAnon:"), "witness fds": len(os.listdir(f"/proc/{self.witness.pid}/fd")),
        }

    def files_beside_v(self):
        """Not the directory of stand-ins, which comes with the first of them and stays as long as V does, but what is in it."""
        return sum(len(files) for _, _, files in os.walk(self.shm))

    def settle(self):
        """The dead are buried in passing: a few processes that come and go do it; their sockets by who binds the next one."""
        for _ in range(40):
            subprocess.run(["/bin/ls", self.env.mount], env={"PATH": sides.PATH, **self.variables()}, capture_output=True, check=True)
        subprocess.run([sys.executable, "-c", BINDER, f"{self.env.mount}/bound"], env={"PATH": sides.PATH, **self.variables()}, check=True)

    def who(self):
        """The processes of V, and what the kernel says of them: for the report of a failure."""
        told = []
        for process in self.live["processes"]:
            try:
                with open(f"/proc/{process['pid']}/stat") as f:
                    of_kernel = " ".join(f.read().split()[1:6])
            except (OSError, KeyError) as error:
                of_kernel = type(error).__name__
            told.append(f"{process} {of_kernel}")
        return "\n  ".join(told)

    def compare(self, first, last):
        failures = len(self.failures)
        for name in first:
            allowed = {"witness private KiB": 256, "blocks free": 64, "blocks metadata": 64}.get(name, 0)
            if abs(last[name] - first[name]) > allowed and not (name == "blocks free" and last[name] > first[name]):
                self.fail(f"{name} went from {first[name]} to {last[name]}")
        if len(self.failures) != failures:
            print("  " + self.who(), flush=True)

    def run(self):
        self.witness = subprocess.Popen([sys.executable, "-c", WITNESS, self.env.mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={"PATH": sides.PATH, **self.variables()})
        end = time.monotonic() + 60 * self.options.minutes
        # The first round warms up: directories of the size that they reach, memory that python takes once.
        first, minute = None, 0
        try:
            while time.monotonic() < end and len(self.failures) < 10:
                until = min(end, time.monotonic() + self.options.round)
                workers = [threading.Thread(target=self.worker, args=(until, f"{minute}-{i}")) for i in range(self.options.at_once)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
                self.settle()
                now = self.figures()
                first = first or now
                minute += 1
                print(f"{minute}: {self.done} cases, {self.kills} killed; " + ", ".join(f"{k} {v}" for k, v in now.items()), flush=True)
                self.compare(first, now)
        finally:
            self.witness.stdin.close()
            if self.witness.wait() != 0:
                self.fail(f"the witness ended with {self.witness.returncode}")
        subprocess.run(["/bin/rm", f"{self.env.mount}/witness"], env={"PATH": sides.PATH, **self.variables()}, check=True)
        problems = self.pool.check()
        if problems:
            self.fail(problems)
        info = json.loads(subprocess.run([self.tool, "info", "--json", self.pool.pool], capture_output=True, text=True, check=True).stdout)
        if info["blocks_data"] != 0:
            self.fail(f"{info['blocks_data']} blocks of data are left in an empty pool")
        print(f"at the end: {info['blocks_data']} blocks of data, {info['blocks_metadata']} of metadata, {info['blocks_free']} free")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--round", type=float, default=60, help="seconds between two looks at the figures")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--case", default="*", metavar="GLOB", help="cases by name")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pmemfile-soak-", dir="/dev/shm") as work:
        os.chmod(work, 0o755)
        soak = Soak(options, work)
        soak.run()
        soak.pool.remove()
    print(f"soak: {soak.done} cases, {soak.kills} processes killed, {len(soak.failures)} failures, seed {options.seed}")
    return 1 if soak.failures or soak.done == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
