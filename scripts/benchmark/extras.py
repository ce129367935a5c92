"""Figures that are no race between contenders: each by a small program of its own, which prints lines of JSON."""

import json
import subprocess

GUESTS = ("c", "rust", "cpp", "go")


def lines(command, timeout=300):
    """What a program printed; an empty list, with a word about it, if it failed."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"  {command[0]}: {error}")
        return []
    if done.returncode != 0:
        print(f"  {' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[:200]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def identities(guests, languages=GUESTS):
    return [guests / f"{language}_identity.wasm" for language in languages]


def measure(build, guests, wat, quick):
    """All extras, by name. `wat` is where the tests' guests in WAT were compiled to."""
    few = ("c", "rust") if quick else GUESTS
    density = ["--count", "200"] if quick else []
    extras = {
        "stall": [build / "bench-stall", "--json"],
        "calls": [build / "bench-calls", "--json", wat / "h_bench.wasm"],
        "many": [build / "bench-many", "--json", *identities(guests, few)],
        "density": [build / "bench-density", "--json", *density, *identities(guests, few)],
        "cache": [build / "bench-cache", "--json", *identities(guests, few)],
        "identity": [build / "bench-identity", "--json", *identities(guests, few)],
    }
    results = {}
    for name, command in extras.items():
        print(f"  {name}", flush=True)
        results[name] = lines(command)
    print("  turns", flush=True)
    results["turns"] = [row for n in (1, 100, 10_000)
                        for row in lines([build / "bench-turns", "--json", guests / "c_identity.wasm", n])]
    return results
