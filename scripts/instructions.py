#!/usr/bin/env python3
"""Counts the instructions of the hot path and compares them with the baseline in bench/instructions.json.

    scripts/instructions.py BENCH-INSTRUCTIONS C_IDENTITY.wasm            fails if a count differs by more than 2 %
    scripts/instructions.py BENCH-INSTRUCTIONS C_IDENTITY.wasm --renew    writes the baseline anew

callgrind counts, on the main thread only, so that what the library's ticker does is left out. Counts repeat to
some hundredths of a per cent, however busy the machine. They do depend on the compilers, and on which of the processor's features glibc's
memcpy and Cranelift go by: valgrind shows programs a processor of its own, with AVX2 if this one has that, and no AVX-512.
So a baseline holds for all processors with AVX2, and is not compared on others.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BASELINE = Path(__file__).resolve().parent.parent / "bench" / "instructions.json"
TOLERANCE = 0.02
# Records, bytes of a value, and batches in the loop that is counted. A fourth number: so many batches in each call.
CELLS = {"1000x64": (1000, 64, 20), "1000x1024": (1000, 1024, 20), "1x64": (1, 64, 2000),
         "1x64 in eights": (1, 64, 2000, 8)}


def count(program, guest, records, size, batches, *per_call):
    """Instructions of the main thread per batch."""
    with tempfile.TemporaryDirectory(prefix="instructions-") as directory:
        command = ["valgrind", "--tool=callgrind", "--smc-check=all-non-file", "--instr-atstart=no",
                   "--separate-threads=yes", f"--callgrind-out-file={directory}/out", program, guest,
                   *(str(number) for number in (records, size, batches, *per_call))]
        done = subprocess.run(command, capture_output=True, text=True)
        # One file for each thread, numbered from 1.
        main = Path(directory) / "out-01"
        if done.returncode != 0 or not main.exists():
            sys.exit(f"instructions: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
        total = re.search(r"^totals: (\d+)", main.read_text(), re.M)
        return int(total.group(1)) / batches


def has_avx2():
    return " avx2 " in Path("/proc/cpuinfo").read_text().replace("\n", " ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("guest")
    parser.add_argument("--renew", action="store_true")
    arguments = parser.parse_args()
    if not has_avx2():
        print("instructions: not compared: the baseline is of processors with AVX2")
        return 0
    counts = {cell: count(arguments.program, arguments.guest, *shape) for cell, shape in CELLS.items()}
    if arguments.renew:
        BASELINE.write_text(json.dumps({cell: round(n, 1) for cell, n in counts.items()}, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    failed = False
    print(f"{'batch':<15} {'instructions':>14} {'baseline':>14} {'change':>9}")
    for cell, found in counts.items():
        change = found / baseline[cell] - 1
        failed |= abs(change) > TOLERANCE
        print(f"{cell:<15} {found:>14,.1f} {baseline[cell]:>14,.1f} {change:>+9.2%}")
    if failed:
        print("instructions: more than 2 % away from the baseline. If that is meant, or a gain, write it down: "
              "make renew-instructions")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
