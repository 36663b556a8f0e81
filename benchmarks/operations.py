"""Part `operations`: every row on every side, in batches of some milliseconds that take turns.

All sides' processes wait side by side; for each row they are asked one after the other, the order turned around at
each repetition, so that a slow moment of the machine hits neighbours alike. A ratio is the median over the ratios of
neighbouring batches, and a time the median over batches.
"""
import statistics

from sides import Server, find_built
from targets import (APPEND_ROWS, COLD_ROWS, CONTROL_ROWS, DATA_ROWS, FILE_ROWS, FIRST_APPEND_ROWS, KERNEL_ROWS, MAP_ROWS,
                     directory_rows)

PROBE = 20  # calls of the batch that tells how long batches have to be
# Rows whose one call is a pass over many: so many passes a batch.
PASSES = {"mmap touch by reading, per page": 2, "mmap touch by writing, per page": 2}
PASSES |= {f"readdir{what}, per entry, {n}": passes for what in ("", "+stat") for n, passes in
           ((10, 200), (1000, 10), (10_000, 2), (100_000, 1), (1_000_000, 1))}
COLD_COUNTS = {" 64 B": 2000, " 4 KiB": 1500, " 64 KiB": 150, " 1 MiB": 12}  # calls that stay within the row's region
PERCENTILES = ("p50", "p99", "p9999", "max")


class Meter:
    def __init__(self, repetitions, batch_ms, percentiles=True, most=20_000):
        self.repetitions, self.batch_ns = repetitions, batch_ms * 1e6
        self.percentiles, self.most = percentiles, most

    def count_for(self, askers, least):
        """So many calls that the slowest side takes a batch's time, but `least`."""
        slowest = max(ask(PROBE) for ask in askers)
        return max(least, int(min(self.most, max(PROBE, self.batch_ns / max(slowest, 1)))))

    def measure(self, name, target, servers, memcpy=None):
        """servers: {side: Server}; memcpy: the server that also runs the row's plain copies."""
        askers = {side: (lambda n, s=server: float(s.ask(f"run {n} {name}"))) for side, server in servers.items()}
        if memcpy:
            askers["memcpy"] = lambda n: float(memcpy.ask(f"run {n} memcpy: {name}"))
        count = PASSES[name] if name in PASSES else self.count_for(askers.values(), target.get("least", 0))
        times = {side: [] for side in askers}
        whole_million = name in PASSES and name.endswith("1000000")  # seconds each
        for number in range(3 if whole_million else self.repetitions):
            for side in list(askers)[::1 if number % 2 else -1]:
                times[side].append(askers[side](count))
                if self.percentiles and side != "memcpy" and not whole_million:
                    servers[side].ask(f"sample {count} {name}")
        return self.row(name, target, servers, times)

    def row(self, name, target, servers, times):
        row = {"row": name, "target": target, "times": {s: statistics.median(t) for s, t in times.items()},
               "least": {s: min(t) for s, t in times.items()}}
        row["ratios"] = {s: statistics.median(t / o for t, o in zip(times[s], times["ours"])) for s in times if s != "ours"}
        if self.percentiles:
            row["percentiles"] = {}
            for side, server in servers.items():
                values = server.ask(f"percentiles {name}").split()
                row["percentiles"][side] = dict(zip(PERCENTILES, map(float, values))) | {"samples": int(values[4])}
        row["met"] = is_met(row)
        return row


def is_met(row):
    target, ratio = row["target"], row["ratios"].get("tmpfs")
    if ratio is None:
        return True
    met = ratio >= target.get("faster", 0) and 1 / ratio <= target.get("at_most", float("inf"))
    return met and ("of_memcpy" not in target or "memcpy" not in row["ratios"] or 1 / row["ratios"]["memcpy"] <= target["of_memcpy"])


class Session:
    """One process a side, each in its fresh directory."""

    def __init__(self, place, options, meter, with_flush=True, with_ext4=True, pool_size="2G"):
        self.options, self.meter, self.place = options, meter, place
        sides = [place.pool(size=pool_size), place.tmpfs()]
        if with_flush:
            sides.append(place.pool("flush", size=pool_size, force_flush=True))
        if with_ext4 and (ext4 := place.ext4()):
            sides.append(ext4)
        self.program = find_built(options.build, "pmemfile-bench-operations")
        self.sides = {side.name: side for side in sides}
        self.servers = self.started()
        self.rows = []

    def started(self):
        return {name: Server(side, self.program, self.place.kernel) for name, side in self.sides.items()}

    def prepare(self, group):
        for server in self.servers.values():
            server.ask(f"prepare {group}")

    def measure(self, rows, only=None):
        servers = {s: v for s, v in self.servers.items() if only is None or s in only}
        for name, target in rows:
            memcpy = servers["tmpfs"] if target.get("memcpy") else None
            self.rows.append(self.meter.measure(name, target, servers, memcpy))
            progress(self.rows[-1])

    def controls(self):
        return {name: self.meter.measure(name, {}, self.servers) for name in CONTROL_ROWS}

    def end(self):
        for server in self.servers.values():
            server.end()


def progress(row):
    ratio = row["ratios"].get("tmpfs")
    print(f"  {row['row']:45} {row['times']['ours']:12.0f} ns   {ratio:6.2f}", flush=True)


def measure_cold(session, repetitions):
    """First touches need a process that has touched nothing yet: a new one for each repetition."""
    session.prepare("cold-file")
    collected = {}
    for number in range(repetitions):
        servers = session.started() | {"memcpy": Server(session.sides["tmpfs"], session.program, session.place.kernel)}
        for server in servers.values():
            server.ask("prepare cold")
        for name, _ in COLD_ROWS:
            count = next(n for size, n in COLD_COUNTS.items() if size in name)
            for side in list(servers)[::1 if number % 2 else -1]:
                row = f"memcpy: {name}" if side == "memcpy" else name
                collected.setdefault(name, {}).setdefault(side, []).append(float(servers[side].ask(f"run {count} {row}")))
        for server in servers.values():
            server.end()
    plain = Meter(repetitions, 0, percentiles=False)
    for name, target in COLD_ROWS:
        session.rows.append(plain.row(name, target, {}, collected[name]))
        progress(session.rows[-1])


def room_for_million(gibibytes):
    """Pools, and a million files of tmpfs, lie in memory: some 3 GiB a side."""
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
    if available < gibibytes << 20:
        print(f"bench: less than {gibibytes} GiB of memory available: no directories of a million entries", flush=True)
    return available >= gibibytes << 20


def measure_operations(place, options):
    quick = options.quick
    meter = Meter(options.repetitions or (7 if quick else 15), options.batch_ms or (3 if quick else 10))
    session = Session(place, options, meter, pool_size="1G" if quick else "3G")
    session.prepare("append")
    session.measure(FIRST_APPEND_ROWS)
    session.prepare("control")
    controls = session.controls()
    for entries in (10, 10_000) if quick or not room_for_million(12) else (10, 10_000, 1_000_000):
        session.prepare(f"directory {entries}")
        session.measure(directory_rows(entries))
    session.prepare("file")
    session.measure(FILE_ROWS + APPEND_ROWS)
    session.prepare(f"data {64 if quick else 256}")
    session.measure(DATA_ROWS + MAP_ROWS)
    if not quick:
        measure_cold(session, 5)
    # In processes that have touched no pool: what a mapping of gigabytes costs the kernel at each call is another question.
    session.end()
    session.servers = session.started()
    session.prepare("kernel")
    session.measure(KERNEL_ROWS, only=("ours", "tmpfs"))
    session.end()
    return {"rows": session.rows, "controls": controls, "repetitions": meter.repetitions, "batch_ms": meter.batch_ns / 1e6}
