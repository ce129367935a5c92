# SPDX-License-Identifier: Apache-2.0
"""Commands that run processes end by a signal and leave neither those nor files behind."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from tool import TOOL, ToolTest, guest, main


def processes():
    """The parent of each process that has not ended."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def below(pid):
    """Processes that a process has started, and those that they have."""
    all_of_them = processes()
    found = {pid}
    while more := {one for one, parent in all_of_them.items() if parent in found} - found:
        found |= more
    return found - {pid}


class Signals(ToolTest):
    def setUp(self):
        super().setUp()
        (self.directory / "tmp").mkdir()

    def wait_until(self, condition):
        deadline = time.monotonic() + 60
        while not (result := condition()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return result

    def ends(self, number, *arguments, ready, env=None, code=None, **rest):
        """Sends a signal to a command alone when `ready` says so of its processes, and looks for what is left."""
        with subprocess.Popen([TOOL, *arguments], cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              env=os.environ | {"TMPDIR": str(self.directory / "tmp")} | (env or {}), **rest) as running:  # fmt: skip
            started = self.wait_until(lambda: ready(below(running.pid)))
            running.send_signal(number)
            self.assertEqual(running.wait(timeout=60), -number, running.stderr.read())
        self.wait_until(lambda: not started & set(processes()))
        if number == signal.SIGKILL:  # nobody can remove them
            shutil.rmtree(self.directory / "tmp")
            (self.directory / "tmp").mkdir()
        self.assertEqual(list((self.directory / "tmp").iterdir()), [])

    def runs(self, pids):
        """The processes, if one of them runs a guest."""
        for pid in pids:
            try:
                arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if arguments[1] == b"run":
                    return pids
            except (OSError, IndexError):
                continue
        return None

    def test_a_guest_that_does_not_end(self):
        self.write("in", "spin\n")
        self.write("dead.ndjson", json.dumps({"value": "spin"}) + "\n")
        (self.directory / "tests").mkdir()
        self.write("tests/spin.in", "spin\n")
        self.write("tests/spin.args", "--record-timeout=10m\n")
        spins = guest("rust_panic")
        options = ("--", "--record-timeout", "10m")
        for command in (("diff", spins, spins, "in", *options), ("replay", spins, "dead.ndjson", *options),
                        ("test", "--guest", spins)):  # fmt: skip
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
                with self.subTest(command[0], number=number):
                    self.ends(number, *command, ready=self.runs)

    def test_input_that_does_not_come(self):
        for command in (("diff", guest("c_identity"), guest("c_identity"), "-"), ("replay", guest("c_identity"), "-")):
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(command[0], number=number):
                    reads = lambda _: any((self.directory / "tmp").iterdir()) and {0}
                    self.ends(number, *command, ready=reads, stdin=subprocess.PIPE)

    def test_a_compiler_and_what_it_has_started(self):
        self.tool("init", "--language", "c", "shout")
        (self.directory / "bin").mkdir()
        compiler = self.write("bin/clang", "#!/bin/sh\ncase $* in *-print-file-name*) echo /libc.a;; *-dumpversion*) echo 15;;\n"
                                           "*) sleep 1000 & wait;; esac\n")
        compiler.chmod(0o755)
        env = {"PATH": f"{compiler.parent}:{os.environ['PATH']}", "CC": str(compiler)}
        for number in (signal.SIGINT, signal.SIGTERM):
            for command in ("build", "test"):
                with self.subTest(command, number=number):
                    arguments = (command, "shout") if command == "build" else (command, "--directory", "shout")
                    self.ends(number, *arguments, ready=lambda pids: len(pids) == 2 and pids, env=env)

    def test_whoever_reads_the_results_goes_away(self):
        self.write("dead.ndjson", (json.dumps({"value": "x" * 1000, "headers": []}) + "\n") * 3)
        with subprocess.Popen([TOOL, "replay", guest("c_identity"), "dead.ndjson"], cwd=self.directory, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(self.directory / "tmp")}) as running:  # fmt: skip
            running.stdout.close()
            self.assertEqual(running.wait(timeout=60), -signal.SIGPIPE, running.stderr.read())
        self.assertEqual(list((self.directory / "tmp").iterdir()), [])


if __name__ == "__main__":
    main()
