#!/usr/bin/env python3
"""Draws results.json: plot.py RESULTS.json OUT (without ending) writes OUT.svg and OUT.png. Needs matplotlib."""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

ORDER = ["memcpy", "native", "engine, C", "engine, Rust", "wasmtime, C", "wasmtime, Rust", "wasmer, C", "JavaScript",
         "wazero, C", "wazero, Rust", "extism, C"]
COLORS = {"memcpy": "#999999", "native": "#666666", "engine": "#1f77b4", "wasmtime": "#ff7f0e", "wasmer": "#2ca02c",
          "extism": "#d62728", "wazero": "#9467bd", "JavaScript": "#8c564b"}


def color(name):
    return COLORS[name.split(",")[0]]


def main():
    with open(sys.argv[1]) as file:
        results = json.load(file)
    rows = [r for r in results["cells"] if r["records"] == 1000 and r["threads"] == 1]
    works = list(dict.fromkeys(r["work"] for r in rows))
    sizes = sorted({r["size"] for r in rows})
    plt.rcParams.update({"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "bench"})
    # Points, not bars, since a logarithmic axis has no zero that a bar could begin at; one axis for each size.
    figure, axes = plt.subplots(len(works), len(sizes), figsize=(4 * len(sizes), 2.2 * len(works)), squeeze=False,
                                sharex="col")
    for row in rows:
        ax = axes[works.index(row["work"])][sizes.index(row["size"])]
        names = [n for n in ORDER if n in row["ns_per_record"]]
        values = [row["ns_per_record"][n] for n in names]
        ax.scatter(values, names, color=[color(n) for n in names], s=22, zorder=2)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.invert_yaxis()
        for y, value in enumerate(values):
            ax.annotate(f"{value:,.0f}", (value, y), xytext=(6, 0), textcoords="offset points", va="center")
        ax.margins(x=0.15, y=0.1)
        size = row["size"]
        ax.set_title(f"{row['work']}, {size if size < 1024 else size // 1024} {'B' if size < 1024 else 'KiB'}")
        ax.grid(axis="x", color="#dddddd", zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat:
        ax.tick_params(labelbottom=True)
        ax.minorticks_off()
        if not ax.has_data():
            ax.set_visible(False)
    machine = results["machine"]
    figure.suptitle(f"ns per record, batches of 1,000, less is better, logarithmic; {machine['CPU']}, {machine['date']}")
    figure.tight_layout()
    figure.savefig(sys.argv[2] + ".svg", metadata={"Date": None})
    figure.savefig(sys.argv[2] + ".png", dpi=110)


if __name__ == "__main__":
    main()
