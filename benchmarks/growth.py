"""Part `growth`: does anything become slower as directories, pools and their age grow?"""
import os
import signal
import statistics
import sys
import time

from operations import Meter, Session, room_for_million
from sides import Server, find_built
from targets import GROWTH_TARGET, directory_rows

HERE = os.path.dirname(os.path.abspath(__file__))
LOOKED_AT = ("stat", "stat, missing name", "open+close", "create+close", "unlink", "rename", "mkdir", "readdir, per entry")


def start_ms(side, times=15):
    """Start and end of /bin/true: it attaches and leaves."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        side.run(["/bin/true"], check=True)
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def space(side):
    """Blocks used, and the bytes of one."""
    total, free, size = map(int, side.run(["stat", "-f", "-c", "%b %f %S", side.dir], check=True, capture_output=True, text=True).stdout.split())
    return total - free, size


def held_kib(server):
    """Memory that a process holds for itself, and page tables, in KiB."""
    with open(f"/proc/{server.process.pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields["RssAnon"].split()[0]) + int(fields["VmPTE"].split()[0])


def recovery_ms(side, program, kernel):
    """The first start after the only process was killed in the middle of creating files."""
    victim = Server(side, program, kernel)
    victim.ask("prepare directory 1000")
    victim.process.stdin.write("run 100000000 create+close, 1000\n")
    victim.process.stdin.flush()
    time.sleep(0.3)
    victim.process.send_signal(signal.SIGKILL)
    victim.process.wait()
    return start_ms(side, 1)


def directories(place, options):
    session = Session(place, options, Meter(5 if options.quick else 9, 3 if options.quick else 8, percentiles=False), with_flush=False, with_ext4=False, pool_size="3G")
    ours = session.sides["ours"]
    sizes = (1000, 10_000, 100_000) if options.quick or not room_for_million(7) else (1000, 10_000, 100_000, 1_000_000)
    columns, ratios = {}, {}
    for entries in sizes:
        before, block = space(ours)
        session.prepare(f"directory {entries}")
        metadata = (space(ours)[0] - before) * block / entries
        targets = dict(directory_rows(entries))
        rows = {name: session.meter.measure(f"{name}, {entries}", targets[f"{name}, {entries}"], session.servers) for name in LOOKED_AT}
        columns[entries] = [rows[name]["least"]["ours"] for name in LOOKED_AT] + [metadata, start_ms(ours), held_kib(session.servers["ours"])]
        ratios[entries] = [rows[name]["least"]["tmpfs"] for name in LOOKED_AT]
        print(f"  {entries} files: stat {columns[entries][0]:.0f} ns, create {columns[entries][3]:.0f} ns, {metadata:.0f} bytes a file", flush=True)
    session.end()
    recovery = recovery_ms(ours, session.program, place.kernel)
    labels = [f"{name}, ns" for name in LOOKED_AT] + ["metadata of an empty file and its name, bytes", "start of /bin/true, ms", "private memory and page tables of the measuring process, KiB"]
    table = []
    for i, label in enumerate(labels):
        values = [columns[n][i] for n in sizes]
        tmpfs = f"{ratios[sizes[-1]][i] / ratios[sizes[0]][i]:.2f}" if i < len(LOOKED_AT) else ""
        factor = values[-1] / values[0]
        met = "" if i >= len(LOOKED_AT) else "met" if factor <= GROWTH_TARGET else "**missed**"
        table.append([label, *values, f"{factor:.2f}", tmpfs, met])
    for side in list(session.sides.values()):
        place.discard(side)
    header = ["files in the directory", *(f"{n:,}" for n in sizes), "largest / smallest", "the same on tmpfs", f"asked {GROWTH_TARGET}"]
    return {f"Files in a directory (first start after a kill -9 in a storm of creates: {recovery:.1f} ms)": {"header": header, "rows": table}}


def pools(place, options):
    program = find_built(options.build, "pmemfile-bench-operations")
    sizes = ("1G", "1T") if options.quick else ("1G", "16G", "128G", "1T")
    names = ["mkfs --sparse, ms", "memory that the empty pool takes, MiB", "start of /bin/true, ms", "create+close, ns", "append 4 KiB, ns", "stat, ns", "pread 4 KiB, random, ns"]
    columns = []
    for size in sizes:
        start = time.perf_counter()
        side = place.pool(f"grown{size}", size=size, sparse=True)
        made = (time.perf_counter() - start) * 1000
        taken = os.stat(side.file).st_blocks * 512 / 2**20
        server = Server(side, program, place.kernel)
        for group in ("directory 1000", "append", "data 16"):
            server.ask(f"prepare {group}")
        rows = [("create+close, 1000", 500), ("append 4 KiB", 500), ("stat, 1000", 5000), ("pread 4 KiB, random", 2000)]
        times = [min(float(server.ask(f"run {n} {name}")) for _ in range(15)) for name, n in rows]
        columns.append([made, taken, start_ms(side), *times])
        server.end()
        place.discard(side)
        print(f"  pool of {size}: mkfs {made:.0f} ms, start {columns[-1][2]:.1f} ms, create {times[0]:.0f} ns", flush=True)
    rows = [[name, *(column[i] for column in columns), f"{columns[-1][i] / columns[0][i]:.2f}"] for i, name in enumerate(names)]
    return {"Size of the pool": {"header": ["", *sizes, "largest / smallest"], "rows": rows}}


def ages(place, options):
    """A fresh pool and one that was filled to four fifths and churned, by turns."""
    size = "256M" if options.quick else "2G"
    fresh, aged = place.pool("fresh", size=size), place.pool("aged", size=size)
    aged.run([sys.executable, os.path.join(HERE, "age.py"), aged.dir], check=True)
    program = find_built(options.build, "pmemfile-bench-operations")
    servers = {"ours": Server(fresh, program, place.kernel), "aged": Server(aged, program, place.kernel)}
    for server in servers.values():
        for group in ("directory 1000", "append", "data 16"):
            server.ask(f"prepare {group}")
    meter = Meter(7 if options.quick else 15, 3, percentiles=False)
    rows = []
    for name in [f"{name}, 1000" for name in LOOKED_AT] + ["append 4 KiB", "append 64 B", "pread 4 KiB, random", "pread 64 KiB, sequential", "pwrite 4 KiB, random"]:
        row = meter.measure(name, {}, servers)
        factor = row["ratios"]["aged"]
        rows.append([name, row["times"]["ours"], row["times"]["aged"], f"{factor:.2f}", "met" if factor <= GROWTH_TARGET else "**missed**"])
        print(f"  {name:30} aged {factor:.2f} of fresh", flush=True)
    for server in servers.values():
        server.end()
    return {f"Fresh and aged pool of {size}": {"header": ["operation", "fresh, ns", "aged, ns", "aged / fresh", f"asked {GROWTH_TARGET}"], "rows": rows}}


def measure_growth(place, options):
    return {"tables": {**directories(place, options), **pools(place, options), **ages(place, options)}}
