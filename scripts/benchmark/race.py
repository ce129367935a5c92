"""Runs contenders in turn, and disqualifies those whose output is not the reference's."""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path

REFERENCE = "native"


class Disqualified(Exception):
    """Why a contender's figures do not count."""


def canonical_totals(data):
    """Records and payload bytes of output in the form of bench/contenders/batch.hh."""
    records = size = at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 4:at + 8], "little")
        at += 8 + length
        records += 1
        size += length
    return records, size


def difference(output, reference):
    """Where two outputs part, for somebody who has to find out why."""
    if len(output) != len(reference):
        return f"{len(output):,} bytes of output instead of {len(reference):,}"
    at = next(i for i, (a, b) in enumerate(zip(output, reference)) if a != b)
    return f"byte {at:,} of the output is {output[at]} instead of {reference[at]}"


def run(command, seconds):
    """The line of JSON that a contender prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 20 * seconds)
    except subprocess.TimeoutExpired:
        raise Disqualified("it did not end") from None
    except OSError as error:
        raise Disqualified(f"it could not be run: {error.strerror}") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise Disqualified(f"it ended with {done.returncode}: {said[0] if said else 'silent'}")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise Disqualified(f"it printed no JSON but {done.stdout[:80]!r}") from None


class Race:
    """All rounds of one cell."""

    def __init__(self, cell, contenders, input_file, say=lambda line: None):
        self.cell = cell
        self.input = input_file
        self.say = say
        self.contenders = [c for c in contenders if c.takes_part(cell)]
        self.figures = {c.name: [] for c in self.contenders}
        self.versions = {}
        self.disqualified = {}
        self._reference = b""
        self._totals = (0, 0)

    def _judge(self, contender, line, output):
        records, size = self._totals
        for name, wanted in (("output_records", records), ("output_bytes", size)):
            if line[name] != wanted * line["batches"]:
                raise Disqualified(f"while timed, {name} of {line['batches']:,} batches were {line[name]:,} "
                                   f"instead of {wanted * line['batches']:,}")
        if output is not None and output != self._reference:
            raise Disqualified(difference(output, self._reference))

    def _turn(self, contender, seconds, want_output):
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            path = Path(directory) / "output" if want_output else None
            line = run(contender.command(self.cell, self.input, seconds, path), seconds)
            output = None
            if path is not None:
                if not path.exists():
                    raise Disqualified("it wrote no output")
                output = path.read_bytes()
        if contender.name == REFERENCE and output is not None:
            self._reference = output
            self._totals = canonical_totals(output)
        self._judge(contender, line, output)
        self.figures[contender.name].append(line["ns_per_record"])
        self.versions[contender.name] = line["version"]

    def round(self, seconds, first):
        """Each contender once. Output is compared in the first round, and counted in all."""
        for contender in self.contenders:
            if contender.name in self.disqualified:
                continue
            try:
                self._turn(contender, seconds, first)
            except Disqualified as reason:
                if contender.name == REFERENCE:
                    raise SystemExit(f"bench: {self.cell}: the reference failed: {reason}") from None
                self.disqualified[contender.name] = str(reason)
                self.figures.pop(contender.name)
                self.say(f"DISQUALIFIED in {self.cell}: {contender.name}: {reason}")

    def result(self):
        return {
            "work": self.cell.work, "records": self.cell.records, "size": self.cell.size, "threads": self.cell.threads,
            "ns_per_record": {n: statistics.median(f) for n, f in self.figures.items() if f},
            "rounds": self.figures, "disqualified": self.disqualified,
        }
