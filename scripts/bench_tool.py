#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many records per second `wasm-transform run` takes, beside jq and kcat on the same file.

    scripts/bench_tool.py TOOL GUEST [--records N] [--size BYTES] [--rounds N]

The file has JSON of one size, a record a line. Each program reads it and writes to /dev/null, or kcat to the broker that
librdkafka has in itself for tests. Rounds are in turn; the median counts. Beside the time on the clock stands processor
time, which other programs on the machine hardly change.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time


def write_records(path, count, size):
    random.seed(1)
    with open(path, "w", encoding="ascii") as file:
        for i in range(count):
            record = {"id": i, "user": f"user-{i % 997}", "tags": random.choices(["a", "bb", "ccc"], k=6),
                      "amount": random.random() * 1000, "ok": i % 2 == 0, "at": {"x": i * 3, "y": -i}, "text": ""}  # fmt: skip
            record["text"] = "lorem ipsum " * (size // 12)
            record["text"] = record["text"][: max(0, len(record["text"]) - (len(json.dumps(record)) - size + 1))]
            file.write(json.dumps(record) + "\n")


def measure(command):
    """Seconds on the clock and of the processor."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        errors = running.stderr.read()
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {running.returncode}: {errors.decode()}")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("guest")
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "records.ndjson"
        write_records(path, arguments.records, arguments.size)
        run = [arguments.tool, "run", arguments.guest, str(path), "-f", "json", "-o", "/dev/null"]
        commands = {"wasm-transform -j1": [*run, "-j1"], "wasm-transform -j2": [*run, "-j2"]}
        if shutil.which("jq"):
            commands["jq -c ."] = ["jq", "-c", ".", str(path)]
        if shutil.which("kcat"):
            mock = ["-X", "test.mock.num.brokers=1", "-X", "log_level=0", "-b", "none"]
            commands["kcat -P"] = ["kcat", "-q", *mock, "-P", "-t", "topic", "-l", str(path)]
        load = os.getloadavg()[0]
        times = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                times[name].append(measure(command))
        print(f"{arguments.records:,} records of {path.stat().st_size // arguments.records:,} bytes, {arguments.rounds} rounds, "
              f"{os.cpu_count()} processors, load {load:.1f} before and {os.getloadavg()[0]:.1f} behind")  # fmt: skip
        print(f"{'':20} {'records/s':>12} {'spread':>8} {'µs of processor per record':>28}")
        for name, pairs in times.items():
            wall = sorted(w for w, _ in pairs)
            processor = statistics.median(p for _, p in pairs) / arguments.records * 1e6
            spread = (wall[-1] - wall[0]) / statistics.median(wall)
            print(f"{name:20} {arguments.records / statistics.median(wall):12,.0f} {spread:8.0%} {processor:28.2f}")


if __name__ == "__main__":
    main()
