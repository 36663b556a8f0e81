#!/usr/bin/env python3
"""The benchmark: runs the parts asked for and writes bench.json, bench.md and plots. See README.md in this folder."""
import argparse
import json
import os
import platform
import sys
import time

import check
import report
from sides import Workplace

PARTS = ("operations", "scaling", "applications", "growth", "rooms")


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("--quick", action="store_true", help="a short form of each part")
    p.add_argument("--only", help="regular expression: of the applications those whose name matches")
    p.add_argument("--repetitions", type=int, help="of each batch")
    p.add_argument("--batch-ms", type=float, help="length of a batch")
    p.add_argument("--no-ext4", action="store_true", help="without the column of ext4 on a loop device")
    p.add_argument("--output", help="where results go (build/release/bench-results)")
    p.add_argument("--preload", help="another libpmemfile.so, to compare with")
    p.add_argument("--check", action="store_true", help="fail if a ratio fell by more than a third from the recorded one")
    p.add_argument("--record", action="store_true", help="write benchmarks/recorded.json from this machine")
    p.add_argument("--publish", action="store_true", help="put the results into docs/performance.md and docs/plots, too")
    p.add_argument("--no-measure", action="store_true", help="only report and publish what former runs left")
    options = p.parse_args()
    for part in options.parts:
        if part not in PARTS:
            p.error(f"no part is called {part}")
    options.output = options.output or os.path.join(options.build, "bench-results")
    return options


def machine():
    with open("/proc/cpuinfo") as f:
        names = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d"), "load": os.getloadavg()[2]}


def measured(part, options):
    module = __import__(part)
    with Workplace(options) as place:
        return getattr(module, f"measure_{part}")(place, options)


def earlier(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def main():
    options = parse_arguments()
    if options.check or options.record:
        return check.run(options)
    os.makedirs(options.output, exist_ok=True)
    path = os.path.join(options.output, "bench.json")
    results = earlier(path)
    for part in [] if options.no_measure else options.parts or PARTS:
        print(f"== {part}", flush=True)
        start = time.time()
        results[part] = {**measured(part, options), "machine": machine(), "quick": options.quick, "seconds": round(time.time() - start)}
        with open(path, "w") as f:  # after each part, so that nothing is lost
            json.dump(results, f, indent=1)
    report.write(results, options.output)
    if options.publish:
        report.publish(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
