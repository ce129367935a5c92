# SPDX-License-Identifier: Apache-2.0
"""Runs wasm-transform as a user does. CTest sets WASM_TRANSFORM and WASM_ENGINE_GUESTS."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

TOOL = os.environ["WASM_TRANSFORM"]
GUESTS = pathlib.Path(os.environ["WASM_ENGINE_GUESTS"])

DONE, OTHER, USAGE, MODULE_REFUSED, GUEST_FAILED, BAD_INPUT, RECORDS_LOST, DIFFERENT = range(8)


def guest(name):
    return str(GUESTS / f"{name}.wasm")


def read_terminal(ours):
    """What a program wrote to a pseudo-terminal, of which `ours` is our end, until it closed its own. Closes ours."""
    shown = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


class Outcome:
    """How a command ended, and what it wrote."""

    def __init__(self, code, stdout, stderr):
        self.code = code
        self.bytes = stdout
        self.stderr = stderr.decode()

    @property
    def lines(self):
        return self.bytes.decode().splitlines()

    @property
    def records(self):
        return [json.loads(line) for line in self.lines]


class ToolTest(unittest.TestCase):
    """A test with a directory of its own."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def tool(self, *arguments, stdin=b"", code=DONE, env=None, cwd="."):
        """Runs the tool in the test's directory or below, and checks its exit code. `env` is beside the environment."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        ended = subprocess.run(
            [TOOL, *map(str, arguments)], input=stdin, capture_output=True, cwd=self.directory / cwd, timeout=240, check=False,
            env=os.environ | (env or {}),
        )
        outcome = Outcome(ended.returncode, ended.stdout, ended.stderr)
        self.assertEqual(outcome.code, code, outcome.stderr)
        return outcome

    def run_guest(self, name, *arguments, **rest):
        return self.tool("run", guest(name), *arguments, **rest)

    def run_records(self, name, records, *arguments, **rest):
        """`records` go in as JSON lines; a str among them goes in as it is."""
        lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
        return self.run_guest(name, "--format", "records", *arguments, stdin="\n".join(lines) + "\n", **rest)

    def write(self, name, content):
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def files(self):
        """Names of all files in the test's directory, temporary ones included."""
        return sorted(str(p.relative_to(self.directory)) for p in self.directory.rglob("*") if p.is_file())


def main():
    unittest.main()
