"""Part `scaling`: the cases of FxMark with 1 to N runners, threads and processes, beside a memcpy loop's scaling."""
import os
import statistics

from sides import Server, find_built
from targets import SCALING_TARGET

CASES = {
    "DRBL": "read a private file", "DRBM": "read parts of a shared file", "DRBH": "read the same block",
    "DWOL": "overwrite a private file", "DWOM": "overwrite parts of a shared file", "DWOH": "overwrite the same block",
    "DWAL": "append to a private file", "DWTL": "truncate a private file", "DWSL": "overwrite and fsync a private file",
    "MRPL": "open in a private directory", "MRPM": "open in a shared deep directory", "MRPH": "open the same deep file",
    "MRDL": "list a private directory", "MRDM": "list a shared directory",
    "MWCL": "create and unlink in a private directory", "MWCM": "create and unlink in a shared directory",
    "MWRL": "rename in a private directory", "MWRM": "rename into a shared directory",
}
# Those whose runners share something that all write: no target of scaling, but nothing may collapse.
CONTENDED = ("DWOH", "MWRM")


def runner_counts(cores):
    """Up to the number of processors, and beyond it."""
    counts = [1]
    while counts[-1] * 2 <= min(cores, 8):
        counts.append(counts[-1] * 2)
    return counts + [counts[-1] * 2]


def measure_case(case, kind, counts, servers, repetitions, milliseconds):
    """Operations a second of each side at each number of runners; all of them in turns."""
    asked = [(side, case) for side in servers] + [("memcpy", "memcpy")]
    rates = {side: {n: [] for n in counts} for side, _ in asked}
    for number in range(repetitions):
        for runners in counts:
            for side, name in asked[::1 if number % 2 else -1]:
                server = servers["tmpfs"] if side == "memcpy" else servers[side]
                rates[side][runners].append(float(server.ask(f"{name} {kind} {runners} {milliseconds}")))
    return rates


def summarised(case, kind, counts, rates, cores):
    row = {"case": case, "what": CASES[case], "kind": kind, "rates": {}, "speedup": {}}
    for side, by_count in rates.items():
        row["rates"][side] = {n: statistics.median(r) for n, r in by_count.items()}
        row["speedup"][side] = {n: statistics.median(r / one for r, one in zip(by_count[n], by_count[1])) for n in counts}
    full = max(n for n in counts if n <= cores)
    row["of_memcpy"] = row["speedup"]["ours"][full] / row["speedup"]["memcpy"][full]
    row["ratio"] = {n: statistics.median(o / t for o, t in zip(rates["ours"][n], rates["tmpfs"][n])) for n in counts}
    row["beyond"] = row["speedup"]["ours"][counts[-1]] / row["speedup"]["ours"][full]
    row["met"] = row["of_memcpy"] >= SCALING_TARGET or case in CONTENDED
    return row


def measure_scaling(place, options):
    cores = len(os.sched_getaffinity(0))
    counts = runner_counts(cores)
    servers = {side.name: Server(side, find_built(options.build, "pmemfile-bench-scaling"))
               for side in (place.pool(size="1G"), place.tmpfs())}
    repetitions, milliseconds = (3, 40) if options.quick else (5, 80)
    rows = []
    for kind in ("threads", "processes"):
        for case in CASES:
            rates = measure_case(case, kind, counts, servers, repetitions, milliseconds)
            rows.append(summarised(case, kind, counts, rates, cores))
            row = rows[-1]
            print(f"  {case} {kind:10} times tmpfs {row['ratio'][1]:6.2f}, of memcpy's scaling {row['of_memcpy']:5.2f}", flush=True)
    for server in servers.values():
        server.end()
    return {"rows": rows, "cores": cores, "runners": counts}
