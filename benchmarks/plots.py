"""Plots of bench.json: PNG and SVG (python3-matplotlib)."""
import os

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "pmemfile"  # the same picture has the same bytes
from matplotlib import pyplot  # noqa: E402

OURS, TMPFS, OTHER, FLUSHED = "#3366aa", "#cc7733", "#999999", "#88aadd"


def save(figure, output, name):
    figure.tight_layout()
    for ending in ("png", "svg"):
        figure.savefig(os.path.join(output, f"{name}.{ending}"), dpi=100, metadata={"Date": None} if ending == "svg" else None)
    pyplot.close(figure)


def bars(rows, output, name, label):
    """rows: (name, ratio, asked or None)."""
    rows = rows[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.24 * len(rows) + 1))
    axes.barh([r[0] for r in rows], [r[1] for r in rows], color=[OURS if r[1] >= 1 else TMPFS for r in rows])
    axes.plot([r[2] for r in rows], range(len(rows)), "k|", markersize=9, label="asked")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.margins(y=0.01)
    axes.legend(loc="lower right")
    save(figure, output, name)


def plot_operations(part, output):
    rows = [(r["row"], r["ratios"]["tmpfs"], r["target"].get("faster") or 1 / r["target"]["at_most"]) for r in part["rows"]]
    bars(rows, output, "operations", "times faster than tmpfs (log)")


def plot_applications(part, output):
    bars([(r["name"], r["tmpfs_ratio"], r["target"]) for r in part["rows"]], output, "applications", "times faster than tmpfs (log)")


def plot_scaling(part, output):
    cases = list(dict.fromkeys(row["case"] for row in part["rows"]))
    figure, all_axes = pyplot.subplots((len(cases) + 5) // 6, 6, figsize=(14, 2.2 * ((len(cases) + 5) // 6)), sharex=True)
    for axes, case in zip(all_axes.flat, cases):
        for row in (r for r in part["rows"] if r["case"] == case):
            style = "-o" if row["kind"] == "threads" else "--s"
            for side, color in (("ours", OURS), ("tmpfs", TMPFS), ("memcpy", OTHER)):
                axes.plot([int(n) for n in row["speedup"][side]], list(row["speedup"][side].values()), style, color=color, markersize=3, linewidth=1,
                          label=f"{side}, {row['kind']}")
        axes.set_title(case, fontsize=9)
        axes.set_ylim(bottom=0)
    for axes in all_axes.flat[len(cases):]:
        axes.axis("off")
    figure.legend(*all_axes.flat[0].get_legend_handles_labels(), loc="lower right", fontsize=8, ncols=2)
    figure.supxlabel("runners", fontsize=9)
    figure.supylabel("speed-up against one", fontsize=9)
    save(figure, output, "scaling")


def plot_growth(part, output):
    table = next(t for name, t in part["tables"].items() if name.startswith("Files"))
    sizes = [int(h.replace(",", "")) for h in table["header"] if h.replace(",", "").isdigit()]
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for row in table["rows"]:
        if row[0].endswith(", ns"):
            axes.plot(sizes, row[1:1 + len(sizes)], "-o", markersize=3, label=row[0][:-4])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("files in the directory")
    axes.set_ylabel("ns")
    axes.legend(fontsize=8)
    save(figure, output, "growth")


def write(results, output):
    for part, plot in (("operations", plot_operations), ("applications", plot_applications), ("scaling", plot_scaling), ("growth", plot_growth)):
        if results.get(part):
            plot(results[part], output)
