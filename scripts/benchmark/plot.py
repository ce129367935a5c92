#!/usr/bin/env python3
"""Draws results.json: plot.py RESULTS.json OUT (without ending) writes OUT.svg and OUT.png. Needs matplotlib."""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

ORDER = ["memcpy", "native", "engine, C", "engine, Rust", "wasmtime, C", "wasmtime, Rust", "wasmer, C", "extism, C"]
COLORS = {"memcpy": "#999999", "native": "#666666", "engine": "#1f77b4", "wasmtime": "#ff7f0e", "wasmer": "#2ca02c",
          "extism": "#d62728"}


def color(name):
    return COLORS[name.split(",")[0]]


def main():
    with open(sys.argv[1]) as file:
        results = json.load(file)
    rows = [r for r in results["cells"] if r["records"] == 1000 and r["threads"] == 1]
    works = list(dict.fromkeys(r["work"] for r in rows))
    sizes = sorted({r["size"] for r in rows})
    plt.rcParams.update({"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "bench"})
    figure, axes = plt.subplots(len(works), len(sizes), figsize=(4 * len(sizes), 1.9 * len(works)), squeeze=False)
    for row in rows:
        ax = axes[works.index(row["work"])][sizes.index(row["size"])]
        names = [n for n in ORDER if n in row["ns_per_record"]]
        values = [row["ns_per_record"][n] for n in names]
        ax.barh(names, values, color=[color(n) for n in names])
        ax.set_xscale("log")
        ax.invert_yaxis()
        for y, value in enumerate(values):
            ax.text(value, y, f" {value:,.0f}", va="center")
        ax.margins(x=0.25)
        size = row["size"]
        ax.set_title(f"{row['work']}, {size if size < 1024 else size // 1024} {'B' if size < 1024 else 'KiB'}")
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat:
        if not ax.has_data():
            ax.set_visible(False)
    machine = results["machine"]
    figure.suptitle(f"ns per record, batches of 1,000, log scale; {machine['CPU']}, {machine['date']}")
    figure.tight_layout()
    figure.savefig(sys.argv[2] + ".svg", metadata={"Date": None})
    figure.savefig(sys.argv[2] + ".png", dpi=110)


if __name__ == "__main__":
    main()
