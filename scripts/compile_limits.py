#!/usr/bin/env python3
"""Looks for the modules that cost the most of those that the limits of compiling accept.

    scripts/compile_limits.py BENCH-COMPILE [--seconds N] [FAMILY...]

Each family makes modules of one kind of any size. The largest accepted size is found by bisection and compiled: seconds of
processor time and MiB of memory. With --seconds, mixtures of families are tried for that long as well: what is expensive is
varied further. The table is what docs/compile-limits.md shows.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from benchmark import hostile  # noqa: E402


class Bench:
    def __init__(self, program):
        self.program = program
        self.scratch = tempfile.TemporaryDirectory()
        self.path = Path(self.scratch.name) / "module.wasm"

    def run(self, module, *flags):
        self.path.write_bytes(module)
        done = subprocess.run([self.program, *flags, self.path], capture_output=True, text=True, check=False)
        return json.loads(done.stdout)

    def accepts(self, module):
        return not self.run(module, "--validate").get("refused", "died")


def largest(bench, make, most=1 << 24):
    """The largest accepted size up to some percent."""
    low, high = 1, 2
    while high < most and bench.accepts(make(high)):
        low, high = high, high * 2
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if bench.accepts(make(middle)) else (low, middle)
    return low


def show(name, size, module, cost):
    if "compile_s" not in cost:
        print(f"{name:24} {size:>9} {len(module):>9} B  {cost}", flush=True)
        return
    print(
        f"{name:24} {size:>9} {len(module):>9} B  {cost['compile_s']:7.2f} s {cost['compile_mib']:7.0f} MiB  "
        f"validate {cost['validate_s'] * 1e3:6.0f} ms {cost['validate_mib']:5.0f} MiB  {cost['refused'][:80]}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("families", nargs="*")
    arguments = parser.parse_intermixed_args()
    bench = Bench(arguments.bench)
    print(f"{'family':24} {'size':>9} {'module':>11}  {'compilation':>22}")
    for name in arguments.families or hostile.FAMILIES:
        make = hostile.FAMILIES[name]
        size = largest(bench, make)
        module = make(size)
        show(name, size, module, bench.run(module))
    climb(bench, arguments.seconds)


def climb(bench, seconds):
    """Hill climbing over mixtures: functions with several kinds of bodies, each repeated."""
    end = time.monotonic() + seconds
    worst = {"compile_s": 0.0, "compile_mib": 0.0}
    best = {what: hostile.mixture() for what in worst}
    while time.monotonic() < end:
        what = random.choice(list(worst))
        genes = hostile.vary(best[what]) if worst[what] and random.random() < 0.8 else hostile.mixture()
        size = largest(bench, lambda n, genes=genes: hostile.of_mixture(genes, n), 1 << 20)
        module = hostile.of_mixture(genes, size)
        cost = bench.run(module)
        if cost.get(what, 0) > worst[what]:
            worst[what], best[what] = cost[what], genes
            show(f"mixture, {what}", size, module, cost)
            print(f"    {genes}", flush=True)
        if "died" in cost:
            print(f"died: {size} {genes}", flush=True)


if __name__ == "__main__":
    main()
