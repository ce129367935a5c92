#!/usr/bin/env python3
"""Measures this library beside its peers: `make bench` and `make bench-quick` run it.

All contenders get the same batches in turn, round by round, so that noise hits them alike, and the median of the rounds
counts. Each is a program of its own. What it writes is compared with what the native contender writes, byte by byte, and
what it counted while it was timed with what that should have been: whoever differs is disqualified, this library included.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from benchmark import breakdown, cells, extras, machine, race, report  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="where CMake put the benchmarks")
    parser.add_argument("--guests", type=Path, default=ROOT / "build/guests")
    parser.add_argument("--wat", type=Path, help="where the tests' guests in WAT were compiled to")
    parser.add_argument("--peers", type=Path, default=ROOT / "target/peers", help="what Cargo made of peers/")
    parser.add_argument("--direct-calls", type=Path, help="the example direct-calls")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--quick", action="store_true", help="some cells only, in less than two minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15, help="of each turn")
    parser.add_argument("--cell", action="append", default=[], metavar="WORK:RECORDSxBYTES", help="only these")
    parser.add_argument("--contender", action="append", default=[], metavar="NAME=PROGRAM", help="another program, or in place of one")
    parser.add_argument("--no-extras", action="store_true", help="only the race")
    return parser.parse_args()


def cells_of(arguments):
    if arguments.cell:
        chosen = []
        for text in arguments.cell:
            work, shape = text.split(":")
            records, size = shape.split("x")
            chosen.append(cells.Cell(work, int(records), int(size)))
        return chosen
    return cells.quick_cells() if arguments.quick else cells.all_cells()


def contenders_of(arguments):
    """Those whose programs are there, and the names of those that are left out."""
    known = cells.contenders(arguments.build, arguments.guests, arguments.peers)
    for text in arguments.contender:
        name, program = text.split("=", 1)
        known = [c for c in known if c.name != name] + [cells.Contender(name, Path(program))]
    known.sort(key=lambda c: c.name != race.REFERENCE)  # The reference comes first.
    there = [c for c in known if c.program.exists()]
    return there, [c.name for c in known if not c.program.exists()]


def make_input(build, directory, cell):
    path = directory / f"{cell.records}x{cell.size}.batch"
    subprocess.run([build / "bench-input", str(cell.records), str(cell.size), path], check=True)
    return path


def run_race(arguments, cell, contenders):
    telling = cell.is_telling or cell.threads > 1
    rounds = arguments.rounds + (2 if telling and not arguments.quick else 0)
    seconds = arguments.seconds * (2 if telling else 1)
    runner = race.Race(cell, contenders, make_input(arguments.build, arguments.out, cell),
                       say=lambda line: print(f"  {line}", flush=True))
    for number in range(rounds):
        runner.round(seconds, number == 0)
    return runner


def bare_call(arguments, contender, results):
    """An asynchronous call in Wasmtime that only suspends and resumes, and a batch of one, by turns."""
    if arguments.direct_calls is None or contender is None:
        return
    cell = cells.Cell("identity", 1, 64)
    batch = make_input(arguments.build, arguments.out, cell)
    bare, ours = [], []
    for _ in range(7):
        calls = {row["call"]: row["ns"] for row in extras.lines([arguments.direct_calls, "--json"])}
        if "suspended" not in calls:
            return
        bare.append(calls["suspended"])
        ours.append(race.run(contender.command(cell, batch, 0.3), 0.3)["ns_per_record"])
    results["bare_call_ns"] = statistics.median(bare)
    results["batch_of_one_beside_it_ns"] = statistics.median(ours)
    results["batch_of_one_over_bare_call"] = statistics.median(o / b for o, b in zip(ours, bare))


def two_threads(arguments, contenders, results):
    """Throughput of two threads with an engine each over that of one, by turns, round by round."""
    batch = make_input(arguments.build, arguments.out, cells.Cell("identity", 1000, 1024))
    results["two threads"] = []
    for contender in contenders:
        ratios, by_clock, waits = [], [], 0
        for _ in range(3 if arguments.quick else 7):
            one, two = (race.run(contender.command(cells.Cell("identity", 1000, 1024, n), batch, 0.3), 0.3)
                        for n in (1, 2))
            ratios.append(one["ns_per_record"] / two["ns_per_record"])
            by_clock.append(one["wall_ns_per_record"] / two["wall_ns_per_record"])
            waits += two["waits"]
        results["two threads"].append({
            "contender": contender.name, "times one": round(statistics.median(ratios), 3),
            "by the clock": round(statistics.median(by_clock), 3), "best": round(max(by_clock), 3), "waits": waits})


def where_time_goes(arguments, contender, results):
    """What a record's time is spent on, for this library with the C guest."""
    if contender is None or arguments.quick:
        return
    shapes = [cells.Cell("identity", *shape) for shape in breakdown.SHAPES]
    batches = {cell: make_input(arguments.build, arguments.out, cell) for cell in shapes}
    print("  breakdown", flush=True)
    results["extras"]["breakdown"] = breakdown.measure(
        contender, shapes, batches, arguments.build / "bench-instructions",
        lambda cell: report.figure_of(results, (cell.work, cell.records, cell.size, cell.threads), contender.name))


def main():
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    contenders, left_out = contenders_of(arguments)
    results = {"machine": machine.describe(ROOT), "left_out": left_out, "cells": [], "extras": {}}
    for name, value in results["machine"].items():
        print(f"{name:<26} {value}")
    for name in left_out:
        print(f"left out: {name}, which was not built")
    versions = {}
    for cell in cells_of(arguments):
        print(f"{cell}", flush=True)
        runner = run_race(arguments, cell, contenders)
        results["cells"].append(runner.result())
        versions |= runner.versions
    results["versions"] = versions
    if not arguments.no_extras:
        results["extras"] = extras.measure(arguments.build, arguments.guests, arguments.wat or arguments.guests,
                                           arguments.quick)
        judged = {"native", "memcpy", report.OURS, "wasmtime, C"}
        try:
            bare_call(arguments, next((c for c in contenders if c.name == report.OURS), None), results["extras"])
            two_threads(arguments, [c for c in contenders if c.name in judged], results["extras"])
        except race.Disqualified as reason:
            print(f"  left out, since a contender failed: {reason}")
        where_time_goes(arguments, next((c for c in contenders if c.name == report.OURS), None), results)
    results["targets"] = report.targets(results)

    print()
    for line in report.ratio_lines(results):
        print(line)
    for line in report.extra_lines(results["extras"]):
        print(line)
    if not arguments.no_extras:
        for line in report.target_lines(results["targets"]):
            print(line)
    path = arguments.out / "results.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    table = arguments.out / "table.md"
    table.write_text("\n".join(report.markdown(results)) + "\n")
    print(f"\nwritten: {path} and {table}")
    disqualified = {name for row in results["cells"] for name in row["disqualified"]}
    if disqualified:
        print(f"DISQUALIFIED, so without figures: {', '.join(sorted(disqualified))}")
    return 1 if disqualified else 0


if __name__ == "__main__":
    sys.exit(main())
