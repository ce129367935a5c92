#!/usr/bin/env python3
"""Writes the figures of a run of `make bench` into the pages: page.py RESULTS.json PAGE...

What stands between <!-- bench: NAME --> and <!-- end --> is replaced.
"""

import json
import re
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmark import report  # noqa: E402

WIDTH = 120


def paragraph(text):
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def ns(results, records, size, contender):
    found = report.figure_of(results, ("identity", records, size, 1), contender)
    return "-" if found is None else f"{found:,.0f}"


def run(results):
    """What was measured, when and where."""
    machine = results["machine"]
    versions = results["versions"]
    wazero = versions.get("wazero, C", "").split(", ")[-1]
    ours, clang = machine["this library's Wasmtime"], machine["guests' clang"]
    peers = [f"Wasmtime {ours}, here and in its C API", f"Wasmer {machine['wasmer']}" if "wasmer, C" in versions else "no Wasmer",
             f"Extism {machine['extism']}",
             f"wazero {machine['wazero']}" + (f" with {wazero}" if wazero else ""),
             f"V8 {versions['JavaScript']} in Node's library" if "JavaScript" in versions else "no V8"]
    yield "| | |"
    yield "| --- | --- |"
    for name, value in (("date", machine["date"]), ("revision", machine["revision"]), ("CPU", machine["CPU"]),
                        ("load before", machine["load before"]), ("kernel", machine["kernel"]),
                        ("compilers", f"{machine['rustc']}; {machine['C++ compiler']}; {clang} for guests"),
                        ("peers", "; ".join(peers))):
        yield f"| {name} | {value} |"


def crc(results):
    """What the CRC takes."""
    ratio = report.ratio_of(results, ("identity", 1000, 1024, 1), "engine, C, no CRC", "memcpy")
    large = report.ratio_of(results, ("identity", 1000, 16384, 1), "engine, C, no CRC", "memcpy")
    small, middle, big = (ns(results, 1000, size, "engine, C, no CRC") for size in (64, 1024, 16384))
    times = f" The last two are {ratio:.2f} and {large:.2f} times the two copies." if ratio and large else ""
    yield from paragraph(
        f"This library checks the batch's CRC. No other does. Without the CRC identity takes {small} ns at 64 B, {middle} ns at "
        f"1 KiB and {big} ns at 16 KiB.{times}")


def threads(results):
    rows = {row["contender"]: row["times one"] for row in results["extras"].get("two threads", [])}
    if report.OURS in rows:
        yield from paragraph(
            f"Two threads with an engine each had {rows[report.OURS]:.2f} times the throughput of one. `native` had "
            f"{rows.get('native', 0):.2f} and Wasmtime's C API {rows.get('wasmtime, C', 0):.2f}.")


def breakdown(results):
    """Nanoseconds and instructions of each part."""
    rows = results["extras"].get("breakdown", [])
    shapes = list(dict.fromkeys((row["records"], row["size"]) for row in rows))
    yield "| | " + " | ".join(f"{n:,} x {report.size_name(s)}, ns | instructions" for n, s in shapes) + " |"
    yield "| --- |" + " ---: | ---: |" * len(shapes)

    def text(value, digits):
        return "-" if value is None else f"{value:,.{digits}f}"

    for part in dict.fromkeys(row["part"] for row in rows):
        found = {(row["records"], row["size"]): row for row in rows if row["part"] == part}
        cells = [f"{text(found[shape]['ns'], 1)} | {text(found[shape]['instructions'], 0)}" for shape in shapes]
        yield f"| {part} | " + " | ".join(cells) + " |"
    sums = []
    for shape in shapes:
        for key, digits in (("ns", 1), ("instructions", 0)):
            values = [row[key] for row in rows if (row["records"], row["size"]) == shape]
            sums.append(text(None if None in values else sum(values), digits))
    yield "| together | " + " | ".join(sums) + " |"


LANGUAGES = {"(two copies, native)": "two copies, native", "c_identity.wasm": "C", "rust_identity.wasm": "Rust SDK",
             "cpp_identity.wasm": "C++", "go_identity.wasm": "Go"}


def identity(results):
    yield "| records x bytes | guest | ns per record | records per second | times two copies |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for row in results["extras"].get("identity", []):
        yield (f"| {row['records']:,} x {row['bytes']:,} | {LANGUAGES.get(row['guest'], row['guest'])} | {row['ns']:.1f} | "
               f"{1e9 / row['ns']:,.0f} | {row['times_copies']:.2f} |")


def many(results):
    times = {(row["guest"], row["batches"]): row["ns"] for row in results["extras"].get("many", [])}
    guests = list(dict.fromkeys(guest for guest, _ in times))
    yield "| batches in a call | " + " | ".join(f"{LANGUAGES.get(g, g)} | times alone" for g in guests) + " |"
    yield "| ---: |" + " ---: | ---: |" * len(guests)
    for n in dict.fromkeys(n for _, n in times):
        cells = [f"{times[g, n]:.0f} | {times[g, n] / times[g, 0]:.2f}" for g in guests]
        yield f"| {n or 'alone'} | " + " | ".join(cells) + " |"


def calls(results):
    yield "| one call | ns | without the loop |"
    yield "| --- | ---: | ---: |"
    for row in results["extras"].get("calls", []):
        yield f"| {row['call']} | {row['ns']:.1f} | {row['ns_without_loop']:.1f} |"


def speed(results):
    """The README's lines."""
    def three(contender):
        return [ns(results, 1000, size, contender) for size in (64, 1024, 16384)]

    ours, wasmtime, wasmer, script, wazero = (three(n) for n in (
        report.OURS, "wasmtime, C", "wasmer, C", "JavaScript", "wazero, C"))
    one, other = ns(results, 1, 64, report.OURS), ns(results, 1, 64, "wasmer, C")
    machine = results["machine"]
    reached = all(row["reached"] for row in results["targets"])
    bare = "" if "-" in wasmer else (f"For records parsed beforehand Wasmer takes {', '.join(wasmer[:2])} and {wasmer[2]} ns. ")
    beside = "" if other == "-" else f" and {other} in Wasmer"
    yield from paragraph(
        f"Identity in C takes {ours[0]} ns per record of 64 B, {ours[1]} ns at 1 KiB and {ours[2]} ns at 16 KiB, with the CRC. "
        f"Wasmtime's C API takes {', '.join(wasmtime[:2])} and {wasmtime[2]} ns. wazero takes {', '.join(wazero[:2])} and "
        f"{wazero[2]} ns. {bare}A function in JavaScript takes {', '.join(script[:2])} and {script[2]} ns on V8. A batch of one "
        f"takes {one} ns here{beside}. Measured on {machine['date'].split(' ')[0]}. [Performance](docs/performance.md) has all "
        f"figures."
        + ("" if reached else " Not all goals are reached."))


BLOCKS = {"run": run, "race": report.race_table, "targets": report.target_table, "crc": crc, "threads": threads,
          "breakdown": breakdown, "identity": identity, "many": many, "calls": calls, "speed": speed}


def filled(text, results):
    """The page with its blocks written anew. A block without figures stays as it is."""
    def block(found):
        name = found.group(2)
        if name not in BLOCKS:
            sys.exit(f"page: there is no block named {name}")
        extra = {"breakdown", "identity", "many", "calls"} & {name}
        if any(not results["extras"].get(e) for e in extra):
            print(f"page: no figures for {name}, which stays as it is")
            return found.group(0)
        lines = "\n".join(BLOCKS[name](results))
        return f"{found.group(1)}\n{lines}\n\n{found.group(4)}"

    return re.sub(r"(<!-- bench: (\S+) -->\n)(.*?)(<!-- end -->)", block, text, flags=re.S)


def main():
    results = json.loads(Path(sys.argv[1]).read_text())
    for name in sys.argv[2:]:
        page = Path(name)
        page.write_text(filled(page.read_text(), results))
        print(f"written: {page}")


if __name__ == "__main__":
    main()
