#!/usr/bin/env python3
"""Runs bench/ops in a pool and on tmpfs by turns; see README.md in this folder."""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from targets import ROWS


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", required=True)
    p.add_argument("--quick", action="store_true", help="within a minute: fewer rounds, shorter loops")
    p.add_argument("--rounds", type=int)
    p.add_argument("--scale", type=float)
    p.add_argument("--output", help="directory of bench.json and bench.md (default BUILD/bench-results)")
    p.add_argument("--preload", help="libpmemfile.so (searched in BUILD)")
    p.add_argument("--mkfs", help="mkfs.pmemfile (searched in BUILD)")
    p.add_argument("--check", metavar="FILE", help="fail if a ratio fell by more than a third from this bench.json")
    p.add_argument("--selfcheck", action="store_true", help="tmpfs against tmpfs: the ratios show the noise")
    p.add_argument("--plots", action="store_true", help="also PNG and SVG (python3-matplotlib)")
    return p.parse_args()


def find_built(build, name):
    for folder, _, files in os.walk(build):
        if name in files:
            return os.path.join(os.path.abspath(folder), name)
    sys.exit(f"bench: there is no {name} under {build}")


class Sides:
    """A directory of tmpfs and a pool, fresh for each run."""

    def __init__(self, args):
        self.ops = find_built(args.build, "pmemfile-bench-ops")
        self.selfcheck = args.selfcheck
        if not args.selfcheck:
            self.preload = os.path.abspath(args.preload) if args.preload else find_built(args.build, "libpmemfile.so")
            self.mkfs = args.mkfs or find_built(args.build, "mkfs.pmemfile")
        self.work = tempfile.mkdtemp(prefix="pm-bench-", dir="/dev/shm")
        self.kernel = os.path.join(self.work, "kernel")
        os.mkdir(self.kernel)

    def run(self, side, scale):
        mount = os.path.join(self.work, "mnt")
        pool = os.path.join(self.work, "pool")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMEMFILE_", "LD_"))}
        if side == "pool" and not self.selfcheck:
            subprocess.run([self.mkfs, pool, "1G"], check=True, stdout=subprocess.DEVNULL)
            environment.update(PMEMFILE_POOLS=f"{mount}:{pool}", LD_PRELOAD=self.preload)
        else:
            os.mkdir(mount)
        done = subprocess.run([self.ops, mount, self.kernel, str(scale)], env=environment, capture_output=True,
                              text=True, timeout=600)
        shutil.rmtree(mount, ignore_errors=True)
        if os.path.exists(pool):
            os.unlink(pool)
        if done.returncode != 0:
            sys.exit(f"bench: the run on {side} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr}")
        return {row["row"]: row for row in map(json.loads, done.stdout.splitlines())}

    def remove(self):
        shutil.rmtree(self.work, ignore_errors=True)


def median_of(runs, row, field):
    return statistics.median(run[row][field] for run in runs)


def summarise(pool_runs, tmpfs_runs):
    rows = []
    for name, target in ROWS:
        entry = {"row": name, "target": target}
        for side, runs in (("ours", pool_runs), ("tmpfs", tmpfs_runs)):
            entry[side] = {field: median_of(runs, name, field) for field in ("mean", "p50", "p99", "p9999", "max")}
        # Ratios of neighbours in time, so that a slow minute of the machine hits both sides.
        entry["ratio"] = statistics.median(t[name]["mean"] / p[name]["mean"] for p, t in zip(pool_runs, tmpfs_runs))
        met = True
        if "faster" in target:
            met = entry["ratio"] >= target["faster"]
        if "at_most" in target:
            met = 1 / entry["ratio"] <= target["at_most"]
        if "limit" in target:
            entry["memcpy"] = median_of(pool_runs, target["limit"], "mean")
            entry["of_memcpy"] = statistics.median(p[name]["mean"] / p[target["limit"]]["mean"] for p in pool_runs)
            met = met and entry["of_memcpy"] <= target.get("of_limit", float("inf"))
        entry["met"] = met
        rows.append(entry)
    loop = {field: median_of(pool_runs, "empty loop", field) for field in ("p50", "p99", "p9999", "max")}
    return {"rows": rows, "empty_loop": loop}


def duration(ns):
    return f"{ns:.0f} ns" if ns < 1000 else f"{ns / 1000:.2f} us" if ns < 1e6 else f"{ns / 1e6:.2f} ms"


def table(result):
    lines = [f"{result['rounds']} interleaved rounds, {result['cpu']}, kernel {result['kernel']}, {result['date']}.",
             "", "| operation | ours | tmpfs | ratio | asked | | memcpy | of memcpy | ours p50 / p99 / p99.99 | tmpfs p50 / p99 / p99.99 |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for row in result["rows"]:
        target = row["target"]
        if "at_most" in target:
            ratio, asked = f"{1 / row['ratio']:.2f} of plain", f"at most {target['at_most']}"
        else:
            ratio, asked = f"{row['ratio']:.1f} times faster", f"{target['faster']} times"
        of_memcpy = f"{row['of_memcpy']:.2f}" if "memcpy" in row else ""
        if "of_limit" in target:
            of_memcpy += f" (asked {target['of_limit']})"
        percentiles = [" / ".join(duration(row[side][p]) for p in ("p50", "p99", "p9999")) for side in ("ours", "tmpfs")]
        lines.append(f"| {row['row']} | {duration(row['ours']['mean'])} | {duration(row['tmpfs']['mean'])} | {ratio} | {asked} | "
                     f"{'met' if row['met'] else '**missed**'} | {duration(row['memcpy']) if 'memcpy' in row else ''} | {of_memcpy} | "
                     f"{percentiles[0]} | {percentiles[1]} |")
    loop = result["empty_loop"]
    lines += ["", f"Empty timing loop: p50 {duration(loop['p50'])}, p99 {duration(loop['p99'])}, "
              f"p99.99 {duration(loop['p9999'])}, longest {duration(loop['max'])}."]
    return "\n".join(lines) + "\n"


def check(result, recorded_path):
    """Rows whose ratio is less than two thirds of the recorded one."""
    with open(recorded_path) as f:
        recorded = {row["row"]: row["ratio"] for row in json.load(f)["rows"]}
    worse = [(row["row"], row["ratio"], recorded[row["row"]]) for row in result["rows"]
             if row["row"] in recorded and row["ratio"] < recorded[row["row"]] * 2 / 3]
    for name, now, before in worse:
        print(f"slower than recorded: {name}: ratio {now:.2f}, was {before:.2f}")
    return not worse


def plot(result, output):
    try:
        import matplotlib
    except ImportError:
        sys.exit("bench: --plots needs python3-matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot
    rows = [r for r in result["rows"] if "faster" in r["target"]][::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.3 * len(rows) + 1))
    axes.barh([r["row"] for r in rows], [r["ratio"] for r in rows], color="#4477aa")
    axes.plot([r["target"]["faster"] for r in rows], range(len(rows)), "k|", markersize=12, label="asked")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("times faster than tmpfs")
    axes.legend()
    figure.tight_layout()
    for ending in ("png", "svg"):
        figure.savefig(os.path.join(output, f"operations.{ending}"), dpi=120)


def cpu_name():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())


def main():
    args = parse_arguments()
    rounds = args.rounds or (3 if args.quick else 7)
    scale = args.scale or (0.2 if args.quick else 1)
    output = args.output or os.path.join(args.build, "bench-results")
    os.makedirs(output, exist_ok=True)
    sides = Sides(args)
    runs = {"pool": [], "tmpfs": []}
    try:
        for number in range(rounds):
            # Each goes first in every other round.
            for side in (("pool", "tmpfs"), ("tmpfs", "pool"))[number % 2]:
                runs[side].append(sides.run(side, scale))
            print(f"round {number + 1} of {rounds}", flush=True)
    finally:
        sides.remove()
    result = {"date": time.strftime("%Y-%m-%d"), "cpu": cpu_name(), "kernel": platform.release(), "rounds": rounds,
              "scale": scale, **summarise(runs["pool"], runs["tmpfs"])}
    with open(os.path.join(output, "bench.json"), "w") as f:
        json.dump(result, f, indent=1)
    text = table(result)
    with open(os.path.join(output, "bench.md"), "w") as f:
        f.write(text)
    print("\n" + text)
    if args.plots:
        plot(result, output)
    missed = [row["row"] for row in result["rows"] if not row["met"]]
    print(f"{len(ROWS) - len(missed)} of {len(ROWS)} targets met; written: {output}/bench.json, bench.md")
    return 0 if not args.check or check(result, args.check) else 1


if __name__ == "__main__":
    sys.exit(main())
