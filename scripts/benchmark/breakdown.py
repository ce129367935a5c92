"""Where the time of a record goes: samples of perf and instructions of callgrind, by what a function is there for."""

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

SHAPES = ((1000, 64), (1000, 1024))

# The first that matches counts. Compiled guests have no names. The check is inlined into one of two functions.
PARTS = (
    ("CRC", re.compile(r"crc32|crc_fast", re.I)),
    ("check of the batch", re.compile(r"Work::check|ActivePoll|wasm_engine_batch|crates/batch/")),
    ("copies by memcpy", re.compile(r"mem(cpy|move)|memory_copy")),
    ("the host's sink", re.compile(r"on_records|count_records")),
)
GUEST = "guest, with what is expanded in it"
REST = "rest of the library"


def part_of(function, is_compiled):
    if is_compiled:
        return GUEST
    return next((name for name, pattern in PARTS if pattern.search(function)), REST)


def run(command):
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"  {command[0]}: {error}")
        return None
    if done.returncode != 0:
        print(f"  {command[0]} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        return None
    return done.stdout


def samples(report):
    """Samples by part, of a report of perf with the fields sample, dso and symbol. The kernel's are left out."""
    counted = Counter()
    for line in report.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) < 3 or not fields[0].isdigit() or fields[1].startswith("[kernel"):
            continue
        is_compiled = fields[1].startswith(("[JIT]", "[anon", "//anon", "anon_inode", "memfd"))
        counted[part_of(fields[2], is_compiled)] += int(fields[0])
    return counted


def instructions(annotated):
    """Instructions by part, of what callgrind_annotate prints."""
    counted = Counter()
    for line in annotated.splitlines():
        found = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(.*)$", line)
        if found and found.group(2) != "PROGRAM TOTALS":
            counted[part_of(found.group(2), found.group(2).endswith("[???]"))] += int(found.group(1).replace(",", ""))
    return counted


def by_perf(contender, cell, batch, directory, ns_per_record):
    """Nanoseconds per record by part: the samples' shares of the time that was measured."""
    data = Path(directory) / "perf.data"
    if run(["perf", "record", "-q", "-e", "cpu-clock:u", "-F", "5000", "-o", data, *contender.command(cell, batch, 3)]) is None:
        return {}
    report = run(["perf", "report", "-i", data, "--stdio", "-F", "sample,dso,sym", "-t", "|"])
    counted = samples(report or "")
    return {part: ns_per_record * n / counted.total() for part, n in counted.items()}


def by_callgrind(program, guest, records, size, directory):
    """Instructions per record by part, as scripts/instructions.py counts them."""
    out = Path(directory) / "callgrind"
    batches = 20
    if run(["valgrind", "--tool=callgrind", "--smc-check=all-non-file", "--instr-atstart=no", "--separate-threads=yes",
            f"--callgrind-out-file={out}", program, guest, records, size, batches]) is None:
        return {}
    annotated = run(["callgrind_annotate", "--auto=no", "--threshold=100", f"{out}-01"])
    return {part: n / batches / records for part, n in instructions(annotated or "").items()}


def measure(contender, cells, batches, program, ns_of):
    """Rows of part, records, bytes, nanoseconds and instructions. `ns_of` gives a cell's time as the race measured it."""
    rows = []
    for cell in cells:
        ns = ns_of(cell)
        if ns is None:
            continue
        with tempfile.TemporaryDirectory(prefix="breakdown-") as directory:
            times = by_perf(contender, cell, batches[cell], directory, ns)
            counts = by_callgrind(program, contender.guest(cell.work), cell.records, cell.size, directory)
        for part in [GUEST, *(name for name, _ in PARTS), REST]:
            rows.append({"records": cell.records, "size": cell.size, "part": part,
                         "ns": round(times.get(part, 0), 2) if times else None,
                         "instructions": round(counts.get(part, 0), 1) if counts else None})
    return rows
