"""Tables (bench.md) and plots (PNG and SVG) of what bench.json holds."""
import os
import re
import shutil

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs")


def duration(ns):
    return f"{ns:.0f} ns" if ns < 1000 else f"{ns / 1000:.2f} µs" if ns < 1e6 else f"{ns / 1e6:.2f} ms" if ns < 1e9 else f"{ns / 1e9:.2f} s"


def rows_of(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows), ""]


def on(part):
    m = part["machine"]
    quick = ", quick form" if part["quick"] else ""
    return f"{m['cpu']}, {m['cores']} processors, kernel {m['kernel']}, {m['date']}, load {m['load']:.1f}{quick}."


def verdict(met):
    return "met" if met else "**missed**"


def operation_row(row):
    target, ratios, times = row["target"], row["ratios"], row["times"]

    def times_of(side):
        return duration(times[side]) if side in times else ""

    def ratio_of(side):
        return f"{ratios[side]:.2f}" if side in ratios else ""
    asked = f"1/{target['at_most']}" if "at_most" in target else f"{target['faster']}"
    memcpy = f"{1 / ratios['memcpy']:.2f}" + (f" (asked {target['of_memcpy']})" if "of_memcpy" in target else "") if "memcpy" in ratios else ""
    forced = f"{ratios['tmpfs'] / ratios['flush']:.2f}" if "flush" in ratios else ""
    least = f"{row['least']['tmpfs'] / row['least']['ours']:.2f}"
    return [row["row"], times_of("ours"), times_of("tmpfs"), f"**{ratio_of('tmpfs')}**", least, asked, verdict(row["met"]), times_of("flush"), forced,
            times_of("ext4"), ratio_of("ext4"), times_of("memcpy"), memcpy]


def operations(part):
    controls = part["controls"]
    lines = [on(part) + f" Medians of {part['repetitions']} batches of {part['batch_ms']:.0f} ms that take turns.", ""]
    lines += ["`tmpfs / ours` is how many times faster ours is; the number in a row is the directory's entries. `flushed`: the pool with flushing forced on. "
              "On a busy machine the ratio of the least times is the steadier one.", ""]
    lines += rows_of(["operation", "ours", "tmpfs", "tmpfs / ours", "by least times", "asked", "", "flushed", "tmpfs / flushed", "ext4", "ext4 / ours", "memcpy", "ours / memcpy"],
                     [operation_row(row) for row in part["rows"]])
    met = sum(row["met"] for row in part["rows"])
    limits = ", ".join(f"{name} {duration(row['times']['ours'])}" + (f" (on tmpfs {duration(row['times']['tmpfs'])})" if name == "empty call" else "")
                       for name, row in controls.items())
    return lines + [f"{met} of {len(part['rows'])} targets met. The limits in the same run: {limits}.", ""] + percentiles(part)


def percentiles(part):
    def cells(row, side):
        values = row.get("percentiles", {}).get(side)
        return " / ".join(duration(values[p]) for p in ("p50", "p99", "p9999")) if values else ""
    rows = [[row["row"], cells(row, "ours"), cells(row, "tmpfs"), cells(row, "ext4")] for row in [part["controls"]["empty loop"], *part["rows"]]
            if row.get("percentiles")]
    return ["p50 / p99 / p99.99 of single calls, with the time stamp; the empty loop above shows what the machine itself does:", "",
            *rows_of(["operation", "ours", "tmpfs", "ext4"], rows)]


def scaling(part):
    counts = [str(n) for n in part["runners"]]
    rows = []
    for row in part["rows"]:
        numbers = {side: {str(n): v for n, v in by.items()} for side, by in row["speedup"].items()}
        ratio = {str(n): v for n, v in row["ratio"].items()}
        rows.append([row["case"], row["what"], row["kind"], *(" / ".join(f"{numbers[side][n]:.2f}" for n in counts[1:]) for side in ("ours", "tmpfs", "memcpy")),
                     f"{row['of_memcpy']:.2f}", verdict(row["met"]), " / ".join(f"{ratio[n]:.2f}" for n in counts)])
    some = " / ".join(counts[1:])
    return [on(part), "", f"Speed-up with {some} runners against one; `of memcpy` with {part['cores']}, asked 0.9.", "",
            *rows_of(["case", "each runner", "as", "ours", "tmpfs", "memcpy", "of memcpy", "", f"tmpfs / ours, {' / '.join(counts)} runners"], rows)]


def applications(part):
    rows = []
    for r in part["rows"]:
        served = r["name"].startswith(("redis", "postgres"))
        ext4 = [f"{r['ext4'] * 1000:.0f} ms", f"{r['ext4_ratio']:.2f}"] if "ext4" in r else ["", ""]
        rows.append([r["name"], f"{r['ours'] * 1000:.0f} ms", f"{r['tmpfs'] * 1000:.0f} ms", f"**{r['tmpfs_ratio']:.2f}**", str(r["target"]), verdict(r["met"]),
                     "" if served else f"{r['tmpfs_cpu_ratio']:.2f}", *ext4])
    return [on(part) + f" Medians of {part['repetitions']} runs by turns.", "",
            *rows_of(["program", "ours", "tmpfs", "tmpfs / ours", "asked", "", "by processor time", "ext4", "ext4 / ours"], rows)]


def growth(part):
    lines = [on(part), ""]
    for name, table in part["tables"].items():
        lines += [f"**{name}**", "", *rows_of(table["header"], [[cell if isinstance(cell, str) else f"{cell:.4g}" for cell in row] for row in table["rows"]])]
    return lines


def rooms(part):
    return [on(part), "", *rows_of(["room", "what", "time", "flushed"],
                                  [[r["room"], r["what"], duration(r["ns"]), duration(r["flushed_ns"])] for r in part["rows"]])]


SECTIONS = {"operations": operations, "scaling": scaling, "applications": applications, "growth": growth, "rooms": rooms}


def write(results, output):
    written = []
    for part, make in SECTIONS.items():
        if part in results:
            text = "\n".join(make(results[part]))
            written.append(f"## {part.capitalize()}\n\n{text}")
            print("\n" + text)
    with open(os.path.join(output, "bench.md"), "w") as f:
        f.write("\n".join(written))
    try:
        import plots
    except ImportError:
        print("bench: no plots without python3-matplotlib")
    else:
        plots.write(results, output)
    print(f"written: {output}/bench.json, bench.md, *.png, *.svg")


def publish(output):
    """Replaces what stands between the markers of docs/performance.md, and the plots beside it."""
    with open(os.path.join(output, "bench.md")) as f:
        text = f.read().replace("\n## ", "\n### ").replace("## ", "### ", 1)
    path = os.path.join(DOCS, "performance.md")
    with open(path) as f:
        document = f.read()
    begin, end = "<!-- ./bench begins -->", "<!-- ./bench ends -->"
    document = re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.S)
    with open(path, "w") as f:
        f.write(document)
    os.makedirs(os.path.join(DOCS, "plots"), exist_ok=True)
    for name in os.listdir(output):
        if name.endswith((".png", ".svg")):
            shutil.copy(os.path.join(output, name), os.path.join(DOCS, "plots", name))
