"""Has a ratio to tmpfs fallen by more than a third since it was recorded? Made for busy machines of any speed.

The ratio of one and the same build depends on the machine: tmpfs pays a system call for each operation, ours does not.
So what is recorded is split: of each row's time on a side, `calls` times the trivial system call is the kernel's entry,
the rest is work. On another machine the entry is measured anew, and work is scaled by two yardsticks without any kernel (dependent loads
from memory; code and data in the first caches: rows_other.cc), measured anew, too:

    expected(side) = work_recorded * max(1, yardstick_now / yardstick_recorded, warm_now / warm_recorded) + calls * system_call_now

A yardstick that is faster than it was counts as the recorded one: whether its 8 MiB lie in a cache that neighbours use, too, changes it five times
from one minute to the next, and our work hardly at all.

A row fails when its measured ratio is less than two thirds of expected(tmpfs) / expected(ours) and ours takes longer than
expected(ours) by more than a quarter; the second so that a faster kernel is not held against us. All times are the least of
many short batches that take turns, and a row fails only if it does so in each of several attempts, seconds apart.
"""
import json
import os
import time

from operations import Meter, Session
from sides import Workplace
from targets import APPEND_ROWS, CONTROL_ROWS, DATA_ROWS, FILE_ROWS, KERNEL_ROWS, directory_rows

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded.json")
ATTEMPTS = 3
PAUSE_S = 10  # between attempts: whoever is our neighbour may be gone
FALLEN = 2 / 3
SLOWER = 1.25
CONTROLS = {"system call": "trivial system call", "yardstick": "yardstick", "warm": "warm yardstick"}
# Not the start of a program and first touches: what they cost is page faults, which no yardstick here knows.
GROUPS = [("directory 10", directory_rows(10)), ("directory 10000", directory_rows(10_000)), ("file", FILE_ROWS), ("append", APPEND_ROWS),
          ("data 64", DATA_ROWS), ("kernel", [row for row in KERNEL_ROWS if row[0] != "/bin/true"])]


class Machine:
    """What the kernel's entry and a piece of work cost, when recorded or now."""

    def __init__(self, controls):
        self.system_call, self.yardstick, self.warm = controls["system call"], controls["yardstick"], controls["warm"]


def expected(recorded_ns, calls, then, now):
    work = max(0.0, recorded_ns - calls * then.system_call)
    return work * max(1.0, now.yardstick / then.yardstick, now.warm / then.warm) + calls * now.system_call


def judge(target, recorded, measured, then, now):
    """None, or what is wrong. recorded and measured: {"ours": ns, "tmpfs": ns}."""
    ours = expected(recorded["ours"], target.get("our_calls", 0), then, now)
    tmpfs = expected(recorded["tmpfs"], target.get("calls", 1), then, now)
    ratio, wanted = measured["tmpfs"] / measured["ours"], tmpfs / ours
    if ratio >= wanted * FALLEN or measured["ours"] <= ours * SLOWER:
        return None
    return f"tmpfs / ours is {ratio:.2f}, expected {wanted:.2f}; ours takes {measured['ours']:.0f} ns, expected {ours:.0f}"


class Checker:
    def __init__(self, place, options):
        self.session = Session(place, options, Meter(options.repetitions or 12, options.batch_ms or 1.5, percentiles=False, most=4000), with_flush=False,
                               with_ext4=False, pool_size="512M")
        self.session.prepare("control")
        for group, _ in GROUPS:
            self.session.prepare(group)

    def measure(self, names):
        """Least times of the rows, and of this moment's machine."""
        servers, meter = self.session.servers, self.session.meter
        controls = {key: min(meter.measure(name, {}, servers)["least"]["tmpfs"] for _ in range(2)) for key, name in CONTROLS.items()}
        plain = {name: {k: v for k, v in target.items() if k != "memcpy"} for _, rows in GROUPS for name, target in rows}
        least = {name: meter.measure(name, plain[name], servers)["least"] for name in names}
        return controls, least


def targets_by_name():
    return {name: target for _, rows in GROUPS for name, target in rows}


def check(checker):
    with open(RECORDED) as f:
        recorded = json.load(f)
    then, targets = Machine(recorded["controls"]), targets_by_name()
    doubtful = [name for name in targets if name in recorded["rows"]]
    if not doubtful:
        print(f"bench: {RECORDED} has none of the rows")
        return 1
    for attempt in range(1, ATTEMPTS + 1):
        time.sleep(PAUSE_S if attempt > 1 else 0)
        controls, measured = checker.measure(doubtful)
        now = Machine(controls)
        said = {name: judge(targets[name], recorded["rows"][name], measured[name], then, now) for name in doubtful}
        print(f"attempt {attempt}: {len(doubtful)} rows, {sum(v is not None for v in said.values())} slower; system call {now.system_call:.0f} ns "
              f"(recorded {then.system_call:.0f}), yardsticks {now.yardstick:.0f} ns (recorded {then.yardstick:.0f}) and {now.warm:.0f} ns ({then.warm:.0f})", flush=True)
        doubtful = [name for name in doubtful if said[name]]
        for name in doubtful:
            print(f"  {name}: {said[name]}")
        if not doubtful:
            return 0
    print(f"slower than recorded, {ATTEMPTS} times behind each other: {'; '.join(doubtful)}")
    return 1


def record(checker):
    """The least of several measurements, seconds apart."""
    names = list(targets_by_name())
    measured = [checker.measure(names) for _ in range(ATTEMPTS)]
    rows = {name: {side: round(min(m[1][name][side] for m in measured), 1) for side in ("ours", "tmpfs")} for name in names}
    controls = {key: round(min(m[0][key] for m in measured), 1) for key in CONTROLS}
    with open(RECORDED, "w") as f:
        json.dump({"controls": controls, "rows": rows}, f, indent=1)
        f.write("\n")
    print(f"written: {RECORDED}")
    return 0


def run(options):
    with Workplace(options) as place:
        checker = Checker(place, options)
        return record(checker) if options.record else check(checker)
