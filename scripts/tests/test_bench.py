"""The driver of `make bench` believes nobody, and writes its figures where they belong.

$WASM_ENGINE_BENCH has bench-native and bench-input.
"""

import contextlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
from benchmark import breakdown, cells, page, report  # noqa: E402

BUILD = Path(os.environ["WASM_ENGINE_BENCH"])

# Runs the native contender, and then changes what this is about.
LIAR = """#!{python}
import json, subprocess, sys
from pathlib import Path
arguments = sys.argv[1:]
done = subprocess.run([{native!r}, *arguments], capture_output=True, text=True)
line = json.loads(done.stdout)
output = Path(arguments[arguments.index("--output") + 1]) if "--output" in arguments else None
{lie}
print(json.dumps(line))
"""


class Driver(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def liar(self, name, lie):
        path = self.directory / name
        path.write_text(LIAR.format(python=sys.executable, native=str(BUILD / "bench-native"), lie=lie))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def drive(self, contenders, cell="filter:10x64"):
        command = [sys.executable, SCRIPTS / "bench.py", "--build", BUILD, "--guests", self.directory / "none",
                   "--peers", self.directory / "none", "--out", self.directory / "out", "--cell", cell, "--rounds", "2",
                   "--seconds", "0.01", "--no-extras"]
        for name, program in contenders.items():
            command += ["--contender", f"{name}={program}"]
        for other in cells.contenders(BUILD, self.directory, self.directory):
            if other.name not in ("native", "memcpy", *contenders):  # Whether they are built is not the question here.
                command += ["--contender", f"{other.name}=/nowhere"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        self.assertNotIn("Traceback", done.stderr)
        results = json.loads((self.directory / "out" / "results.json").read_text())
        return done, results["cells"][0]

    def assert_disqualified(self, lie, reason, name="other"):
        done, cell = self.drive({name: self.liar("liar", lie)})
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(reason, cell["disqualified"][name])
        self.assertNotIn(name, cell["ns_per_record"])
        self.assertIn("native", cell["ns_per_record"])
        self.assertIn(f"DISQUALIFIED in filter 10 x 64 B: {name}", done.stdout)

    def test_who_tells_the_truth_has_figures(self):
        done, cell = self.drive({"other": self.liar("honest", "pass")})
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(cell["disqualified"], {})
        self.assertGreater(cell["ns_per_record"]["other"], 0)

    def test_one_wrong_byte_disqualifies(self):
        lie = "if output: data = bytearray(output.read_bytes()); data[-3] ^= 1; output.write_bytes(data)"
        self.assert_disqualified(lie, "of the output is")

    def test_this_library_is_no_exception(self):
        lie = "if output: data = bytearray(output.read_bytes()); data[-3] ^= 1; output.write_bytes(data)"
        self.assert_disqualified(lie, "of the output is", report.OURS)

    def test_a_wrong_topic_disqualifies(self):
        self.assert_disqualified("if output: output.write_bytes(b'\\x01' + output.read_bytes()[1:])", "byte 0 of the output")

    def test_missing_output_disqualifies(self):
        self.assert_disqualified("if output: output.write_bytes(output.read_bytes()[:-1])", "bytes of output instead of")

    def test_no_output_disqualifies(self):
        self.assert_disqualified("if output: output.unlink()", "it wrote no output")

    def test_who_skips_work_only_while_timed_is_found_out(self):
        self.assert_disqualified("line['output_records'] -= 1", "output_records of")

    def test_who_lies_in_a_later_round_only_is_found_out(self):
        self.assert_disqualified("if not output: line['output_bytes'] += 1", "output_bytes of")

    def test_who_crashes_is_disqualified(self):
        self.assert_disqualified("sys.exit('boom')", "it ended with 1: boom")

    def test_who_prints_nonsense_is_disqualified(self):
        self.assert_disqualified("print('no'); sys.exit(0)", "it printed no JSON")


class Breakdown(unittest.TestCase):
    """What a function is there for is told by its name."""

    def test_samples_of_perf(self):
        report = """
            7|[JIT] tid 12|[.] 0x00007ff81d365df3
            5|[JIT] tid 12|[.] 0x00007ff81d36595b
            3|libwasm_engine.so|[.] wasm_engine::guest::work::Work::check
            2|libwasm_engine.so|[.] wasm_engine_batch::crc32c::gfni::update
            4|libc.so.6|[.] __memmove_avx512_unaligned_erms
            9|[kernel.kallsyms]|[k] finish_task_switch.isra.0
            1|libwasm_engine.so|[.] wasm_engine_transform_and_poll"""
        self.assertEqual(breakdown.samples(report), {
            breakdown.GUEST: 12, "check of the batch": 3, "CRC": 2, "copies by memcpy": 4, breakdown.REST: 1})

    def test_instructions_of_callgrind(self):
        annotated = """
1,000 (100.0%)  PROGRAM TOTALS
  600 (60.00%)  ???:0x00000000059dbfce [???]
  300 (30.00%)  /src/crates/batch/src/record.rs:wasm_engine::engine::drive::ActivePoll::drive [/lib/libwasm_engine.so]
  100 (10.00%)  ???:(anonymous namespace)::count_records(void*, unsigned long) [/build/bench-instructions]"""
        self.assertEqual(breakdown.instructions(annotated), {
            breakdown.GUEST: 600, "check of the batch": 300, "the host's sink": 100})


class Page(unittest.TestCase):
    RESULTS = {"targets": [{"what": "speed", "bound": ">= 2", "measured": 3.0, "reached": True}], "extras": {}, "cells": []}

    def fill(self, text):
        with contextlib.redirect_stdout(io.StringIO()):
            return page.filled(text, self.RESULTS)

    def test_a_block_is_replaced_and_nothing_else(self):
        filled = self.fill("before\n\n<!-- bench: targets -->\n\nold\n\n<!-- end -->\n\nafter\n")
        self.assertTrue(filled.startswith("before\n\n<!-- bench: targets -->\n\n| to reach"))
        self.assertIn("| speed | >= 2 | 3.00 | reached |\n\n<!-- end -->\n\nafter\n", filled)
        self.assertNotIn("old", filled)
        self.assertEqual(self.fill(filled), filled)

    def test_a_block_without_figures_stays(self):
        text = "<!-- bench: many -->\n\nold\n\n<!-- end -->\n"
        self.assertEqual(self.fill(text), text)

    def test_an_unknown_block_is_an_error(self):
        with self.assertRaises(SystemExit):
            self.fill("<!-- bench: nothing -->\n\n<!-- end -->\n")

    def test_the_pages_have_known_blocks_only(self):
        for name in ("README.md", "docs/performance.md"):
            text = (SCRIPTS.parent / name).read_text()
            names = re.findall(r"<!-- bench: (\S+) -->", text)
            self.assertTrue(names)
            self.assertLessEqual(set(names), set(page.BLOCKS))
            self.assertEqual(len(names), text.count("<!-- end -->"))


if __name__ == "__main__":
    unittest.main()
