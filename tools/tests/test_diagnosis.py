# SPDX-License-Identifier: Apache-2.0
"""Core dumps, profiles, the map for perf, and how fast a run goes on."""

import json
import os
import pathlib
import pty
import re
import subprocess
import time

from tool import DONE, GUEST_FAILED, OTHER, RECORDS_LOST, TOOL, ToolTest, guest, main, read_terminal

PACE = r"in [\d,]+/s, [\d.]+ \w+/s; out [\d,]+/s, [\d.]+ \w+/s; errors (\d+); lag [\d,]+"


class CoreDumps(ToolTest):
    def assert_core_dump(self, path):
        content = (self.directory / path).read_bytes()
        self.assertTrue(content.startswith(b"\0asm\1\0\0\0"))
        for section in (b"\4core\0", b"\x09corestack\0\4main"):
            self.assertIn(section, content)

    def test_of_a_guest_that_traps_in_a_file(self):
        ended = self.run_guest("wat_traps", "--coredump", "dump", stdin="good\nu and\n", code=GUEST_FAILED)
        self.assertEqual(ended.lines, ["good"])
        self.assertIn("wasm-transform: the guest's core dump is in dump\n", ended.stderr)
        self.assert_core_dump("dump")
        self.assertIn(b"u and", (self.directory / "dump").read_bytes())

    def test_is_for_its_owner_only_and_says_what_it_holds(self):
        for before in (None, 0o644):
            if before:
                (self.directory / "dump").chmod(before)
            ended = self.run_guest("wat_traps", "--coredump", "dump", stdin="u\n", code=GUEST_FAILED)
            self.assertIn("it holds all of the guest's memory, with records and environment", ended.stderr)
            self.assertEqual((self.directory / "dump").stat().st_mode & 0o777, 0o600)

    def test_in_a_directory_has_the_transforms_name(self):
        (self.directory / "dumps").mkdir()
        for name in ("mine", "../mine/too"):
            self.run_guest("wat_traps", "--coredump", "dumps", "--name", name, stdin="d\n", code=GUEST_FAILED)
        self.assertEqual(self.files(), ["dumps/.._mine_too.coredump", "dumps/mine.coredump"])
        self.assert_core_dump("dumps/mine.coredump")

    def test_of_a_guest_that_cannot_start(self):
        self.run_guest("wat_start_trap", "--coredump", "dump", stdin="x\n", code=GUEST_FAILED)
        self.assert_core_dump("dump")

    def test_of_the_last_record_that_is_skipped(self):
        ended = self.run_guest("wat_traps", "--on-error", "skip", "--coredump", "dump", stdin="u one\ngood\nd two\n",
                               code=RECORDS_LOST)
        self.assertEqual(ended.lines, ["good"])
        self.assert_core_dump("dump")
        self.assertIn(b"d two", (self.directory / "dump").read_bytes())

    def test_there_is_none_of_a_guest_that_does_well_nor_unless_asked_for(self):
        ended = self.run_guest("wat_traps", "--coredump", "dump", stdin="good\n")
        self.assertNotIn("core dump", ended.stderr)
        ended = self.run_guest("wat_traps", stdin="u\n", code=GUEST_FAILED)
        self.assertNotIn("core dump", ended.stderr)
        self.assertEqual(self.files(), [])

    def test_that_cannot_be_written_does_not_hide_the_failure(self):
        ended = self.run_guest("wat_traps", "--coredump", "no/dump", stdin="u\n", code=GUEST_FAILED)
        self.assertIn("wasm-transform: cannot create no/dump", ended.stderr)
        self.assertIn("standard input:1: the guest failed at this record", ended.stderr)
        ended = self.run_guest("wat_traps", "--coredump", "no/dump", "--on-error", "skip", stdin="u\n", code=OTHER)
        self.assertIn("wasm-transform: cannot create no/dump", ended.stderr)


class Profiles(ToolTest):
    def profile(self, path):
        with open(self.directory / path, encoding="utf-8") as file:
            return json.load(file)

    def functions(self, thread):
        """Names of the functions in which samples were taken. One that was taken outside of all has no stack."""
        function = thread["frameTable"]["func"]
        names = [thread["stringArray"][i] for i in thread["funcTable"]["name"]]
        return {names[function[thread["stackTable"]["frame"][stack]]] for stack in thread["samples"]["stack"]
                if stack is not None}

    def test_of_a_guest_that_loops(self):
        self.run_guest(
            "wat_traps", "--profile", "p.json", "--record-timeout", "100ms", stdin="l\n", code=GUEST_FAILED
        )
        profile = self.profile("p.json")
        self.assertEqual(profile["meta"]["product"], "wat_traps")
        (thread,) = profile["threads"]
        self.assertEqual(thread["name"], "event loop 0")
        self.assertGreater(thread["samples"]["length"], 0)
        functions = self.functions(thread)
        # Where a tick finds the guest before its loop, it is in the functions that lead there.
        self.assertIn("loop", functions)
        self.assertLessEqual(functions, {"start", "on_record", "loop"})

    def test_of_several_event_loops_has_a_thread_for_each(self):
        self.run_guest("rust_identity", "--profile", "p.json", "--threads", "3", stdin="x\n" * 10)
        profile = self.profile("p.json")
        self.assertEqual([t["name"] for t in profile["threads"]], ["event loop 0", "event loop 1", "event loop 2"])
        self.assertEqual([t["tid"] for t in profile["threads"]], [0, 1, 2])

    def test_of_a_guest_in_rust_has_names_as_they_were_written(self):
        lines = "x\n" * 100_000
        # A sample is taken at a tick that comes while the guest runs.
        for _ in range(50):
            self.run_guest("rust_identity", "--profile", "p.json", "-o", "out", stdin=lines)
            (thread,) = self.profile("p.json")["threads"]
            names = self.functions(thread)
            if names:
                break
        self.assertTrue(any(name.startswith("redpanda_transform_sdk_sys::") for name in names), names)

    def test_that_cannot_be_written_is_told(self):
        ended = self.run_guest("c_identity", "--profile", "no/p.json", stdin="x\n", code=OTHER)
        self.assertEqual(ended.lines, ["x"])
        self.assertIn("wasm-transform: cannot create no/p.json", ended.stderr)


class Perf(ToolTest):
    def run_to_end(self, *arguments):
        """The map for perf that a run leaves behind, or None."""
        with subprocess.Popen(
            [TOOL, "run", guest("wat_traps"), *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            self.assertEqual(running.wait(timeout=60), DONE)
        path = pathlib.Path(f"/tmp/perf-{running.pid}.map")
        if not path.exists():
            return None
        self.addCleanup(path.unlink)
        return path.read_text(encoding="utf-8")

    def test_the_map_has_the_guests_functions(self):
        self.assertRegex(self.run_to_end("--perf-map"), r"(?m)^0x[0-9a-f]+ [0-9a-f]+ .*on_record")
        self.assertIsNone(self.run_to_end())


class Pace(ToolTest):
    def test_a_line_each_second_in_a_pipe_if_asked_for(self):
        for arguments, wanted in ((["--progress"], True), ([], False)):
            with subprocess.Popen(
                [TOOL, "run", guest("wat_traps"), "--on-error", "skip", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            ) as running:  # fmt: skip
                for line in (b"u\n", b"x\n") * 8:
                    running.stdin.write(line)
                    running.stdin.flush()
                    time.sleep(0.15)
                running.stdin.close()
                shown = running.stderr.read().decode()
                self.assertEqual(running.wait(timeout=60), RECORDS_LOST)
            paces = re.findall(r"^wasm-transform: " + PACE + "$", shown, re.MULTILINE)
            self.assertEqual(bool(paces), wanted, shown)
            self.assertNotIn("\x1b", shown)
            if wanted:
                self.assertGreater(int(paces[-1]), 0, "lost records are errors")

    def on_terminal(self, columns, *arguments):
        """What is shown on a terminal while a run gets a line now and then for more than a second."""
        ours, theirs = pty.openpty()
        os.environ.pop("COLUMNS", None)
        subprocess.run(["stty", "cols", str(columns)], stdin=theirs, check=True)
        with subprocess.Popen(
            [TOOL, "run", guest("c_identity"), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=theirs,
        ) as running:  # fmt: skip
            os.close(theirs)
            for _ in range(12):
                running.stdin.write(b"x\n")
                running.stdin.flush()
                time.sleep(0.15)
            running.stdin.close()
            shown = read_terminal(ours)
            self.assertEqual(running.wait(timeout=60), DONE)
        return shown

    def test_on_a_terminal_it_is_below_the_progress_and_taken_off_with_it(self):
        shown = self.on_terminal(100)
        self.assertRegex(shown, r"\d+ records …\n" + PACE + r"\r\x1b\[1A\x1b\[J")
        self.assertNotIn("wasm-transform: in", shown)
        self.assertRegex(shown.split("wasm-transform:\n")[0], r"\x1b\[J$")

    def test_on_a_narrow_terminal_it_is_cut(self):
        shown = self.on_terminal(20, "--progress")
        lines = re.findall(r"records …\n(.*?)\r", shown)
        self.assertTrue(lines)
        for line in lines:
            self.assertEqual(len(line), 19, line)


if __name__ == "__main__":
    main()
