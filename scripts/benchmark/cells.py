"""What is measured: cells, and who takes part in each."""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORKS = ("identity", "filter", "redact", "route")
SIZES = (64, 1024, 16384)
BATCHES = (1, 10, 1000)


@dataclass(frozen=True)
class Cell:
    """A work on a batch of `records` values of `size` bytes, by so many threads."""

    work: str
    records: int
    size: int
    threads: int = 1

    def __str__(self):
        threads = "" if self.threads == 1 else f", {self.threads} threads"
        return f"{self.work} {self.records:,} x {self.size:,} B{threads}"

    @property
    def is_telling(self):
        """Whether something is claimed of it; such cells get more rounds."""
        return self.work == "identity" and (self.records, self.size) in {
            (1, 64), (1000, 64), (1000, 1024), (1000, 16384)}


def all_cells():
    return [Cell(w, n, s) for w in WORKS for s in SIZES for n in BATCHES] + [Cell("identity", 1000, 1024, 2)]


def quick_cells():
    telling = [c for c in all_cells() if c.is_telling or c.threads > 1]
    return telling + [Cell("redact", 1000, 1024), Cell("route", 1000, 64)]


@dataclass
class Contender:
    """A program with the arguments of bench/contenders/contender.hh. `guest` gives the module for a work."""

    name: str
    program: Path
    guest: object = None
    arguments: list = field(default_factory=list)
    works: tuple = WORKS
    threads: int = 2  # at most

    def takes_part(self, cell):
        return cell.work in self.works and cell.threads <= self.threads

    def command(self, cell, input_file, seconds, output=None):
        command = [self.program, "--work", cell.work, "--input", input_file, "--threads", cell.threads,
                   "--seconds", seconds, *self.arguments]
        if self.guest is not None:
            command += ["--guest", self.guest(cell.work)]
        if output is not None:
            command += ["--output", output]
        return [str(word) for word in command]


def contenders(build, guests, peers):
    """All of them, the reference first. `build` has what CMake made, `peers` what Cargo made of peers/."""

    def c_guest(work):
        return guests / ("c_identity.wasm" if work == "identity" else f"bench_transform_{work}.wasm")

    def rust_guest(work):
        return guests / ("rust_identity.wasm" if work == "identity" else f"rust_bench_{work}.wasm")

    return [
        Contender("native", build / "bench-native"),
        Contender("memcpy", build / "bench-memcpy", works=("identity",)),
        Contender("engine, C", build / "bench-engine", c_guest),
        Contender("engine, C, no CRC", build / "bench-engine", c_guest, ["--no-crc"]),
        Contender("wasmtime, C", build / "bench-wasmtime", c_guest),
        Contender("wasmer, C", build / "bench-wasmer", lambda work: guests / "bench_plain.wasm"),
        Contender("extism, C", peers / "release" / "bench-extism", lambda work: guests / "bench_extism.wasm"),
        Contender("wazero, C", peers / "bench-wazero", c_guest, threads=1),
        Contender("JavaScript", build / "bench-javascript", lambda work: ROOT / "bench/guests/work.js"),
        Contender("engine, Rust", build / "bench-engine", rust_guest),
        Contender("wasmtime, Rust", build / "bench-wasmtime", rust_guest),
        Contender("wazero, Rust", peers / "bench-wazero", rust_guest, threads=1),
    ]
