#!/usr/bin/env python3
"""Runs the cases of tests/apps/cases on tmpfs and in a pool, and compares.

A case is a shell script. It runs in a directory of its own, at the same path
on both sides; output, exit status and the tree it leaves must be the same but
for the differences listed in tree.py. See README.md in this folder.
"""
import argparse
import concurrent.futures
import difflib
import fnmatch
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from side import Environment, Pool, Tmpfs  # noqa: E402
from case import Case  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def parse_arguments(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--case", action="append", default=[], metavar="GLOB", help="cases by name (default: all)")
    p.add_argument("--cases-dir", default=os.path.join(HERE, "cases"))
    p.add_argument("--side", choices=["both", "tmpfs", "pool", "selfcheck"], default="both",
                   help="both: compare tmpfs and pool; selfcheck: tmpfs with tmpfs; else one side, output shown")
    p.add_argument("--together", type=int, default=0, metavar="N",
                   help="run the cases N at a time on one pool instead of each alone on its own")
    p.add_argument("--build", default=os.path.join(HERE, "..", "..", "build", "release"),
                   help="where libpmemfile.so and mkfs.pmemfile are (searched)")
    p.add_argument("--preload", help="libpmemfile.so itself")
    p.add_argument("--mkfs", help="mkfs.pmemfile itself")
    p.add_argument("--fsck", help="fsck.pmemfile itself; `none` leaves the check out")
    p.add_argument("--keep", action="store_true", help="leave pools, outputs and trees behind")
    p.add_argument("--nightly", action="store_true", help="also cases marked nightly")
    p.add_argument("--patch-after", metavar="CALLS", help="PMEMFILE_PATCH_AFTER: 0, so that every process is patched at start, or as late as it gets")
    p.add_argument("--timeout-factor", type=float, default=1.0)
    return p.parse_args(argv)


def select_cases(args):
    cases = []
    for name in sorted(os.listdir(args.cases_dir)):
        if not name.endswith(".sh"):
            continue
        stem = name[:-3]
        if args.case and not any(fnmatch.fnmatch(stem, glob) for glob in args.case):
            continue
        case = Case(stem, os.path.join(args.cases_dir, name))
        if case.nightly and not (args.nightly or stem in args.case):
            continue
        cases.append(case)
    return cases


def difference(want, got, want_name, got_name):
    """The unified diff of two results, or an empty string."""
    lines = []
    for part in ("status", "stdout", "stderr", "tree", "problems"):
        a, b = getattr(want, part), getattr(got, part)
        if a != b:
            diff = list(difflib.unified_diff(a.splitlines(), b.splitlines(), f"{want_name}:{part}",
                                             f"{got_name}:{part}", lineterm="", n=2))
            lines += diff[:80] + (["... and %d more lines" % (len(diff) - 80)] if len(diff) > 80 else [])
    return "\n".join(lines)


class Runner:
    def __init__(self, args, env):
        self.args = args
        self.env = env
        self.failed = []
        self.ran = 0

    def timeout(self, case):
        return case.timeout * self.args.timeout_factor

    def on_tmpfs(self, case):
        side = Tmpfs(self.env)
        try:
            return side.run(case, self.timeout(case))
        finally:
            side.remove()

    def on_pool(self, case, report=None):
        side = Pool(self.env, case.pool_size, report)
        try:
            result = side.run(case, self.timeout(case))
            result.problems += side.check()
            return result
        finally:
            side.remove()

    def verdict(self, case, want, got, seconds, names=("tmpfs", "pool")):
        self.ran += 1
        broken = want.problems
        diff = difference(want, got, *names)
        # A case that fails on the oracle's side, too, says nothing.
        if not broken and want.status != f"exit {case.exit}\n":
            broken = f"the case itself ends with {want.status.strip()} on tmpfs\n{want.stderr}"
        if not broken and not diff:
            print(f"ok      {case.name} ({seconds[0]:.1f} s, {seconds[1]:.1f} s)", flush=True)
            return True
        print(f"FAILED  {case.name}", flush=True)
        print((f"broken case: {broken}" if broken else diff), flush=True)
        self.failed.append(case.name)
        return False

    def each_alone(self, cases):
        for case in cases:
            t0 = time.monotonic()
            want = self.on_tmpfs(case)
            t1 = time.monotonic()
            if self.args.side == "selfcheck":
                got, names = self.on_tmpfs(case), ("tmpfs", "tmpfs again")
            else:
                got, names = self.on_pool(case), ("tmpfs", "pool")
            t2 = time.monotonic()
            same = self.verdict(case, want, got, (t1 - t0, t2 - t1), names)
            if not same and names[1] == "pool" and not got.timed_out:
                self.show_report(case)

    def show_report(self, case):
        """Runs a case that differed once more, for the reports of its processes."""
        reports = os.path.join(self.env.work, "reports")
        shutil.rmtree(reports, ignore_errors=True)
        os.mkdir(reports, 0o777)
        os.chmod(reports, 0o777)
        self.on_pool(case, os.path.join(reports, "%p"))
        refusals, example, processes = {}, "", 0
        for name in sorted(os.listdir(reports)):
            with open(os.path.join(reports, name), errors="replace") as f:
                text = f.read()
            processes += 1
            refused = [line.strip() for line in text.splitlines() if line.strip().startswith("refused:")]
            for line in refused:
                refusals[line] = refusals.get(line, 0) + 1
            if not example or any(line != "refused: none" for line in refused):
                example = text.strip()
        print(f"-- PMEMFILE_REPORT of {processes} processes:")
        for line, count in sorted(refusals.items()):
            print(f"   {line} ({count} processes)")
        print(f"-- one of them:\n{example}", flush=True)

    def together(self, cases):
        """All cases at once on one pool, each in its own directory."""
        expected = {}
        for case in cases:
            expected[case.name] = self.on_tmpfs(case)
        check = self.args.side == "selfcheck"
        side = Tmpfs(self.env) if check else Pool(self.env, "1G")
        try:
            def one(case):
                start = time.monotonic()
                return case, side.run(case, self.timeout(case) * 2), time.monotonic() - start
            with concurrent.futures.ThreadPoolExecutor(self.args.together) as threads:
                for case, got, seconds in threads.map(one, cases):
                    self.verdict(case, expected[case.name], got, (0, seconds), ("tmpfs", "shared pool"))
            problems = "" if check else side.check()
            if problems:
                print(f"FAILED  the shared pool afterwards:\n{problems}")
                self.failed.append("pool")
        finally:
            side.remove()

    def one_side(self, cases):
        for case in cases:
            result = self.on_pool(case) if self.args.side == "pool" else self.on_tmpfs(case)
            self.ran += 1
            print(f"== {case.name}: {result.status.strip()}\n{result.stdout}-- stderr\n{result.stderr}-- tree\n{result.tree}")
            if result.problems:
                print(result.problems)
            if result.problems or result.status != f"exit {case.exit}\n":
                self.failed.append(case.name)


def main():
    args = parse_arguments()
    cases = select_cases(args)
    if not cases:
        sys.exit("run.py: no such case")
    missing = sorted({m for case in cases for m in case.missing_programs()})
    if missing:
        sys.exit(f"run.py: these programs are missing: {' '.join(missing)} (see scripts/packages.test)")
    # A short path at the same place on both sides; everybody may enter it,
    # because some cases run as another user.
    work = tempfile.mkdtemp(prefix="pm-apps-", dir="/dev/shm")
    os.chmod(work, 0o755)
    try:
        env = Environment(args, work)
        runner = Runner(args, env)
        if args.side in ("tmpfs", "pool"):
            runner.one_side(cases)
        elif args.together:
            runner.together(cases)
        else:
            runner.each_alone(cases)
    finally:
        if args.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    if runner.failed:
        print(f"{len(runner.failed)} of {runner.ran} cases failed: {' '.join(runner.failed)}")
        return 1
    print(f"all {runner.ran} cases are the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
